//! `set`: its value becomes the output; nothing of the input is kept.

use crate::expression::Template;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::Move;
use crate::run::frame::FrameId;
use crate::run::scope::{Moment, View};

pub(super) fn begin(run: &mut Run, id: FrameId, template: &Template) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let output = View::of(run, frame, Moment::Task).template(template, &frame.input)?;
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then: None,
    });
    Ok(())
}
