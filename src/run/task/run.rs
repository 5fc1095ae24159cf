//! `run: workflow`: another workflow runs as a run of its own; this task may wait for its end.
//!
//! Which version that is, and whether there is one, is found outside. The entry of the start says
//! what was started, and the end of the child is an entry again.

use std::sync::Arc;

use crate::id::Id;
use crate::run::fault::Fault;
use crate::run::flow::Move;
use crate::run::frame::{Frame, FrameId, Open, State};
use crate::run::scope::{Moment, View};
use crate::run::{Child, Door, Errand, Key, Outcome, Run};
use crate::workflow::definition::RunWorkflow;

pub(super) fn begin(run: &mut Run, id: FrameId, task: &RunWorkflow) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let child = child(run, frame, task)?;
    let (key, run_id) = (child.key.clone(), child.run_id);
    if let Some(frame) = run.frames.get_mut(&id) {
        frame.state = State::Child(Open { child, run: None });
        run.open.insert(key, Door::Leaf(id));
        run.children.insert(run_id, id);
    }
    Ok(())
}

/// The sub-workflow of a task, the same whenever it is asked for.
pub(in crate::run) fn child(
    run: &Run,
    frame: &Frame,
    task: &RunWorkflow,
) -> Result<Arc<Child>, Fault> {
    let input = match &task.input {
        Some(input) => View::of(run, frame, Moment::Task).template(input, &frame.input)?,
        None => frame.input.clone(),
    };
    let (key, at_ms) = (frame.key(), frame.started_at.as_millisecond());
    // Unlike a call, each attempt of a `try` is another run.
    let name = format!("child {} {}", key.reference, key.iteration);
    let at_ms = u64::try_from(at_ms).unwrap_or_default();
    Ok(Arc::new(Child {
        run_id: run.surroundings.id.derive_at(at_ms, &name),
        key,
        namespace: task.namespace.clone(),
        name: task.name.clone(),
        version: task.version.clone(),
        input,
        awaited: task.awaited,
    }))
}

/// The child was started.
pub(in crate::run) fn started(run: &mut Run, key: &Key, id: Id, workflow_id: i32) {
    let frame_id = match run.open.get(key).copied() {
        Some(Door::Leaf(frame_id)) => frame_id,
        Some(_) => return run.misfit(&key.reference, "the start of what is no sub-workflow"),
        None => return run.late(key),
    };
    let Some(frame) = run.frames.get_mut(&frame_id) else {
        return;
    };
    let State::Child(open) = &mut frame.state else {
        return run.misfit(&key.reference, "the start of what is no sub-workflow");
    };
    if open.run.is_some() {
        return;
    }
    let child = Arc::clone(&open.child);
    run.children.remove(&child.run_id);
    if child.awaited {
        open.run = Some(id);
        run.children.insert(id, frame_id);
    } else {
        let output = frame.input.clone();
        run.moves.push(Move::Complete {
            frame: frame_id,
            output,
            then: None,
        });
    }
    let record = frame.record;
    if let Some(record) = run.record_of(record) {
        record.child = Some(id);
    }
    run.record_state(frame_id);
    run.errands.push(Errand::Start { child, workflow_id });
}

/// A child has ended, or could not be started; one that nobody awaits any more changes nothing.
pub(in crate::run) fn ended(run: &mut Run, child: Id, outcome: Outcome) {
    let Some(id) = run.children.remove(&child) else {
        return;
    };
    run.moves.push(match outcome {
        Outcome::Completed(output) => Move::Complete {
            frame: id,
            output,
            then: None,
        },
        Outcome::Faulted(mut problem) => {
            // Where it happened inside the child is in the child; here it is this task.
            problem.instance = None;
            Move::Fault {
                frame: id,
                fault: Fault::from(problem),
            }
        }
    });
}

/// A frame is closed: a child that it still awaits is cancelled with it.
pub(in crate::run) fn closed(run: &mut Run, open: &Open) {
    let child = open.run.unwrap_or(open.child.run_id);
    if run.children.remove(&child).is_some() && open.run.is_some() {
        run.errands.push(Errand::Cancel(child));
    }
}
