//! `for` with `metadata.parallel`: its iterations side by side, at most so many at once.
//!
//! An iteration is a branch of a fork that begins when there is a place for it: with the input of
//! the loop and a copy of the context. Outputs stand in the order of the items, contexts are merged
//! in that order, the first fault cancels the others. `while` is asked before each iteration, with
//! the loop's input; once it does not hold no more begin.

use std::sync::Arc;

use super::r#for;
use crate::expression::Value;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::Move;
use crate::run::frame::{Branches, FrameId, Nest, State, Turns};
use crate::workflow::definition::{For, Kind, Parallel};

pub(super) fn begin(
    run: &mut Run,
    id: FrameId,
    task: (&For, &Parallel),
    items: Value,
) -> Result<(), Fault> {
    let Some(frame) = run.frames.get_mut(&id) else {
        return Ok(());
    };
    frame.state = State::Fork(Branches {
        nest: Nest::of(frame),
        outputs: Vec::new(),
        contexts: Vec::new(),
        open: 0,
        turns: Some(Turns { items, over: false }),
    });
    fill(run, id, task)
}

/// A place is free: begins what there is a place for. The error is the loop's.
pub(super) fn more(run: &mut Run, id: FrameId) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let task = Arc::clone(&frame.task);
    match &task.kind {
        Kind::For(task) => match &task.parallel {
            Some(parallel) => fill(run, id, (task, parallel)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn fill(run: &mut Run, id: FrameId, (task, parallel): (&For, &Parallel)) -> Result<(), Fault> {
    let mut begun = Vec::new();
    let input = loop {
        let Some(frame) = run.frames.get(&id) else {
            return Ok(());
        };
        let State::Fork(branches) = &frame.state else {
            return Ok(());
        };
        let (index, input) = (branches.outputs.len(), frame.input.clone());
        let turns = branches.turns.as_ref().filter(|turns| !turns.over);
        let nest = turns.and_then(|turns| Nest::of(frame).turn(task, &turns.items, index));
        let (Some(nest), true) = (nest, branches.open < parallel.width) else {
            break input;
        };
        let goes_on = r#for::goes_on(run, id, task, (nest.variables.as_ref(), &input))?;
        let Some(branches) = super::fork::branches(run, id) else {
            return Ok(());
        };
        if let (false, Some(turns)) = (goes_on, &mut branches.turns) {
            turns.over = true;
            break input;
        }
        branches.outputs.push(None);
        branches.contexts.push(None);
        branches.open += 1;
        begun.push(index);
    };
    // The stack gives back the last first.
    for index in begun.into_iter().rev() {
        run.moves.push(Move::Begin {
            parent: id,
            slot: index,
            task: Arc::clone(&parallel.iteration),
            input: input.clone(),
        });
    }
    super::fork::conclude(run, id);
    Ok(())
}
