//! Postgres: every SQL statement of the server lives below here, one file per table or stage.
//!
//! Two ways lead to the database. The stages of the journey (append, route, claim, settle, …) go
//! through a [`Link`]: one connection owned by one task, each stage one autocommit statement over
//! a batch. Management (the API, definitions, lists) goes through [`Store`]: a pool with short
//! transactions. Called by `worker`, `api` and `server`; knows nothing of HTTP or of definitions.

mod append;
mod claim;
mod connect;
mod fire;
mod link;
mod load;
mod route;
mod sessions;
mod settle;
mod sweep;

pub mod environment;
pub mod managed;
pub mod migrate;
pub mod partitions;
pub mod plans;

pub mod api_keys;
pub mod deployments;
pub mod destinations;
pub mod events;
pub mod ledger;
pub mod rejections;
pub mod revision;
pub mod runs;
pub mod secrets;
pub mod sources;
pub mod workflows;

use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;
use serde::Deserialize;

use crate::event::{DedupeKey, Event};
use crate::id::Id;

pub use self::connect::Store;
pub use self::link::Link;

/// The most events, runs or settlements one statement takes.
pub const BATCH_MAX: usize = 1_024;

/// How often a run may be claimed by a node that then dies before it is faulted as poison.
pub const SWEEPS_MAX: i16 = 5;

/// How many days back a duplicate may be looked for at most.
pub const WINDOW_DAYS_MAX: u16 = 30;

/// The `[store]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the database; absent: the server runs a private Postgres in its data directory.
    pub url: Option<SecretString>,
    /// Start although Postgres may lose acknowledged events in a crash.
    pub accept_losing_acknowledged_events: bool,
    /// How long a hot statement may take, connecting included, in milliseconds.
    pub deadline_ms: u32,
    /// Connections of the management pool at most.
    pub pool_connections_max: u32,
    /// How long a management query waits for a connection of the pool, in milliseconds.
    pub pool_acquire_timeout_ms: u32,
    /// How long a management statement or transaction may take, in milliseconds.
    pub pool_statement_timeout_ms: u32,
    /// How long a start waits for another node's migration, in milliseconds.
    pub migration_timeout_ms: u32,
    /// How many days history is kept; 0 keeps it for ever.
    pub retention_days: u16,
}

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or did not answer within the deadline. The outcome of a write is
    /// unknown.
    #[error("the database does not answer")]
    Unavailable(#[source] anyhow::Error),
    /// It refused.
    #[error("the database refused the statement")]
    Refused(#[source] sqlx::Error),
    /// It is not fit for this server (settings, environment, schema version).
    #[error("{0}")]
    Unfit(String),
    /// The change conflicts with what is stored.
    #[error("{0}")]
    Conflict(String),
}

/// Gives out claim ids, unique within the database: session id and a counter.
#[derive(Debug)]
pub struct ClaimIds {
    pub session: i64,
    pub next: i64,
}

/// An event on its way into the log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub event: Event,
    pub key: DedupeKey,
    /// How many days back a duplicate is looked for, 1 to 30.
    pub window_days: u16,
    pub target: Option<Target>,
}

/// What an event is addressed to, where it is not for whom it may concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Starts this workflow as this run; the body is its input.
    Start { workflow_id: i32, run_id: Id },
}

/// An event of the inbox.
#[derive(Clone, Debug)]
pub struct Unrouted {
    pub event: Event,
    pub target: Option<Target>,
}

/// The result of routing a batch of events.
#[derive(Debug, Default)]
pub struct Routing {
    pub session: i64,
    /// All events of the batch.
    pub events: Vec<Id>,
    pub runs: Vec<NewRun>,
    pub ignored: Vec<(Id, String)>,
}

/// A run to create.
#[derive(Debug)]
pub struct NewRun {
    pub id: Id,
    pub event_id: Id,
    pub workflow_id: i32,
    /// The claim this node takes at once, or `None` to leave it in `ready`.
    pub claim_id: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Claimed {
    pub run_id: Id,
    pub claim_id: i64,
    pub sweeps: i16,
}

#[derive(Clone, Debug)]
pub struct ReadyQueue {
    pub destination_id: i32,
    pub oldest_age: Duration,
}

/// A run with what is needed to replay it.
#[derive(Debug)]
pub struct Loaded {
    pub run_id: Id,
    pub workflow_id: i32,
    /// When the run was created: time of its `Started` entry.
    pub created_at: jiff::Timestamp,
    pub event: Event,
    pub target: Option<Target>,
    /// Journal rows in order, each as `run::entry::encode` wrote it.
    pub journal: Vec<Bytes>,
}

/// The end of a stage of one run.
#[derive(Debug)]
pub struct Settlement {
    pub run_id: Id,
    pub workflow_id: i32,
    pub claim_id: i64,
    /// Sequence number of the journal row, from 0; absent entries write no row.
    pub seq: i32,
    pub entries: Option<Bytes>,
    pub next: Next,
}

/// What becomes of a run after a settlement.
#[derive(Debug)]
pub enum Next {
    /// This node keeps the claim and goes on.
    Keep,
    /// Waits until a time (the claim is released, a timer row is written).
    Wait { due_at: jiff::Timestamp },
    /// Goes back to `ready` for this destination.
    Ready { destination_id: i32 },
    /// Has ended.
    Ended {
        status: &'static str,
        output: Option<Bytes>,
        error: Option<Bytes>,
    },
}

#[derive(Debug)]
pub struct Fired {
    pub moved: u64,
    pub next_in: Option<Duration>,
}

#[derive(Debug, Default)]
pub struct Swept {
    pub returned: u64,
    pub poisoned: u64,
    pub sessions: u64,
}
