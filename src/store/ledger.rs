//! The event ledger: what came in equals what became of it, in one consistent snapshot.
//!
//! The hot statements keep the counts, in the transaction that does the work; this file only adds
//! them up beside the queues, in one statement, so that both are of the same moment.

use serde::Serialize;

use super::{Error, Store};

/// The books of the whole cluster since the database was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Events.
    pub events: Events,
    /// Runs.
    pub runs: Runs,
    /// Whether both sides agree: events stored = routed + inbox + held; runs created = completed +
    /// faulted + cancelled + running + waiting + pending.
    pub balanced: bool,
}

/// Counts of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Events {
    /// Put into the log.
    pub stored: i64,
    /// Not stored again, because they were there.
    pub duplicates: i64,
    /// Decided: they started runs, or were ignored.
    pub routed: i64,
    /// Of these, how many started nothing.
    pub ignored: i64,
    /// Not decided yet.
    pub inbox: i64,
    /// Kept back while their source is paused.
    pub held: i64,
}

/// Counts of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Runs {
    /// Made by events.
    pub created: i64,
    /// Ended as they should.
    pub completed: i64,
    /// Ended with an error.
    pub faulted: i64,
    /// Ended by a person.
    pub cancelled: i64,
    /// Claimed by a node now.
    pub running: i64,
    /// Waiting for a time now.
    pub waiting: i64,
    /// In the queue now.
    pub pending: i64,
    /// Of those that run or wait: suspended by a person.
    pub suspended: i64,
}

#[derive(sqlx::FromRow)]
struct Books {
    #[sqlx(flatten)]
    events: Events,
    #[sqlx(flatten)]
    runs: Runs,
}

impl Store {
    /// The ledger now.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn ledger(&self) -> Result<Ledger, Error> {
        // One statement has one snapshot: nothing can move between two of its counts.
        let Books { events, runs } = sqlx::query_as(
            "select coalesce(sum(stored), 0)::bigint as stored, \
                    coalesce(sum(duplicates), 0)::bigint as duplicates, \
                    coalesce(sum(routed), 0)::bigint as routed, \
                    coalesce(sum(ignored), 0)::bigint as ignored, \
                    (select count(*) from inbox) as inbox, \
                    (select count(*) from held) as held, \
                    coalesce(sum(runs), 0)::bigint as created, \
                    coalesce(sum(completed), 0)::bigint as completed, \
                    coalesce(sum(faulted), 0)::bigint as faulted, \
                    coalesce(sum(cancelled), 0)::bigint as cancelled, \
                    (select count(*) from claims) as running, \
                    (select count(*) from timers) as waiting, \
                    (select count(*) from ready) as pending, \
                    (select count(*) from suspended) as suspended \
             from ledger",
        )
        .fetch_one(&self.pool)
        .await?;
        let ended = runs.completed + runs.faulted + runs.cancelled;
        let open = runs.running + runs.waiting + runs.pending;
        let decided = events.routed + events.inbox + events.held;
        let balanced = events.stored == decided && runs.created == ended + open;
        Ok(Ledger {
            events,
            runs,
            balanced,
        })
    }
}
