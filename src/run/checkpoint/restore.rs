//! From a checkpoint back to a run. Whatever does not fit is refused as a whole.

use std::sync::Arc;

use super::values::Table;
use super::{FORM, Standing, Stored, StoredFrame, StoredState, ear};
use crate::expression::Value;
use crate::run::flow::nearest;
use crate::run::frame::{
    Branches, Call, Frame, FrameId, List, Loop, Nest, Open, Phase, ROOT, State, Trial, Turns,
};
use crate::run::task::approval::Ballot;
use crate::run::{Door, Run, Surroundings, task, workflow_timeout_key};
use crate::workflow::Definition;
use crate::workflow::definition::{Kind, TaskList};

/// Why a checkpoint cannot be used; the run is to be replayed from its whole journal.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint cannot be used: {0}")]
pub struct Unfit(String);

pub(super) fn unfit(what: impl Into<String>) -> Unfit {
    Unfit(what.into())
}

impl Run {
    /// The run as it was when [`Run::checkpoint`] was made; entries after that come next. `input`
    /// is that of its `Change::Started`, which is not applied again.
    ///
    /// # Errors
    /// Where the checkpoint is of another form, is damaged, or does not fit the definition.
    pub fn restore(
        definition: Arc<Definition>,
        surroundings: Arc<Surroundings>,
        input: Value,
        checkpoint: &[u8],
    ) -> Result<Self, Unfit> {
        let stored: Stored<'_> =
            serde_json::from_slice(checkpoint).map_err(|error| unfit(error.to_string()))?;
        if stored.form != FORM {
            return Err(unfit(format!("it is of form {}", stored.form)));
        }
        let table = Table::read(input.clone(), &stored.values)?;
        let mut run = Self::new(Arc::clone(&definition), surroundings);
        run.started_at = Some(stored.started_at);
        run.input = input;
        run.context = table.get(stored.context)?;
        run.deadline = stored.deadline;
        run.suspended = stored.suspended;
        if run.deadline.is_some() {
            run.open.insert(workflow_timeout_key(), Door::Timeout(ROOT));
        }
        let nest = Nest {
            iteration: Arc::from(""),
            variables: None,
            attempt: 1,
            deadline: run.deadline,
        };
        run.root = Some(standing(
            List::new(nest, 1),
            &definition.tasks,
            stored.root,
        )?);
        for frame in &stored.frames {
            // A parent stands before what is inside it.
            if frame.id <= run.executions || frame.id > stored.executions {
                return Err(unfit("its tasks are out of order"));
            }
            run.executions = frame.id;
            run.reopen(frame, &table)?;
        }
        ear::keep(&mut run, &stored.kept, &table)?;
        run.executions = stored.executions;
        run.now = stored.now;
        Ok(run)
    }

    fn reopen(&mut self, stored: &StoredFrame, table: &Table) -> Result<(), Unfit> {
        let gone = || unfit(format!("there is no task `{}`", stored.reference));
        let (parent, slot) = (stored.parent, stored.slot);
        let task = match (parent, &self.root) {
            (ROOT, Some(list)) => self.definition.tasks.tasks.get(list.position().0).cloned(),
            _ => self.frames.get(&parent).and_then(|it| match &it.task.kind {
                Kind::Function(call) => self.definition.functions.get(&call.name).cloned(),
                _ => it.inside(slot),
            }),
        };
        let task = task.filter(|task| *task.reference == *stored.reference);
        let raw_input = table.get(stored.raw_input)?;
        let mut frame = self
            .frame(parent, slot, task.ok_or_else(gone)?, raw_input)
            .ok_or_else(gone)?;
        frame.input = table.get(stored.input)?;
        frame.context = stored.context.map(|at| table.get(at)).transpose()?;
        if frame.context.is_some() {
            frame.home = stored.id;
        }
        frame.started_at = stored.started_at;
        frame.deadline = stored.deadline;
        frame.nearest = nearest(frame.nearest, frame.deadline);
        // What is evaluated again is evaluated as at its first time.
        self.now = stored.started_at;
        frame.state = state(self, &frame, &stored.state, table)?;
        self.reopen_doors(stored.id, &frame);
        self.frames.insert(stored.id, frame);
        Ok(())
    }

    fn reopen_doors(&mut self, id: FrameId, frame: &Frame) {
        if frame.deadline.is_some() {
            self.open.insert(frame.timeout_key(), Door::Timeout(id));
        }
        match &frame.state {
            State::Approval(_) => {
                self.ballots += 1;
                self.open.insert(frame.key(), Door::Leaf(id));
            }
            State::Call(_) | State::Wait(_) => {
                self.open.insert(frame.key(), Door::Leaf(id));
            }
            State::Child(open) => {
                self.open.insert(frame.key(), Door::Leaf(id));
                self.children
                    .insert(open.run.unwrap_or(open.child.run_id), id);
            }
            State::Try(trial) => {
                if let Some(wait) = task::r#try::wait(frame, trial) {
                    self.open.insert(wait.key, task::r#try::door(id, trial));
                }
            }
            State::Listen(_) => self.listens += 1,
            State::Passing | State::Do(_) | State::For(_) | State::Fork(_) | State::Function(_) => {
            }
        }
    }
}

fn state(run: &Run, frame: &Frame, stored: &StoredState, table: &Table) -> Result<State, Unfit> {
    let inside = || List::new(Nest::of(frame), frame.depth + 1);
    Ok(match (stored, &frame.task.kind) {
        (
            StoredState::Call {
                attempts,
                spent,
                first_attempt_at,
                not_before,
            },
            Kind::Call(_) | Kind::OpenApi(_),
        ) => State::Call(Call {
            request: task::call::request(run, frame)
                .map_err(|_| unfit("a request cannot be made again"))?,
            attempts: *attempts,
            spent: *spent,
            first_attempt_at: *first_attempt_at,
            not_before: *not_before,
        }),
        (StoredState::Wait { until }, Kind::Wait(_)) => State::Wait(*until),
        (StoredState::Child { run: child }, Kind::Run(task)) => State::Child(Open {
            child: task::run::child(run, frame, task)
                .map_err(|_| unfit("a sub-workflow cannot be asked for again"))?,
            run: *child,
        }),
        (StoredState::Do { at }, Kind::Do(tasks)) => State::Do(standing(inside(), tasks, *at)?),
        (StoredState::For { items, index, at }, Kind::For(task)) => {
            let items = table.get(*items)?;
            let nest = Nest::of(frame).turn(task, &items, *index);
            let nest = nest.ok_or_else(|| unfit("a loop is beyond its items"))?;
            let list = List::new(nest, frame.depth + 1);
            State::For(Loop {
                list: standing(list, &task.body, *at)?,
                items,
                index: *index,
            })
        }
        (StoredState::Fork { .. }, Kind::Fork(_) | Kind::For(_)) => {
            State::Fork(branches(frame, stored, table)?)
        }
        (StoredState::Function, Kind::Function(call)) => {
            State::Function(task::function::nest(frame, call))
        }
        (StoredState::Listen(open), Kind::Listen(task)) => {
            State::Listen(Box::new(ear::restored(frame, task, open, table)?))
        }
        (
            StoredState::Approval {
                id,
                ask,
                until,
                decisions,
            },
            Kind::Approval(_),
        ) => {
            let decisions = decisions.iter().map(|place| table.get(*place));
            State::Approval(Box::new(Ballot {
                id: *id,
                links: task::approval::links(run, *id, ask),
                ask: Arc::new(ask.clone()),
                until: *until,
                decisions: decisions.collect::<Result<_, _>>()?,
                standing: crate::run::approval::Standing::Pending,
            }))
        }
        (_, Kind::Try(_)) => State::Try(Box::new(attempt(frame, stored, table)?)),
        _ => {
            let reference = &frame.task.reference;
            return Err(unfit(format!("`{reference}` is a task of another kind")));
        }
    })
}

pub(super) fn standing(list: List, tasks: &TaskList, at: Standing) -> Result<List, Unfit> {
    if at.0 >= tasks.tasks.len() {
        return Err(unfit("a list is beyond its tasks"));
    }
    Ok(list.standing_at(at))
}

fn branches(frame: &Frame, stored: &StoredState, table: &Table) -> Result<Branches, Unfit> {
    let StoredState::Fork {
        outputs,
        contexts,
        open,
        turns,
    } = stored
    else {
        return Err(unfit("it is no fork"));
    };
    let turns = match turns {
        Some((items, over)) => Some(Turns {
            items: table.get(*items)?,
            over: *over,
        }),
        None => None,
    };
    let fits = match &frame.task.kind {
        Kind::Fork(fork) => turns.is_none() && outputs.len() == fork.branches.len(),
        Kind::For(task) => turns.is_some() && task.parallel.is_some(),
        _ => false,
    };
    if !fits || contexts.len() != outputs.len() {
        return Err(unfit("a fork has other branches"));
    }
    Ok(Branches {
        nest: Nest::of(frame),
        outputs: table.each(outputs)?,
        contexts: table.each(contexts)?,
        open: *open,
        turns,
    })
}

fn attempt(frame: &Frame, stored: &StoredState, table: &Table) -> Result<Trial, Unfit> {
    let other = || unfit("an attempt stands elsewhere");
    let Kind::Try(tried) = &frame.task.kind else {
        return Err(other());
    };
    let (retries, phase) = match stored {
        StoredState::Body {
            retries,
            deadline,
            at,
        } => {
            let list = task::r#try::body(frame, *retries, *deadline);
            let list = standing(list, &tried.body, *at)?;
            (*retries, Phase::Body(list, *deadline))
        }
        StoredState::Delay { retries, until } => (*retries, Phase::Delay(*until)),
        StoredState::Catch { retries, error, at } => {
            let tasks = tried.recovery.as_ref().ok_or_else(other)?;
            let list = task::r#try::recovery(frame, tried, table.get(*error)?);
            (*retries, Phase::Catch(standing(list, tasks, *at)?))
        }
        _ => return Err(other()),
    };
    Ok(Trial { phase, retries })
}
