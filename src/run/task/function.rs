//! `call` of a function: its task, with `with` as its input and the caller's context.

use std::sync::Arc;

use crate::problem::Kind as Problem;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::{Completed, Move};
use crate::run::frame::{Called, Frame, FrameId, Nest, State};
use crate::run::scope::{Moment, View};
use crate::workflow::definition::{FunctionCall, Kind, Then};

/// How deep functions may call each other.
const DEPTH_MAX: usize = 16;

pub(super) fn begin(run: &mut Run, id: FrameId, call: &FunctionCall) -> Result<(), Fault> {
    if around(run, id).count() > DEPTH_MAX {
        let detail = format!("functions call each other more than {DEPTH_MAX} deep");
        return Err(Fault::new(Problem::Runtime, detail));
    }
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let called = called(run, frame, call)?;
    let input = match &call.arguments {
        Some(arguments) => View::of(run, frame, Moment::Task).template(arguments, &frame.input)?,
        None => frame.input.clone(),
    };
    let task = Arc::clone(&called.task);
    if let Some(frame) = run.frames.get_mut(&id) {
        frame.state = State::Function(called);
    }
    run.moves.push(Move::Begin {
        parent: id,
        slot: 0,
        task,
        input,
    });
    Ok(())
}

/// The function with what its task inherits: no variables of the caller.
pub(in crate::run) fn called(
    run: &Run,
    frame: &Frame,
    call: &FunctionCall,
) -> Result<Called, Fault> {
    let Some(task) = run.definition.functions.get(&call.name) else {
        let detail = format!("there is no function `{}`", call.name);
        return Err(Fault::new(Problem::Configuration, detail));
    };
    let nest = Nest {
        variables: None,
        ..Nest::of(frame)
    };
    Ok(Called {
        nest: nest.deeper(&call.site),
        task: Arc::clone(task),
    })
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

/// Whether a `try` around one of the functions that `id` is in retries.
pub(super) fn is_retried(run: &Run, id: FrameId) -> bool {
    around(run, id).any(|call| call.retried)
}
