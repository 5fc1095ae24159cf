//! One execution of a workflow: a fold over its journal. No I/O, no clock, no randomness.
//!
//! The run decides, the worker acts, the journal remembers. Only outcomes and times are journaled;
//! everything else is evaluated again on replay, so living and replaying are the same code.

pub mod approval;
pub mod entry;
mod checkpoint;
mod credentials;
mod effect;
mod events;
mod codec;
mod task;
mod flow;
mod scope;
mod secrets;
mod surroundings;
mod record;
mod frame;
mod fault;
mod outside;
mod prefix;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;
use crate::workflow::Definition;

use self::flow::Move;
use self::frame::{Frame, FrameId, List, ROOT, State, TIMEOUT};
use self::record::Records;

pub use approval::Links;
pub use checkpoint::Unfit;
pub use credentials::{Credentials, Grant, TokenRequest};
pub use effect::{Action, Child, Effect, Errand, Listening, Request, Wait};
pub use entry::{Attempt, Change, Entry, Key, Outcome, Received};
pub use prefix::{Unusable, before, begins_with};
pub use record::Record;
pub use secrets::named_secrets;
pub use surroundings::{Config, Resolve, Surroundings};

/// What a run waits for, or how it ended.
#[derive(Clone, Debug)]
pub enum Pending {
    /// It goes on when one of these happens.
    Open {
        /// Effects to perform.
        effects: Vec<Effect>,
        /// Times to wait for; each becomes a `Change::Fired` of its key once passed.
        waits: Vec<Wait>,
    },
    /// It has ended.
    Ended(End),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With this output.
    Completed(Value),
    /// With this error.
    Faulted(Problem),
    /// By a person.
    Cancelled,
}

/// One execution.
///
/// It holds what is open, not what has been: memory and the cost of an entry depend on the tasks
/// that are running now.
#[derive(Debug)]
pub struct Run {
    definition: Arc<Definition>,
    surroundings: Arc<Surroundings>,
    /// Time of the latest entry; never goes back.
    now: Timestamp,
    started_at: Option<Timestamp>,
    /// Raw input of the workflow.
    input: Value,
    context: Value,
    /// Where the top-level list stands.
    root: Option<List>,
    deadline: Option<Timestamp>,
    frames: BTreeMap<FrameId, Box<Frame>>,
    /// What the outside may name.
    open: HashMap<Key, Door>,
    /// The tasks that await another run, by that run.
    children: HashMap<Id, FrameId>,
    /// What other runs are to do, not yet taken.
    errands: Vec<Errand>,
    suspended: bool,
    /// What is left to do in the moment of the entry; empty between entries.
    moves: Vec<Move>,
    /// Task executions so far; also the latest frame.
    executions: u32,
    /// How many tasks are listening.
    listens: usize,
    /// How many approvals are open.
    ballots: usize,
    /// Approvals that have changed, not yet taken.
    approvals: BTreeMap<Id, approval::Approval>,
    /// Addressed events that no task has listened for yet, oldest first.
    kept: VecDeque<Received>,
    /// Events to publish, not yet taken, each with the task execution it comes from.
    outgoing: Vec<(FrameId, Event)>,
    /// Data emitted in the moment of the entry, in bytes.
    emitted_bytes: usize,
    end: Option<End>,
    records: Option<Records>,
    workflow: OnceLock<Value>,
    runtime: OnceLock<Value>,
    /// Set once a value of the run may hold what came out of a secret.
    secrets_seen: OnceLock<()>,
}

/// What a key opens.
#[derive(Clone, Copy, Debug)]
enum Door {
    /// The outcome of a call, or the end of a wait.
    Leaf(FrameId),
    /// The deadline of a task, or of the workflow.
    Timeout(FrameId),
    /// The deadline of one attempt of a `try`.
    Attempt(FrameId),
    /// The delay before the next attempt of a `try`.
    Retry(FrameId),
}

impl Run {
    /// A run that has not started; its first entry is `Change::Started`.
    #[must_use]
    pub fn new(definition: Arc<Definition>, surroundings: Arc<Surroundings>) -> Self {
        Self {
            definition,
            surroundings,
            now: Timestamp::UNIX_EPOCH,
            started_at: None,
            input: Value::null(),
            context: Value::null(),
            root: None,
            deadline: None,
            frames: BTreeMap::new(),
            open: HashMap::new(),
            children: HashMap::new(),
            errands: Vec::new(),
            suspended: false,
            moves: Vec::new(),
            executions: 0,
            listens: 0,
            ballots: 0,
            approvals: BTreeMap::new(),
            kept: VecDeque::new(),
            outgoing: Vec::new(),
            emitted_bytes: 0,
            end: None,
            records: None,
            workflow: OnceLock::new(),
            runtime: OnceLock::new(),
            secrets_seen: OnceLock::new(),
        }
    }

    /// The same, keeping a record of every task execution.
    #[must_use]
    pub fn recorded(self) -> Self {
        self.recorded_within(0, usize::MAX)
    }

    /// The same, keeping the records of at most `most` executions behind the first `after`.
    #[must_use]
    pub fn recorded_within(mut self, after: usize, most: usize) -> Self {
        self.records = Some(Records::new(after, most));
        self
    }

    /// Rebuilds a run from its journal. The first entry is `Change::Started`.
    #[must_use]
    pub fn replay(
        definition: Arc<Definition>,
        surroundings: Arc<Surroundings>,
        journal: impl IntoIterator<Item = Entry>,
    ) -> Self {
        let mut run = Self::new(definition, surroundings);
        journal.into_iter().for_each(|entry| run.apply(entry));
        run
    }

    /// Takes one more entry. An entry that does not fit faults the run with a named problem; one
    /// that comes too late (its task is closed, or the run has ended) changes nothing.
    pub fn apply(&mut self, entry: Entry) {
        if self.end.is_some() {
            return;
        }
        // Clocks of nodes differ a little; time within a run only goes on.
        self.emitted_bytes = 0;
        if let Some(deadline) = self.overdue(&entry) {
            if let Change::ChildEnded { child, .. } = &entry.change {
                self.children.remove(child);
            }
            self.now = self.now.max(entry.at);
            self.fired(&deadline);
            self.settle();
            return;
        }
        self.now = self.now.max(entry.at);
        match (entry.change, self.started_at) {
            (Change::Started { input }, None) => self.start(input),
            (Change::Started { .. }, Some(_)) => self.misfit("/", "a second start"),
            (_, None) => self.misfit("/", "an entry before the start"),
            (
                Change::Attempted {
                    key,
                    attempt,
                    retry_at,
                },
                _,
            ) => task::call::attempted(self, &key, attempt, retry_at),
            (
                Change::Performed {
                    key,
                    attempt,
                    outcome,
                },
                _,
            ) => task::call::performed(self, &key, attempt, outcome),
            (Change::Fired { key }, _) => self.fired(&key),
            (
                Change::ChildStarted {
                    key,
                    child,
                    workflow_id,
                },
                _,
            ) => task::run::started(self, &key, child, workflow_id),
            (Change::ChildEnded { child, outcome }, _) => task::run::ended(self, child, outcome),
            (Change::Suspended, _) => self.suspended = true,
            (Change::Resumed, _) => self.suspended = false,
            (Change::Received { event }, _) => self.received(event),
            (Change::Cancelled, _) => self.finish(End::Cancelled),
        }
        self.settle();
    }

    /// What the run waits for, or how it ended. Waits stand in the order of their times.
    #[must_use]
    pub fn pending(&self) -> Pending {
        if let Some(end) = &self.end {
            return Pending::Ended(end.clone());
        }
        let mut effects = Vec::new();
        let mut waits = Vec::new();
        if let Some(until) = self.deadline {
            let key = workflow_timeout_key();
            waits.push(Wait { key, until });
        }
        for frame in self.frames.values() {
            if let Some(until) = frame.deadline {
                let key = frame.timeout_key();
                waits.push(Wait { key, until });
            }
            match &frame.state {
                State::Call(call) => effects.push(task::call::effect(frame, call)),
                State::Approval(ballot) => waits.push(Wait {
                    key: frame.key(),
                    until: ballot.until,
                }),
                State::Wait(until) => waits.push(Wait {
                    key: frame.key(),
                    until: *until,
                }),
                State::Try(trial) => waits.extend(task::r#try::wait(frame, trial)),
                State::Passing
                | State::Child(_)
                | State::Do(_)
                | State::For(_)
                | State::Fork(_)
                | State::Function(_)
                | State::Listen(_) => {}
            }
        }
        // Stable: where times are equal an enclosing deadline stands before what it encloses.
        waits.sort_by_key(|wait| wait.until);
        Pending::Open { effects, waits }
    }

    /// The deadline of the run as a whole, where its workflow has a timeout.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The context as the top level sees it now.
    #[must_use]
    pub const fn context(&self) -> &Value {
        &self.context
    }

    /// How many task executions have started.
    #[must_use]
    pub const fn executions(&self) -> u32 {
        self.executions
    }

    /// The records kept so far, in order of start; empty unless they are kept.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        self.records.as_ref().map_or(&[], Records::kept)
    }

    /// How many executions there would be records of, had all been kept.
    #[must_use]
    pub fn records_begun(&self) -> usize {
        self.records.as_ref().map_or(0, Records::begun)
    }

    fn fired(&mut self, key: &Key) {
        match self.open.get(key).copied() {
            None => self.late(key),
            Some(Door::Timeout(ROOT)) => {
                self.finish(End::Faulted(fault::Fault::timeout("/").problem));
            }
            Some(Door::Timeout(id)) => {
                self.cancel_inside(id);
                let fault = fault::Fault::timeout(fault::task_reference(&key.reference));
                self.moves.push(Move::Fault { frame: id, fault });
            }
            Some(Door::Attempt(id)) => task::r#try::expired(self, id),
            Some(Door::Retry(id)) => task::r#try::retry(self, id),
            Some(Door::Leaf(id)) => match self.frames.get(&id).map(|frame| &frame.state) {
                Some(State::Wait(_)) => task::wait::over(self, id),
                Some(State::Approval(_)) => task::approval::expired(self, id),
                _ => self.misfit(&key.reference, "a time that nothing waits for"),
            },
        }
    }

    /// An entry for a key that is not open: late where the task exists, else it does not fit.
    fn late(&mut self, key: &Key) {
        let reference = fault::task_reference(&key.reference);
        if reference != "/" && self.definition.value.pointer(reference).is_none() {
            self.misfit(&key.reference, "an entry of a task that does not exist");
        }
    }

    fn misfit(&mut self, reference: &str, what: &str) {
        let problem = fault::misfit(reference, what);
        self.finish(End::Faulted(problem));
    }

    /// Ends the run; whatever is open is cancelled.
    fn finish(&mut self, end: End) {
        let ids: Vec<FrameId> = self.frames.keys().copied().collect();
        for id in ids {
            self.cancel(id);
        }
        self.open.clear();
        self.moves.clear();
        self.deadline = None;
        self.end = Some(end);
    }

    /// Cancels everything inside a frame.
    fn cancel_inside(&mut self, id: FrameId) {
        let mut inside = Vec::new();
        // Children stand behind their parents, so one pass finds all descendants.
        for (child, frame) in self.frames.range(id + 1..) {
            if frame.parent == id || inside.binary_search(&frame.parent).is_ok() {
                inside.push(*child);
            }
        }
        for child in inside {
            self.cancel(child);
        }
    }

    fn cancel(&mut self, id: FrameId) {
        if let Some(frame) = self.close(id) {
            self.record_end(&frame, record::CANCELLED);
        }
    }

    /// Takes a frame out of the tree; late entries for it are ignored from now on.
    fn close(&mut self, id: FrameId) -> Option<Box<Frame>> {
        let frame = self.frames.remove(&id)?;
        if frame.deadline.is_some() {
            self.open.remove(&frame.timeout_key());
        }
        match &frame.state {
            State::Call(_) | State::Wait(_) => {
                self.open.remove(&frame.key());
            }
            State::Child(open) => {
                self.open.remove(&frame.key());
                task::run::closed(self, open);
            }
            State::Try(trial) => {
                if let Some(wait) = task::r#try::wait(&frame, trial) {
                    self.open.remove(&wait.key);
                }
            }
            State::Listen(_) => self.listens -= 1,
            State::Approval(_) => {
                self.open.remove(&frame.key());
                task::approval::closed(self, &frame);
            }
            State::Passing | State::Do(_) | State::For(_) | State::Fork(_) | State::Function(_) => {
            }
        }
        Some(frame)
    }

    /// A value of this run may now hold what came out of a secret.
    fn note_secrets(&self) {
        self.secrets_seen.get_or_init(|| ());
    }

    /// The context that tasks with this home see.
    fn context_at(&self, home: FrameId) -> &Value {
        self.frames
            .get(&home)
            .and_then(|frame| frame.context.as_ref())
            .unwrap_or(&self.context)
    }

    /// Replaces the context that tasks with this home see.
    fn set_context(&mut self, home: FrameId, context: Value) {
        match self.frames.get_mut(&home) {
            Some(frame) => frame.context = Some(context),
            None => self.context = context,
        }
    }
}

fn workflow_timeout_key() -> Key {
    Key {
        reference: Arc::from(format!("/{TIMEOUT}")),
        iteration: Arc::from(""),
    }
}
