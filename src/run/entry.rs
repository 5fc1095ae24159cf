//! What the journal of a run holds.
//!
//! Written by the worker through `store`, read back to replay. The run itself takes entries and
//! never makes them. The stored form is in `codec`.

use std::sync::Arc;

use jiff::Timestamp;

pub use super::codec::{DecodeError, decode, encode};

use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;

/// One entry: something that happened to the run, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it happened; also what `now` means while it is applied.
    pub at: Timestamp,
    /// What happened.
    pub change: Change,
}

/// All entries of a run: what its row says, when it was created and on what input, then those of
/// another run that it begins with, then its journal. A run that had to wait began when its
/// journal says.
#[must_use]
pub fn from_start(
    created_at: Timestamp,
    input: Value,
    prefix: Vec<Entry>,
    journal: Vec<Entry>,
) -> Vec<Entry> {
    let began_at = match journal.first() {
        Some(Entry {
            at,
            change: Change::Started { .. },
        }) => Some(*at),
        _ => None,
    };
    let started = Entry {
        at: began_at.unwrap_or(created_at),
        change: Change::Started { input },
    };
    let noted = usize::from(began_at.is_some());
    std::iter::once(started)
        .chain(prefix)
        .chain(journal.into_iter().skip(noted))
        .collect()
}

/// Names one execution of a task within a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The task's reference (RFC 6901 pointer into the definition).
    pub reference: Arc<str>,
    /// Which execution, joined by `/` from the outside in; empty for the first outside of any loop:
    /// `<n>` the index of a loop around it, `<d>a<n>` retry n of the `try` at depth d, `<d>v<n>`
    /// jump back n by `then` in a list of depth d, `f<n>` a function called from place n.
    pub iteration: Arc<str>,
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The run started with this input. It is made from the run's row; stored only to say when a
    /// run began that had to wait for its place, with null in the place of the input.
    Started {
        /// Raw input of the workflow.
        input: Value,
    },
    /// A call failed and its destination's policy will try again at `retry_at`.
    Attempted {
        /// Whose call.
        key: Key,
        /// The attempt.
        attempt: Attempt,
        /// When the next attempt may start.
        retry_at: Timestamp,
    },
    /// An effect has its final outcome.
    Performed {
        /// Whose effect.
        key: Key,
        /// The last attempt.
        attempt: Attempt,
        /// What came of it.
        outcome: Outcome,
    },
    /// A time has come.
    Fired {
        /// Whose wait.
        key: Key,
    },
    /// A sub-workflow was started.
    ChildStarted {
        /// Whose sub-workflow.
        key: Key,
        /// The run it became.
        child: Id,
        /// The version it is pinned to: a row of `workflows`.
        workflow_id: i32,
    },
    /// A sub-workflow that is awaited has ended.
    ChildEnded {
        /// The run it was.
        child: Id,
        /// How it ended.
        outcome: Outcome,
    },
    /// An event came that the run listens for, or that is addressed to it.
    Received {
        /// The event.
        event: Received,
    },
    /// A person suspended the run: no effect starts until it is resumed.
    Suspended,
    /// A person resumed the run.
    Resumed,
    /// The run was cancelled, by a person or with the run that awaits it.
    Cancelled,
}

impl Change {
    /// The key it names.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match self {
            Self::Attempted { key, .. }
            | Self::Performed { key, .. }
            | Self::Fired { key }
            | Self::ChildStarted { key, .. } => Some(key),
            Self::Started { .. }
            | Self::ChildEnded { .. }
            | Self::Received { .. }
            | Self::Suspended
            | Self::Resumed
            | Self::Cancelled => None,
        }
    }
}

/// An event that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The event's id in the log: says when it was received.
    pub id: Id,
    /// Whether it is addressed to the run, which keeps it until it listens for it.
    pub addressed: bool,
    /// The event in the JSON format of CloudEvents.
    pub envelope: Value,
    /// Its data as it was received, where that may be asked for.
    pub raw: Option<Value>,
}

/// One try at an effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it was sent.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// Why it failed, where it did.
    pub error: Option<Problem>,
    /// `Retry-After` of the answer in seconds, a date turned into the time until then.
    pub retry_after_seconds: Option<u32>,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The raw output of the task.
    Completed(Value),
    /// The error of the task.
    Faulted(Problem),
}

impl Key {
    /// What an idempotency key is derived from: the reference and the loops and visits around the
    /// task, without the attempts of the language's own `try`, so that trying again is the same
    /// request to whoever receives it.
    #[must_use]
    pub fn idempotency_name(&self) -> String {
        let mut name = self.reference.to_string();
        let is_kept = |part: &&str| !part.is_empty() && !part.contains('a');
        for part in self.iteration.split('/').filter(is_kept) {
            let first = name.len() == self.reference.len();
            name.push(if first { '#' } else { '/' });
            name.push_str(part);
        }
        name
    }
}
