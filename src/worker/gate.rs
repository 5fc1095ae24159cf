//! Gates: runs of a workflow with `concurrency` begin when there is a place for them.
//!
//! The claim loop asks for those it has claimed; whoever has to wait goes back to `ready`, at a
//! time far off. When a run has ended its place goes to the next one. A node that dies in between
//! leaves places taken; any node finds that within seconds.

use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use super::Shared;
use super::append::chain;
use super::command::Command;
use super::execute::{Begun, created_at};
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::store::gates::{Entrant, Place};
use crate::store::{self, Letter, Mail, Store};
use crate::trigger::gate;
use crate::workflow::definition::{Concurrency, OnLimit};

/// Runs that have ended and may wait to leave; the look over all gates finds the others.
const QUEUE_RUNS_MAX: usize = 4_096;

/// Runs that leave in one transaction.
const BATCH_RUNS_MAX: usize = 256;

/// Pause between two looks over all gates.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

/// The gates, for those who come and those who leave.
pub struct Gates {
    store: Store,
    leaving: mpsc::Sender<Id>,
    left: Mutex<mpsc::Receiver<Id>>,
}

impl Gates {
    /// The gates in this database.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let (leaving, left) = mpsc::channel(QUEUE_RUNS_MAX);
        Self {
            store,
            leaving,
            left: Mutex::new(left),
        }
    }

    /// A run of a workflow with `concurrency` has ended, and that is durable.
    pub fn leave(&self, run: Id) {
        let _full = self.leaving.try_send(run);
    }
}

/// A run that has to ask, with what it asks for.
fn entrant(begun: &Begun, concurrency: &Concurrency) -> Result<Entrant, Problem> {
    let entrance = gate::entrance(concurrency, &begun.origin.input, created_at(begun.run_id));
    let (key, priority) = entrance.map_err(|error| {
        let detail = format!("`metadata.concurrency` of the workflow: {error}");
        Problem::new(Kind::Expression, detail)
    })?;
    let document = &begun.definition.document;
    Ok(Entrant {
        run_id: begun.run_id,
        claim_id: begun.claim_id,
        namespace: document.namespace.clone(),
        name: document.name.clone(),
        key,
        runs_max: i32::try_from(concurrency.limit).unwrap_or(i32::MAX),
        priority,
        waits: concurrency.on_limit != OnLimit::Skip,
        displaces: concurrency.on_limit == OnLimit::Cancel,
    })
}

/// What becomes of claimed runs.
#[derive(Default)]
pub struct Decided {
    /// They may begin, or go on.
    pub begin: Vec<Begun>,
    /// They fault.
    pub fault: Vec<(Begun, Problem)>,
    /// They are turned away.
    pub cancel: Vec<(Begun, Problem)>,
}

/// Asks for those that have to; those that wait are this node's no longer.
///
/// # Errors
/// Where the database does not answer; the claims then go back by themselves.
pub async fn decide(shared: &Shared, claimed: Vec<Begun>) -> Result<Decided, store::Error> {
    let mut decided = Decided::default();
    let mut asking = Vec::new();
    let mut entrants = Vec::new();
    for begun in claimed {
        let Some(concurrency) = &begun.definition.concurrency else {
            decided.begin.push(begun);
            continue;
        };
        // A person's word reaches also who waits.
        let is_command = |mail: &Mail| matches!(mail.letter, Letter::Command { .. });
        if begun.mail.iter().any(is_command) {
            decided.begin.push(begun);
            continue;
        }
        match entrant(&begun, concurrency) {
            Ok(entrant) => {
                entrants.push(entrant);
                asking.push(begun);
            }
            Err(problem) => decided.fault.push((begun, problem)),
        }
    }
    if entrants.is_empty() {
        return Ok(decided);
    }
    let cancel = Command::Cancel.content();
    let entered = shared.gates.store.enter_gates(entrants, cancel).await?;
    if !entered.displaced.is_empty() {
        shared.addressees.tell(entered.displaced);
        shared.wake_claims.notify_one();
    }
    for begun in asking {
        let place = entered
            .places
            .get(&begun.run_id)
            .copied()
            .unwrap_or(Place::Waits);
        shared.metrics.gates(place);
        match place {
            Place::In => decided.begin.push(begun),
            Place::Waits => {}
            Place::TurnedAway => {
                let detail = "as many runs as `metadata.concurrency` allows were open, and no more \
                              may wait";
                let problem = Problem::new(Kind::Runtime, detail);
                decided.cancel.push((begun, problem));
            }
        }
    }
    Ok(decided)
}

/// Lets runs leave and others in, for ever.
pub async fn run(shared: std::sync::Arc<Shared>) {
    let mut from = None;
    let mut looked_at = tokio::time::Instant::now();
    let mut ended = Vec::with_capacity(BATCH_RUNS_MAX);
    loop {
        let mut left = shared.gates.left.lock().await;
        let batch = left.recv_many(&mut ended, BATCH_RUNS_MAX);
        let _period = tokio::time::timeout(LOOK_PERIOD, batch).await;
        drop(left);
        if !ended.is_empty() {
            let ended = std::mem::take(&mut ended);
            let entered = shared.gates.store.leave_gates(ended).await;
            tell(&shared, entered);
        }
        if looked_at.elapsed() >= LOOK_PERIOD {
            looked_at = tokio::time::Instant::now();
            let round = shared.gates.store.look_over_gates(from).await;
            from = round.as_ref().ok().and_then(|round| round.next);
            tell(&shared, round.map(|round| round.woken));
        }
    }
}

fn tell(shared: &Shared, entered: Result<u64, store::Error>) {
    match entered {
        Ok(0) => {}
        Ok(_) => shared.wake_claims.notify_one(),
        // The look over all gates finds who could not leave now.
        Err(error) => tracing::warn!(error = %chain(&error), "gates could not be passed"),
    }
}
