//! How a destination that has been left alone is taken up again: slowly, then faster.

use std::time::Duration;

use tokio::time::Instant;

/// After this long there is no bound left that would matter.
const LENGTH: Duration = Duration::from_secs(10);

/// The first second's calls are as many as may be in flight at once; each second doubles that.
#[derive(Debug)]
pub(super) struct Ramp {
    since: Instant,
    filled_at: Instant,
    tokens: f64,
}

impl Ramp {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            filled_at: now,
            tokens: 0.0,
        }
    }

    /// Whether it has come to its end.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= LENGTH
    }

    /// Calls that may begin now, where `places` may be in flight at once.
    pub(super) fn room(&mut self, places: usize, now: Instant) -> usize {
        let rate = self.rate(places, now);
        let passed = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        // A quarter of a second's worth is kept at most: whoever comes late gets no more.
        let kept_max = (rate / 4.0).max(1.0);
        self.tokens = (self.tokens + rate * passed.as_secs_f64()).min(kept_max);
        self.tokens as usize
    }

    /// Takes one; how long to wait where there is none.
    pub(super) fn take(&mut self, places: usize, now: Instant) -> Result<(), Duration> {
        if self.room(places, now) == 0 {
            let missing = (1.0 - self.tokens) / self.rate(places, now);
            return Err(Duration::from_secs_f64(missing.clamp(0.001, 1.0)));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Calls in a second.
    fn rate(&self, places: usize, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.since).as_secs().min(20);
        places.max(1) as f64 * f64::from(1_u32 << seconds)
    }
}
