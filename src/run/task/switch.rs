//! `switch`: the first case whose condition holds, else the default, else the task's own `then`.

use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::Move;
use crate::run::frame::FrameId;
use crate::run::scope::{Moment, View};
use crate::workflow::definition::Case;

pub(super) fn begin(run: &mut Run, id: FrameId, cases: &[Case]) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let view = View::of(run, frame, Moment::Task);
    // The default counts only when nothing else does, wherever it stands.
    let mut chosen = cases.iter().find(|case| case.when.is_none());
    for case in cases {
        if let Some(when) = &case.when
            && view.condition(when, &frame.input)?
        {
            chosen = Some(case);
            break;
        }
    }
    let output = frame.input.clone();
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then: chosen.map(|case| case.then.clone()),
    });
    Ok(())
}
