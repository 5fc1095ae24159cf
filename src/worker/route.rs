//! The router: from events in the inbox to runs.
//!
//! Events appended by this node come in memory; those of a node that died, or that found the
//! queue full, are read back from the inbox. Either way one statement removes the inbox rows and
//! creates the runs, so an event is routed once, by whoever gets there first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::append::{Appended, chain};
use super::checkpoint::Since;
use super::definitions::Active;
use super::execute::{Executor, Slot};
use super::lifecycle::Lifecycle;
use super::spacing::Spacing;
use super::{Shared, batch, origin, screen};
use crate::event::Event;
use crate::expression::Value;
use crate::fault_point;
use crate::id::Id;
use crate::store::{Link, NewRun, Routing, Target};
use crate::trigger;
use crate::workflow::Definition;

/// Events routed in one transaction.
const BATCH_EVENTS_MAX: usize = 256;

/// How long an inbox row may rest before any node takes it up.
const LEFTOVER_AFTER: Duration = Duration::from_secs(2);

/// How often the inbox is looked at for such rows.
const LEFTOVER_PERIOD: Duration = Duration::from_secs(1);

/// Longest pause after a failed statement.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// A run about to be created, claimed where a slot was free.
struct Start {
    run_id: Id,
    event: usize,
    workflow_id: i32,
    definition: Option<Arc<Definition>>,
    claimed: Option<(i64, Slot)>,
}

/// Routes until `events` is closed.
pub async fn run(
    shared: Arc<Shared>,
    executor: Executor,
    mut link: Link,
    mut events: mpsc::Receiver<Appended>,
    batch_spacing_ms: u64,
) {
    let mut batch = Vec::with_capacity(BATCH_EVENTS_MAX);
    let mut looked_at = Instant::now();
    let mut spacing = Spacing::new(batch_spacing_ms);
    shared.definitions.loaded().await;
    loop {
        spacing.wait(events.len(), BATCH_EVENTS_MAX).await;
        let period = tokio::time::timeout(
            LEFTOVER_PERIOD,
            events.recv_many(&mut batch, BATCH_EVENTS_MAX),
        );
        if matches!(period.await, Ok(0)) {
            return;
        }
        spacing.begun(batch.len());
        if !batch.is_empty() {
            route(&shared, &executor, &mut link, std::mem::take(&mut batch)).await;
        }
        if looked_at.elapsed() >= LEFTOVER_PERIOD && events.is_empty() {
            route_leftovers(&shared, &executor, &mut link).await;
            looked_at = Instant::now();
        }
    }
}

async fn route_leftovers(shared: &Shared, executor: &Executor, link: &mut Link) {
    loop {
        let limit = u32::try_from(BATCH_EVENTS_MAX).unwrap_or(u32::MAX);
        let leftovers = match link.unrouted(LEFTOVER_AFTER, limit).await {
            Ok(leftovers) => leftovers,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the inbox could not be read");
                return;
            }
        };
        let count = leftovers.len();
        let received_at = Instant::now();
        let batch: Vec<_> = leftovers
            .into_iter()
            .map(|row| Appended {
                event: row.event,
                target: row.target,
                received_at,
            })
            .collect();
        if !batch.is_empty() {
            route(shared, executor, link, batch).await;
        }
        if count < BATCH_EVENTS_MAX {
            return;
        }
    }
}

/// Routes one batch; tries until the database has answered.
async fn route(shared: &Shared, executor: &Executor, link: &mut Link, mut batch: Vec<Appended>) {
    screen::hold(shared, link, &mut batch).await;
    if batch.is_empty() {
        return;
    }
    let mut decided = decide(shared, executor, &batch).await;
    let mut pause = Duration::from_millis(100);
    fault_point::pass("route");
    let routed = loop {
        match link.route(&decided.routing).await {
            Ok(routed) if !routed.stale => break routed,
            Ok(_) => {
                learn(shared, link).await;
                decided = decide(shared, executor, &batch).await;
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "events could not be routed; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
    };
    fault_point::pass("routed");
    let Decided {
        routing,
        mut starts,
    } = decided;
    let elsewhere = routed.elsewhere;
    if !routing.gathered.is_empty() {
        shared.gathered.notify_one();
    }
    if !routed.told.is_empty() {
        shared.addressees.tell(routed.told);
    }
    // Events found gone were routed by another node, or by our own statement whose answer was
    // lost. In the second case the claims are ours without a task; `reclaim` gives them back.
    starts.retain(|start| !elsewhere.contains(&batch[start.event].event.id));
    shared
        .metrics
        .routed
        .inc_by((batch.len() - elsewhere.len()) as u64);
    shared.metrics.ignored.inc_by(routing.ignored.len() as u64);
    let mut queued = false;
    for start in starts {
        match (start.claimed, start.definition) {
            (Some((claim_id, slot)), Some(definition)) => {
                let appended = &batch[start.event];
                let origin = origin::of(&appended.event, appended.target.is_some(), &definition);
                // `reclaim` gives back what cannot be read, for the fault to be stored.
                let Ok(origin) = origin else { continue };
                let begun = super::execute::Begun {
                    lifecycle: Lifecycle::new(start.run_id, &definition, &appended.event),
                    run_id: start.run_id,
                    workflow_id: start.workflow_id,
                    claim_id,
                    origin,
                    definition,
                    checkpoint: None,
                    journal: Vec::new(),
                    since: Since::default(),
                    seq: 0,
                    event_id: appended.event.id,
                    mail: Vec::new(),
                };
                executor.start(begun, slot);
            }
            _ => queued = true,
        }
    }
    if queued {
        shared.backlog.store(true, Ordering::Release);
        shared.wake_claims.notify_one();
    }
}

/// The raw input of a run: the body of the event that is addressed to it, else what its schedule
/// says of the event that matched.
#[must_use]
pub fn input(event: &Event, addressed: bool, definition: &Definition) -> Value {
    if addressed {
        return Value::from_json(&event.body).unwrap_or_default();
    }
    trigger::input(definition, event)
}

/// What is to become of a batch.
struct Decided {
    routing: Routing,
    starts: Vec<Start>,
}

/// Learns the filters that runs listen with now.
async fn learn(shared: &Shared, link: &mut Link) {
    if let Err(error) = shared.listening.learn(link, &shared.definitions).await {
        tracing::warn!(error = %chain(&error), "filters of runs could not be read");
        tokio::time::sleep(LEFTOVER_PERIOD).await;
    }
}

async fn decide(shared: &Shared, executor: &Executor, batch: &[Appended]) -> Decided {
    let active = shared.definitions.active();
    let listening = shared.listening.known();
    let (mut heard, mut gathered) = (Vec::new(), Vec::new());
    let mut starts = Vec::with_capacity(batch.len());
    let mut ignored = Vec::new();
    let mut addressed = Vec::new();
    for (event, appended) in batch.iter().enumerate() {
        match appended.target {
            Some(Target::Start {
                workflow_id,
                run_id,
            }) => {
                // A definition that cannot be had now leaves the run in `ready`.
                let definition = shared
                    .definitions
                    .workflow(workflow_id)
                    .await
                    .ok()
                    .flatten();
                starts.push(Start {
                    run_id,
                    event,
                    workflow_id,
                    definition,
                    claimed: None,
                });
            }
            Some(Target::Run { run_id }) => {
                let id = appended.event.id;
                addressed.push((id, run_id));
                let reason = format!("run {run_id}, which it was for, is unknown or has ended");
                ignored.push((id, reason));
            }
            None if let Some(reason) = shared.screens.refuses(&appended.event) => {
                ignored.push((appended.event.id, reason));
            }
            None => {
                let gathers = match_triggers(&active, (event, appended), &mut starts, &mut ignored);
                gathered.extend(gathers.into_iter().map(|gathers| {
                    let group = (gathers.workflow_id, gathers.group);
                    (appended.event.id, group, gathers.filters)
                }));
                let envelope = || trigger::envelope(&appended.event);
                let keys = listening.listeners.keys(&appended.event, &envelope);
                heard.extend(keys.into_iter().map(|key| (appended.event.id, key)));
            }
        }
    }
    gather(shared, batch, (&mut starts, &mut ignored)).await;
    // Runs that wait already come first.
    let at_once = shared.session.is_live() && !shared.backlog.load(Ordering::Acquire);
    for start in &mut starts {
        // Runs that are limited in number have to ask first, which is the claim loop's.
        let unlimited = |definition: &Arc<Definition>| definition.concurrency.is_none();
        if start.definition.as_ref().is_some_and(unlimited) && at_once {
            start.claimed = executor
                .slot()
                .map(|slot| (shared.session.next_claim_id(), slot));
        }
    }
    let routing = Routing {
        session: shared.session.id(),
        events: batch.iter().map(|appended| appended.event.id).collect(),
        runs: starts.iter().map(|start| new_run(start, batch)).collect(),
        ignored,
        listening: listening.revision,
        heard,
        addressed,
        gathered,
    };
    Decided { routing, starts }
}

/// Events of workflows that gather them start no runs yet.
async fn gather(
    shared: &Shared,
    batch: &[Appended],
    (starts, ignored): (&mut Vec<Start>, &mut Vec<(Id, String)>),
) {
    let gathers = |start: &mut Start| {
        let gathering = start.definition.as_ref().map(|one| one.gathering.is_some());
        gathering == Some(true) && batch[start.event].target.is_none()
    };
    if !starts.iter_mut().any(gathers) {
        return;
    }
    let mut gathered = Vec::new();
    for start in starts.extract_if(.., gathers) {
        let event = &batch[start.event].event;
        let Some(definition) = &start.definition else {
            continue;
        };
        let Some(gathering) = &definition.gathering else {
            continue;
        };
        let document = &definition.document;
        let reason = match batch::gathered(gathering, event, (start.workflow_id, definition)) {
            Ok(one) => {
                gathered.push(one);
                let (namespace, name) = (&document.namespace, &document.name);
                format!("it is gathered for a later run of {namespace}/{name}")
            }
            Err(reason) => reason,
        };
        ignored.push((event.id, reason));
    }
    // What also starts a run at once is not ignored; an event has one reason.
    ignored.retain(|(id, _)| {
        !starts
            .iter()
            .any(|start| batch[start.event].event.id == *id)
    });
    ignored.dedup_by_key(|(id, _)| *id);
    shared.batches.gather(gathered).await;
}

fn match_triggers(
    active: &Active,
    (event, appended): (usize, &Appended),
    starts: &mut Vec<Start>,
    ignored: &mut Vec<(Id, String)>,
) -> Vec<trigger::Gathers> {
    let envelope = || trigger::envelope(&appended.event);
    let matched = active.triggers.route(&appended.event, &envelope);
    for (workflow_id, definition) in matched.starts {
        let run_id = Id::generate();
        let definition = Some(definition);
        starts.push(Start {
            run_id,
            event,
            workflow_id,
            definition,
            claimed: None,
        });
    }
    if let Some(reason) = matched.ignored {
        ignored.push((appended.event.id, reason));
    }
    matched.gathers
}

fn new_run(start: &Start, batch: &[Appended]) -> NewRun {
    NewRun {
        id: start.run_id,
        event_id: batch[start.event].event.id,
        workflow_id: start.workflow_id,
        claim_id: start.claimed.as_ref().map(|(claim_id, _)| *claim_id),
    }
}
