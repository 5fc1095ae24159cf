//! What a run in memory exchanges with others: the events it hears and publishes, and the keys
//! under which it is found by those it listens for.

use jiff::{SignedDuration, Timestamp};

use crate::event::{DedupeKey, Event};
use crate::id::Id;
use crate::run::Run;
use crate::secret::Redactor;
use crate::store::{Filter, NewEvent};
use crate::trigger;

/// How long ids of events that runs publish are remembered, in days.
const WINDOW_DAYS: u16 = 7;

/// A run that waits for others alone is looked at this often, in hours.
const PATIENCE_HOURS: i64 = 30 * 24;

/// An event of a run on its way into the log.
#[must_use]
pub fn publish(event: Event, redactor: &Redactor) -> NewEvent {
    let key = DedupeKey::new(&event.source, &event.event_id);
    let body = redactor.redact_json(event.body.to_vec());
    NewEvent {
        event: Event {
            body: body.into(),
            ..event
        },
        key,
        window_days: WINDOW_DAYS,
        target: None,
    }
}

/// What a run listens for, as the database has it.
pub struct Ears {
    workflow_id: i32,
    /// The keys that were settled last.
    settled: Vec<Id>,
}

/// What a run listens for now.
pub struct Listens {
    /// The keys, in order.
    pub keys: Vec<Id>,
    filters: Vec<Filter>,
}

impl Listens {
    /// The filters behind the keys that are not known.
    pub fn filters_but(&self, is_known: impl Fn(&Filter) -> bool) -> Vec<Filter> {
        let filters = self.filters.iter();
        filters
            .filter(|filter| !is_known(filter))
            .cloned()
            .collect()
    }
}

impl Ears {
    /// A run that listens for nothing yet.
    #[must_use]
    pub const fn new(workflow_id: i32) -> Self {
        Self {
            workflow_id,
            settled: Vec::new(),
        }
    }

    /// Whether it listened when it was settled last.
    #[must_use]
    pub const fn is_listening(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Whether the run listens for something else than the database knows.
    #[must_use]
    pub fn changed(&self, run: &Run) -> bool {
        self.listens(run).keys != self.settled
    }

    /// What the run listens for, where that must be settled: it has changed, or the run `waits`.
    pub fn settled(&mut self, run: &Run, waits: bool) -> Option<Listens> {
        let listens = self.listens(run);
        let told_anyway = waits && !listens.keys.is_empty();
        if listens.keys == self.settled && !told_anyway {
            return None;
        }
        self.settled.clone_from(&listens.keys);
        Some(listens)
    }

    /// What was settled last.
    #[must_use]
    pub fn keys(&self) -> Listens {
        Listens {
            keys: self.settled.clone(),
            filters: Vec::new(),
        }
    }

    /// When a run is looked at again that only others can bring on: it listens for events, awaits
    /// other runs, or is suspended.
    #[must_use]
    pub fn patience(&self, run: &Run, now: Timestamp) -> Option<Timestamp> {
        let waits = run.is_suspended() || run.awaits_others();
        if !waits && self.listens(run).keys.is_empty() {
            return None;
        }
        now.checked_add(SignedDuration::from_hours(PATIENCE_HOURS))
            .ok()
    }

    fn listens(&self, run: &Run) -> Listens {
        let all = run.listens();
        let mut keys: Vec<Id> = Vec::with_capacity(all.len());
        let mut filters = Vec::with_capacity(all.len());
        for listening in &all {
            let place = (listening.reference.as_ref(), listening.number);
            keys.push(trigger::key(
                self.workflow_id,
                place,
                listening.values.as_deref(),
            ));
            filters.push(Filter {
                workflow_id: self.workflow_id,
                reference: listening.reference.to_string(),
                number: i16::try_from(listening.number).unwrap_or(i16::MAX),
            });
        }
        keys.sort_unstable();
        keys.dedup();
        Listens { keys, filters }
    }
}
