//! Whether a call to a destination may begin now: its circuit, and what it has asked for.
//!
//! What one node finds out the others learn through the database ([`super::conditions`]); between
//! two looks each acts on what it knows. A destination without trouble costs one relaxed load.
//! Nothing waits here: a call that may not begin goes back to its queue, without a place, and
//! without an attempt.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::circuit::{Policy, Sign, Window};
use super::ramp::Ramp;
use crate::id::Id;

/// News that is kept until it is told; what follows from it is kept in any case.
const NEWS_MAX: usize = 16;

/// How long before its end a hold is watched closely.
const SOON: Duration = Duration::from_secs(1);

/// The shortest time a call is sent away for.
const AWAY_MIN: Duration = Duration::from_millis(1);

/// Something that the other nodes are to know.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// How many destinations are not clear.
    troubled: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Inner {
    /// None: calls always begin.
    policy: Option<Policy>,
    window: Window,
    down: Option<Down>,
    held_until: Option<Instant>,
    ramp: Option<Ramp>,
    news: Vec<News>,
}

#[derive(Debug)]
struct Down {
    retry_at: Instant,
    probe: Probe,
    /// Whether somebody has calls for it.
    asked: bool,
}

/// The one call that is let through.
#[derive(Debug)]
enum Probe {
    /// Another node's, or nobody's yet.
    Away,
    /// This node's, until then.
    Free(Instant),
    /// On its way.
    Taken(Instant),
}

impl Admission {
    /// Calls always begin until a [`Policy`] comes.
    pub(super) fn new(troubled: &Arc<AtomicUsize>) -> Self {
        Self {
            troubled: Arc::clone(troubled),
            clear: AtomicBool::new(true),
            inner: Mutex::new(Inner {
                policy: None,
                window: Window::new(Instant::now()),
                down: None,
                held_until: None,
                ramp: None,
                news: Vec::new(),
            }),
            shut: Notify::new(),
        }
    }

    /// A new document is in force. Where it differs from the one before, a destination that is
    /// down is tried at once.
    pub(super) fn renew(&self, policy: Option<Policy>, changed: bool) {
        let mut inner = self.lock();
        if policy.is_none() {
            inner.down = None;
        }
        inner.policy = policy;
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
        let result = inner.look(now, places).map(|_| ());
        self.note(&inner);
        result
    }

    /// How a call begins that has a place, or after which time to ask again.
    pub(super) fn enter(&self, places: usize) -> Result<Entry, Duration> {
        if self.clear.load(Ordering::Relaxed) {
            return Ok(Entry::Plain);
        }
        let now = Instant::now();
        let mut inner = self.lock();
        let result = inner.enter(now, places);
        self.note(&inner);
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
        self.note(&inner);
        room
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
        if inner.policy.is_none() || inner.held_until.is_some_and(|held| held >= until) {
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
        if inner.policy.is_some() {
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
        let clear = inner.down.is_none() && inner.held_until.is_none() && inner.ramp.is_none();
        let before = self.clear.swap(clear, Ordering::Relaxed);
        if before && !clear {
            self.troubled.fetch_add(1, Ordering::Relaxed);
            self.shut.notify_waiters();
        }
        if clear && !before {
            self.troubled.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.clear.load(Ordering::Relaxed) {
            self.troubled.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Inner {
    /// Lets go what has passed.
    fn pass(&mut self, now: Instant) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            self.ramp = Some(Ramp::new(now));
        }
        if self.ramp.as_ref().is_some_and(|ramp| ramp.is_over(now)) {
            self.ramp = None;
        }
        if let Some(down) = &mut self.down
            && let Probe::Free(until) | Probe::Taken(until) = down.probe
            && until <= now
        {
            down.probe = Probe::Away;
        }
    }

    /// How many calls may begin.
    fn look(&mut self, now: Instant, places: usize) -> Result<usize, Duration> {
        self.pass(now);
        if let Some(until) = self.held_until {
            return Err(until.saturating_duration_since(now).max(AWAY_MIN));
        }
        if let Some(down) = &mut self.down {
            down.asked = true;
            let left = down.retry_at.saturating_duration_since(now).max(AWAY_MIN);
            return match down.probe {
                Probe::Free(_) => Ok(1),
                Probe::Away | Probe::Taken(_) => Err(left),
            };
        }
        match &mut self.ramp {
            Some(ramp) => match ramp.room(places, now) {
                0 => Err(AWAY_MIN),
                room => Ok(room),
            },
            None => Ok(usize::MAX),
        }
    }

    fn enter(&mut self, now: Instant, places: usize) -> Result<Entry, Duration> {
        self.look(now, places)?;
        if let Some(down) = &mut self.down {
            let Probe::Free(until) = down.probe else {
                return Err(AWAY_MIN);
            };
            down.probe = Probe::Taken(until);
            return Ok(Entry::Probe);
        }
        match &mut self.ramp {
            Some(ramp) => ramp.take(places, now).map(|()| Entry::Plain),
            None => Ok(Entry::Plain),
        }
    }

    fn record(
        &mut self,
        (sign, cause): (Sign, &str),
        (call, entry): (Id, Entry),
        now: Instant,
    ) -> Option<Duration> {
        let policy = self.policy.clone()?;
        let tripped = self.window.record(sign, call, (&policy, now));
        match &mut self.down {
            None if tripped => {
                self.down = Some(Down {
                    retry_at: now + policy.pause,
                    probe: Probe::Away,
                    asked: false,
                });
                self.ramp = None;
                self.window.clear();
                let pause = policy.pause;
                let cause = cause.to_owned();
                self.tell(News::Down { cause, pause });
            }
            None => return None,
            Some(_) if entry == Entry::Plain => {}
            // The others are told, and say when it is up: then this node knows as well.
            Some(_) if sign == Sign::Up => {
                self.up(now);
                self.tell(News::Up);
                return None;
            }
            Some(down) => {
                down.probe = Probe::Away;
                down.retry_at = now + policy.pause;
                self.tell(News::StillDown {
                    cause: cause.to_owned(),
                    pause: policy.pause,
                    pause_max: policy.pause_max,
                });
            }
        }
        let down = self.down.as_ref().filter(|_| sign != Sign::Up)?;
        Some(down.retry_at.saturating_duration_since(now).max(AWAY_MIN))
    }

    fn learn(&mut self, known: Known, now: Instant) {
        let told = |news: &News| matches!(news, News::Held(_));
        // What has not been told yet is not known to the others either.
        let untold = self.news.iter().any(|news| !told(news));
        if !untold {
            match (known.down, &mut self.down) {
                (Some(left), Some(down)) => down.retry_at = now + left,
                (Some(left), none) => {
                    *none = Some(Down {
                        retry_at: now + left,
                        probe: Probe::Away,
                        asked: false,
                    });
                    self.ramp = None;
                }
                (None, Some(_)) => self.up(now),
                (None, None) => {}
            }
        }
        if let Some(left) = known.held {
            let until = now + left;
            self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        }
    }

    fn up(&mut self, now: Instant) {
        self.down = None;
        self.window.clear();
        self.ramp = Some(Ramp::new(now));
    }

    fn tell(&mut self, news: News) {
        if self.news.len() < NEWS_MAX {
            self.news.push(news);
        }
    }
}
