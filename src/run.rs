//! One execution of a workflow: a fold over its journal. No I/O, no clock, no randomness.
//!
//! The run decides, the worker acts, the journal remembers. Only outcomes and times are journaled;
//! everything else is evaluated again on replay, so living and replaying are the same code.

pub mod entry;

use std::sync::Arc;

use jiff::Timestamp;

use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;
use crate::workflow::Definition;

pub use entry::{Attempt, Change, Entry, Key, Outcome};

/// What surrounds a run and is the same for all its entries.
pub struct Surroundings {
    /// The run's id: `$workflow.id`.
    pub id: Id,
    /// Name of the environment: `$runtime.metadata.environment`.
    pub environment: Arc<str>,
    /// Resolves `$secrets.<name>`; `None` where unknown. Asked only for names in `use.secrets`.
    pub secrets: Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>,
}

/// Something outside that the run wants done.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The task and iteration it belongs to.
    pub key: Key,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the first attempt ended unsuccessfully, for limits on elapsed time.
    pub first_attempt_at: Option<Timestamp>,
    /// Not before this time (a retry is waiting).
    pub not_before: Option<Timestamp>,
    /// The nearest deadline of a scope around it.
    pub deadline: Option<Timestamp>,
    /// What to do.
    pub action: Action,
}

/// What an effect does.
#[derive(Clone, Debug)]
pub enum Action {
    /// An HTTP call.
    Call(Arc<Request>),
}

/// An HTTP call as the workflow wants it, before any destination's policy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// Absolute URI, or `destination://name/path`.
    pub uri: String,
    /// Header names and values as given.
    pub headers: Vec<(String, String)>,
    /// Query pairs to append, not yet encoded.
    pub query: Vec<(String, String)>,
    /// The body, not yet serialised.
    pub body: Option<Value>,
    /// Credentials given in the definition.
    pub authentication: Option<Credentials>,
    /// What the task's output is.
    pub output: crate::workflow::definition::HttpOutput,
    /// Whether redirects are followed.
    pub redirect: bool,
    /// Whether the workflow retries this itself, so that the destination must not.
    pub retried: bool,
}

/// Credentials given in the definition, evaluated.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// RFC 7617.
    Basic(secrecy::SecretString, secrecy::SecretString),
    /// RFC 6750.
    Bearer(secrecy::SecretString),
}

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

/// A time a run waits for: a `wait`, a delay of a retry, a deadline.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// What fires.
    pub key: Key,
    /// When.
    pub until: Timestamp,
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

/// One execution of a task, as `GET /api/v1/runs/{id}` lists it.
#[derive(Clone, Debug)]
pub struct Record {
    pub reference: Arc<str>,
    pub name: String,
    /// Path of indexes through the loops around it, such as `3/0`; empty outside loops.
    pub iteration: String,
    /// The DSL's attempt (retries of a `try` around it), from 1.
    pub attempt: u32,
    /// `pending running waiting completed faulted cancelled skipped`.
    pub status: &'static str,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub input: Value,
    pub output: Option<Value>,
    pub error: Option<Problem>,
    /// Attempts of a call by its destination's policy.
    pub attempts: Vec<Attempt>,
}

/// One execution.
pub struct Run;

impl Run {
    /// Rebuilds a run from its journal. The first entry is `Change::Started`.
    pub fn replay(
        _d: Arc<Definition>,
        _s: Arc<Surroundings>,
        _journal: impl IntoIterator<Item = Entry>,
    ) -> Self {
        todo!()
    }
    /// The same, keeping a record of every task execution.
    pub fn replay_recorded(
        _d: Arc<Definition>,
        _s: Arc<Surroundings>,
        _journal: impl IntoIterator<Item = Entry>,
    ) -> Self {
        todo!()
    }
    /// Takes one more entry. An entry that does not fit faults the run with a named problem.
    pub fn apply(&mut self, _entry: Entry) {
        todo!()
    }
    /// What the run waits for, or how it ended.
    pub fn pending(&self) -> Pending {
        todo!()
    }
    /// The records kept so far, in order of start.
    pub fn records(&self) -> &[Record] {
        todo!()
    }
}
