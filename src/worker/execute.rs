//! The executor: drives claimed runs from what they want to what came of it.
//!
//! One task per run in flight. The run decides (`run`, pure), this performs (`call`) and has the
//! journal remember (`settle`). Between two effects the first one's outcome is committed before
//! the second is performed; a run that only waits leaves memory altogether.

mod live;
mod lost;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::live::Live;
use super::Shared;
use super::checkpoint::Since;
use super::flight::{Flight, Place};
use super::lifecycle::Lifecycle;
use super::mail::Letterbox;
use super::origin::Origin;
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::{End, Entry, Pending};
use crate::store::{Mail, Next};
use crate::workflow::Definition;

pub(super) use self::lost::Lost;

/// A free place among the runs this node has in flight; given back when dropped.
pub type Slot = OwnedSemaphorePermit;

/// A taken place: the run counts as held by this node until its last settlement is durable.
pub struct Lease {
    shared: Arc<Shared>,
    claim_id: i64,
    /// Places at destinations, free when the last settlement is durable.
    places: Vec<Place>,
    _slot: Slot,
}

impl Lease {
    /// The same, holding these places as well.
    fn with(mut self, places: Vec<Place>) -> Self {
        self.places = places;
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.held.remove(self.claim_id);
        self.shared.metrics.runs_in_flight.dec();
    }
}

/// A claimed run with what is needed to go on with it.
pub struct Begun {
    /// The run.
    pub run_id: Id,
    /// Its workflow.
    pub workflow_id: i32,
    /// The claim it is held under.
    pub claim_id: i64,
    /// The compiled workflow.
    pub definition: Arc<Definition>,
    /// What it begins with, and who started it.
    pub origin: Origin,
    /// What stands for the entries before those of `journal`.
    pub checkpoint: Option<Bytes>,
    /// Entries journaled so far, or since the checkpoint.
    pub journal: Vec<Entry>,
    /// How much they are.
    pub since: Since,
    /// Number of the next journal row.
    pub seq: i32,
    /// The event that started it, for the log.
    pub event_id: Id,
    /// What it has not taken in yet, oldest first.
    pub mail: Vec<Mail>,
    /// What its lifecycle events have in common.
    pub lifecycle: Lifecycle,
}

/// Takes claimed runs; cheap to clone.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    work: Handle,
}

impl Executor {
    /// An executor with `slots` places whose runs are driven on the runtime `work`, whose threads
    /// have stacks large enough to evaluate expressions on.
    #[must_use]
    pub fn new(shared: Arc<Shared>, slots: usize, work: Handle) -> Self {
        Self {
            shared,
            slots: Arc::new(Semaphore::new(slots)),
            work,
        }
    }

    /// A free place, where there is one.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits for a free place; `None` when the executor takes no more runs.
    pub async fn free_slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Takes no more runs.
    pub fn close(&self) {
        self.slots.close();
    }

    /// Drives a run to its end, or to where it waits.
    pub fn start(&self, begun: Begun, slot: Slot) {
        self.shared.metrics.runs_in_flight.inc();
        let letterbox = Arc::new(Letterbox::new(begun.run_id));
        self.shared
            .held
            .insert(begun.claim_id, Arc::clone(&letterbox));
        let shared = Arc::clone(&self.shared);
        let lease = Lease {
            shared: Arc::clone(&shared),
            claim_id: begun.claim_id,
            places: Vec::new(),
            _slot: slot,
        };
        self.work.spawn(async move {
            let lost = Lost::of(&begun);
            let driven = drive(&shared, begun, lease, &letterbox);
            let driven = std::panic::AssertUnwindSafe(driven).catch_unwind();
            if driven.await.is_err() {
                lost.settle(&shared).await;
            }
        });
    }
}

async fn drive(shared: &Arc<Shared>, begun: Begun, lease: Lease, letterbox: &Letterbox) {
    let lost = Lost::of(&begun);
    let mut live = match Live::replay(shared, begun) {
        Ok(live) => live,
        Err(unfit) => return lost.replay_in_full(shared, &unfit, lease).await,
    };
    live.checkpoint();
    let mut flight = Flight::new(shared, live.run_id, live.claim_id);
    loop {
        live.mail.put(letterbox.take());
        let (effects, waits) = match live.run.pending() {
            Pending::Ended(end) => return live.end(end, lease.with(flight.take_over())).await,
            Pending::Open { effects, waits } => (effects, waits),
        };
        let now = Timestamp::now();
        if live.proceed(&waits, now).await {
            continue;
        }
        flight.keep_only(&effects);
        let due = effects
            .iter()
            .filter(|effect| !live.run.is_suspended() && flight.may_start(effect, now));
        let (due, barred) = flight.admitted(due.collect());
        let wake_at = live.wake_at((&effects, &waits), now);
        if let Some(barred) = barred.filter(|_| due.is_empty() && flight.is_empty()) {
            let wake_at = wake_at.or_else(|| live.ears.patience(&live.run, now));
            let lease = lease.with(flight.take_over());
            return live.release(barred.next(wake_at, now), lease).await;
        }
        let wake_at = wake_at.into_iter().chain(barred.map(|it| it.until)).min();
        // Also where calls still fly: these may wait for the places of those that are over.
        if !due.is_empty() || (flight.has_over() && !flight.is_empty()) {
            let saved = live.save().await;
            drop(flight.take_over());
            if !saved || !shared.session.covers(live.claim_id) {
                return;
            }
        }
        if !due.is_empty() {
            if let Some(next) = flight.park(&due, now) {
                return live.release(next, lease).await;
            }
            due.into_iter().for_each(|effect| flight.start(effect));
        }
        if flight.is_empty() {
            let Some(due_at) = wake_at.or_else(|| live.ears.patience(&live.run, now)) else {
                return live.end(stuck(), lease.with(flight.take_over())).await;
            };
            let lease = lease.with(flight.take_over());
            return live.release(Next::Wait { due_at }, lease).await;
        }
        if live.has_news() && !live.save().await {
            return;
        }
        tokio::select! {
            changes = flight.next(wake_at) => {
                for change in changes {
                    live.apply(Timestamp::now(), change);
                }
            }
            () = letterbox.arrived.notified() => {}
        }
    }
}

/// A run that waits for nothing would stay for ever; that must be seen.
fn stuck() -> End {
    End::Faulted(Problem::new(
        Kind::Runtime,
        "the run has nothing to wait for and nothing to do",
    ))
}

/// When a run was created: its id says so.
pub(super) fn created_at(run_id: Id) -> Timestamp {
    let ms = i64::try_from(run_id.made_at_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
