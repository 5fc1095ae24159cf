//! The least time between two batches of a stage while there is much to do.
//!
//! A statement costs about as much for one row as for ten. Under load the stages of the journey
//! therefore begin a batch at most every few milliseconds; an event that comes alone waits for
//! nobody.

use std::time::Duration;

use tokio::time::Instant;

/// Spaces the batches of one stage. Not a rate limit: a full batch begins at once.
pub(super) struct Spacing {
    least: Duration,
    next: Option<Instant>,
}

impl Spacing {
    /// `least_ms` milliseconds from the beginning of a batch to that of the next; 0 = none.
    pub(super) const fn new(least_ms: u64) -> Self {
        Self {
            least: Duration::from_millis(least_ms),
            next: None,
        }
    }

    /// Waits until a batch may begin. Called with what is in the queue and what a batch holds.
    pub(super) async fn wait(&mut self, queued: usize, full: usize) {
        if let Some(next) = self.next.take()
            && queued < full
        {
            tokio::time::sleep_until(next).await;
        }
    }

    /// A batch of so many begins. One that comes alone does not hold up what follows.
    pub(super) fn begun(&mut self, taken: usize) {
        self.next = (taken > 1).then(|| Instant::now() + self.least);
    }
}
