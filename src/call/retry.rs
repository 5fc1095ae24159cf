//! When a call is tried again: the retry policy of a destination. Pure: times and chance come in.
//!
//! The DSL's own `try` has its policy in the engine; only one of the two ever applies to a call.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;

use super::circuit::Sign;
use super::failure::Failure;
use super::metrics::Ending;
use crate::workflow::definition::Backoff;

/// Tries of a call where the destination does not say, the first included.
pub const ATTEMPTS_DEFAULT: u32 = 5;

/// The delay before the first retry where the destination does not say.
pub const DELAY_DEFAULT: Duration = Duration::from_secs(1);

/// The longest delay of the policy itself where the destination does not say.
pub const DELAY_MAX_DEFAULT: Duration = Duration::from_secs(60);

/// What a receiver may ask for with `Retry-After`, and for how long in all: a day, which is also
/// how long receivers commonly remember idempotency keys.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Tries of one call at most, however often `Retry-After` asked for more.
pub const ATTEMPTS_CAP: u32 = 1_000;

/// Which failures are tried again, how often, and after which delay.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Tries at most, the first included.
    pub attempts_max: u32,
    /// The delay that grows.
    pub delay: Duration,
    /// How it grows.
    pub backoff: Backoff,
    /// Added to the delay, uniformly between the two; without it the whole delay is random.
    pub jitter: Option<(Duration, Duration)>,
    /// No retry starts later than this after the first attempt.
    pub duration_max: Option<Duration>,
    /// The delays one after the other, in place of `delay` and `backoff`; empty where not given.
    pub schedule: Vec<Duration>,
    /// Failures without an answer that are tried again.
    pub errors: Errors,
    /// What becomes of a call that may have been done, though no answer came; where not given it
    /// is tried again if that is harmless: the method is idempotent, or a key goes along.
    pub unknown_outcome: Option<Unknown>,
    /// Answers that are tried again.
    pub statuses: Vec<RangeInclusive<u16>>,
}

/// Failures without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errors {
    /// No connection: nothing was sent.
    pub connect: bool,
    /// No whole answer in time.
    pub timeout: bool,
    /// The connection broke.
    pub broken: bool,
}

impl Default for Errors {
    fn default() -> Self {
        Self {
            connect: true,
            timeout: true,
            broken: true,
        }
    }
}

impl Errors {
    /// Whether this failure is among them.
    pub(super) fn covers(self, failure: &Failure) -> bool {
        match (failure.sign, failure.ending) {
            (Sign::Failing, Ending::Timeout) => self.timeout,
            (Sign::Failing, _) => self.broken,
            (Sign::Up | Sign::Unreachable, _) => self.connect,
        }
    }
}

/// What becomes of a call that may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is tried again.
    Retry,
    /// It fails, and says so.
    Fail,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts_max: ATTEMPTS_DEFAULT,
            delay: DELAY_DEFAULT,
            backoff: Backoff::Exponential {
                factor: None,
                max_delay: None,
            },
            jitter: None,
            duration_max: None,
            schedule: Vec::new(),
            errors: Errors::default(),
            unknown_outcome: None,
            statuses: vec![408..=408, 425..=425, 429..=429, 500..=599],
        }
    }
}

/// What is known when an attempt has failed in a way that may pass.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// Attempts before it that count against the limit.
    pub spent: u32,
    /// Since the first attempt.
    pub elapsed: Duration,
    /// What the answer's `Retry-After` asks for, already clamped.
    pub retry_after: Option<Duration>,
    /// Uniformly drawn from 0 to 1.
    pub chance: f64,
}

impl Policy {
    /// Whether an answer with this status is tried again.
    #[must_use]
    pub fn covers(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }

    /// After which delay the call is tried again; `None` where it is not.
    ///
    /// A receiver that says when to come back is not failing, so its `Retry-After` does not count
    /// against `attempts_max`; [`RETRY_AFTER_MAX`] and [`ATTEMPTS_CAP`] bound it instead.
    #[must_use]
    pub fn next(&self, situation: Situation) -> Option<Duration> {
        let counted = situation.spent.saturating_add(1);
        let own = self.delay_after(counted, situation.chance);
        let (after, within) = match situation.retry_after {
            Some(asked) => (asked.max(own), situation.attempt < ATTEMPTS_CAP),
            None => (own, counted < self.attempts_max),
        };
        let end = situation.elapsed.saturating_add(after);
        let limit = match self.duration_max {
            Some(limit) => limit,
            None if situation.retry_after.is_some() => RETRY_AFTER_MAX,
            None => Duration::MAX,
        };
        (within && end <= limit).then_some(after)
    }

    /// The delay after the nth attempt, drawn by `chance`.
    fn delay_after(&self, attempt: u32, chance: f64) -> Duration {
        let retries = attempt.saturating_sub(1);
        let scheduled = usize::try_from(retries).map(|at| self.schedule.get(at));
        if let (Ok(Some(delay)), None) = (scheduled, self.jitter) {
            return (*delay).min(RETRY_AFTER_MAX);
        }
        let grown = match scheduled {
            Ok(Some(delay)) => *delay,
            _ => self.grown(retries),
        };
        let chance = match chance.is_nan() {
            true => 0.0,
            false => chance.clamp(0.0, 1.0),
        };
        match self.jitter {
            Some((from, to)) => {
                let spread = to.saturating_sub(from).mul_f64(chance);
                grown.saturating_add(from).saturating_add(spread)
            }
            None => grown.mul_f64(chance),
        }
        .min(RETRY_AFTER_MAX)
    }

    /// The delay after `retries` earlier retries, before chance.
    fn grown(&self, retries: u32) -> Duration {
        let (delay, bound) = match &self.backoff {
            Backoff::Constant => (self.delay, RETRY_AFTER_MAX),
            Backoff::Linear { increment } => {
                let more = increment.unwrap_or(self.delay).saturating_mul(retries);
                (self.delay.saturating_add(more), RETRY_AFTER_MAX)
            }
            Backoff::Exponential { factor, max_delay } => {
                let bound = max_delay.unwrap_or(DELAY_MAX_DEFAULT).min(RETRY_AFTER_MAX);
                let factor = factor.unwrap_or(2.0);
                let exponent = i32::try_from(retries.min(ATTEMPTS_CAP)).unwrap_or(i32::MAX);
                let seconds = self.delay.as_secs_f64() * factor.powi(exponent);
                // Overflow and not-a-number both mean the bound.
                let delay = Duration::try_from_secs_f64(seconds).unwrap_or(bound);
                (delay, bound)
            }
        };
        delay.min(bound)
    }
}

/// What a `Retry-After` header asks for at `now`, at most [`RETRY_AFTER_MAX`]; `None` where it is
/// neither seconds nor a date (RFC 9110 section 10.2.3).
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds ask for longer than we wait.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = Timestamp::try_from(date).ok()?;
    Some(between(now, date).min(RETRY_AFTER_MAX))
}

/// The time from one moment to a later one; zero where it is earlier, since clocks may step back.
#[must_use]
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
