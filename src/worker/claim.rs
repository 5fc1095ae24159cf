//! The claim loop: takes runs from `ready` as far as this node has places for them.
//!
//! Ready runs are those routed when no place was free, those whose timer came due, those a dead
//! node left behind, and those parked for a busy destination. Each queue gets no more than it can
//! use, so a stuck destination never takes the places of the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::append::chain;
use super::checkpoint::Since;
use super::execute::{Begun, Executor, Lost, Slot};
use super::lifecycle::Lifecycle;
use super::origin::{self, Origin, Ties};
use super::session::CLAIM_COUNTER_MASK;
use super::{Shared, gate};
use crate::fault_point;
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::{Entry, entry};
use crate::store::{self, ClaimIds, Claimed, Link, Loaded};
use crate::workflow::Definition;

/// Runs claimed in one transaction.
const BATCH_RUNS_MAX: usize = 256;

/// Shortest and longest pause between two looks at an empty queue.
const POLL_MIN: Duration = Duration::from_millis(20);
const POLL_MAX: Duration = Duration::from_millis(500);

/// Longest pause while runs are ready whose destination has no room: it may have any moment.
const POLL_CROWDED: Duration = Duration::from_millis(80);

/// Pause between two looks for claims without a task; also how old such a claim must be.
const RECLAIM_PERIOD: Duration = Duration::from_secs(10);

/// Claims until the executor is closed.
pub async fn run(shared: Arc<Shared>, executor: Executor, mut link: Link) {
    let mut poll = POLL_MIN;
    shared.definitions.loaded().await;
    loop {
        let woken = shared.wake_claims.notified();
        let _period = tokio::time::timeout(poll, woken).await;
        let Some(first) = executor.free_slot().await else {
            return;
        };
        if !shared.session.is_live() {
            continue;
        }
        let mut slots = vec![first];
        slots.extend(std::iter::from_fn(|| executor.slot()).take(BATCH_RUNS_MAX - 1));
        match claim(&shared, &executor, &mut link, slots).await {
            Ok(Taken::Nothing) => poll = (poll * 2).min(POLL_MAX),
            Ok(Taken::NoRoom) => poll = (poll * 2).min(POLL_CROWDED),
            Ok(Taken::Runs(claimed)) => {
                poll = POLL_MIN;
                if claimed >= BATCH_RUNS_MAX / 2 {
                    // There is more: look again at once.
                    shared.wake_claims.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "ready runs could not be claimed");
                poll = POLL_MAX;
            }
        }
    }
}

/// What a look at the queues came to.
enum Taken {
    Nothing,
    NoRoom,
    Runs(usize),
}

async fn claim(
    shared: &Shared,
    executor: &Executor,
    link: &mut Link,
    slots: Vec<Slot>,
) -> Result<Taken, store::Error> {
    let mut wanted = Vec::new();
    let mut oldest = Duration::ZERO;
    let queues = link.ready_queues().await?;
    for queue in &queues {
        oldest = oldest.max(queue.oldest_age);
        let room = match queue.destination_id {
            0 => slots.len(),
            id => shared
                .destinations
                .room(id, shared.waiting_max)
                .min(slots.len()),
        };
        if room > 0 {
            wanted.push((
                queue.destination_id,
                u32::try_from(room).unwrap_or(u32::MAX),
            ));
        }
    }
    shared.metrics.ready_age_seconds.set(oldest.as_secs_f64());
    if wanted.is_empty() {
        shared.backlog.store(false, Ordering::Release);
        return Ok(if queues.is_empty() {
            Taken::Nothing
        } else {
            Taken::NoRoom
        });
    }
    let room = share_out(&mut wanted, slots.len());
    let session = shared.session.id();
    let first = shared.session.reserve_claim_ids(room);
    let mut ids = ClaimIds {
        session,
        next: first & CLAIM_COUNTER_MASK,
    };
    let claimed = link.claim(session, &mut ids, &wanted).await?;
    // With every place taken more may wait; with one left over nothing does.
    let backlog = claimed.len() == slots.len();
    shared.backlog.store(backlog, Ordering::Release);
    if claimed.is_empty() {
        return Ok(Taken::Nothing);
    }
    begin(shared, executor, link, (claimed, slots))
        .await
        .map(Taken::Runs)
}

/// Cuts what the queues want down to the places there are, evenly.
fn share_out(wanted: &mut [(i32, u32)], places: usize) -> usize {
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    let mut left = places;
    wanted.sort_by_key(|(_, count)| *count);
    let queues = wanted.len();
    for (index, (_, count)) in wanted.iter_mut().enumerate() {
        let share = left / u32::try_from(queues - index).unwrap_or(1);
        *count = (*count).min(share.max(u32::from(left > 0)));
        left -= *count;
    }
    (places - left) as usize
}

/// Loads claimed runs and hands them to the executor; what cannot be loaded is faulted alone.
async fn begin(
    shared: &Shared,
    executor: &Executor,
    link: &mut Link,
    (claimed, mut slots): (Vec<Claimed>, Vec<Slot>),
) -> Result<usize, store::Error> {
    fault_point::pass("claimed");
    let claims: HashMap<Id, Claimed> = claimed.into_iter().map(|c| (c.run_id, c)).collect();
    let ids: Vec<Id> = claims.keys().copied().collect();
    let mut loadable = Vec::with_capacity(ids.len());
    // Claims whose load fails have no task; `reclaim` gives them back.
    for loaded in link.load(&ids).await? {
        let Some(claim) = claims.get(&loaded.run_id) else {
            continue;
        };
        let mut lost = Lost {
            run_id: loaded.run_id,
            workflow_id: loaded.workflow_id,
            claim_id: claim.claim_id,
            lifecycle: None,
            ties: Ties::of_event(&loaded.event, loaded.target.is_some()),
        };
        match begun(shared, loaded, claim.claim_id).await {
            Ok(begun) => loadable.push(begun),
            Err((lifecycle, problem)) => {
                let (run_id, detail) = (lost.run_id, &problem.detail);
                tracing::error!(run.id = %run_id, detail, "a run cannot go on");
                lost.lifecycle = lifecycle;
                lost.fault(shared, problem).await;
            }
        }
    }
    let decided = gate::decide(shared, loadable).await?;
    for (begun, problem) in decided.fault {
        Lost::of(&begun).fault(shared, problem).await;
    }
    for (begun, problem) in decided.cancel {
        Lost::of(&begun).cancel(shared, &problem).await;
    }
    for begun in decided.begin {
        let Some(slot) = slots.pop() else { break };
        executor.start(begun, slot);
    }
    Ok(claims.len())
}

/// Why a run cannot be begun, and what its lifecycle events have in common, where that is known.
type Unreadable = (Option<Lifecycle>, Problem);

async fn begun(shared: &Shared, loaded: Loaded, claim_id: i64) -> Result<Begun, Unreadable> {
    let unreadable = |detail: String| Problem::new(Kind::Runtime, detail);
    let definition = shared.definitions.workflow(loaded.workflow_id).await;
    let definition = definition
        .map_err(|error| format!("the workflow cannot be read: {error}"))
        .and_then(|found| found.ok_or_else(|| "the workflow of this run cannot be read".to_owned()))
        .map_err(|detail| (None, unreadable(detail)))?;
    let lifecycle = Lifecycle::new(loaded.run_id, &definition, &loaded.event);
    let read = read(&loaded, &definition);
    let (origin, journal) = read.map_err(|detail| (Some(lifecycle.clone()), unreadable(detail)))?;
    let bytes = loaded.journal.iter().map(bytes::Bytes::len).sum();
    Ok(Begun {
        lifecycle,
        run_id: loaded.run_id,
        workflow_id: loaded.workflow_id,
        claim_id,
        origin,
        definition,
        checkpoint: loaded.checkpoint,
        since: Since::loaded(loaded.journal.len(), bytes),
        journal,
        seq: loaded.seq,
        event_id: loaded.event.id,
        mail: loaded.mail,
    })
}

/// What a run begins with, and its journal.
fn read(loaded: &Loaded, definition: &Definition) -> Result<(Origin, Vec<Entry>), String> {
    let origin = origin::of(&loaded.event, loaded.target.is_some(), definition)?;
    let mut journal = Vec::new();
    for row in &loaded.journal {
        journal.extend(entry::decode(row).map_err(|error| error.to_string())?);
    }
    Ok((origin, journal))
}

/// Gives claims of this session that no task holds back to `ready`: their statement was committed
/// but its answer was lost on the way.
pub async fn reclaim(shared: Arc<Shared>, mut link: Link) {
    loop {
        tokio::time::sleep(RECLAIM_PERIOD).await;
        let (session, held) = (shared.session.id(), shared.held.claim_ids());
        match link.reclaim(session, &held, RECLAIM_PERIOD).await {
            Ok(0) => {}
            Ok(runs) => {
                tracing::warn!(runs, "claimed runs had no task; they were given back");
                shared.wake_claims.notify_one();
            }
            Err(error) => tracing::warn!(error = %chain(&error), "claims could not be looked over"),
        }
    }
}
