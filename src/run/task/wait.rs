//! `wait`: time passes; the output is the input.

use crate::run::fault::Fault;
use crate::run::flow::{Move, after};
use crate::run::frame::{FrameId, State};
use crate::run::scope::{Moment, View};
use crate::run::{Door, Run};
use crate::workflow::definition::Span;

pub(super) fn begin(run: &mut Run, id: FrameId, span: &Span) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let duration = View::of(run, frame, Moment::Task).span(span, &frame.input)?;
    if duration.is_zero() {
        over(run, id);
        return Ok(());
    }
    let until = after(run.now, duration);
    if let Some(frame) = run.frames.get_mut(&id) {
        frame.state = State::Wait(until);
        run.open.insert(frame.key(), Door::Leaf(id));
    }
    Ok(())
}

/// The time has come.
pub(in crate::run) fn over(run: &mut Run, id: FrameId) {
    let Some(frame) = run.frames.get(&id) else {
        return;
    };
    let output = frame.input.clone();
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then: None,
    });
}
