//! A run in memory: what it takes in, what of it is to be stored, and what others learn of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::super::append::chain;
use super::super::asked::{self, Hiding};
use super::super::checkpoint::Since;
use super::super::command::Command;
use super::super::exchange::Ears;
use super::super::lifecycle::{Lifecycle, Moment};
use super::super::mail::Post;
use super::super::origin::Ties;
use super::super::settle::Request;
use super::super::{Shared, family, report};
use super::{Begun, Lease, created_at};
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::run::{Change, Effect, End, Entry, Run, Surroundings, Unfit, Wait, entry};
use crate::store::checkpoints::Checkpoint;
use crate::store::{Exchange, Letter, Mail, Next, Settlement};
use crate::workflow::Definition;

/// Pause before the database is asked again for a sub-workflow.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What surrounds a run on this node.
fn surroundings(shared: &Shared, id: Id) -> Arc<Surroundings> {
    Arc::new(Surroundings {
        id,
        environment: Arc::clone(&shared.environment),
        secrets: Arc::clone(&shared.secrets),
        tasks_max: shared.tasks_max,
        links: Arc::clone(&shared.links),
    })
}

/// A run on this node.
pub(super) struct Live<'a> {
    shared: &'a Shared,
    pub(super) run: Run,
    pub(super) run_id: Id,
    workflow_id: i32,
    pub(super) claim_id: i64,
    seq: Arc<AtomicI32>,
    unsaved: Vec<Entry>,
    since: Since,
    has_checkpoint: bool,
    definition: Arc<Definition>,
    event_id: Id,
    pub(super) mail: Post,
    pub(super) ears: Ears,
    lifecycle: Lifecycle,
    /// Lifecycle events to publish with the next settlement.
    announced: Vec<Event>,
    ties: Ties,
    /// What it is suspended or resumed to with the next settlement.
    suspended: Option<bool>,
}

impl<'a> Live<'a> {
    /// The run as its journal leaves it.
    ///
    /// # Errors
    /// Where its checkpoint cannot be used.
    pub(super) fn replay(shared: &'a Arc<Shared>, begun: Begun) -> Result<Self, Unfit> {
        let surroundings = surroundings(shared, begun.run_id);
        let definition = Arc::clone(&begun.definition);
        let has_checkpoint = begun.checkpoint.is_some();
        let mut unsaved = Vec::new();
        let origin = begun.origin;
        let ties = origin.ties;
        let mut run = match begun.checkpoint {
            Some(state) => {
                let mut run = Run::restore(definition, surroundings, origin.input, &state)?;
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
                let input = origin.input;
                let entries =
                    entry::from_start(created_at(begun.run_id), input, Vec::new(), journal);
                let from = ties.replay_of.as_ref().and_then(|it| it.1.as_deref());
                match from {
                    Some(from) => {
                        let prefix = (origin.journal, from);
                        Run::resumed(definition, surroundings, entries, prefix)
                    }
                    None => Run::replay(definition, surroundings, entries),
                }
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
            let _done = run.take_errands();
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
            ties,
            suspended: None,
        })
    }

    /// Does what needs nothing done outside: takes in what came, starts sub-workflows, lets times
    /// pass; whether there was something.
    pub(super) async fn proceed(&mut self, waits: &[Wait], now: Timestamp) -> bool {
        let due = waits.iter().find(|wait| wait.until <= now);
        if let Some(mail) = self.mail.next(due.map(|wait| wait.until)) {
            self.take(mail, now);
            return true;
        }
        if self.start_children(now).await {
            return true;
        }
        if let Some(wait) = due {
            let key = wait.key.clone();
            self.apply(now, Change::Fired { key });
            return true;
        }
        false
    }

    /// Starts the sub-workflows the run wants; whether there were any.
    async fn start_children(&mut self, now: Timestamp) -> bool {
        if self.run.is_suspended() {
            return false;
        }
        let starts = self.run.starts();
        for child in &starts {
            let depth = self.ties.depth_inside();
            match family::start(&self.shared.definitions, child, depth).await {
                Ok(change) => self.apply(now, change),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "a sub-workflow could not be found; trying again");
                    tokio::time::sleep(LOOK_PAUSE).await;
                    return true;
                }
            }
        }
        !starts.is_empty()
    }

    /// The next time the run has something to do, whatever comes of what is in flight.
    pub(super) fn wake_at(
        &self,
        (effects, waits): (&[Effect], &[Wait]),
        now: Timestamp,
    ) -> Option<Timestamp> {
        let retries = effects.iter().filter_map(|effect| effect.not_before);
        let retries = retries.filter(|at| *at > now && !self.run.is_suspended());
        waits.iter().map(|wait| wait.until).chain(retries).min()
    }

    /// Makes a checkpoint where one is due. Everything applied so far must be committed.
    pub(super) fn checkpoint(&mut self) {
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
        let change = match &mail.letter {
            Letter::Event { event, addressed } => {
                let heard = self.run.heard(event, *addressed);
                Some(heard.map(|event| Change::Received { event }))
            }
            Letter::Command(content) => Command::of(content).map(|it| it.change(&self.run)),
            Letter::Child(content) => family::returned(content).map(Some),
            Letter::Lost => None,
        };
        match change {
            Some(Some(change)) => self.apply(now, change),
            Some(None) => {}
            None => {
                tracing::warn!(run.id = %self.run_id, mail.id = %mail.id, "mail cannot be read");
            }
        }
    }

    fn hiding(&self) -> Hiding {
        Hiding::of(&self.run, &self.shared.links, self.shared.redactor())
    }

    /// Whether there is something that others must learn of before this run goes on.
    pub(super) fn has_news(&self) -> bool {
        !self.announced.is_empty()
            || self.mail.has_taken()
            || self.run.has_outgoing()
            || self.run.has_approvals()
            || self.run.has_errands()
            || self.ears.changed(&self.run)
    }

    /// Journals a change and takes it.
    pub(super) fn apply(&mut self, at: Timestamp, change: Change) {
        let moment = match change {
            Change::Suspended => Some((true, Moment::Suspended)),
            Change::Resumed => Some((false, Moment::Resumed)),
            _ => None,
        };
        if let Some((suspended, moment)) = moment {
            self.suspended = Some(suspended);
            let event = self.lifecycle.event(self.shared, moment, None);
            self.announced.extend(event);
        }
        let entry = Entry { at, change };
        self.unsaved.push(entry.clone());
        self.run.apply(entry);
    }

    /// Commits what was journaled since the last time; false = the claim was lost.
    pub(super) async fn save(&mut self) -> bool {
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

    /// Commits, and gives the run up.
    pub(super) async fn release(&mut self, next: Next, lease: Lease) {
        let settlement = self.settlement(next);
        self.shared
            .settler
            .send(Request::release(settlement, lease))
            .await;
    }

    /// Commits the end of the run.
    pub(super) async fn end(&mut self, end: End, lease: Lease) {
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
        if self.run.is_suspended() {
            self.suspended = Some(false);
        }
        let mut settlement = self.settlement(next);
        if let Some(parent) = &self.ties.parent
            && let Some(mail) = family::ended(parent, self.run_id, &end, &self.shared.redactor())
        {
            let exchange = settlement.exchange.get_or_insert_default();
            exchange.mail.push(mail);
        }
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
        let errands = self.run.take_errands();
        let suspended = self.suspended.take();
        let asked = self.run.take_approvals();
        let awaits = self.run.awaits_others() || self.run.awaits_decisions();
        let expects = waits && (self.run.is_suspended() || awaits);
        let is_told = expects || suspended.is_some() || !errands.is_empty() || !asked.is_empty();
        if listens.is_none() && taken.is_empty() && outgoing.is_empty() && !is_told {
            return None;
        }
        let hiding = self.hiding();
        let listens = listens.unwrap_or_else(|| self.ears.keys());
        let known = self.shared.listening.known();
        let mut exchange = Box::new(Exchange {
            events: outgoing.into_iter().map(|it| hiding.publish(it)).collect(),
            taken,
            expects,
            suspended,
            filters: listens.filters_but(|filter| known.has(filter)),
            listens: listens.keys,
            approvals: asked::rows(&asked, &self.shared.links, &hiding.redactor),
            ..Exchange::default()
        });
        let parent = family::About {
            run_id: self.run_id,
            ties: &self.ties,
            lifecycle: &self.lifecycle,
        };
        family::carry_out(errands, &parent, &mut exchange);
        Some(exchange)
    }
}
