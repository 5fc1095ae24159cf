//! `for`: its list once per element, in sequence, each with the output of the one before.
//!
//! `while` is evaluated before every iteration, the first included. With `metadata.parallel` its
//! iterations run side by side (`parallel`).

use std::sync::Arc;

use super::parallel;
use crate::expression::Value;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::Move;
use crate::run::frame::{Binding, FrameId, List, Loop, Nest, State};
use crate::run::scope::{Moment, View};
use crate::workflow::definition::For;

pub(super) fn begin(run: &mut Run, id: FrameId, task: &For) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let view = View::of(run, frame, Moment::Task);
    let items = view.template(&task.items, &frame.input)?;
    if !items.is_null() && items.as_array().is_none() {
        return Err(view.wrong("`for.in` gave neither an array nor null"));
    }
    if let Some(parallel) = &task.parallel {
        return parallel::begin(run, id, (task, parallel), items);
    }
    let input = frame.input.clone();
    iterate(run, id, task, Turn { items, index: 0 }, input)
}

/// An iteration has ended; `output` is what it leaves to the next.
pub(super) fn next(run: &mut Run, id: FrameId, task: &For, output: Value) {
    let Some(frame) = run.frames.get(&id) else {
        return;
    };
    let State::For(open) = &frame.state else {
        return;
    };
    let turn = Turn {
        items: open.items.clone(),
        index: open.index + 1,
    };
    if let Err(fault) = iterate(run, id, task, turn, output) {
        run.moves.push(Move::Fault { frame: id, fault });
    }
}

/// Which iteration of what.
struct Turn {
    items: Value,
    index: usize,
}

fn iterate(run: &mut Run, id: FrameId, task: &For, turn: Turn, input: Value) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let nest = Nest::of(frame).turn(task, &turn.items, turn.index);
    let (Some(nest), false) = (nest, task.body.tasks.is_empty()) else {
        complete(run, id, input);
        return Ok(());
    };
    if !goes_on(run, id, task, (nest.variables.as_ref(), &input))? {
        complete(run, id, input);
        return Ok(());
    }
    let Some(frame) = run.frames.get_mut(&id) else {
        return Ok(());
    };
    frame.state = State::For(Loop {
        items: turn.items,
        index: turn.index,
        list: List::new(nest, frame.depth + 1),
    });
    run.begin_list(id, &task.body, input);
    Ok(())
}

/// Whether `while` lets the iteration with these variables begin.
pub(super) fn goes_on(
    run: &Run,
    id: FrameId,
    task: &For,
    (variables, input): (Option<&Arc<Binding>>, &Value),
) -> Result<bool, Fault> {
    match (&task.condition, run.frames.get(&id)) {
        (Some(condition), Some(frame)) => View::of(run, frame, Moment::Task)
            .binding(variables)
            .condition(condition, input),
        _ => Ok(true),
    }
}

pub(super) fn complete(run: &mut Run, id: FrameId, output: Value) {
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then: None,
    });
}
