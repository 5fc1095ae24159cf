//! The executor: drives claimed runs from what they want to what came of it.
//!
//! One task per run in flight. The run decides (`run`, pure), this performs (`call`) and has the
//! journal remember (`settle`). Between two effects the first one's outcome is committed before
//! the second is performed; a run that only waits leaves memory altogether.

mod lost;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::lost::Lost;
use super::Shared;
use super::asked::{self, Hiding};
use super::checkpoint::Since;
use super::exchange::{self, Ears};
use super::flight::{Flight, Place};
use super::lifecycle::{Lifecycle, Moment};
use super::mail::{Letterbox, Post};
use super::report;
use super::settle::Request;
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::{Change, Effect, End, Entry, Pending, Run, Surroundings, Unfit, Wait, entry};
use crate::store::checkpoints::Checkpoint;
use crate::store::{Exchange, Letter, Mail, Next, Settlement};
use crate::workflow::Definition;

/// A free place among the runs this node has in flight; given back when dropped.
pub type Slot = OwnedSemaphorePermit;

/// A taken place: the run counts as held by this node until its last settlement is durable.
pub struct Lease {
    shared: Arc<Shared>,
    claim_id: i64,
    /// Places at destinations, free when the last settlement is durable.
    places: Vec<Place>,
    _slot: Slot,
}

impl Lease {
    /// The same, holding these places as well.
    fn with(mut self, places: Vec<Place>) -> Self {
        self.places = places;
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.held.remove(self.claim_id);
        self.shared.metrics.runs_in_flight.dec();
    }
}

/// A claimed run with what is needed to go on with it.
pub struct Begun {
    /// The run.
    pub run_id: Id,
    /// Its workflow.
    pub workflow_id: i32,
    /// The claim it is held under.
    pub claim_id: i64,
    /// The compiled workflow.
    pub definition: Arc<Definition>,
    /// Raw input of the workflow.
    pub input: Value,
    /// What stands for the entries before those of `journal`.
    pub checkpoint: Option<Bytes>,
    /// Entries journaled so far, or since the checkpoint.
    pub journal: Vec<Entry>,
    /// How much they are.
    pub since: Since,
    /// Number of the next journal row.
    pub seq: i32,
    /// The event that started it, for the log.
    pub event_id: Id,
    /// What it has not taken in yet, oldest first.
    pub mail: Vec<Mail>,
    /// What its lifecycle events have in common.
    pub lifecycle: Lifecycle,
}

/// Takes claimed runs; cheap to clone.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    work: Handle,
}

impl Executor {
    /// An executor with `slots` places whose runs are driven on the runtime `work`, whose threads
    /// have stacks large enough to evaluate expressions on.
    #[must_use]
    pub fn new(shared: Arc<Shared>, slots: usize, work: Handle) -> Self {
        Self {
            shared,
            slots: Arc::new(Semaphore::new(slots)),
            work,
        }
    }

    /// A free place, where there is one.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits for a free place; `None` when the executor takes no more runs.
    pub async fn free_slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Takes no more runs.
    pub fn close(&self) {
        self.slots.close();
    }

    /// Drives a run to its end, or to where it waits.
    pub fn start(&self, begun: Begun, slot: Slot) {
        self.shared.metrics.runs_in_flight.inc();
        let letterbox = Arc::new(Letterbox::new(begun.run_id));
        self.shared
            .held
            .insert(begun.claim_id, Arc::clone(&letterbox));
        let shared = Arc::clone(&self.shared);
        let lease = Lease {
            shared: Arc::clone(&shared),
            claim_id: begun.claim_id,
            places: Vec::new(),
            _slot: slot,
        };
        self.work.spawn(async move {
            let lost = Lost::of(&begun);
            let driven = drive(&shared, begun, lease, &letterbox);
            let driven = std::panic::AssertUnwindSafe(driven).catch_unwind();
            if driven.await.is_err() {
                lost.settle(&shared).await;
            }
        });
    }
}

/// A run on this node.
struct Live<'a> {
    shared: &'a Shared,
    run: Run,
    run_id: Id,
    workflow_id: i32,
    claim_id: i64,
    seq: Arc<AtomicI32>,
    unsaved: Vec<Entry>,
    since: Since,
    has_checkpoint: bool,
    definition: Arc<Definition>,
    event_id: Id,
    mail: Post,
    ears: Ears,
    lifecycle: Lifecycle,
    /// Lifecycle events to publish with the next settlement.
    announced: Vec<Event>,
}

async fn drive(shared: &Arc<Shared>, begun: Begun, lease: Lease, letterbox: &Letterbox) {
    let lost = Lost::of(&begun);
    let mut live = match Live::replay(shared, begun) {
        Ok(live) => live,
        Err(unfit) => return lost.replay_in_full(shared, &unfit, lease).await,
    };
    live.checkpoint();
    let mut flight = Flight::new(shared, live.run_id, live.claim_id);
    loop {
        live.mail.put(letterbox.take());
        let (effects, waits) = match live.run.pending() {
            Pending::Ended(end) => return live.end(end, lease.with(flight.take_over())).await,
            Pending::Open { effects, waits } => (effects, waits),
        };
        let now = Timestamp::now();
        let due = waits.iter().find(|wait| wait.until <= now);
        if let Some(mail) = live.mail.next(due.map(|wait| wait.until)) {
            live.take(mail, now);
            continue;
        }
        if let Some(wait) = due {
            live.apply(
                now,
                Change::Fired {
                    key: wait.key.clone(),
                },
            );
            continue;
        }
        flight.keep_only(&effects);
        let due: Vec<_> = effects
            .iter()
            .filter(|effect| flight.may_start(effect, now))
            .collect();
        // Also where calls still fly: these may wait for the places of those that are over.
        if !due.is_empty() || (flight.has_over() && !flight.is_empty()) {
            let saved = live.save().await;
            drop(flight.take_over());
            if !saved || !shared.session.covers(live.claim_id) {
                return;
            }
        }
        if !due.is_empty() {
            if let Some(next) = flight.park(&due, now) {
                return live.release(next, lease).await;
            }
            due.into_iter().for_each(|effect| flight.start(effect));
        }
        let wake_at = wake_at(&effects, &waits, now);
        if flight.is_empty() {
            let Some(due_at) = wake_at.or_else(|| live.ears.patience(&live.run, now)) else {
                return live.end(stuck(), lease.with(flight.take_over())).await;
            };
            let lease = lease.with(flight.take_over());
            return live.release(Next::Wait { due_at }, lease).await;
        }
        if live.has_news() && !live.save().await {
            return;
        }
        tokio::select! {
            changes = flight.next(wake_at) => {
                for change in changes {
                    live.apply(Timestamp::now(), change);
                }
            }
            () = letterbox.arrived.notified() => {}
        }
    }
}

/// The next time a run has something to do, whatever comes of what is in flight.
fn wake_at(effects: &[Effect], waits: &[Wait], now: Timestamp) -> Option<Timestamp> {
    let retries = effects.iter().filter_map(|effect| effect.not_before);
    let waits = waits.iter().map(|wait| wait.until);
    retries.filter(|at| *at > now).chain(waits).min()
}

/// A run that waits for nothing would stay for ever; that must be seen.
fn stuck() -> End {
    End::Faulted(Problem::new(
        Kind::Runtime,
        "the run has nothing to wait for and nothing to do",
    ))
}

impl<'a> Live<'a> {
    fn replay(shared: &'a Arc<Shared>, begun: Begun) -> Result<Self, Unfit> {
        let surroundings = Surroundings {
            id: begun.run_id,
            environment: Arc::clone(&shared.environment),
            secrets: Arc::clone(&shared.secrets),
            tasks_max: shared.tasks_max,
            links: Arc::clone(&shared.links),
        };
        let (definition, surroundings) = (Arc::clone(&begun.definition), Arc::new(surroundings));
        let has_checkpoint = begun.checkpoint.is_some();
        let mut unsaved = Vec::new();
        let mut run = match begun.checkpoint {
            Some(state) => {
                let mut run = Run::restore(definition, surroundings, begun.input, &state)?;
                begun.journal.into_iter().for_each(|entry| run.apply(entry));
                run
            }
            None => {
                let mut journal = begun.journal;
                if journal.is_empty() && definition.concurrency.is_some() {
                    // It may have waited for its place; its times count from here.
                    unsaved.push(Entry {
                        at: Timestamp::now(),
                        change: Change::Started {
                            input: Value::null(),
                        },
                    });
                    journal.clone_from(&unsaved);
                }
                let created_at = created_at(begun.run_id);
                let entries = entry::from_start(created_at, begun.input, journal);
                Run::replay(definition, surroundings, entries)
            }
        };
        let mut ears = Ears::new(begun.workflow_id);
        let mut started = None;
        if begun.seq == 0 {
            started = begun.lifecycle.event(shared, Moment::Started, None);
        }
        if begun.seq > 0 {
            // What was lived before was exchanged then.
            let _published = run.take_outgoing();
            let _asked = run.take_approvals();
            let _known = ears.settled(&run, false);
        }
        Ok(Self {
            shared,
            run,
            run_id: begun.run_id,
            workflow_id: begun.workflow_id,
            claim_id: begun.claim_id,
            seq: Arc::new(AtomicI32::new(begun.seq)),
            unsaved,
            since: begun.since,
            has_checkpoint,
            definition: begun.definition,
            event_id: begun.event_id,
            mail: Post::of(begun.mail),
            ears,
            announced: started.into_iter().collect(),
            lifecycle: begun.lifecycle,
        })
    }

    /// Makes a checkpoint where one is due. Everything applied so far must be committed.
    fn checkpoint(&mut self) {
        if !self.since.is_due() {
            return;
        }
        let Some(state) = self.run.checkpoint() else {
            return self.since.refuse(0);
        };
        // What is hidden in the journal must not be seen here either, and replaced by stars it
        // would not be what the journal says.
        if !self.hiding().is_clean(&state) {
            return self.since.refuse(state.len());
        }
        if self.since.takes(state.len()) {
            self.has_checkpoint = true;
            self.shared.checkpoints.keep(Checkpoint {
                run_id: self.run_id,
                seq: self.seq.load(Ordering::Relaxed),
                state,
            });
        }
    }

    /// Takes a letter in. What the run has no use for is taken too, so that it does not come again.
    fn take(&mut self, mail: Mail, now: Timestamp) {
        match mail.letter {
            Letter::Event { event, addressed } => {
                if let Some(event) = exchange::heard(&self.run, &event, addressed) {
                    self.apply(now, Change::Received { event });
                }
            }
            Letter::Command(_) | Letter::Child(_) | Letter::Lost => {
                tracing::warn!(run.id = %self.run_id, mail.id = %mail.id, "mail cannot be read");
            }
        }
    }

    fn hiding(&self) -> Hiding {
        Hiding::of(&self.run, &self.shared.links, self.shared.redactor())
    }

    /// Whether there is something that others must learn of before this run goes on.
    fn has_news(&self) -> bool {
        !self.announced.is_empty()
            || self.mail.has_taken()
            || self.run.has_outgoing()
            || self.run.has_approvals()
            || self.ears.changed(&self.run)
    }

    fn apply(&mut self, at: Timestamp, change: Change) {
        let entry = Entry { at, change };
        self.unsaved.push(entry.clone());
        self.run.apply(entry);
    }

    /// Commits what was journaled since the last time; false = the claim was lost.
    async fn save(&mut self) -> bool {
        if self.unsaved.is_empty() && !self.has_news() {
            return true;
        }
        let settlement = self.settlement(Next::Keep);
        self.seq.fetch_add(1, Ordering::Relaxed);
        let saved = self.shared.settler.settle(settlement).await;
        if saved {
            self.checkpoint();
        }
        saved
    }

    async fn release(&mut self, next: Next, lease: Lease) {
        let settlement = self.settlement(next);
        self.shared
            .settler
            .send(Request::release(settlement, lease))
            .await;
    }

    async fn end(&mut self, end: End, lease: Lease) {
        let (status, output, error) = match &end {
            End::Completed(output) => ("completed", Some(output.to_json()), None),
            End::Faulted(problem) => ("faulted", None, serde_json::to_vec(problem).ok()),
            End::Cancelled => ("cancelled", None, None),
        };
        let document = &self.definition.document;
        report::ended(self.shared, (self.run_id, self.event_id), document, &end);
        let (moment, problem) = match &end {
            End::Completed(_) => (Moment::Completed, None),
            End::Faulted(problem) => (Moment::Faulted, Some(problem)),
            End::Cancelled => (Moment::Cancelled, None),
        };
        self.announced
            .extend(self.lifecycle.event(self.shared, moment, problem));
        if self.has_checkpoint {
            self.shared.checkpoints.forget(self.run_id);
        }
        let hide = |text: Vec<u8>| self.shared.redactor().redact_json(text).into();
        let next = Next::Ended {
            status,
            output: output.map(hide),
            error: error.map(hide),
        };
        let settlement = self.settlement(next);
        if self.definition.concurrency.is_some() {
            // Its place goes to another run once it is known for sure that it has ended.
            self.shared.settler.settle(settlement).await;
            drop(lease);
            return self.shared.gates.leave(self.run_id);
        }
        self.shared
            .settler
            .send(Request::release(settlement, lease))
            .await;
    }

    fn settlement(&mut self, next: Next) -> Settlement {
        let exchange = self.exchange(&next);
        // Whoever replays the run must see by its rows that this has been done.
        let first = exchange.is_some() && self.seq.load(Ordering::Relaxed) == 0;
        let hiding = self.hiding();
        let entries = (first || !self.unsaved.is_empty()).then(|| {
            let encoded = entry::encode(&std::mem::take(&mut self.unsaved));
            self.since.journaled(encoded.len());
            hiding.json(encoded).into()
        });
        Settlement {
            run_id: self.run_id,
            workflow_id: self.workflow_id,
            claim_id: self.claim_id,
            seq: self.seq.load(Ordering::Relaxed),
            entries,
            next,
            exchange,
        }
    }

    /// What the run exchanges with others in its next settlement.
    fn exchange(&mut self, next: &Next) -> Option<Box<Exchange>> {
        let waits = matches!(next, Next::Wait { .. });
        let listened = self.ears.is_listening();
        let listens = self.ears.settled(&self.run, waits);
        let moment = match (listened, self.ears.is_listening()) {
            (false, true) => Some(Moment::CorrelationStarted),
            (true, false) => Some(Moment::CorrelationCompleted),
            _ => None,
        };
        let correlation = moment.and_then(|moment| self.lifecycle.event(self.shared, moment, None));
        let taken = self.mail.taken();
        let mut outgoing = self.run.take_outgoing();
        outgoing.extend(correlation);
        outgoing.append(&mut self.announced);
        let approvals = self.run.take_approvals();
        let awaits = waits && self.run.awaits_decisions();
        let silent = listens.is_none() && outgoing.is_empty() && approvals.is_empty();
        if silent && taken.is_empty() && !awaits {
            return None;
        }
        let hiding = self.hiding();
        let listens = listens.unwrap_or_else(|| self.ears.keys());
        let known = self.shared.listening.known();
        Some(Box::new(Exchange {
            events: outgoing.into_iter().map(|it| hiding.publish(it)).collect(),
            taken,
            filters: listens.filters_but(|filter| known.has(filter)),
            listens: listens.keys,
            approvals: asked::rows(&approvals, &self.shared.links, &hiding.redactor),
            awaits,
            ..Exchange::default()
        }))
    }
}

/// When a run was created: its id says so.
pub(super) fn created_at(run_id: Id) -> Timestamp {
    let ms = i64::try_from(run_id.made_at_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
