//! What the journal of a run holds.
//!
//! The JSON form of these types is stored: members may be added, never renamed or removed. It goes
//! through `expression::Value`, not through serde's buffers, so that numbers keep their digits.

use std::sync::Arc;

use jiff::Timestamp;

use crate::expression::Value;
use crate::problem::Problem;

/// One entry: something that happened to the run, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it happened; also what `now` means while it is applied.
    pub at: Timestamp,
    /// What happened.
    pub change: Change,
}

/// Names one execution of a task within a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The task's reference (RFC 6901 pointer into the definition).
    pub reference: Arc<str>,
    /// Which execution: indexes of the loops and tries around it and visits by `then`, joined by
    /// `/`; empty for the first outside of any loop.
    pub iteration: Arc<str>,
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The run started with this input. Never stored: it is made from the run's row.
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
    /// A person cancelled the run.
    Cancelled,
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
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The raw output of the task.
    Completed(Value),
    /// The error of the task.
    Faulted(Problem),
}

/// Why stored entries cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be read: {0}")]
pub struct DecodeError(pub String);

/// The stored form of entries: one JSON array.
#[must_use]
pub fn encode(_entries: &[Entry]) -> Vec<u8> {
    todo!()
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// Where the text is not of this form.
pub fn decode(_text: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    todo!()
}
