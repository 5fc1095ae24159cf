//! The timer loop: what was to wait comes due.
//!
//! Waits, delays of retries and parked calls are rows of `timers`; when due they move to `ready`.
//! A wait of a month costs a row. The loop sleeps until the next one is due, told at once when a
//! nearer one is written on this node, and looks every half second for those of other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::Shared;
use super::append::chain;
use crate::fault_point;
use crate::store::Link;

/// Timers moved in one transaction.
const BATCH_TIMERS_MAX: u32 = 500;

/// Longest pause between two looks.
const POLL_MAX: Duration = Duration::from_millis(500);

/// Knows the nearest timer written on this node.
#[derive(Debug)]
pub struct Timers {
    nearest_ms: AtomicI64,
    nearer: Notify,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            nearest_ms: AtomicI64::new(i64::MAX),
            nearer: Notify::new(),
        }
    }
}

impl Timers {
    /// A timer is being written; the loop will look at that time.
    pub fn expect(&self, due_at: Timestamp) {
        let due_ms = due_at.as_millisecond();
        if self.nearest_ms.fetch_min(due_ms, Ordering::AcqRel) > due_ms {
            self.nearer.notify_one();
        }
    }

    fn pause(&self) -> Duration {
        let nearest_ms = self.nearest_ms.load(Ordering::Acquire);
        let ms = nearest_ms.saturating_sub(Timestamp::now().as_millisecond());
        u64::try_from(ms).map_or(Duration::ZERO, |ms| Duration::from_millis(ms).min(POLL_MAX))
    }
}

/// Moves due timers to `ready`, for ever.
pub async fn run(shared: Arc<Shared>, mut link: Link) {
    loop {
        let nearer = shared.timers.nearer.notified();
        let _nearer = tokio::time::timeout(shared.timers.pause(), nearer).await;
        if !shared.timers.pause().is_zero() && _nearer.is_ok() {
            continue;
        }
        shared.timers.nearest_ms.store(i64::MAX, Ordering::Release);
        match link.fire(BATCH_TIMERS_MAX).await {
            Ok(fired) => {
                if let Some(next_in) = fired.next_in {
                    let next_in = jiff::SignedDuration::try_from(next_in).unwrap_or_default();
                    let due_at = Timestamp::now().saturating_add(next_in);
                    shared.timers.expect(due_at.unwrap_or(Timestamp::MAX));
                }
                if fired.moved > 0 {
                    fault_point::pass("fired");
                    shared.wake_claims.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "timers could not be read");
                tokio::time::sleep(POLL_MAX).await;
            }
        }
    }
}
