//! `call` of a function: its task, with `with` as its input and the caller's context.

use std::sync::Arc;

use crate::problem::Kind as Problem;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::{Completed, Move};
use crate::run::frame::{Frame, FrameId, Nest, State};
use crate::run::scope::{Moment, View};
use crate::workflow::definition::{FunctionCall, Kind, Then};

/// How deep functions may call each other.
const DEPTH_MAX: usize = 16;

pub(super) fn begin(run: &mut Run, id: FrameId, call: &FunctionCall) -> Result<(), Fault> {
    if around(run, id).count() > DEPTH_MAX {
        let detail = format!("functions call each other more than {DEPTH_MAX} deep");
        return Err(Fault::new(Problem::Runtime, detail));
    }
    let Some(function) = run.definition.functions.get(&call.name).map(Arc::clone) else {
        let detail = format!("there is no function `{}`", call.name);
        return Err(Fault::new(Problem::Configuration, detail));
    };
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let input = match &call.arguments {
        Some(arguments) => View::of(run, frame, Moment::Task).template(arguments, &frame.input)?,
        None => frame.input.clone(),
    };
    let nest = nest(frame, call);
    if let Some(frame) = run.frames.get_mut(&id) {
        frame.state = State::Function(nest);
    }
    run.moves.push(Move::Begin {
        parent: id,
        slot: 0,
        task: function,
        input,
    });
    Ok(())
}

/// What the function's task inherits: nothing that its caller could see by name.
pub(in crate::run) fn nest(frame: &Frame, call: &FunctionCall) -> Nest {
    let nest = Nest {
        variables: None,
        ..Nest::of(frame)
    };
    nest.deeper(&call.site)
}

/// The function has completed; only `end` goes further than it.
pub(super) fn completed(run: &mut Run, id: FrameId, child: Completed) {
    run.moves.push(Move::Complete {
        frame: id,
        output: child.output,
        then: (child.then == Then::End).then_some(Then::End),
    });
}

/// The calls of functions around a task, itself included where it is one.
fn around(run: &Run, id: FrameId) -> impl Iterator<Item = &FunctionCall> {
    let frames = std::iter::successors(run.frames.get(&id), |frame| run.frames.get(&frame.parent));
    frames.filter_map(|frame| match &frame.task.kind {
        Kind::Function(call) => Some(&**call),
        _ => None,
    })
}

/// Whether a `try` around one of the functions a task is in retries.
pub(super) fn is_retried(run: &Run, id: FrameId) -> bool {
    around(run, id).any(|call| call.retried)
}
