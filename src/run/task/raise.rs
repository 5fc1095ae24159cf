//! `raise`: an error of the workflow's own making.

use crate::expression::{Template, Value};
use crate::problem::Problem;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::frame::Frame;
use crate::run::scope::{Moment, View};
use crate::workflow::definition::Raise;

/// The error to raise, or the one of making it.
pub(super) fn fault(run: &Run, frame: &Frame, raise: &Raise) -> Fault {
    problem(run, frame, raise).map_or_else(|fault| fault, Fault::from)
}

fn problem(run: &Run, frame: &Frame, raise: &Raise) -> Result<Problem, Fault> {
    let view = View::of(run, frame, Moment::Task);
    let evaluate = |template: &Template| view.template(template, &frame.input);
    let text = |name: &str, template: &Option<Template>| match template {
        None => Ok(None),
        Some(template) => match evaluate(template)? {
            value if value.is_null() => Ok(None),
            value => string(&value)
                .map(Some)
                .ok_or_else(|| view.wrong(format!("`raise.error.{name}` did not give a string"))),
        },
    };
    let kind = string(&evaluate(&raise.kind)?)
        .ok_or_else(|| view.wrong("`raise.error.type` did not give a string"))?;
    let status = evaluate(&raise.status)?
        .as_i64()
        .and_then(|status| u16::try_from(status).ok())
        .ok_or_else(|| view.wrong("`raise.error.status` did not give a status"))?;
    Ok(Problem {
        kind: kind.into(),
        status,
        title: text("title", &raise.title)?,
        detail: text("detail", &raise.detail)?,
        instance: text("instance", &raise.instance)?,
    })
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
