//! When a destination counts as down: what its latest calls came to. Pure; times come in.

use std::time::Duration;

use tokio::time::Instant;

use crate::id::Id;

/// Calls in a row that say a destination is down, where it does not say otherwise.
pub const FAILURES_DEFAULT: u32 = 5;

/// How long a destination is left alone at first, where it does not say otherwise.
pub const PAUSE_DEFAULT: Duration = Duration::from_secs(30);

/// The longest time a destination is left alone, where it does not say otherwise.
pub const PAUSE_MAX_DEFAULT: Duration = Duration::from_secs(600);

/// Slots of the window, and how long each lasts: 30 seconds in all.
const SLOTS: usize = 6;
const SLOT: Duration = Duration::from_secs(5);

/// Calls in the window from which on their share says something.
const CALLS_MIN: u32 = 20;

/// `circuitBreaker` of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Calls in a row that say it is down.
    pub failures: u32,
    /// How long it is left alone before one call tries; doubled after each that fails.
    pub pause: Duration,
    /// The longest such time.
    pub pause_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failures: FAILURES_DEFAULT,
            pause: PAUSE_DEFAULT,
            pause_max: PAUSE_MAX_DEFAULT,
        }
    }
}

/// What a call says about its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answers; what it answers does not matter.
    Up,
    /// No answer in time, a broken connection, or 502, 503 or 504. The call itself may be to
    /// blame, so it takes two calls to say so.
    Failing,
    /// No connection at all.
    Unreachable,
}

/// What the latest calls came to.
#[derive(Debug)]
pub(super) struct Window {
    began_at: Instant,
    slots: [Slot; SLOTS],
    streak: Signs,
    /// The last call that said "down".
    last: Option<Id>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which slot since the beginning.
    tick: u64,
    calls: u32,
    signs: Signs,
}

/// Calls that say "down".
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    count: u32,
    /// Of how many calls, as far as they came by turns; attempts at one call count once.
    calls: u32,
    /// Whether one of them found no connection.
    unreachable: bool,
}

impl Signs {
    fn add(&mut self, another: bool, unreachable: bool) {
        self.count = self.count.saturating_add(1);
        self.calls = self.calls.saturating_add(u32::from(another));
        self.unreachable |= unreachable;
    }

    /// Whether they can be no fault of a single call.
    fn are_of_destination(self) -> bool {
        self.unreachable || self.calls >= 2
    }
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began_at: now,
            slots: [Slot::default(); SLOTS],
            streak: Signs::default(),
            last: None,
        }
    }

    /// Takes in what a call came to; whether the destination is down by that.
    pub(super) fn record(
        &mut self,
        sign: Sign,
        call: Id,
        (policy, now): (&Policy, Instant),
    ) -> bool {
        let tick = self.tick(now);
        let slot = &mut self.slots[(tick % SLOTS as u64) as usize];
        if slot.tick != tick {
            *slot = Slot {
                tick,
                ..Slot::default()
            };
        }
        slot.calls = slot.calls.saturating_add(1);
        if sign == Sign::Up {
            self.streak = Signs::default();
            return false;
        }
        let (another, unreachable) = (self.last != Some(call), sign == Sign::Unreachable);
        self.last = Some(call);
        slot.signs.add(another, unreachable);
        self.streak.add(another, unreachable);
        let in_a_row = self.streak.count >= policy.failures && self.streak.are_of_destination();
        in_a_row || self.mostly_down(tick)
    }

    /// Calls a second, in the slot of most calls.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let most = self.recent(self.tick(now)).map(|slot| slot.calls).max();
        f64::from(most.unwrap_or_default()) / SLOT.as_secs_f64()
    }

    /// Calls in the window.
    pub(super) fn calls(&self, now: Instant) -> u32 {
        let tick = self.tick(now);
        self.recent(tick).map(|slot| slot.calls).sum()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.began_at);
    }

    fn mostly_down(&self, tick: u64) -> bool {
        let (mut calls, mut signs) = (0_u32, Signs::default());
        for slot in self.recent(tick) {
            calls = calls.saturating_add(slot.calls);
            signs.count = signs.count.saturating_add(slot.signs.count);
            signs.calls = signs.calls.saturating_add(slot.signs.calls);
            signs.unreachable |= slot.signs.unreachable;
        }
        calls >= CALLS_MIN && signs.count.saturating_mul(2) >= calls && signs.are_of_destination()
    }

    fn recent(&self, tick: u64) -> impl Iterator<Item = &Slot> {
        let is_recent = move |slot: &&Slot| slot.tick + SLOTS as u64 > tick;
        self.slots.iter().filter(is_recent)
    }

    /// Which slot a time is in; high enough from the start that an unused slot is not recent.
    fn tick(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.began_at);
        passed.as_secs() / SLOT.as_secs() + 1 + SLOTS as u64
    }
}
