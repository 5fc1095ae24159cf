//! Performing one effect downstream: destinations, credentials, limits, retries, the egress guard.

use std::sync::Arc;
use std::time::Duration;

use crate::id::Id;
use crate::run::{Attempt, Effect, Outcome};

/// What identifies a call to the outside.
pub struct Identity {
    pub run_id: Id,
    pub idempotency_key: Id,
}

/// What came of performing an effect once.
#[derive(Debug)]
pub enum Performed {
    /// Final.
    Done { attempt: Attempt, outcome: Outcome },
    /// The destination's policy tries again after this delay.
    Retry { attempt: Attempt, after: Duration },
}

/// A place among the calls a destination may have in flight; given back when dropped.
pub struct Permit;

/// All destinations, and the one HTTP client.
pub struct Destinations;

impl Destinations {
    /// The destination an effect goes to.
    pub fn of(&self, _effect: &Effect) -> Arc<Destination> {
        todo!()
    }
    /// Performs an effect once, under its destination's policy.
    pub async fn perform(
        &self,
        _effect: &Effect,
        _destination: &Destination,
        _identity: Identity,
        _permit: Permit,
    ) -> Performed {
        todo!()
    }
}

pub struct Destination;
impl Destination {
    pub fn id(&self) -> i32 {
        todo!()
    }
    pub fn name(&self) -> &str {
        todo!()
    }
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        todo!()
    }
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        todo!()
    }
    pub fn concurrency(&self) -> usize {
        todo!()
    }
}
