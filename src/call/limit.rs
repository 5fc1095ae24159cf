//! Rate limits: what a document says, what answers say, and what refusals teach. Pure.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::store::rates::RateWindow;

/// How long an answer without a refusal may hold back calls at most: an hour, the longest window
/// in common use.
pub const LEARNED_MAX: Duration = Duration::from_secs(3_600);

/// After this time a slowed destination is as fast as before.
const SLOWED_FOR: Duration = Duration::from_secs(300);

/// In this time it gets as much faster as it was slowed down to.
const FASTER_BY_ITSELF: Duration = Duration::from_secs(30);

/// Fewer calls a second are not let through.
const RATE_MIN: f64 = 0.1;

/// Seconds since the epoch are larger than this, durations are not.
const EPOCH_MIN: f64 = 1e9;
const EPOCH_MS_MIN: f64 = 1e12;

/// `rateLimit` of a destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limit {
    /// All of them apply.
    pub windows: Vec<RateWindow>,
}

/// One window of so many requests `per` a time. Without a burst no such time has more than that
/// many requests, wherever it begins; with one, that many more may come at once.
#[must_use]
pub fn window(requests: u32, per: Duration, burst: Option<u32>) -> RateWindow {
    let (requests, seconds) = (f64::from(requests), per.as_secs_f64());
    match burst {
        Some(burst) => RateWindow {
            capacity: f64::from(burst),
            per_second: requests / seconds,
        },
        None => {
            let capacity = (requests / 10.0).ceil().max(1.0);
            RateWindow {
                capacity,
                per_second: (requests - capacity + 1.0) / seconds,
            }
        }
    }
}

/// A destination that answered 429 and did not say when to come back: half as many calls as
/// before, then more and more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowed {
    /// Calls a second at the beginning.
    pub(super) rate: f64,
    pub(super) since: Instant,
}

impl Slowed {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= SLOWED_FOR
    }

    pub(super) fn window(&self, now: Instant) -> RateWindow {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        let grown = 1.0 + passed / FASTER_BY_ITSELF.as_secs_f64();
        let per_second = self.rate.max(RATE_MIN) * grown;
        RateWindow {
            capacity: (per_second / 10.0).ceil().max(1.0),
            per_second,
        }
    }
}

/// How long an answer asks to send nothing more: its quota is used up, and it says for how long.
///
/// Reads `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10: `"name";r=0;t=30`), its earlier form
/// `RateLimit-Remaining` with `RateLimit-Reset`, and `X-RateLimit-Remaining` with
/// `X-RateLimit-Reset`, in seconds or as a time since the epoch.
#[must_use]
pub fn used_up(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(text) = text("ratelimit")
        && let Some(pause) = structured(text)
    {
        return Some(pause.min(LEARNED_MAX));
    }
    let pairs = [
        ("ratelimit-remaining", "ratelimit-reset"),
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ];
    let (_, reset) = pairs.into_iter().find(|(remaining, _)| {
        text(remaining).and_then(|text| text.trim().parse::<f64>().ok()) == Some(0.0)
    })?;
    let reset: f64 = text(reset)?.trim().parse().ok()?;
    let now = now.as_millisecond() as f64 / 1_000.0;
    let seconds = match reset {
        ms if ms >= EPOCH_MS_MIN => ms / 1_000.0 - now,
        epoch if epoch >= EPOCH_MIN => epoch - now,
        seconds => seconds,
    };
    let pause = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
    Some(pause.min(LEARNED_MAX)).filter(|pause| !pause.is_zero())
}

/// The longest `t` of the items whose `r` is 0.
fn structured(text: &str) -> Option<Duration> {
    let items = text.split(',').filter_map(|item| {
        let value = |name: &str| -> Option<u64> {
            let mut parameters = item.split(';').skip(1);
            let found = parameters.find_map(|it| it.trim().strip_prefix(name))?;
            found.strip_prefix('=')?.trim().parse().ok()
        };
        (value("r")? == 0).then_some(())?;
        value("t").map(Duration::from_secs)
    });
    items.filter(|pause| !pause.is_zero()).max()
}
