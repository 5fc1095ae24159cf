//! What each kind of task does: one file per keyword of the language, one dispatch here.
//!
//! A task begins with its transformed input and ends by a move (`Complete` or `Fault`); a composite
//! task also hears how the tasks inside it ended.

pub(super) mod approval;
pub(super) mod call;
pub(super) mod function;
pub(super) mod listen;
pub(super) mod run;
pub(super) mod wait;
pub(super) mod r#try;
mod credentials;
mod r#do;
mod emit;
mod r#for;
mod fork;
mod openapi;
mod parallel;
mod raise;
mod request;
mod set;
mod switch;

use std::sync::Arc;

use crate::workflow::definition::{Kind, Then};

use super::Run;
use super::fault::Fault;
use super::flow::{Completed, Move};
use super::frame::{Frame, FrameId, Next, State};

/// Begins the task of a frame.
pub(super) fn begin(run: &mut Run, id: FrameId) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let task = Arc::clone(&frame.task);
    match &task.kind {
        Kind::Approval(task) => approval::begin(run, id, task),
        Kind::Call(_) | Kind::OpenApi(_) => call::begin(run, id),
        Kind::Do(tasks) => {
            r#do::begin(run, id, tasks);
            Ok(())
        }
        Kind::Emit(emit) => emit::begin(run, id, emit),
        Kind::For(loops) => r#for::begin(run, id, loops),
        Kind::Fork(fork) => {
            fork::begin(run, id, fork);
            Ok(())
        }
        Kind::Function(call) => function::begin(run, id, call),
        Kind::Listen(listen) => listen::begin(run, id, listen),
        Kind::Raise(raise) => Err(raise::fault(run, frame, raise)),
        Kind::Run(workflow) => run::begin(run, id, workflow),
        Kind::Set(template) => set::begin(run, id, template),
        Kind::Switch(cases) => switch::begin(run, id, cases),
        Kind::Try(attempted) => r#try::begin(run, id, attempted),
        Kind::Wait(span) => wait::begin(run, id, span),
    }
}

/// A task inside `id` has completed.
pub(super) fn child_completed(run: &mut Run, id: FrameId, child: Completed) {
    let Some(frame) = run.frames.get_mut(&id) else {
        return;
    };
    if matches!(frame.state, State::Fork(_)) {
        fork::completed(run, id, child);
        return;
    }
    // An approver has been told: what remains is to wait.
    if matches!(frame.state, State::Approval(_)) {
        return;
    }
    if matches!(frame.state, State::Function(_)) {
        function::completed(run, id, child);
        return;
    }
    let task = Arc::clone(&frame.task);
    let Some((list, tasks)) = frame.list() else {
        return;
    };
    match list.advance(&child.then, tasks.tasks.len()) {
        Next::Task(index) => {
            let task = Arc::clone(&tasks.tasks[index]);
            run.moves.push(Move::Begin {
                parent: id,
                slot: 0,
                task,
                input: child.output,
            });
        }
        Next::End => run.moves.push(Move::Complete {
            frame: id,
            output: child.output,
            then: Some(Then::End),
        }),
        Next::Leave => match &task.kind {
            Kind::For(loops) => r#for::next(run, id, loops, child.output),
            Kind::Listen(listen) => listen::left(run, id, listen, &child.output),
            Kind::Try(attempted) => r#try::left(run, id, attempted, child.output),
            _ => run.moves.push(Move::Complete {
                frame: id,
                output: child.output,
                then: None,
            }),
        },
    }
}

/// A task inside another one, `child`, has failed and is closed.
pub(super) fn child_faulted(run: &mut Run, child: Frame, fault: Fault) {
    let id = child.parent;
    let Some(frame) = run.frames.get(&id) else {
        return;
    };
    match &frame.state {
        State::Fork(_) => fork::faulted(run, id, child, fault),
        State::Approval(_) => {
            run.cancel_inside(id);
            run.moves.push(Move::Fault { frame: id, fault });
        }
        State::Try(trial) if trial.is_trying() => r#try::caught(run, id, fault),
        _ => run.moves.push(Move::Fault { frame: id, fault }),
    }
}
