//! The settler: outcomes of many runs become durable together.
//!
//! While one statement is in flight the next batch gathers, as in the writer, but never waits for
//! more: calls keep their places at destinations until they are settled. A run whose claim is
//! gone was taken over by another node: its result is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use super::append::{Appended, chain};
use super::execute::Lease;
use super::mail::Addressees;
use super::timers::Timers;
use super::{Endings, Metrics};
use crate::fault_point;
use crate::id::Id;
use crate::store::{self, Link, Next, Settlement};

/// Settlements in one transaction.
const BATCH_RUNS_MAX: usize = 256;

/// Settlements that may wait; beyond it runs wait for their turn.
const QUEUE_RUNS_MAX: usize = 1024;

/// Longest pause after a failed statement.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// One settlement on its way, with what is to be given back once it is durable.
pub struct Request {
    settlement: Settlement,
    lease: Option<Lease>,
    settled: Option<oneshot::Sender<bool>>,
}

impl Request {
    /// A settlement after which the run leaves memory and its place is free.
    #[must_use]
    pub fn release(settlement: Settlement, lease: Lease) -> Self {
        Self {
            settlement,
            lease: Some(lease),
            settled: None,
        }
    }
}

/// Hands settlements to the settler; cheap to clone.
#[derive(Clone)]
pub struct Settler {
    queue: mpsc::Sender<Request>,
}

/// What the settler's tasks take from.
pub struct Queue(Mutex<mpsc::Receiver<Request>>);

/// Makes the two ends of the settler's queue.
#[must_use]
pub fn channel() -> (Settler, Queue) {
    let (queue, requests) = mpsc::channel(QUEUE_RUNS_MAX);
    (Settler { queue }, Queue(Mutex::new(requests)))
}

impl Settler {
    /// Waits until a settlement is durable; false = the claim was lost and nothing was written.
    pub async fn settle(&self, settlement: Settlement) -> bool {
        let (settled, answer) = oneshot::channel();
        self.send(Request {
            settlement,
            lease: None,
            settled: Some(settled),
        })
        .await;
        answer.await.unwrap_or(false)
    }

    /// Hands a settlement over without waiting for it.
    pub async fn send(&self, request: Request) {
        // The settler outlives every run; at the very end of the process an unsettled run is
        // taken over by another node.
        let _closed = self.queue.send(request).await;
    }
}

/// Who hears of what was settled.
pub struct Books {
    /// Of runs that have ended.
    pub endings: Arc<Endings>,
    /// Of runs that wait.
    pub timers: Arc<Timers>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Those who wake runs that have mail.
    pub addressees: Arc<Addressees>,
    /// The router, for events that runs have published.
    pub router: mpsc::Sender<Appended>,
}

impl Books {
    /// What a run has exchanged is durable. The settlement by which it went to wait did not see
    /// mail that was being written meanwhile, so somebody must look again.
    fn exchanged(&self, settlement: &mut Settlement) {
        let Some(exchange) = settlement.exchange.take() else {
            return;
        };
        let waits = matches!(settlement.next, Next::Wait { .. });
        let expects = exchange.expects || !exchange.listens.is_empty();
        let waiting = (waits && expects).then_some(settlement.run_id);
        let addressees = exchange.mail.iter().map(|mail| mail.run_id);
        self.addressees.tell(addressees.chain(waiting));
        for new in exchange.events {
            self.metrics.appended.inc();
            let appended = Appended {
                event: new.event,
                target: new.target,
                received_at: Instant::now(),
            };
            if self.router.try_send(appended).is_err() {
                // The inbox row remains; the router reads it back when it has caught up.
                self.metrics.handoffs_skipped.inc();
            }
        }
    }
}

/// Runs one settler task until every [`Settler`] is gone.
pub async fn run(queue: Arc<Queue>, mut link: Link, books: Books) {
    let mut batch = Vec::with_capacity(BATCH_RUNS_MAX);
    loop {
        let taken = {
            let mut requests = queue.0.lock().await;
            requests.recv_many(&mut batch, BATCH_RUNS_MAX).await
        };
        if taken == 0 {
            return;
        }
        books.metrics.settle_batch_runs.observe(taken as f64);
        let mut settlements = Vec::with_capacity(taken);
        let mut waiting = Vec::with_capacity(taken);
        for request in batch.drain(..) {
            settlements.push(request.settlement);
            waiting.push((request.lease, request.settled));
        }
        fault_point::pass("settle");
        let lost = settle(&mut link, &settlements).await;
        fault_point::pass("settled");
        for (settlement, (lease, settled)) in settlements.iter_mut().zip(waiting) {
            let kept = !lost.contains(&settlement.run_id);
            if kept {
                books.exchanged(settlement);
            } else {
                books.metrics.fenced.inc();
            }
            drop(lease);
            if let Some(settled) = settled {
                let _gone = settled.send(kept);
            }
            match settlement.next {
                Next::Ended { .. } => books.endings.ended(settlement.run_id),
                // Not before the row is there: whoever looks for it earlier looks in vain.
                Next::Wait { due_at } => books.timers.expect(due_at),
                Next::Keep | Next::Ready { .. } => {}
            }
        }
    }
}

/// Settles a batch; tries until the database has answered. Trying again is safe: what an earlier
/// try has written is found settled, and reported as lost only to runs that need nothing more.
async fn settle(link: &mut Link, settlements: &[Settlement]) -> Vec<Id> {
    let mut pause = Duration::from_millis(100);
    loop {
        match link.settle(settlements).await {
            Ok(lost) => return lost,
            Err(store::Error::Refused(error)) if settlements.len() == 1 => {
                let run_id = settlements[0].run_id;
                let error = chain(&error);
                tracing::error!(run.id = %run_id, %error, "a run cannot be settled");
                return vec![run_id];
            }
            Err(store::Error::Refused(_)) => {
                let mut lost = Vec::new();
                for settlement in settlements.chunks(1) {
                    lost.extend(Box::pin(settle(link, settlement)).await);
                }
                return lost;
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(%error, "outcomes could not be stored; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
    }
}
