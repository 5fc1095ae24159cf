//! Postgres: every SQL statement of the server lives below here, one file per table or stage.
//!
//! Two ways lead to the database. The stages of the journey (append, route, claim, settle, …) go
//! through a [`Link`]: one connection owned by one task, each stage one autocommit statement over
//! a batch. Management (the API, definitions, lists) goes through [`Store`]: a pool with short
//! transactions. Called by `worker`, `api` and `server`; knows nothing of HTTP or of definitions.

mod append;
mod claim;
mod connect;
mod ear;
mod exchange;
mod fire;
mod gathered;
mod link;
mod listening;
mod load;
mod mail;
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
pub mod approvals;
pub mod batches;
pub mod changes;
pub mod checkpoints;
pub mod conditions;
pub mod deployments;
pub mod destinations;
pub mod events;
pub mod gates;
pub mod healing;
pub mod held;
pub mod ledger;
pub mod rates;
pub mod rejections;
pub mod revision;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod sources;
pub mod timetables;
pub mod tokens;
pub mod workflows;

use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::event::{DedupeKey, Event};
use crate::id::Id;

pub use self::connect::Store;
pub use self::ear::Ear;
pub use self::exchange::{Exchange, Filter};
pub use self::gathered::{Gathered, Gathering, Group};
pub use self::link::Link;
pub use self::listening::Listened;
pub use self::mail::{Delivered, Letter, Mail, MailKind, NewMail};

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
    /// URL of the database; empty: the server runs a private Postgres in its data directory.
    pub url: SecretString,
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

impl Config {
    /// The database to use, where one is named.
    #[must_use]
    pub fn given_url(&self) -> Option<&str> {
        let url = self.url.expose_secret();
        (!url.is_empty()).then_some(url)
    }
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
    /// The session that claims.
    pub session: i64,
    /// The counter's next value; sessions are renewed long before it runs out of its 40 bits.
    pub next: i64,
}

impl ClaimIds {
    /// The ids of a new session.
    #[must_use]
    pub const fn new(session: i64) -> Self {
        Self { session, next: 0 }
    }

    /// Takes `count` ids that follow one another; returns the first.
    pub const fn take(&mut self, count: u32) -> i64 {
        let first = (self.session << 40) | self.next;
        self.next += count as i64;
        first
    }
}

/// An event on its way into the log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event; its id is of version 7.
    pub event: Event,
    /// What makes another delivery the same event.
    pub key: DedupeKey,
    /// How many days back a duplicate is looked for, 1 to 30.
    pub window_days: u16,
    /// Whom it is addressed to, if anybody.
    pub target: Option<Target>,
}

/// What an event is addressed to, where it is not for whom it may concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Starts this workflow as this run; the body is its input.
    Start {
        /// The row of `workflows`.
        workflow_id: i32,
        /// The run's id, of version 7: history is partitioned by it.
        run_id: Id,
    },
    /// Is kept for this run until it takes it in, whether it listens already or not.
    Run {
        /// The run.
        run_id: Id,
    },
}

/// An event of the inbox.
#[derive(Clone, Debug)]
pub struct Unrouted {
    /// The event.
    pub event: Event,
    /// Whom it is addressed to, if anybody.
    pub target: Option<Target>,
}

/// The result of routing a batch of events.
#[derive(Debug, Default)]
pub struct Routing {
    /// The session that takes the claims.
    pub session: i64,
    /// All events of the batch.
    pub events: Vec<Id>,
    /// The runs they start.
    pub runs: Vec<NewRun>,
    /// Events that start nothing, and why; one that a listener hears is not ignored.
    pub ignored: Vec<(Id, String)>,
    /// The revision of the filters that runs listen with, as the router knows it.
    pub listening: i64,
    /// Events and the keys of those who may listen for them.
    pub heard: Vec<(Id, Id)>,
    /// Events and the runs they are addressed to. One that has ended, or is unknown, gets nothing:
    /// such an event has its reason in `ignored` as well.
    pub addressed: Vec<(Id, Id)>,
    /// Events that workflows gather: the event, the group, and the filters it has passed.
    pub gathered: Vec<(Id, Group, u64)>,
}

/// What routing a batch of events did.
#[derive(Debug, Default)]
pub struct Routed {
    /// Nothing was done: runs listen with filters that the router does not know.
    pub stale: bool,
    /// Events that another node had already routed: nothing was created for them.
    pub elsewhere: Vec<Id>,
    /// Runs that got mail. If they wait, they are to be woken.
    pub told: Vec<Id>,
}

/// A run to create.
#[derive(Debug)]
pub struct NewRun {
    /// Its id, of version 7.
    pub id: Id,
    /// The event that starts it; one of the batch's.
    pub event_id: Id,
    /// The row of `workflows`: the version it is pinned to.
    pub workflow_id: i32,
    /// The claim this node takes at once, or `None` to leave it in `ready`.
    pub claim_id: Option<i64>,
}

/// A run this node has claimed.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The run.
    pub run_id: Id,
    /// The claim that fences whatever is written about it.
    pub claim_id: i64,
    /// How many nodes have died with it since it last made progress.
    pub sweeps: i16,
}

/// A queue that has runs to claim.
#[derive(Clone, Debug)]
pub struct ReadyQueue {
    /// The destination's number; 0: not yet known.
    pub destination_id: i32,
    /// How long its oldest run has been due.
    pub oldest_age: Duration,
}

/// A run with what is needed to replay it.
#[derive(Debug)]
pub struct Loaded {
    /// The run.
    pub run_id: Id,
    /// The version it is pinned to.
    pub workflow_id: i32,
    /// When the run was created: time of its `Started` entry.
    pub created_at: jiff::Timestamp,
    /// The event that started it.
    pub event: Event,
    /// Whether that event was addressed to it.
    pub target: Option<Target>,
    /// What stands for the journal rows before those in `journal`, as `run::Run::checkpoint` wrote
    /// it; absent, `journal` is all of them.
    pub checkpoint: Option<Bytes>,
    /// Journal rows in order, each as `run::entry::encode` wrote it.
    pub journal: Vec<Bytes>,
    /// Number of the next journal row.
    pub seq: i32,
    /// What it has not taken in yet, oldest first, up to a limit.
    pub mail: Vec<Mail>,
}

/// The end of a stage of one run.
#[derive(Debug)]
pub struct Settlement {
    /// The run.
    pub run_id: Id,
    /// The version it is pinned to.
    pub workflow_id: i32,
    /// The claim this node holds.
    pub claim_id: i64,
    /// Sequence number of the journal row, from 0: one more than that of the row before.
    pub seq: i32,
    /// What happened since, as `run::entry::encode` wrote it. Absent, a row is written only where
    /// the run has ended.
    pub entries: Option<Bytes>,
    /// What becomes of the run.
    pub next: Next,
    /// What it exchanges with others; most runs do not.
    pub exchange: Option<Box<Exchange>>,
}

/// What becomes of a run after a settlement.
#[derive(Debug)]
pub enum Next {
    /// This node keeps the claim and goes on.
    Keep,
    /// Waits until a time (the claim is released, a timer row is written).
    Wait {
        /// When, by this node's clock.
        due_at: jiff::Timestamp,
    },
    /// Goes back to `ready` for this destination.
    Ready {
        /// The destination's number.
        destination_id: i32,
    },
    /// Has ended.
    Ended {
        /// `completed`, `faulted` or `cancelled`.
        status: &'static str,
        /// The run's output as JSON.
        output: Option<Bytes>,
        /// The problem as JSON, where it faulted.
        error: Option<Bytes>,
    },
}

/// What firing timers did.
#[derive(Debug)]
pub struct Fired {
    /// How many runs became ready.
    pub moved: u64,
    /// How long until the next timer is due; `None`: there is none.
    pub next_in: Option<Duration>,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Runs that went back to `ready`.
    pub returned: u64,
    /// Runs that were faulted because they were swept too often.
    pub poisoned: u64,
    /// Sessions that were removed.
    pub sessions: u64,
}
