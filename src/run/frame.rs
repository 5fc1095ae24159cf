//! Frames: the open task executions of a run, each with its place in the tree.
//!
//! A frame exists from the start of a task until it completes, faults or is cancelled. The tree is
//! held by links to the parent only; identifiers grow, so a parent always stands before its
//! children. This file knows shapes and names, not what tasks do.

use std::sync::Arc;

use jiff::Timestamp;

use crate::expression::Value;
use crate::id::Id;
use crate::workflow::definition::{For, Kind, Task, TaskList, Then, Try};

use super::task::approval::{self, Ballot};
use super::task::listen::Ear;
use super::{Child, Key, Request};

/// Which frame; grows with each task execution, never used twice.
pub(super) type FrameId = u32;

/// The parent of the top-level tasks: the workflow itself.
pub(super) const ROOT: FrameId = 0;

/// Mark behind the reference in the key of the deadline of a task or of the workflow.
pub(super) const TIMEOUT: &str = "#timeout";
/// Mark behind the reference in the key of the deadline of one attempt of a `try`.
pub(super) const ATTEMPT: &str = "#attempt";
/// Mark behind the reference in the key of the delay before a retry of a `try`.
pub(super) const RETRY: &str = "#retry";

/// A variable of a loop or a `catch`, and those around it.
#[derive(Debug)]
pub(super) struct Binding {
    pub name: String,
    pub value: Value,
    pub outer: Option<Arc<Binding>>,
}

/// What the tasks inside a frame inherit from it.
#[derive(Clone, Debug)]
pub(super) struct Nest {
    /// The iteration part of their keys.
    pub iteration: Arc<str>,
    /// The variables they see.
    pub variables: Option<Arc<Binding>>,
    /// The attempt of the nearest `try` around them, from 1.
    pub attempt: u32,
    /// The nearest deadline around them.
    pub deadline: Option<Timestamp>,
}

impl Nest {
    /// What children inherit where the frame adds nothing.
    pub(super) fn of(frame: &Frame) -> Self {
        Self {
            iteration: Arc::clone(&frame.iteration),
            variables: frame.variables.clone(),
            attempt: frame.attempt,
            deadline: frame.nearest,
        }
    }

    /// The same one level deeper in the iteration path.
    pub(super) fn deeper(mut self, component: &str) -> Self {
        self.iteration = join(&self.iteration, component);
        self
    }

    /// The same in the iteration of a loop that stands at `index`; none beyond its items.
    pub(super) fn turn(self, task: &For, items: &Value, index: usize) -> Option<Self> {
        let item = items.item(index)?;
        let at = Value::int(i64::try_from(index).unwrap_or(i64::MAX));
        let nest = self.deeper(&index.to_string());
        Some(nest.binding(&task.each, item).binding(&task.at, at))
    }

    /// The same with a variable more.
    pub(super) fn binding(mut self, name: &str, value: Value) -> Self {
        self.variables = Some(Arc::new(Binding {
            name: name.to_owned(),
            value,
            outer: self.variables.take(),
        }));
        self
    }
}

/// Where a list of tasks stands.
#[derive(Debug)]
pub(super) struct List {
    /// Inherited by its tasks.
    pub nest: Nest,
    /// The iteration without the lap.
    base: Arc<str>,
    /// Depth of its tasks, for the name of a lap.
    depth: u32,
    /// The task that is running.
    index: usize,
    /// How often `then` has jumped back: within one lap every task runs at most once.
    lap: u32,
}

/// Where control goes after a task of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To the task at this index.
    Task(usize),
    /// Out of the list.
    Leave,
    /// To the end of the run.
    End,
}

impl List {
    pub(super) fn new(nest: Nest, depth: u32) -> Self {
        Self {
            base: Arc::clone(&nest.iteration),
            nest,
            depth,
            index: 0,
            lap: 0,
        }
    }

    /// Where it stands: the running task, and how often `then` has jumped back.
    pub(super) const fn position(&self) -> (usize, u32) {
        (self.index, self.lap)
    }

    /// The same list, standing there.
    pub(super) fn standing_at(mut self, (index, lap): (usize, u32)) -> Self {
        self.index = index;
        self.set_lap(lap);
        self
    }

    fn set_lap(&mut self, lap: u32) {
        self.lap = lap;
        if lap > 0 {
            let component = format!("{}v{}", self.depth, self.lap);
            self.nest.iteration = join(&self.base, &component);
        }
    }

    /// Moves on after the running task, in a list of `len` tasks.
    pub(super) fn advance(&mut self, then: &Then, len: usize) -> Next {
        let target = match then {
            Then::Continue => self.index + 1,
            Then::Task(index) => *index,
            Then::Exit => return Next::Leave,
            Then::End => return Next::End,
        };
        if target >= len {
            return Next::Leave;
        }
        if target <= self.index {
            self.set_lap(self.lap.saturating_add(1));
        }
        self.index = target;
        Next::Task(target)
    }
}

/// One more component of an iteration path.
pub(super) fn join(path: &Arc<str>, component: &str) -> Arc<str> {
    if path.is_empty() {
        Arc::from(component)
    } else {
        Arc::from(format!("{path}/{component}"))
    }
}

/// What a frame is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing that outlasts the moment.
    Passing,
    /// A call waits to be performed.
    Call(Call),
    /// Time passes.
    Wait(Timestamp),
    /// A sub-workflow is to be started, or awaited.
    Child(Open),
    /// A list is running.
    Do(List),
    /// A loop is running.
    For(Loop),
    /// Branches are running, or iterations side by side.
    Fork(Branches),
    /// A function is running; what its task inherits.
    Function(Nest),
    /// A `try` is running, waiting for its retry, or in its `catch.do`.
    Try(Box<Trial>),
    /// Events are waited for.
    Listen(Box<Ear>),
    /// People are asked.
    Approval(Box<Ballot>),
}

/// A call that is open.
#[derive(Debug)]
pub(super) struct Call {
    pub request: Arc<Request>,
    /// The attempts that failed, by the destination's policy.
    pub attempts: u32,
    /// Those of them that count against the policy's limit.
    pub spent: u32,
    pub first_attempt_at: Option<Timestamp>,
    pub not_before: Option<Timestamp>,
}

/// A sub-workflow that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub child: Arc<Child>,
    /// The run that is awaited, once it was started.
    pub run: Option<Id>,
}

/// A loop that is open.
#[derive(Debug)]
pub(super) struct Loop {
    /// The array that `for.in` gave.
    pub items: Value,
    pub index: usize,
    pub list: List,
}

/// A fork that is open, or a loop whose iterations run side by side.
#[derive(Debug)]
pub(super) struct Branches {
    pub nest: Nest,
    /// Outputs so far, in the order of declaration; of a loop only of iterations that have begun.
    pub outputs: Vec<Option<Value>>,
    /// Contexts that branches have changed and left, in the order of declaration.
    pub contexts: Vec<Option<Value>>,
    /// How many branches are still running.
    pub open: usize,
    /// What the iterations are about, where this is a loop.
    pub turns: Option<Turns>,
}

/// The iterations of a loop that run side by side.
#[derive(Debug)]
pub(super) struct Turns {
    /// The array that `for.in` gave.
    pub items: Value,
    /// Whether `while` has said that no more begin.
    pub over: bool,
}

/// A `try` that is open.
#[derive(Debug)]
pub(super) struct Trial {
    pub phase: Phase,
    /// Retries so far, the one that is delayed included.
    pub retries: u32,
}

/// What a `try` is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// Running its tasks, perhaps against a deadline.
    Body(List, Option<Timestamp>),
    /// Waiting for its next attempt.
    Delay(Timestamp),
    /// Running `catch.do`.
    Catch(List),
}

/// One open execution of a task.
#[derive(Debug)]
pub(super) struct Frame {
    pub parent: FrameId,
    /// Which branch of the fork above; 0 elsewhere.
    pub slot: usize,
    /// Task executions around it, from 1.
    pub depth: u32,
    /// The frame whose context it sees and exports to; its own where it is a branch.
    pub home: FrameId,
    /// The context, where this is a branch of a fork.
    pub context: Option<Value>,
    pub task: Arc<Task>,
    pub iteration: Arc<str>,
    pub attempt: u32,
    pub variables: Option<Arc<Binding>>,
    pub raw_input: Value,
    /// The input after `input.from`; the raw one until then.
    pub input: Value,
    pub started_at: Timestamp,
    /// Its own deadline.
    pub deadline: Option<Timestamp>,
    /// The nearest deadline, its own included.
    pub nearest: Option<Timestamp>,
    /// Its record, where records are kept.
    pub record: Option<usize>,
    pub state: State,
}

impl Frame {
    /// The key of what it does outside.
    pub(super) fn key(&self) -> Key {
        Key {
            reference: Arc::clone(&self.task.reference),
            iteration: Arc::clone(&self.iteration),
        }
    }

    /// The key of its deadline.
    pub(super) fn timeout_key(&self) -> Key {
        self.marked(TIMEOUT, Arc::clone(&self.iteration))
    }

    /// The key of the delay or of the deadline that belongs to a number of retries.
    pub(super) fn trial_key(&self, mark: &str, retries: u32) -> Key {
        self.marked(mark, self.trial_iteration(retries))
    }

    /// The iteration of what belongs to a number of retries of this `try`.
    pub(super) fn trial_iteration(&self, retries: u32) -> Arc<str> {
        if retries == 0 {
            return Arc::clone(&self.iteration);
        }
        join(&self.iteration, &format!("{}a{retries}", self.depth))
    }

    fn marked(&self, mark: &str, iteration: Arc<str>) -> Key {
        Key {
            reference: Arc::from(format!("{}{mark}", self.task.reference)),
            iteration,
        }
    }

    /// The list that is running inside, with its tasks.
    pub(super) fn list(&mut self) -> Option<(&mut List, &TaskList)> {
        match (&mut self.state, &self.task.kind) {
            (State::Do(list), Kind::Do(tasks)) => Some((list, tasks)),
            (State::For(open), Kind::For(task)) => Some((&mut open.list, &task.body)),
            (State::Try(trial), Kind::Try(task)) => trial_list(trial, task),
            (State::Listen(ear), Kind::Listen(task)) => {
                Some((&mut ear.each.as_mut()?.1, &task.foreach.as_ref()?.body))
            }
            _ => None,
        }
    }

    /// What the task that starts inside now, in this branch of a fork, inherits.
    pub(super) fn nest(&self, slot: usize) -> Option<Nest> {
        match &self.state {
            State::Do(list) => Some(list.nest.clone()),
            State::For(open) => Some(open.list.nest.clone()),
            State::Fork(branches) => match (&branches.turns, &self.task.kind) {
                (Some(turns), Kind::For(task)) => Nest::of(self).turn(task, &turns.items, slot),
                _ => Some(branches.nest.clone()),
            },
            State::Function(nest) => Some(nest.clone()),
            State::Try(trial) => match &trial.phase {
                Phase::Body(list, _) | Phase::Catch(list) => Some(list.nest.clone()),
                Phase::Delay(_) => None,
            },
            State::Listen(ear) => Some(ear.each.as_ref()?.1.nest.clone()),
            State::Approval(ballot) => Some(approval::nest(self, ballot, slot)),
            State::Passing | State::Call(_) | State::Wait(_) | State::Child(_) => None,
        }
    }

    /// The task that runs inside, in this branch of a fork.
    pub(super) fn inside(&self, slot: usize) -> Option<Arc<Task>> {
        let (list, tasks) = match (&self.state, &self.task.kind) {
            (State::Do(list), Kind::Do(tasks)) => (list, tasks),
            (State::For(open), Kind::For(task)) => (&open.list, &task.body),
            (State::Fork(_), Kind::Fork(fork)) => return fork.branches.get(slot).cloned(),
            (State::Fork(_), Kind::For(task)) => {
                return task.parallel.as_ref().map(|it| Arc::clone(&it.iteration));
            }
            (State::Try(trial), Kind::Try(task)) => match (&trial.phase, &task.recovery) {
                (Phase::Body(list, _), _) => (list, &task.body),
                (Phase::Catch(list), Some(recovery)) => (list, recovery),
                _ => return None,
            },
            (State::Approval(_), Kind::Approval(task)) => return task.notify.clone(),
            (State::Listen(ear), Kind::Listen(task)) => {
                (&ear.each.as_ref()?.1, &task.foreach.as_ref()?.body)
            }
            _ => return None,
        };
        tasks.tasks.get(list.index).cloned()
    }
}

fn trial_list<'a>(trial: &'a mut Trial, task: &'a Try) -> Option<(&'a mut List, &'a TaskList)> {
    match &mut trial.phase {
        Phase::Body(list, _) => Some((list, &task.body)),
        Phase::Catch(list) => Some((list, task.recovery.as_ref()?)),
        Phase::Delay(_) => None,
    }
}
