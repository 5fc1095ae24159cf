//! What nodes tell each other about destinations: the side of those who call.
//!
//! The loop in `worker` brings [`News`] to the database and what is known there back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::admission::{Known, News};
use super::budget::Demand;
use super::registry::{Destination, Destinations};
use crate::store::conditions::Condition;

/// How much longer than its call a lease for a probe lasts: claiming its run, and settling.
const LEASE_GRACE: Duration = Duration::from_secs(20);

/// How much earlier the node that has a lease thinks it over than the others do.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

impl Destinations {
    /// Waits until there is something to tell, or to look at.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// There is something to look at.
    pub fn look(&self) {
        self.news.notify_one();
    }

    /// Takes what other nodes are to know, with the numbers of the destinations.
    #[must_use]
    pub fn take_news(&self) -> Vec<(i32, News)> {
        let mut all = Vec::new();
        for destination in self.declared() {
            let news = destination.admission.take_news();
            let outages = news.iter().filter(|it| matches!(it, News::Down { .. }));
            outages.for_each(|_| destination.series.outage());
            all.extend(news.into_iter().map(|news| (destination.id(), news)));
        }
        all
    }

    /// Takes in what is known to all nodes: all there is.
    pub fn learn(&self, conditions: &[Condition]) {
        let by_number: HashMap<i32, &Condition> = conditions
            .iter()
            .map(|condition| (condition.destination_id, condition))
            .collect();
        for destination in self.declared() {
            let condition = by_number.get(&destination.id());
            let down = condition.filter(|condition| condition.down);
            let held = condition.map(|condition| condition.held_for);
            destination.series.down(down.is_some());
            destination.admission.learn(Known {
                down: down.map(|condition| condition.retry_in),
                held: held.filter(|held| !held.is_zero()),
                slowed: condition.and_then(|condition| condition.slowed),
            });
        }
    }

    /// Destinations that a call should be let through to, and for how long at most this node asks
    /// to be the one that does.
    #[must_use]
    pub fn probes_wanted(&self) -> Vec<(i32, Duration)> {
        let wanted = self.declared().into_iter();
        let wanted = wanted.filter(|destination| destination.admission.wants_probe());
        wanted
            .map(|destination| (destination.id(), destination.timeout + LEASE_GRACE))
            .collect()
    }

    /// This node lets a call through to a destination, within this time.
    pub fn probe(&self, number: i32, lease: Duration) {
        if let Some(destination) = self.numbered(number) {
            destination
                .admission
                .lease(lease.saturating_sub(LEASE_MARGIN));
        }
    }

    /// Whether calls to any destination may have to wait by what is known of it.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        self.common.troubled.load(Ordering::Relaxed) > 0
    }

    /// Whether calls to any destination begin one after the other now, or soon will.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        let mut all = self.declared().into_iter();
        all.any(|destination| destination.admission.is_limited())
    }

    /// Waits until calls ask for tokens.
    pub async fn asked(&self) {
        self.common.asks.notified().await;
    }

    /// What to ask for now, with the numbers of the destinations.
    #[must_use]
    pub fn demands(&self) -> Vec<(i32, Demand)> {
        let all = self.declared().into_iter();
        all.filter_map(|it| Some((it.id(), it.admission.demand()?)))
            .collect()
    }

    /// How long until there is something to ask for, at most `longest`.
    #[must_use]
    pub fn next_demand(&self, longest: Duration) -> Duration {
        if !self.is_troubled() {
            return longest;
        }
        let all = self.declared().into_iter();
        let next = all.filter_map(|it| it.admission.next_demand()).min();
        next.map_or(longest, |next| {
            next.saturating_duration_since(Instant::now()).min(longest)
        })
    }

    /// What there was, of what was wanted, and how long there is no more.
    pub fn grant(&self, number: i32, got: (u32, u32), next_in: Duration) {
        if let Some(destination) = self.numbered(number) {
            destination.admission.grant(got, next_in);
        }
    }

    /// The name of the destination with this number, where it is declared.
    #[must_use]
    pub fn name_of(&self, number: i32) -> Option<Arc<str>> {
        self.numbered(number)
            .map(|destination| destination.name().into())
    }

    /// Calls of this node to a destination that have ended within the last half minute.
    #[must_use]
    pub fn recent_calls(&self, number: i32) -> u32 {
        self.numbered(number)
            .map_or(0, |destination| destination.admission.calls())
    }

    fn numbered(&self, number: i32) -> Option<Arc<Destination>> {
        let mut all = self.declared().into_iter();
        all.find(|destination| destination.id() == number)
    }
}
