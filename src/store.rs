//! Postgres: every SQL statement of the server lives below here, one file per table or stage.

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

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use sqlx::{PgConnection, PgPool};

use crate::event::{DedupeKey, Event};
use crate::id::Id;

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or did not answer within the deadline. The outcome of a write is unknown.
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

/// The management path: a pool for queries of people and of the API.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
}

/// The work of a transaction, borrowing its connection.
pub type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

impl Store {
    /// Runs `work` in one transaction, in a task of its own.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
    {
        let pool = self.pool.clone();
        tokio::spawn(async move {
            let mut transaction = pool.begin().await?;
            let done = work(&mut transaction).await?;
            transaction.commit().await?;
            Ok(done)
        })
        .await
        .map_err(|e| Error::Unavailable(e.into()))?
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(_) => Self::Refused(error),
            other => Self::Unavailable(other.into()),
        }
    }
}

/// A Postgres connection owned by one task. Connects when first used and again after a failure;
/// every statement has a deadline after which the connection is dropped, never reused.
pub struct Link;

impl Link {
    /// T1. Appends events, their dedupe keys and inbox rows in one autocommit statement.
    /// For each event: `None` = stored, `Some(id)` = duplicate of that event.
    pub async fn append(&mut self, _events: &[NewEvent]) -> Result<Vec<Option<Id>>, Error> {
        todo!()
    }
    /// T2. Deletes inbox rows and creates their runs, claims, ready rows and "ignored" records in one statement.
    /// Returns the events that another node had already routed (nothing was created for them).
    pub async fn route(&mut self, _batch: &Routing) -> Result<Vec<Id>, Error> {
        todo!()
    }
    /// Inbox rows older than `older_than`, with their events, oldest first.
    pub async fn unrouted(
        &mut self,
        _older_than: Duration,
        _limit: u32,
    ) -> Result<Vec<Unrouted>, Error> {
        todo!()
    }
    /// Claims runs that are ready: at most `limit` for each queue named.
    pub async fn claim(
        &mut self,
        _session: i64,
        _claims: &mut ClaimIds,
        _queues: &[(i32, u32)],
    ) -> Result<Vec<Claimed>, Error> {
        todo!()
    }
    /// Queues (destination ids, 0 = none) that have ready rows due now.
    pub async fn ready_queues(&mut self) -> Result<Vec<ReadyQueue>, Error> {
        todo!()
    }
    /// Everything needed to replay these runs.
    pub async fn load(&mut self, _runs: &[Id]) -> Result<Vec<Loaded>, Error> {
        todo!()
    }
    /// T3. Returns the runs whose claim was lost; nothing was written for them.
    pub async fn settle(&mut self, _batch: &[Settlement]) -> Result<Vec<Id>, Error> {
        todo!()
    }
    /// Moves due timers to `ready`; says how many and how long until the next is due.
    pub async fn fire(&mut self, _limit: u32) -> Result<Fired, Error> {
        todo!()
    }
    /// Registers this node; returns the session id.
    pub async fn open_session(&mut self, _node: &str) -> Result<i64, Error> {
        todo!()
    }
    /// Renews the session; false = it was declared dead.
    pub async fn beat(&mut self, _session: i64) -> Result<bool, Error> {
        todo!()
    }
    /// Ends the session: its unstarted claims go back to `ready`.
    pub async fn close_session(&mut self, _session: i64) -> Result<(), Error> {
        todo!()
    }
    /// Returns claims of dead sessions (older than `dead_after`) and claims past their deadline to `ready`; poison runs are faulted.
    pub async fn sweep(&mut self, _dead_after: Duration) -> Result<Swept, Error> {
        todo!()
    }
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
