//! The effects of one run that are being performed right now.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;

use super::Shared;
use crate::call::{Identity, Performed, Permit};
use crate::fault_point;
use crate::id::Id;
use crate::run::{Change, Effect, Key};
use crate::store::Next;

/// How long a call waits for its turn when too many already wait for an undeclared destination.
const CROWDED_PAUSE: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// The shortest time between two looks at a destination that takes no calls.
const LOOK_MIN: jiff::SignedDuration = jiff::SignedDuration::from_millis(20);

/// The shortest time a run waits outside memory for a destination, where it waits for a time too.
const AWAY_MIN: jiff::SignedDuration = jiff::SignedDuration::from_millis(250);

type Performing = Pin<Box<dyn Future<Output = Flown> + Send>>;

/// What came of an effect, where it was performed.
type Flown = Result<(Key, Performed), Grounded>;

/// Why an effect was not performed.
enum Grounded {
    /// Its destination takes no calls now.
    SentBack(Key),
    /// This node has no say any more.
    Fenced,
}

/// A destination that takes no calls now.
#[derive(Clone, Copy, Debug)]
pub struct Barred {
    destination_id: i32,
    /// When to ask again.
    pub until: Timestamp,
}

impl Barred {
    /// Where a run waits that can do nothing else until then, at the latest until `wake_at`.
    #[must_use]
    pub fn next(self, wake_at: Option<Timestamp>, now: Timestamp) -> Next {
        match wake_at {
            None => Next::Ready {
                destination_id: self.destination_id,
            },
            Some(at) => {
                let soon = now.saturating_add(AWAY_MIN).unwrap_or(now);
                Next::Wait {
                    due_at: at.min(self.until.max(soon)),
                }
            }
        }
    }
}

/// The place of one call at its destination, from when it has one.
pub type Place = Arc<OnceLock<Permit>>;

/// Effects in flight, by key.
///
/// A place is not free when its call is over, but when what came of the call is durable: so no
/// more calls than a destination allows can be repeated after this node has died.
pub struct Flight<'a> {
    shared: &'a Arc<Shared>,
    run_id: Id,
    claim_id: i64,
    performing: FuturesUnordered<Abortable<Performing>>,
    flying: HashMap<Key, (AbortHandle, Place)>,
    over: Vec<Place>,
}

impl<'a> Flight<'a> {
    /// Nothing in flight yet.
    #[must_use]
    pub fn new(shared: &'a Arc<Shared>, run_id: Id, claim_id: i64) -> Self {
        let performing = FuturesUnordered::new();
        Self {
            shared,
            run_id,
            claim_id,
            performing,
            flying: HashMap::new(),
            over: Vec::new(),
        }
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// Whether others wait for places of calls that are over: this run's own among them.
    #[must_use]
    pub fn has_over(&self) -> bool {
        !self.over.is_empty()
    }

    /// The places of calls that are over, to be dropped when that is durable.
    pub fn take_over(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.over)
    }

    /// Whether the effect is neither in flight nor waiting for its time.
    #[must_use]
    pub fn may_start(&self, effect: &Effect, now: Timestamp) -> bool {
        effect.not_before.is_none_or(|at| at <= now) && !self.flying.contains_key(&effect.key)
    }

    /// Drops what the run no longer wants: the losers of a race, what a timeout has interrupted.
    pub fn keep_only(&mut self, effects: &[Effect]) {
        if self.flying.is_empty() {
            return;
        }
        // By key: a fork of hundreds of branches asks each time one of them is over.
        let wanted: HashSet<&Key> = effects.iter().map(|effect| &effect.key).collect();
        let over = &mut self.over;
        self.flying.retain(|key, (abort, place)| {
            let wanted = wanted.contains(key);
            if !wanted {
                abort.abort();
                over.push(Arc::clone(place));
            }
            wanted
        });
    }

    /// Leaves out what may not be started now, because its destination takes no calls; says which
    /// one to wait for.
    #[must_use]
    pub fn admitted<'e>(&self, due: Vec<&'e Effect>) -> (Vec<&'e Effect>, Option<Barred>) {
        let mut barred: Option<Barred> = None;
        let mut admitted = due;
        if !self.shared.destinations.is_troubled() {
            return (admitted, None);
        }
        admitted.retain(|effect| {
            let destination = self.shared.destinations.of(effect);
            let Err(pause) = destination.check() else {
                return true;
            };
            destination.sent_back();
            let pause = jiff::SignedDuration::try_from(pause).unwrap_or_default();
            let pause = pause.max(LOOK_MIN);
            let until = Timestamp::now()
                .saturating_add(pause)
                .unwrap_or(Timestamp::MAX);
            if barred.is_none_or(|other| until < other.until) {
                barred = Some(Barred {
                    destination_id: destination.id(),
                    until,
                });
            }
            false
        });
        (admitted, barred)
    }

    /// Where the run should wait outside memory instead: its only wish is a call to a destination
    /// for which too many runs of this node wait already, and which must not crowd out the others.
    #[must_use]
    pub fn park(&self, due: &[&Effect], now: Timestamp) -> Option<Next> {
        let [effect] = due else { return None };
        if !self.is_empty() {
            return None;
        }
        let destination = self.shared.destinations.of(effect);
        if destination.waiting() < self.shared.waiting_max {
            return None;
        }
        self.shared.metrics.parked.inc();
        match destination.id() {
            0 => Some(Next::Wait {
                due_at: now.saturating_add(CROWDED_PAUSE).unwrap_or(now),
            }),
            destination_id => Some(Next::Ready { destination_id }),
        }
    }

    /// Performs an effect as soon as its destination has a place for it.
    pub fn start(&mut self, effect: &Effect) {
        let effect = effect.clone();
        let key = effect.key.clone();
        let shared = Arc::clone(self.shared);
        let (run_id, claim_id) = (self.run_id, self.claim_id);
        let place = Place::default();
        let taken = Arc::clone(&place);
        let performing: Performing = Box::pin(async move {
            let destination = shared.destinations.of(&effect);
            let Ok(permit) = destination.enter().await else {
                return Err(Grounded::SentBack(effect.key));
            };
            let permit = taken.get_or_init(|| permit);
            if !shared.session.covers(claim_id) {
                return Err(Grounded::Fenced);
            }
            let idempotency_key = run_id.derive(&effect.key.idempotency_name());
            let identity = Identity {
                run_id,
                idempotency_key,
            };
            fault_point::pass("call");
            let performed = shared
                .destinations
                .perform(&effect, &destination, identity, permit);
            let performed = performed.await;
            fault_point::pass("called");
            Ok((effect.key, performed))
        });
        let (abort, registration) = AbortHandle::new_pair();
        self.performing
            .push(Abortable::new(performing, registration));
        self.flying.insert(key, (abort, place));
    }

    /// Waits for the next outcomes, at the latest until `wake_at`; gives what to journal. Nothing
    /// comes where a time has come first, or where this node was fenced.
    pub async fn next(&mut self, wake_at: Option<Timestamp>) -> Vec<Change> {
        let pause = wake_at.map(|at| {
            std::time::Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
        });
        let outcome = match pause {
            Some(pause) => match tokio::time::timeout(pause, self.performing.next()).await {
                Ok(outcome) => outcome,
                Err(_) => return Vec::new(),
            },
            None => self.performing.next().await,
        };
        let mut changes = Vec::with_capacity(1);
        let mut next = outcome;
        while let Some(outcome) = next {
            match outcome {
                Ok(Ok((key, performed))) => {
                    self.over
                        .extend(self.flying.remove(&key).map(|(_, place)| place));
                    changes.push(change(key, performed));
                }
                Ok(Err(Grounded::SentBack(key))) => drop(self.flying.remove(&key)),
                Ok(Err(Grounded::Fenced)) => {
                    self.flying.clear();
                    self.performing.clear();
                    return Vec::new();
                }
                Err(Aborted) => {}
            }
            // Whatever else is there becomes durable with it.
            next = self.performing.next().now_or_never().flatten();
        }
        changes
    }
}

fn change(key: Key, performed: Performed) -> Change {
    match performed {
        Performed::Done { attempt, outcome } => Change::Performed {
            key,
            attempt,
            outcome,
        },
        Performed::Retry { attempt, after } => {
            let after = jiff::SignedDuration::try_from(after).unwrap_or(jiff::SignedDuration::MAX);
            let retry_at = Timestamp::now()
                .saturating_add(after)
                .unwrap_or(Timestamp::MAX);
            Change::Attempted {
                key,
                attempt,
                retry_at,
            }
        }
    }
}
