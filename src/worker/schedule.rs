//! The schedule loop: what is due by time becomes an event of the log, addressed to its run.
//!
//! Every node looks; a tick belongs to whoever moves the schedule on from it, in the statement that
//! appends its event, so there is one run a tick however many nodes there are. Times come from the
//! database: a node whose clock is off is not late and not early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::append::{Appended, chain};
use super::command::Command;
use crate::event::Event;
use crate::id::Id;
use crate::store::schedules::{Due, Look, Move, Tick};
use crate::store::{self, Link, Target};
use crate::trigger::timetable::{self, Decision, Moment};
use crate::workflow::definition::{CatchUp, Overlap, Schedule, Timetable};

/// CloudEvents `type` of the event that a tick is.
const DUE: &str = "io.hookwright.schedule.due.v1";

/// Longest pause between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// After a pause this long between two looks, by the database's clock, what came due in it was
/// missed: nobody was there, or the database was not.
const GAP_MIN: SignedDuration = SignedDuration::from_secs(10);

/// Looks for what is due, for ever; events go on to `router`.
pub async fn run(shared: Arc<Shared>, mut link: Link, router: mpsc::Sender<Appended>) {
    let mut watch = Watch::default();
    let mut changes = shared.definitions.changes();
    shared.definitions.loaded().await;
    let mut pause = Duration::ZERO;
    loop {
        let _period = tokio::time::timeout(pause, changes.changed()).await;
        pause = match look(&shared, &mut link, (&mut watch, &router)).await {
            Ok(pause) => pause.min(LOOK_PERIOD),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "schedules could not be looked at");
                LOOK_PERIOD
            }
        };
    }
}

/// Since when this node has been looking without a gap.
#[derive(Default)]
struct Watch {
    since: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Watch {
    fn look(&mut self, now: Timestamp) -> Timestamp {
        let gap = self
            .last
            .is_none_or(|last| now.duration_since(last) > GAP_MIN);
        self.last = Some(now);
        match self.since {
            Some(since) if !gap => since,
            _ => *self.since.insert(now),
        }
    }
}

async fn look(
    shared: &Shared,
    link: &mut Link,
    (watch, router): (&mut Watch, &mpsc::Sender<Appended>),
) -> Result<Duration, store::Error> {
    link.rest_schedules().await?;
    let look = link.due_schedules().await?;
    let watched_since = watch.look(look.now);
    let pause = look.next_in.unwrap_or(LOOK_PERIOD);
    if look.due.is_empty() {
        return Ok(pause);
    }
    let full = look.due.len() == store::schedules::LOOK_MAX;
    let plans = plan(shared, look, watched_since).await?;
    let moves: Vec<Move> = plans.iter().map(Plan::step).collect();
    let ticks: Vec<Tick> = plans.iter().flat_map(Plan::ticks).collect();
    let cancel = Command::Cancel.content();
    let moved = link.tick((&moves, &ticks), (DUE, &cancel)).await?;
    shared.addressees.tell(moved.values().copied().flatten());
    for plan in &plans {
        if moved.contains_key(&(plan.due.namespace.clone(), plan.due.name.clone())) {
            plan.tell(shared);
        }
    }
    for tick in ticks {
        if moved.contains_key(&(tick.namespace.clone(), tick.name.clone())) {
            hand_over(tick, router);
        }
    }
    Ok(if full { Duration::ZERO } else { pause })
}

/// A schedule that is due, and what was decided.
struct Plan {
    due: Due,
    now: Timestamp,
    timetable: Timetable,
    decision: Decision,
}

async fn plan(
    shared: &Shared,
    look: Look,
    watched_since: Timestamp,
) -> Result<Vec<Plan>, store::Error> {
    let mut plans = Vec::with_capacity(look.due.len());
    for due in look.due {
        // A definition that this server cannot read is left to one that can.
        let Some(definition) = shared.definitions.workflow(due.workflow_id).await? else {
            continue;
        };
        let Some(Schedule::Time(timetable)) = &definition.schedule else {
            continue;
        };
        let moment = Moment {
            due_at: due.due_at,
            now: look.now,
            watched_since,
            open: due.open,
            held: due.held,
        };
        plans.push(Plan {
            due,
            now: look.now,
            timetable: timetable.as_ref().clone(),
            decision: timetable::decide(timetable, moment),
        });
    }
    Ok(plans)
}

impl Plan {
    fn step(&self) -> Move {
        let (due, decision) = (&self.due, &self.decision);
        Move {
            namespace: due.namespace.clone(),
            name: due.name.clone(),
            workflow_id: due.workflow_id,
            due_at: due.due_at,
            next_at: decision.next,
            held: decision.held,
            started: decision.starts.len() as u64,
            skipped: decision.skipped.len() as u64,
            missed: decision.missed.count,
            cancel: decision.cancels.then(|| Id::at(self.now)),
        }
    }

    /// The ticks as events; those that start nothing say why, those that were missed together.
    fn ticks(&self) -> impl Iterator<Item = Tick> + '_ {
        let Decision {
            starts,
            skipped,
            missed,
            ..
        } = &self.decision;
        let open = match self.timetable.overlap {
            Overlap::Cancel => "a later tick was due as well, and overlap is cancel",
            _ => "the run of the tick before is open, and overlap is skip",
        };
        let missed = missed.last.map(|last| (last, self.missed()));
        let skipped = skipped.iter().map(move |due_at| (*due_at, open.to_owned()));
        let passed = missed.into_iter().chain(skipped);
        passed
            .map(|(due_at, reason)| self.tick(due_at, Some(reason)))
            .chain(starts.iter().map(|due_at| self.tick(*due_at, None)))
    }

    fn missed(&self) -> String {
        let count = self.decision.missed.count;
        let policy = match (self.timetable.catch_up, self.timetable.overlap) {
            (CatchUp::Skip, _) => "catchUp is skip",
            (CatchUp::One, Overlap::Queue) => "catchUp is one, or too many were queued",
            (CatchUp::One, _) => "catchUp is one",
            (CatchUp::All, _) => "they are too many to catch up with",
        };
        format!("ticks up to this one that start no run: {count}; no node was there, and {policy}")
    }

    fn tick(&self, due_at: Timestamp, reason: Option<String>) -> Tick {
        let (namespace, name) = (&self.due.namespace, &self.due.name);
        // Ids are of the database's time, like everything about a tick.
        let id = Id::at(self.now);
        let starts = reason.is_none();
        Tick {
            namespace: namespace.clone(),
            name: name.clone(),
            id,
            source: format!("/api/v1/schedules/{namespace}/{name}"),
            event_id: due_at.to_string(),
            due_at,
            workflow_id: starts.then_some(self.due.workflow_id),
            run_id: starts.then(|| id.counterpart()),
            reason,
        }
    }

    fn tell(&self, shared: &Shared) {
        let Decision {
            starts,
            skipped,
            missed,
            ..
        } = &self.decision;
        let metrics = &shared.metrics.schedules;
        for due_at in starts {
            let late = self.now.duration_since(*due_at).as_secs_f64();
            metrics.started(late.max(0.0));
        }
        metrics.skipped(skipped.len() as u64);
        metrics.missed(missed.count);
        if missed.count > 0 || !skipped.is_empty() {
            tracing::warn!(
                workflow.namespace = self.due.namespace,
                workflow.name = self.due.name,
                ticks.started = starts.len(),
                ticks.skipped = skipped.len(),
                ticks.missed = missed.count,
                "ticks of a schedule start no runs"
            );
        } else {
            tracing::debug!(
                workflow.namespace = self.due.namespace,
                workflow.name = self.due.name,
                ticks.started = starts.len(),
                "a schedule was due"
            );
        }
    }
}

/// Hands a tick that was committed to the router of this node; where that is busy, it reads the
/// inbox when it has caught up.
fn hand_over(tick: Tick, router: &mpsc::Sender<Appended>) {
    let Some((workflow_id, run_id)) = tick.workflow_id.zip(tick.run_id) else {
        return;
    };
    let event = Event {
        id: tick.id,
        attributes: BTreeMap::from([("time".to_owned(), tick.event_id.clone())]),
        event_id: tick.event_id,
        source: tick.source,
        kind: DUE.to_owned(),
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
    };
    let _busy = router.try_send(Appended {
        event,
        target: Some(Target::Start {
            workflow_id,
            run_id,
        }),
        received_at: Instant::now(),
    });
}
