//! The writer: every event enters the log here, many at once.
//!
//! Doors hand an event over and wait for the commit; if a sender hangs up, the write goes on. While
//! one commit is in flight the next batch gathers by itself (adaptive group commit), so batches are
//! as large as the load asks for and a lone event waits for nobody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::spacing::Spacing;
use super::{Config, Metrics};
use crate::event::Event;
use crate::fault_point;
use crate::id::Id;
use crate::store::{self, Link, NewEvent, Target};

/// Bytes an event weighs beside its body: headers, ids, channel slots.
const EVENT_OVERHEAD_BYTES: usize = 2048;

/// A statement that fails sooner found its connection broken, rather than the database too slow.
const BROKEN_AFTER_MAX: Duration = Duration::from_millis(250);

/// One permit of the admission semaphore stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

/// An event is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id, or that of the event it duplicates.
    pub id: Id,
    /// Whether it was there before.
    pub duplicate: bool,
}

/// The event is not known to be stored; the sender should send it again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the event log cannot take the event now")]
pub struct Unavailable {
    /// When to try again, in seconds.
    pub retry_after_s: u32,
}

/// An event that was just committed, handed to the router without reading it back.
#[derive(Debug)]
pub struct Appended {
    /// The event as stored.
    pub event: Event,
    /// What it is addressed to.
    pub target: Option<Target>,
    /// When it was handed in.
    pub received_at: Instant,
}

/// Hands events to the writer; cheap to clone.
#[derive(Clone)]
pub struct Appender {
    queue: mpsc::Sender<Request>,
    weight: Arc<Semaphore>,
    budget: Duration,
    metrics: Arc<Metrics>,
}

/// What the writer takes from: shared by its tasks.
pub struct Queue {
    requests: Mutex<(mpsc::Receiver<Request>, Spacing)>,
    batch_events_max: usize,
    metrics: Arc<Metrics>,
}

struct Request {
    event: NewEvent,
    received_at: Instant,
    stored: oneshot::Sender<Result<Receipt, Unavailable>>,
    _weight: OwnedSemaphorePermit,
}

/// Makes the two ends of the writer's queue.
#[must_use]
pub fn channel(config: &Config, metrics: &Arc<Metrics>) -> (Appender, Queue) {
    let (queue, requests) = mpsc::channel(config.append_queue_events_max);
    let appender = Appender {
        queue,
        weight: Arc::new(Semaphore::new(config.append_queue_bytes_max / PERMIT_BYTES)),
        budget: Duration::from_millis(config.append_timeout_ms),
        metrics: Arc::clone(metrics),
    };
    let queue = Queue {
        requests: Mutex::new((requests, Spacing::new(config.batch_spacing_ms))),
        batch_events_max: config.append_batch_events_max,
        metrics: Arc::clone(metrics),
    };
    (appender, queue)
}

impl Appender {
    /// Hands in an event and waits until it is committed.
    ///
    /// # Errors
    /// [`Unavailable`] when the queue is full, or the database does not confirm within
    /// `worker.append_timeout_ms`. The event may be stored all the same; sending it again is safe.
    pub async fn append(&self, event: NewEvent) -> Result<Receipt, Unavailable> {
        let full = Unavailable { retry_after_s: 1 };
        let weight = (event.event.body.len() + EVENT_OVERHEAD_BYTES).div_ceil(PERMIT_BYTES);
        let weight = u32::try_from(weight).map_err(|_| full)?;
        let permit = Arc::clone(&self.weight)
            .try_acquire_many_owned(weight)
            .map_err(|_| full)?;
        let (stored, answer) = oneshot::channel();
        let received_at = Instant::now();
        let request = Request {
            event,
            received_at,
            stored,
            _weight: permit,
        };
        self.queue.try_send(request).map_err(|_| full)?;
        match tokio::time::timeout(self.budget, answer).await {
            Ok(Ok(receipt)) => {
                self.metrics
                    .append_seconds
                    .observe(received_at.elapsed().as_secs_f64());
                receipt
            }
            Ok(Err(_)) | Err(_) => Err(Unavailable { retry_after_s: 2 }),
        }
    }
}

/// Runs one writer task until every [`Appender`] is gone; stored events go on to `router`.
pub async fn run(queue: Arc<Queue>, mut link: Link, router: mpsc::Sender<Appended>) {
    let mut batch = Vec::with_capacity(queue.batch_events_max);
    loop {
        let taken = {
            let (requests, spacing) = &mut *queue.requests.lock().await;
            spacing.wait(requests.len(), queue.batch_events_max).await;
            let taken = requests.recv_many(&mut batch, queue.batch_events_max).await;
            spacing.begun(taken);
            taken
        };
        if taken == 0 {
            return;
        }
        queue.metrics.append_batch_events.observe(taken as f64);
        let (events, waiting) = split(&mut batch);
        fault_point::pass("append");
        match append(&mut link, &events).await {
            Ok(outcomes) => {
                fault_point::pass("appended");
                confirm(&queue, events, waiting, (outcomes, &router));
            }
            Err(store::Error::Refused(_)) if taken > 1 => {
                append_singly(&queue, &mut link, &router, (events, waiting)).await;
            }
            Err(error) => refuse(&error, waiting),
        }
    }
}

/// Appends; tries once more where the connection turns out to be broken, as it is after a restart
/// of the database, so that senders need not notice. An event that was committed all the same is
/// then found to be there.
async fn append(link: &mut Link, events: &[NewEvent]) -> Result<Vec<Option<Id>>, store::Error> {
    let begun = Instant::now();
    match link.append(events).await {
        Err(store::Error::Unavailable(_)) if begun.elapsed() < BROKEN_AFTER_MAX => {
            link.append(events).await
        }
        outcome => outcome,
    }
}

/// The database refuses the batch because of one event: the others must not suffer for it.
async fn append_singly(
    queue: &Queue,
    link: &mut Link,
    router: &mpsc::Sender<Appended>,
    (events, waiting): (Vec<NewEvent>, Vec<Waiting>),
) {
    for (event, waiting) in events.into_iter().zip(waiting) {
        let event = vec![event];
        match link.append(&event).await {
            Ok(outcomes) => confirm(queue, event, vec![waiting], (outcomes, router)),
            Err(error) => refuse(&error, vec![waiting]),
        }
    }
}

type Waiting = (
    Instant,
    oneshot::Sender<Result<Receipt, Unavailable>>,
    OwnedSemaphorePermit,
);

fn split(batch: &mut Vec<Request>) -> (Vec<NewEvent>, Vec<Waiting>) {
    let unzip = |request: Request| {
        (
            request.event,
            (request.received_at, request.stored, request._weight),
        )
    };
    batch.drain(..).map(unzip).unzip()
}

fn confirm(
    queue: &Queue,
    events: Vec<NewEvent>,
    waiting: Vec<Waiting>,
    (outcomes, router): (Vec<Option<Id>>, &mpsc::Sender<Appended>),
) {
    for ((new, (received_at, stored, _)), outcome) in events.into_iter().zip(waiting).zip(outcomes)
    {
        let receipt = match outcome {
            Some(id) => Receipt {
                id,
                duplicate: true,
            },
            None => Receipt {
                id: new.event.id,
                duplicate: false,
            },
        };
        // A sender that has gone away does not matter: the event is in the log.
        let _gone = stored.send(Ok(receipt));
        if receipt.duplicate {
            queue.metrics.duplicates.inc();
            continue;
        }
        queue.metrics.appended.inc();
        let appended = Appended {
            event: new.event,
            target: new.target,
            received_at,
        };
        if router.try_send(appended).is_err() {
            // The inbox row remains; the router reads it back when it has caught up.
            queue.metrics.handoffs_skipped.inc();
        }
    }
}

fn refuse(error: &store::Error, waiting: Vec<Waiting>) {
    tracing::warn!(
        events = waiting.len(),
        error = %chain(error),
        "events not stored; their senders were told to try again"
    );
    for (_, stored, _) in waiting {
        let _gone = stored.send(Err(Unavailable { retry_after_s: 2 }));
    }
}

/// An error with its causes, for one log line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
