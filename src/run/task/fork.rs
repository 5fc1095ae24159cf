//! `fork`: branches side by side, each with the input and a copy of the context.
//!
//! Results do not depend on timing: outputs stand in the order of declaration, and what branches
//! changed in their contexts is merged in that order. In a competition the first to succeed wins.

use std::sync::Arc;

use crate::expression::Value;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::{Completed, Move};
use crate::run::frame::{Branches, Frame, FrameId, Nest, State};
use crate::workflow::definition::{Fork, Kind, Then};

pub(super) fn begin(run: &mut Run, id: FrameId, task: &Fork) {
    let Some(frame) = run.frames.get_mut(&id) else {
        return;
    };
    let count = task.branches.len();
    frame.state = State::Fork(Branches {
        nest: Nest::of(frame),
        outputs: vec![None; count],
        contexts: vec![None; count],
        open: count,
        turns: None,
    });
    let input = frame.input.clone();
    conclude(run, id);
    // The stack gives back the last first, so that the branches begin in their order.
    for (slot, branch) in task.branches.iter().enumerate().rev() {
        run.moves.push(Move::Begin {
            parent: id,
            slot,
            task: Arc::clone(branch),
            input: input.clone(),
        });
    }
}

/// A branch has completed.
pub(super) fn completed(run: &mut Run, id: FrameId, child: Completed) {
    let competes = competes(run, id);
    let base = home(run, id).and_then(|home| run.context_at(home).identity());
    let Some(branches) = branches(run, id) else {
        return;
    };
    let ended = child.then == Then::End;
    if competes {
        run.cancel_inside(id);
        if let (Some(context), Some(home)) = (child.context, home(run, id)) {
            run.set_context(home, context);
        }
        complete(run, id, child.output, ended.then_some(Then::End));
        return;
    }
    branches.open = branches.open.saturating_sub(1);
    if let Some(context) = branches.contexts.get_mut(child.slot) {
        // What a branch has not touched is not kept for each of them.
        let changed = |context: &Value| base.is_none() || context.identity() != base;
        *context = child.context.filter(changed);
    }
    if ended {
        merge(run, id);
        run.cancel_inside(id);
        complete(run, id, child.output, Some(Then::End));
        return;
    }
    if let Some(output) = branches.outputs.get_mut(child.slot) {
        *output = Some(child.output);
    }
    if branches.turns.is_none() {
        conclude(run, id);
    } else if let Err(fault) = super::parallel::more(run, id) {
        fail(run, id, fault);
    }
}

/// Completes a fork, or a loop, of which nothing is open any more.
pub(super) fn conclude(run: &mut Run, id: FrameId) {
    let Some(branches) = branches(run, id).filter(|branches| branches.open == 0) else {
        return;
    };
    let outputs = std::mem::take(&mut branches.outputs);
    let outputs = outputs.into_iter().map(Option::unwrap_or_default);
    let outputs = Value::array(outputs.collect());
    merge(run, id);
    complete(run, id, outputs, None);
}

/// A branch has failed: the end of the fork, unless others may still win.
pub(super) fn faulted(run: &mut Run, id: FrameId, child: Frame, fault: Fault) {
    let competes = competes(run, id);
    let Some(branches) = branches(run, id) else {
        return;
    };
    branches.open = branches.open.saturating_sub(1);
    if competes && branches.open > 0 {
        return;
    }
    if competes {
        run.moves.push(Move::Fault { frame: id, fault });
        return;
    }
    if let Some(context) = branches.contexts.get_mut(child.slot) {
        *context = child.context;
    }
    fail(run, id, fault);
}

fn fail(run: &mut Run, id: FrameId, fault: Fault) {
    // What was exported before the failure is needed to compensate for it.
    merge(run, id);
    run.cancel_inside(id);
    run.moves.push(Move::Fault { frame: id, fault });
}

/// Puts what the branches changed into the context around the fork, in the order of declaration.
fn merge(run: &mut Run, id: FrameId) {
    let Some(home) = home(run, id) else {
        return;
    };
    let mut contexts = match branches(run, id) {
        Some(branches) => std::mem::take(&mut branches.contexts),
        None => return,
    };
    for frame in run.frames.range(id + 1..).map(|(_, frame)| frame) {
        if frame.parent == id
            && let Some(context) = contexts.get_mut(frame.slot)
        {
            context.clone_from(&frame.context);
        }
    }
    let base = run.context_at(home).clone();
    let mut merged = base.clone();
    for context in contexts.into_iter().flatten() {
        if context != base {
            merged = merged_with(merged, &base, context);
        }
    }
    run.set_context(home, merged);
}

fn merged_with(merged: Value, base: &Value, changed: Value) -> Value {
    let (true, Some(members)) = (merged.is_object(), changed.members()) else {
        return changed;
    };
    members
        .into_iter()
        .filter(|(key, value)| base.get(key).as_ref() != Some(value))
        .fold(merged, |merged, (key, value)| merged.with(&key, value))
}

fn complete(run: &mut Run, id: FrameId, output: Value, then: Option<Then>) {
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then,
    });
}

pub(super) fn branches(run: &mut Run, id: FrameId) -> Option<&mut Branches> {
    match &mut run.frames.get_mut(&id)?.state {
        State::Fork(branches) => Some(branches),
        _ => None,
    }
}

fn competes(run: &Run, id: FrameId) -> bool {
    run.frames
        .get(&id)
        .is_some_and(|frame| matches!(&frame.task.kind, Kind::Fork(fork) if fork.compete))
}

fn home(run: &Run, id: FrameId) -> Option<FrameId> {
    run.frames.get(&id).map(|frame| frame.home)
}
