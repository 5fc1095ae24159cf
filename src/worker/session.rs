//! This node's session: the lease under which it holds claims.
//!
//! One heartbeat row renews all claims of a node. A node that cannot renew stops starting calls
//! (it fences itself) before others may take its work over; every write is fenced by its claim id
//! anyway, so a late result of a dead session is dropped, never doubled.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use tokio::sync::Notify;

use crate::store::Link;

/// Bits of a claim id that count within one session.
const COUNTER_BITS: u32 = 40;

/// The part of a claim id that counts within its session.
pub const CLAIM_COUNTER_MASK: i64 = (1 << COUNTER_BITS) - 1;

/// The lease of this node, shared by its loops.
#[derive(Debug, Default)]
pub struct Session {
    /// Session id in the upper bits, counter of claims in the lower.
    next_claim: AtomicI64,
    renewed_at_ms: AtomicU64,
    self_fence_ms: u64,
    closed: AtomicBool,
    changed: Notify,
}

impl Session {
    /// A session that is not open yet; it fences itself when not renewed for `self_fence`.
    #[must_use]
    pub fn new(self_fence: Duration) -> Self {
        let self_fence_ms = u64::try_from(self_fence.as_millis()).unwrap_or(u64::MAX);
        Self {
            self_fence_ms,
            ..Self::default()
        }
    }

    /// The id of the session; 0 while none is open.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.next_claim.load(Ordering::Acquire) >> COUNTER_BITS
    }

    /// A claim id that no other claim of any session has.
    #[must_use]
    pub fn next_claim_id(&self) -> i64 {
        self.next_claim.fetch_add(1, Ordering::AcqRel)
    }

    /// Sets aside `count` claim ids and gives the first.
    #[must_use]
    pub fn reserve_claim_ids(&self, count: usize) -> i64 {
        let count = i64::try_from(count).unwrap_or(0);
        self.next_claim.fetch_add(count, Ordering::AcqRel)
    }

    /// Whether work claimed under `claim_id` may still start calls.
    #[must_use]
    pub fn covers(&self, claim_id: i64) -> bool {
        claim_id >> COUNTER_BITS == self.id() && self.is_live()
    }

    /// Whether the lease was renewed recently enough to start anything.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.id() != 0 && self.idle_ms() < self.self_fence_ms
    }

    fn idle_ms(&self) -> u64 {
        now_ms().saturating_sub(self.renewed_at_ms.load(Ordering::Acquire))
    }

    fn open(&self, id: i64, at_ms: u64) {
        self.renewed_at_ms.store(at_ms, Ordering::Release);
        self.next_claim.store(id << COUNTER_BITS, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Returns once a session is open.
    pub async fn opened(&self) {
        loop {
            let changed = self.changed.notified();
            if self.id() != 0 {
                return;
            }
            // The period is for a notification that came between the look and the wait.
            let _looked = tokio::time::timeout(Duration::from_millis(50), changed).await;
        }
    }

    /// Ends the heartbeat; the rows of the session are closed by the drain.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// Opens the session and renews it until it is closed. Runs on a thread of its own with a
/// connection of its own, so that no busy loop or pool can starve it.
pub async fn keep(session: &Session, link: &mut Link, node: &str, period: Duration) {
    while !session.closed.load(Ordering::Acquire) {
        let before_ms = now_ms();
        let pause = match beat(session, link, node, before_ms).await {
            Ok(()) => period,
            Err(error) => {
                let error = super::append::chain(&error);
                tracing::warn!(%error, "the session could not be renewed");
                period.min(Duration::from_millis(500))
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn beat(
    session: &Session,
    link: &mut Link,
    node: &str,
    before_ms: u64,
) -> Result<(), crate::store::Error> {
    let id = session.id();
    if id != 0 && link.beat(id).await? {
        session.renewed_at_ms.store(before_ms, Ordering::Release);
        return Ok(());
    }
    if id != 0 {
        tracing::error!(
            session.id = id,
            "this node was taken for dead; its work goes on elsewhere"
        );
    }
    let id = link.open_session(node).await?;
    session.open(id, before_ms);
    tracing::info!(session.id = id, node, "session opened");
    Ok(())
}

/// Milliseconds of the clock that also counts while the machine sleeps.
fn now_ms() -> u64 {
    let now =
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or_else(|_| Duration::ZERO, Duration::from);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
