//! Second attempts at a destination that fails more calls than not: few, so that they do not make
//! it worse. The others wait, without spending an attempt.

use std::time::Duration;

use tokio::time::Instant;

/// Second attempts for each first one, and each second.
const FOR_EACH_FIRST: f64 = 0.2;
const FOR_EACH_SECOND: f64 = 1.0;

/// Second attempts that may be saved up.
const SAVED_MAX: f64 = 10.0;

/// How long one is sent away that finds none left, and how much longer by chance.
const AWAY: Duration = Duration::from_secs(1);
const AWAY_MORE: Duration = Duration::from_secs(2);

/// What is left for second attempts.
#[derive(Debug)]
pub(super) struct Unwell {
    left: f64,
    filled_at: Instant,
}

impl Unwell {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            left: SAVED_MAX,
            filled_at: now,
        }
    }

    /// Whether a second attempt may be made now.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        let more = passed.as_secs_f64() * FOR_EACH_SECOND;
        self.left = (self.left + more).min(SAVED_MAX);
        if self.left < 1.0 {
            return Err(AWAY + AWAY_MORE.mul_f64(rand::random()));
        }
        Ok(())
    }

    /// Makes an attempt: a first one adds to what is left, a second one takes from it.
    pub(super) fn take(&mut self, again: bool, now: Instant) -> Result<(), Duration> {
        if !again {
            self.left = (self.left + FOR_EACH_FIRST).min(SAVED_MAX);
            return Ok(());
        }
        self.look(now)?;
        self.left -= 1.0;
        Ok(())
    }
}
