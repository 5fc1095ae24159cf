//! `do`: a list of tasks, the first with the input of the `do`; its output is the last one's.

use crate::run::Run;
use crate::run::frame::{FrameId, List, Nest, State};
use crate::workflow::definition::TaskList;

pub(super) fn begin(run: &mut Run, id: FrameId, tasks: &TaskList) {
    let Some(frame) = run.frames.get_mut(&id) else {
        return;
    };
    frame.state = State::Do(List::new(Nest::of(frame), frame.depth + 1));
    let input = frame.input.clone();
    run.begin_list(id, tasks, input);
}
