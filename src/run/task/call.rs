//! `call: http`: the request is made here, performed outside, and its outcome taken in again.

use std::sync::Arc;

use jiff::Timestamp;

use super::{function, openapi, request};
use crate::problem::Kind as Problem;
use crate::run::fault::Fault;
use crate::run::flow::Move;
use crate::run::frame::{Call, Frame, FrameId, State};
use crate::run::scope::{Moment, View};
use crate::run::{Action, Attempt, Door, Effect, Key, Outcome, Request, Run};
use crate::workflow::definition::Kind;

/// Opens a call, of whatever kind the frame's task is.
pub(super) fn begin(run: &mut Run, id: FrameId) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let request = request(run, frame)?;
    if let Some(frame) = run.frames.get_mut(&id) {
        frame.state = State::Call(Call {
            request,
            attempts: 0,
            spent: 0,
            first_attempt_at: None,
            not_before: None,
        });
        run.open.insert(frame.key(), Door::Leaf(id));
    }
    Ok(())
}

/// What the call asks for. It is not journaled, and so neither are the credentials in it: a run
/// that is restored makes it again.
pub(in crate::run) fn request(run: &Run, frame: &Frame) -> Result<Arc<Request>, Fault> {
    let view = View::of(run, frame, Moment::Task).leaving();
    let mut request = match &frame.task.kind {
        Kind::Call(call) => request::make(&view, call, &frame.input)?,
        Kind::OpenApi(call) => openapi::make(&view, call, &frame.input)?,
        _ => return Err(Fault::new(Problem::Runtime, "this task is no call")),
    };
    request.retried = request.retried || function::is_retried(run, frame.parent);
    Ok(Arc::new(request))
}

/// The effect of an open call.
pub(in crate::run) fn effect(frame: &Frame, call: &Call) -> Effect {
    Effect {
        key: frame.key(),
        attempt: call.attempts.saturating_add(1),
        spent: call.spent,
        first_attempt_at: call.first_attempt_at,
        not_before: call.not_before,
        deadline: frame.nearest,
        action: Action::Call(Arc::clone(&call.request)),
    }
}

/// An attempt failed and the destination's policy will try again.
pub(in crate::run) fn attempted(run: &mut Run, key: &Key, attempt: Attempt, retry_at: Timestamp) {
    let Some(id) = opened(run, key) else {
        return;
    };
    let now = run.now;
    let Some(frame) = run.frames.get_mut(&id) else {
        return;
    };
    let State::Call(call) = &mut frame.state else {
        return;
    };
    call.attempts = attempt.number;
    let counts = attempt.retry_after_seconds.is_none();
    call.spent = call.spent.saturating_add(u32::from(counts));
    call.first_attempt_at.get_or_insert(now);
    call.not_before = Some(retry_at);
    let record = frame.record;
    if let Some(record) = run.record_of(record) {
        record.attempts.push(attempt);
    }
    run.record_state(id);
}

/// A call has its outcome.
pub(in crate::run) fn performed(run: &mut Run, key: &Key, attempt: Attempt, outcome: Outcome) {
    let Some(id) = opened(run, key) else {
        return;
    };
    run.moves.push(match outcome {
        Outcome::Completed(output) => Move::Complete {
            frame: id,
            output,
            then: None,
        },
        Outcome::Faulted(problem) => Move::Fault {
            frame: id,
            fault: Fault {
                problem,
                retry_after_seconds: attempt.retry_after_seconds,
            },
        },
    });
    let record = run.frames.get(&id).and_then(|frame| frame.record);
    if let Some(record) = run.record_of(record) {
        record.attempts.push(attempt);
    }
}

/// The open call of a key; an entry of anything else is late or does not fit.
fn opened(run: &mut Run, key: &Key) -> Option<FrameId> {
    match run.open.get(key).copied() {
        Some(Door::Leaf(id)) if is_call(run, id) => Some(id),
        Some(_) => {
            run.misfit(&key.reference, "an outcome of what is no call");
            None
        }
        None => {
            run.late(key);
            None
        }
    }
}

fn is_call(run: &Run, id: FrameId) -> bool {
    run.frames
        .get(&id)
        .is_some_and(|frame| matches!(frame.state, State::Call(_)))
}
