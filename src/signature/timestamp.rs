//! When a delivery was signed, and whether that is recent enough.
//!
//! Called by the leaves of a scheme. Compares with the time in the delivery; knows no clock.

use std::time::Duration;

use jiff::Timestamp;

use super::Cause;
use super::template::{Scope, Template};
use super::view::View;

/// Digits from which `auto` reads a number as milliseconds (in seconds: the year 5138).
const MS_DIGITS_MIN: usize = 12;

/// Digits a timestamp may have at most; more cannot be a time.
const DIGITS_MAX: usize = 16;

/// How a time is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// Seconds since the Unix epoch.
    S,
    /// Milliseconds since the Unix epoch.
    Ms,
    /// RFC 3339.
    Rfc3339,
    /// Any of them, told apart by its form.
    Auto,
}

impl Unit {
    pub const WORDS: &[(&str, Self)] = &[
        ("s", Self::S),
        ("ms", Self::Ms),
        ("rfc3339", Self::Rfc3339),
        ("auto", Self::Auto),
    ];

    /// Milliseconds since the Unix epoch. Numbers are plain digits: no sign, no fraction.
    fn parse(self, text: &str) -> Option<i64> {
        match self {
            Self::S => digits(text)?.checked_mul(1_000),
            Self::Ms => digits(text),
            Self::Rfc3339 => Some(text.parse::<Timestamp>().ok()?.as_millisecond()),
            Self::Auto if digits(text).is_none() => Self::Rfc3339.parse(text),
            Self::Auto if text.len() >= MS_DIGITS_MIN => Self::Ms.parse(text),
            Self::Auto => Self::S.parse(text),
        }
    }

    /// A time in seconds since the Unix epoch, written this way.
    pub fn write(self, now: i64) -> String {
        match self {
            Self::S | Self::Auto => now.to_string(),
            Self::Ms => now.saturating_mul(1_000).to_string(),
            Self::Rfc3339 => Timestamp::from_second(now).unwrap_or_default().to_string(),
        }
    }
}

/// `timestamp:` of a leaf.
#[derive(Clone, Debug)]
pub(super) struct Freshness {
    pub value: Template,
    pub unit: Unit,
    /// How far the time may be from now, in either direction, both bounds included.
    pub tolerance: Duration,
}

impl Freshness {
    /// The time in the delivery, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// `TimestampMissing` where there is none or it cannot be read.
    pub fn read(&self, view: &View<'_>, scope: &Scope<'_>) -> Result<i64, Cause> {
        let text = self.value.text(view, scope);
        let time = text.and_then(|text| self.unit.parse(text.trim()));
        time.ok_or(Cause::TimestampMissing)
    }

    /// # Errors
    /// `TimestampOutsideTolerance` where `time_ms` is too far from `now` (seconds).
    pub fn check(&self, time_ms: i64, now: i64) -> Result<(), Cause> {
        let distance = time_ms.abs_diff(now.saturating_mul(1_000));
        if u128::from(distance) <= self.tolerance.as_millis() {
            Ok(())
        } else {
            Err(Cause::TimestampOutsideTolerance)
        }
    }
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty()
        && text.len() <= DIGITS_MAX
        && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}
