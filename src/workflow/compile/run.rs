//! `run`: sub-workflows. Processes are refused: some never run in the server, some not yet.

use super::{Context, field, identity, unsupported};
use crate::workflow::definition::RunWorkflow;
use crate::workflow::document::{Object, Place};

/// The version that is whatever is active when the sub-workflow starts.
const LATEST: &str = "latest";

/// The configuration of a `run` task.
pub fn run(place: &Place<'_>, context: &Context<'_>) -> Option<Box<RunWorkflow>> {
    let object = place.object()?;
    let refused = refuse(&object);
    let workflow = object.optional("workflow");
    let awaited = object.optional_bool("await").unwrap_or(true);
    let read = match (&workflow, refused) {
        (Some(place), false) => workflow_of(place, awaited, context),
        (Some(place), true) => {
            place.fault("`run` runs one thing");
            None
        }
        (None, true) => None,
        (None, false) => {
            let hint = "write `workflow: {namespace, name, version}`";
            place.fault_with("`run` says nothing about what to run", hint);
            None
        }
    };
    if let (Some(place), Some(_)) = (object.optional("return"), &workflow) {
        let hint = "remove it: the output is the output of the sub-workflow";
        place.fault_with("`return` is about processes, not about workflows", hint);
    }
    object.finish();
    read.map(Box::new)
}

/// Whether it says to run something that is not run here.
fn refuse(object: &Object<'_>) -> bool {
    let never = ["shell", "container"].map(|word| (word, object.optional(word)));
    let mut refused = false;
    for (word, place) in never {
        if let Some(place) = place {
            let message = format!("`run: {word}` is disabled: the server starts no processes");
            place.fault_with(message, "put it behind an HTTP API and call that");
            refused = true;
        }
    }
    if let Some(place) = object.optional("script") {
        unsupported(&place, "`run: script`");
        refused = true;
    }
    refused
}

fn workflow_of(place: &Place<'_>, awaited: bool, context: &Context<'_>) -> Option<RunWorkflow> {
    let object = place.object()?;
    let label = |name| {
        let place = object.required(name)?;
        identity::label(&place)
    };
    let (namespace, name) = (label("namespace"), label("name"));
    let version = object
        .required("version")
        .and_then(|place| match place.node().as_str() {
            Some(LATEST) => Some(LATEST.to_owned()),
            _ => identity::version(&place),
        });
    let input = object.optional("input");
    let input = input.map(|place| field::template(&place, context));
    object.finish();
    Some(RunWorkflow {
        namespace: namespace?,
        name: name?,
        version: version?,
        input: match input {
            Some(input) => Some(input?),
            None => None,
        },
        awaited,
    })
}
