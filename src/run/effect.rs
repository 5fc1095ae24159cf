//! What a run wants from outside: calls to perform, times to wait for, events to hear of.
//!
//! The run makes them, the worker hands them to `call` or to its timers; what comes of them comes
//! back as entries of the journal.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Credentials, Key};
use crate::expression::Value;
use crate::id::Id;

/// Something outside that the run wants done.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The task and iteration it belongs to.
    pub key: Key,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts before this one that count against the destination's limit: those whose answer
    /// did not say when to come back.
    pub spent: u32,
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

/// A sub-workflow as the workflow wants it started. Whoever drives the run finds the version and
/// answers with a `Change::ChildStarted` of its key, or with a fault as its `Change::ChildEnded`.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// The task that starts it.
    pub key: Key,
    /// `run.workflow.namespace`.
    pub namespace: String,
    /// `run.workflow.name`.
    pub name: String,
    /// `run.workflow.version`; `latest` is the version active when it starts.
    pub version: String,
    /// Its raw input.
    pub input: Value,
    /// Whether the task waits for its end; such a child is cancelled with the task.
    pub awaited: bool,
    /// The run it becomes: derived, so that starting it again starts nothing more.
    pub run_id: Id,
}

/// What another run is to do, carried out with the settlement of the entry that says so.
#[derive(Clone, Debug)]
pub enum Errand {
    /// Start this sub-workflow.
    Start {
        /// What to start.
        child: Arc<Child>,
        /// The version to start: a row of `workflows`.
        workflow_id: i32,
    },
    /// Cancel this run: what awaited it does so no more.
    Cancel(Id),
}

/// An HTTP call as the workflow wants it, before any destination's policy.
#[derive(Clone)]
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

impl std::fmt::Debug for Request {
    /// Names without values: an expression may have put a secret into any of them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |pairs: &[(String, String)]| -> Vec<String> {
            pairs.iter().map(|(name, _)| name.clone()).collect()
        };
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("uri", &self.uri.split(['?', '#']).next())
            .field("headers", &names(&self.headers))
            .field("query", &names(&self.query))
            .field("has_body", &self.body.is_some())
            .field("authentication", &self.authentication)
            .field("output", &self.output)
            .field("redirect", &self.redirect)
            .field("retried", &self.retried)
            .finish()
    }
}

/// A time a run waits for: a `wait`, a delay of a retry, a deadline.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// What fires.
    pub key: Key,
    /// When.
    pub until: Timestamp,
}

/// A filter that a run listens with.
#[derive(Clone, Debug, PartialEq)]
pub struct Listening {
    /// The reference of the task.
    pub reference: Arc<str>,
    /// Which of its filters: those of the strategy, then those of `until`.
    pub number: usize,
    /// What it expects of its correlations, where it has some and all are known.
    pub values: Option<Vec<Value>>,
}
