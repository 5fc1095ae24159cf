//! Whether a call to a destination may begin now: its circuit, and what it has asked for.
//!
//! What one node finds out the others learn through the database ([`super::conditions`]); between
//! two looks each acts on what it knows. A destination without trouble costs one relaxed load.
//! Nothing waits here: a call that may not begin goes back to its queue, without a place, and
//! without an attempt.

mod inner;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::inner::{Inner, Probe};
use super::budget::{Budget, Demand};
use super::circuit::{Policy, Sign, Window};
use super::limit::Limit;
use crate::id::Id;

/// How long before its end a hold is watched closely.
const SOON: Duration = Duration::from_secs(1);

/// The shortest time a call is sent away for.
const AWAY_MIN: Duration = Duration::from_millis(1);

/// Something that the other nodes are to know.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The destination is down, by what its calls came to here.
    Down {
        /// The last of them.
        cause: String,
        /// How long it is left alone.
        pause: Duration,
    },
    /// The one call that was let through has failed.
    StillDown {
        /// How.
        cause: String,
        /// How long it was left alone at first.
        pause: Duration,
        /// How long it is left alone at most.
        pause_max: Duration,
    },
    /// The one call that was let through has got an answer.
    Up,
    /// The destination asked to be left alone for so long.
    Held(Duration),
    /// It refused calls without saying when to come back: so many are let through in a second.
    Slowed {
        /// Calls a second.
        rate: f64,
        /// Whether of all nodes, rather than of this one.
        shared: bool,
    },
    /// Its document has changed: it may be another one now.
    Changed,
}

/// What all nodes know about a destination.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// It is down, and the next call is let through after this time.
    pub(super) down: Option<Duration>,
    /// It asked to be left alone for this long.
    pub(super) held: Option<Duration>,
    /// So many calls a second are let through since so long ago.
    pub(super) slowed: Option<(f64, Duration)>,
}

/// What a document says about when calls may begin.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// When it counts as down; none: never.
    pub(super) circuit: Option<Policy>,
    /// How many calls may begin; none: answers teach nothing either.
    pub(super) limit: Option<Limit>,
}

/// What the destinations of a node have in common.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// How many destinations are not clear.
    pub(super) troubled: AtomicUsize,
    /// Told when calls ask for tokens.
    pub(super) asks: Notify,
}

/// Why a call does not begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Away {
    /// It is to come back after this time.
    Later(Duration),
    /// A token was asked for.
    Soon,
}

/// How a call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// As any other.
    Plain,
    /// As the only one, to find out whether the destination is up again.
    Probe,
}

/// The state of one destination on this node.
#[derive(Debug)]
pub(super) struct Admission {
    /// Nothing keeps a call from beginning.
    clear: AtomicBool,
    inner: Mutex<Inner>,
    /// Told when calls that wait for a place had better not.
    shut: Notify,
    /// Told when there are tokens, or none for a while.
    granted: Notify,
    common: Arc<Common>,
}

impl Admission {
    /// Calls always begin until there are [`Terms`].
    pub(super) fn new(common: &Arc<Common>) -> Self {
        let now = Instant::now();
        Self {
            clear: AtomicBool::new(true),
            inner: Mutex::new(Inner {
                terms: None,
                window: Window::new(now),
                down: None,
                held_until: None,
                ramp: None,
                budget: Budget::new(now),
                news: Vec::new(),
            }),
            shut: Notify::new(),
            granted: Notify::new(),
            common: Arc::clone(common),
        }
    }

    /// A new document is in force. Where it differs from the one before, a destination that is
    /// down is tried at once.
    pub(super) fn renew(&self, terms: Option<Terms>, changed: bool) {
        let mut inner = self.lock();
        if terms.as_ref().is_none_or(|terms| terms.circuit.is_none()) {
            inner.down = None;
        }
        let limit = terms.as_ref().and_then(|terms| terms.limit.clone());
        if limit.is_none() {
            inner.budget.slowed = None;
        }
        inner.budget.limit = limit.filter(|limit| !limit.windows.is_empty());
        inner.terms = terms;
        if changed && inner.down.is_some() {
            inner.tell(News::Changed);
        }
        self.note(&inner);
    }

    /// Whether a call may begin now, or after which time to ask again. Takes nothing.
    pub(super) fn check(&self, places: usize) -> Result<(), Duration> {
        if self.clear.load(Ordering::Relaxed) {
            return Ok(());
        }
        let now = Instant::now();
        let mut inner = self.lock();
        let result = inner.check(now, places);
        self.note(&inner);
        result
    }

    /// How a call begins that has a place, or after which time to ask again.
    pub(super) fn enter(&self, places: usize) -> Result<Entry, Away> {
        if self.clear.load(Ordering::Relaxed) {
            return Ok(Entry::Plain);
        }
        let now = Instant::now();
        let mut inner = self.lock();
        let result = inner.enter(now, places);
        self.note(&inner);
        if matches!(result, Err(Away::Soon)) {
            self.common.asks.notify_one();
        }
        result
    }

    /// How many calls may begin now, of those there are places for.
    pub(super) fn room(&self, free: usize, places: usize) -> usize {
        if self.clear.load(Ordering::Relaxed) {
            return free;
        }
        let now = Instant::now();
        let mut inner = self.lock();
        let room = match inner.look(now, places) {
            Ok(room) => room.min(free),
            Err(_) => 0,
        };
        let wanted = u32::try_from(room).unwrap_or(u32::MAX);
        let budget = match room {
            0 => 0,
            _ => inner.budget.room(wanted, now),
        };
        self.note(&inner);
        if room > 0 && budget == 0 {
            self.common.asks.notify_one();
        }
        room.min(usize::try_from(budget).unwrap_or(usize::MAX))
    }

    /// Waits until there are tokens, or none for a while.
    pub(super) fn granted(&self) -> tokio::sync::futures::Notified<'_> {
        self.granted.notified()
    }

    /// What to ask for, where there is something and it is time.
    pub(super) fn demand(&self) -> Option<Demand> {
        if self.clear.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().budget.demand(Instant::now())
    }

    /// When there will be something to ask for, or to give back.
    pub(super) fn next_demand(&self) -> Option<Instant> {
        if self.clear.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().budget.next()
    }

    /// What there was, of what was wanted, and how long there is no more.
    pub(super) fn grant(&self, got: (u32, u32), next_in: Duration) {
        self.lock().budget.grant(got, next_in, Instant::now());
        self.granted.notify_waiters();
    }

    /// The destination refused a call and did not say when to come back.
    pub(super) fn slow(&self) {
        let mut inner = self.lock();
        if !inner.learns() {
            return;
        }
        let now = Instant::now();
        let rate = inner.window.rate(now);
        if let Some((rate, shared)) = inner.budget.slow(rate, now) {
            inner.news.retain(|it| !matches!(it, News::Slowed { .. }));
            inner.tell(News::Slowed { rate, shared });
        }
        self.note(&inner);
    }

    /// An answer has said that its quota is used up for so long.
    pub(super) fn used_up(&self, pause: Duration) {
        if self.lock().learns() {
            self.hold(pause);
        }
    }

    /// Takes in what a call came to. For a destination that is down: how long it is left alone.
    pub(super) fn record(
        &self,
        (sign, cause): (Sign, &str),
        (call, entry): (Id, Entry),
    ) -> Option<Duration> {
        let now = Instant::now();
        let mut inner = self.lock();
        let left = inner.record((sign, cause), (call, entry), now);
        self.note(&inner);
        left
    }

    /// The destination has asked to be left alone.
    pub(super) fn hold(&self, pause: Duration) {
        let mut inner = self.lock();
        let until = Instant::now() + pause;
        if inner.terms.is_none() || inner.held_until.is_some_and(|held| held >= until) {
            return;
        }
        inner.held_until = Some(until);
        inner.news.retain(|news| !matches!(news, News::Held(_)));
        inner.tell(News::Held(pause));
        self.note(&inner);
    }

    /// A probe has ended without telling anything.
    pub(super) fn unused(&self) {
        let mut inner = self.lock();
        if let Some(down) = &mut inner.down
            && let Probe::Taken(until) = down.probe
        {
            down.probe = Probe::Free(until);
        }
    }

    /// This node may let one call through within this time.
    pub(super) fn lease(&self, lease: Duration) {
        let mut inner = self.lock();
        if let Some(down) = &mut inner.down {
            down.probe = Probe::Free(Instant::now() + lease);
        }
        self.note(&inner);
    }

    /// Whether a call should be let through that this node has none of.
    pub(super) fn wants_probe(&self) -> bool {
        if self.clear.load(Ordering::Relaxed) {
            return false;
        }
        let now = Instant::now();
        let mut inner = self.lock();
        inner.pass(now);
        let Some(down) = &mut inner.down else {
            return false;
        };
        let away = matches!(down.probe, Probe::Away);
        away && down.retry_at <= now && std::mem::take(&mut down.asked)
    }

    /// Whether there is something that the other nodes are to know.
    pub(super) fn has_news(&self) -> bool {
        !self.clear.load(Ordering::Relaxed) && !self.lock().news.is_empty()
    }

    /// Takes what the other nodes are to know.
    pub(super) fn take_news(&self) -> Vec<News> {
        if self.clear.load(Ordering::Relaxed) {
            return Vec::new();
        }
        std::mem::take(&mut self.lock().news)
    }

    /// Takes in what all nodes know, unless this one knows something newer.
    pub(super) fn learn(&self, known: Known) {
        let now = Instant::now();
        let mut inner = self.lock();
        if inner.terms.is_some() {
            inner.learn(known, now);
        }
        self.note(&inner);
    }

    /// Whether calls begin one after the other now, or soon will.
    pub(super) fn is_limited(&self) -> bool {
        if self.clear.load(Ordering::Relaxed) {
            return false;
        }
        let inner = self.lock();
        let soon = Instant::now() + SOON;
        inner.ramp.is_some() || inner.held_until.is_some_and(|until| until <= soon)
    }

    /// Calls that have ended within the last half minute.
    pub(super) fn calls(&self) -> u32 {
        self.lock().window.calls(Instant::now())
    }

    /// Waits until calls that wait for a place had better not.
    pub(super) async fn shut(&self) {
        self.shut.notified().await;
    }

    fn note(&self, inner: &Inner) {
        let limited = inner.ramp.is_some() || inner.budget.is_limited();
        let clear = inner.down.is_none() && inner.held_until.is_none() && !limited;
        let before = self.clear.swap(clear, Ordering::Relaxed);
        if before && !clear {
            self.common.troubled.fetch_add(1, Ordering::Relaxed);
            self.shut.notify_waiters();
        }
        if clear && !before {
            self.common.troubled.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.clear.load(Ordering::Relaxed) {
            self.common.troubled.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
