//! Permits: how many calls of one destination may be in flight.
//!
//! A permit is given back when it is dropped, on every path; whoever performs a call drops it once
//! the outcome is durable, so that this is also the bound of what a crash can repeat. The gate
//! outlives reloads of the definitions, so its limit can change while permits are out. It does not
//! queue fairly between destinations; each has a gate of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::{Admission, Entry};

/// A place among the calls a destination may have in flight; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    place: Option<OwnedSemaphorePermit>,
    /// Whose only call this is while it is down.
    probes: Option<Arc<Admission>>,
}

impl Permit {
    /// The same, for the one call that finds out whether a destination is up again.
    pub(super) fn probing(mut self, admission: &Arc<Admission>) -> Self {
        self.probes = Some(Arc::clone(admission));
        self
    }

    /// How its call has begun.
    pub(super) fn entry(&self) -> Entry {
        match self.probes {
            Some(_) => Entry::Probe,
            None => Entry::Plain,
        }
    }
}

/// The places of one destination.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    limit: AtomicUsize,
    waiting: AtomicUsize,
    /// Places to take away as soon as the calls that hold them end, after the limit was lowered.
    owed: AtomicUsize,
}

impl Gate {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(limit)),
            limit: AtomicUsize::new(limit),
            waiting: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
        })
    }

    /// Changes the limit; calls in flight stay. Only one caller at a time (the registry's reload).
    pub(super) fn resize(&self, limit: usize) {
        let before = self.limit.swap(limit, Ordering::AcqRel);
        if limit < before {
            let surplus = before - limit;
            let taken = self.places.forget_permits(surplus);
            self.owed.fetch_add(surplus - taken, Ordering::AcqRel);
            return;
        }
        let mut added = limit - before;
        while added > 0 && self.forgive() {
            added -= 1;
        }
        self.places.add_permits(added);
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Acquire)
    }

    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(self.permit(Some(place)))
    }

    pub(super) async fn acquire(self: &Arc<Self>) -> Permit {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return self.permit(Some(place));
        }
        let _waiting = Waiting::new(self);
        // The semaphore is never closed; if it were, going on without a place is the safe side.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        self.permit(place)
    }

    /// How many wait for a place.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    fn permit(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>) -> Permit {
        Permit {
            gate: Arc::clone(self),
            place,
            probes: None,
        }
    }

    /// Takes one from what is owed; false where nothing is.
    fn forgive(&self) -> bool {
        self.owed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |owed| {
                owed.checked_sub(1)
            })
            .is_ok()
    }
}

/// Counts one that waits, until dropped: its run may be dropped while it does.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate) -> Self {
        gate.waiting.fetch_add(1, Ordering::AcqRel);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(admission) = self.probes.take() {
            admission.unused();
        }
        let Some(place) = self.place.take() else {
            return;
        };
        if self.gate.forgive() {
            place.forget();
        }
    }
}
