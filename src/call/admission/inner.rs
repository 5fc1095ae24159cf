//! What one node knows about a destination, and what follows from it. Pure; times come in.

use std::time::Duration;

use tokio::time::Instant;

use super::super::budget::{Budget, Wait};
use super::super::circuit::{Sign, Window};
use super::super::limit::Slowed;
use super::super::ramp::Ramp;
use super::{AWAY_MIN, Away, Entry, Known, News, Terms};
use crate::id::Id;

/// News that is kept until it is told; what follows from it is kept in any case.
const NEWS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Inner {
    /// None: calls always begin.
    pub(super) terms: Option<Terms>,
    pub(super) window: Window,
    pub(super) down: Option<Down>,
    pub(super) held_until: Option<Instant>,
    pub(super) ramp: Option<Ramp>,
    pub(super) budget: Budget,
    pub(super) news: Vec<News>,
}

#[derive(Debug)]
pub(super) struct Down {
    pub(super) retry_at: Instant,
    pub(super) probe: Probe,
    /// Whether somebody has calls for it.
    pub(super) asked: bool,
}

/// The one call that is let through.
#[derive(Debug)]
pub(super) enum Probe {
    /// Another node's, or nobody's yet.
    Away,
    /// This node's, until then.
    Free(Instant),
    /// On its way.
    Taken(Instant),
}

impl Inner {
    /// Lets go what has passed.
    pub(super) fn pass(&mut self, now: Instant) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            self.ramp = Some(Ramp::new(now));
        }
        if self.ramp.as_ref().is_some_and(|ramp| ramp.is_over(now)) {
            self.ramp = None;
        }
        self.budget.pass(now);
        if let Some(down) = &mut self.down
            && let Probe::Free(until) | Probe::Taken(until) = down.probe
            && until <= now
        {
            down.probe = Probe::Away;
        }
    }

    /// How many calls may begin.
    pub(super) fn look(&mut self, now: Instant, places: usize) -> Result<usize, Duration> {
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

    pub(super) fn check(&mut self, now: Instant, places: usize) -> Result<(), Duration> {
        self.look(now, places)?;
        match self.budget.empty_until(now) {
            Some(until) if self.down.is_none() => {
                Err(until.saturating_duration_since(now).max(AWAY_MIN))
            }
            _ => Ok(()),
        }
    }

    /// Whether answers teach how many calls may begin.
    pub(super) fn learns(&self) -> bool {
        let terms = self.terms.as_ref();
        terms.is_some_and(|terms| terms.limit.is_some())
    }

    pub(super) fn enter(&mut self, now: Instant, places: usize) -> Result<Entry, Away> {
        self.look(now, places).map_err(Away::Later)?;
        if let Some(down) = &mut self.down {
            let Probe::Free(until) = down.probe else {
                return Err(Away::Later(AWAY_MIN));
            };
            down.probe = Probe::Taken(until);
            return Ok(Entry::Probe);
        }
        match self.budget.take(now) {
            Ok(()) => {}
            Err(Wait::Soon) => return Err(Away::Soon),
            Err(Wait::Until(until)) => {
                let pause = until.saturating_duration_since(now);
                return Err(Away::Later(pause.max(AWAY_MIN)));
            }
        }
        if let Some(ramp) = &mut self.ramp {
            ramp.take(places, now).map_err(Away::Later)?;
        }
        Ok(Entry::Plain)
    }

    pub(super) fn record(
        &mut self,
        (sign, cause): (Sign, &str),
        (call, entry): (Id, Entry),
        now: Instant,
    ) -> Option<Duration> {
        let circuit = self.terms.as_ref()?.circuit.clone();
        let counted = circuit.clone().unwrap_or_default();
        let tripped = self.window.record(sign, call, (&counted, now));
        let policy = circuit?;
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

    pub(super) fn learn(&mut self, known: Known, now: Instant) {
        // What has not been told yet is not known to the others either.
        let limits = |news: &News| matches!(news, News::Held(_) | News::Slowed { .. });
        let slows = |news: &News| matches!(news, News::Slowed { .. });
        let untold = self.news.iter().any(|news| !limits(news));
        if !self.news.iter().any(slows) && self.learns() {
            self.budget.slowed = known.slowed.and_then(|(rate, passed)| {
                let since = now.checked_sub(passed)?;
                Some(Slowed { rate, since })
            });
        }
        let circuit = self.terms.as_ref().is_some_and(|it| it.circuit.is_some());
        if !untold && circuit {
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

    pub(super) fn up(&mut self, now: Instant) {
        self.down = None;
        self.window.clear();
        self.ramp = Some(Ramp::new(now));
    }

    pub(super) fn tell(&mut self, news: News) {
        if self.news.len() < NEWS_MAX {
            self.news.push(news);
        }
    }
}
