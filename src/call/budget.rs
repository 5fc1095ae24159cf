//! How many calls of this node may begin under a rate limit that all nodes share.
//!
//! Tokens come in batches from the database, asked for by calls that are there. What is not used
//! soon goes back, so that a node without calls keeps nothing from the others.

use std::time::Duration;

use tokio::time::Instant;

use super::limit::{Limit, Slowed};

/// How long tokens are kept; used later, they would come on top of newer ones.
const KEPT_MAX: Duration = Duration::from_millis(200);

/// Least time between two questions.
const ASK_PERIOD: Duration = Duration::from_millis(20);

/// Least time between two times that it is slowed down.
const SLOW_PERIOD: Duration = Duration::from_secs(1);

/// The tokens of one destination on this node.
#[derive(Debug)]
pub(super) struct Budget {
    /// What the document says.
    pub(super) limit: Option<Limit>,
    /// What its refusals have taught.
    pub(super) slowed: Option<Slowed>,
    tokens: u32,
    got_at: Instant,
    /// Calls that found no token.
    wanted: u32,
    /// Nothing to be had before then.
    empty_until: Instant,
}

/// What a node asks for.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The windows to take it from.
    pub windows: Vec<crate::store::rates::RateWindow>,
    /// How many.
    pub wanted: u32,
    /// How many it has not used.
    pub returned: u32,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            limit: None,
            slowed: None,
            tokens: 0,
            got_at: now,
            wanted: 0,
            empty_until: now,
        }
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some() || self.slowed.is_some()
    }

    /// Slows down to half of `rate`, or to half of what it is slowed down to already; gives the
    /// new rate, and whether it is one that all nodes share. Refusals come in bursts: one counts.
    pub(super) fn slow(&mut self, rate: f64, now: Instant) -> Option<(f64, bool)> {
        let (half, shared) = match &self.slowed {
            Some(slowed) if now.saturating_duration_since(slowed.since) < SLOW_PERIOD => {
                return None;
            }
            Some(slowed) => (slowed.window(now).per_second / 2.0, true),
            None => (rate / 2.0, false),
        };
        self.slowed = Some(Slowed {
            rate: half,
            since: now,
        });
        Some((half, shared))
    }

    /// Lets go what has passed.
    pub(super) fn pass(&mut self, now: Instant) {
        if self.slowed.as_ref().is_some_and(|it| it.is_over(now)) {
            self.slowed = None;
        }
    }

    /// Calls that may begin now; where there are none, `wanted` are asked for.
    pub(super) fn room(&mut self, wanted: u32, now: Instant) -> u32 {
        if !self.is_limited() {
            return u32::MAX;
        }
        if self.is_fresh(now) && self.tokens > 0 {
            return self.tokens;
        }
        self.wanted = self.wanted.max(wanted);
        0
    }

    /// Takes a token; none is there, and it may be worth to wait for one, or after which time.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Wait> {
        if !self.is_limited() {
            return Ok(());
        }
        if self.is_fresh(now) && self.tokens > 0 {
            self.tokens -= 1;
            return Ok(());
        }
        if now < self.empty_until {
            return Err(Wait::Until(self.empty_until));
        }
        self.wanted = self.wanted.saturating_add(1);
        Err(Wait::Soon)
    }

    /// Until when nothing is to be had.
    pub(super) fn empty_until(&self, now: Instant) -> Option<Instant> {
        let has = !self.is_limited() || (self.is_fresh(now) && self.tokens > 0);
        (!has && now < self.empty_until).then_some(self.empty_until)
    }

    /// When there will be something to ask for, or to give back.
    pub(super) fn next(&self) -> Option<Instant> {
        if !self.is_limited() {
            return None;
        }
        match (self.wanted, self.tokens) {
            (1.., _) => Some(self.empty_until.max(self.got_at + ASK_PERIOD)),
            (0, 1..) => Some(self.got_at + KEPT_MAX),
            (0, 0) => None,
        }
    }

    /// What to ask for, where there is something and it is time.
    pub(super) fn demand(&mut self, now: Instant) -> Option<Demand> {
        let stale = !self.is_fresh(now) && self.tokens > 0;
        let asks = self.wanted > 0 && now >= self.empty_until;
        let early = now.saturating_duration_since(self.got_at) < ASK_PERIOD;
        if !self.is_limited() || (!stale && (!asks || early)) {
            return None;
        }
        let limit = self.limit.iter().flat_map(|limit| limit.windows.iter());
        let slowed = self.slowed.iter().map(|slowed| slowed.window(now));
        Some(Demand {
            windows: limit.copied().chain(slowed).collect(),
            wanted: if asks {
                std::mem::take(&mut self.wanted)
            } else {
                0
            },
            returned: std::mem::take(&mut self.tokens),
        })
    }

    /// Takes in what there was.
    pub(super) fn grant(&mut self, (granted, wanted): (u32, u32), next_in: Duration, now: Instant) {
        self.tokens = self.tokens.saturating_add(granted);
        self.got_at = now;
        if granted < wanted {
            self.empty_until = now + next_in.min(super::retry::RETRY_AFTER_MAX);
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.got_at) < KEPT_MAX
    }
}

/// Why there is no token.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// It was asked for.
    Soon,
    /// There is none before then.
    Until(Instant),
}
