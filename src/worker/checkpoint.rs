//! Checkpoints of long runs: when one is due, and the loop that stores them.
//!
//! A checkpoint is written when the journal has grown by as much as it is long, so that what a run
//! writes for a task stays flat however long it is. It is a cache: what finds the queue full is
//! dropped, and nothing waits for it. `run::checkpoint` says what is in one.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use super::append::chain;
use crate::fault_point;
use crate::id::Id;
use crate::store::checkpoints::Checkpoint;
use crate::store::{self, Link};

/// Journal rows that are replayed rather than replaced.
const ROWS_MIN: u32 = 64;

/// What a checkpoint may be longer than the journal since the one before, in bytes.
const SPARE_BYTES: usize = 16 * 1024;

/// Longest checkpoint, in bytes; a run with more open is replayed from its journal.
const CHECKPOINT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Checkpoints that may wait to be stored.
const QUEUE_MAX: usize = 4;

/// What was journaled since the last checkpoint of a run.
#[derive(Debug, Default)]
pub struct Since {
    rows: u32,
    bytes: usize,
    /// Not before the journal has grown by so many bytes.
    bytes_min: usize,
}

impl Since {
    /// What was read back to replay a run.
    #[must_use]
    pub fn loaded(rows: usize, bytes: usize) -> Self {
        Self {
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            bytes,
            bytes_min: 0,
        }
    }

    /// One more row.
    pub const fn journaled(&mut self, bytes: usize) {
        self.rows = self.rows.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether making one is worth it.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.rows >= ROWS_MIN && self.bytes >= self.bytes_min
    }

    /// Whether one of this length is to be stored; if not, when to ask again.
    pub const fn takes(&mut self, bytes: usize) -> bool {
        if bytes > CHECKPOINT_BYTES_MAX {
            self.refuse(bytes);
            return false;
        }
        let affordable = self.bytes.saturating_add(SPARE_BYTES);
        let takes = bytes <= affordable;
        self.bytes_min = bytes.saturating_sub(SPARE_BYTES);
        if takes {
            self.rows = 0;
            self.bytes = 0;
        }
        takes
    }

    /// None is to be had now, and it took `bytes` to find out.
    pub const fn refuse(&mut self, bytes: usize) {
        self.rows = 0;
        self.bytes_min = self.bytes.saturating_add(bytes);
    }
}

enum Order {
    Keep(Checkpoint),
    Forget(Id, Option<oneshot::Sender<()>>),
}

/// Hands checkpoints to their loop; cheap to clone.
#[derive(Clone)]
pub struct Checkpoints {
    queue: mpsc::Sender<Order>,
}

/// What the loop takes from.
pub struct Queue(mpsc::Receiver<Order>);

/// Makes the two ends of the queue.
#[must_use]
pub fn channel() -> (Checkpoints, Queue) {
    let (queue, orders) = mpsc::channel(QUEUE_MAX);
    (Checkpoints { queue }, Queue(orders))
}

impl Checkpoints {
    /// Stores a checkpoint, unless too many wait already.
    pub fn keep(&self, checkpoint: Checkpoint) {
        let _dropped = self.queue.try_send(Order::Keep(checkpoint));
    }

    /// Removes the checkpoint of a run that has ended, unless too much waits already.
    pub fn forget(&self, run_id: Id) {
        let _dropped = self.queue.try_send(Order::Forget(run_id, None));
    }

    /// Removes a checkpoint that cannot be used, and waits for it.
    pub async fn discard(&self, run_id: Id) {
        let (done, waited) = oneshot::channel();
        let _closed = self.queue.send(Order::Forget(run_id, Some(done))).await;
        let _closed = waited.await;
    }
}

/// Stores and removes checkpoints until every [`Checkpoints`] is gone.
pub async fn run(mut queue: Queue, mut link: Link) {
    let mut batch = Vec::with_capacity(QUEUE_MAX);
    while queue.0.recv_many(&mut batch, QUEUE_MAX).await > 0 {
        if let Err(error) = store(&mut link, &mut batch).await {
            tracing::warn!(error = %chain(&error), "checkpoints could not be stored");
        }
        // Dropped orders tell whoever waits.
        batch.clear();
    }
}

async fn store(link: &mut Link, batch: &mut Vec<Order>) -> Result<(), store::Error> {
    // The last word about a run counts.
    let mut kept: HashMap<Id, Checkpoint> = HashMap::new();
    let mut forgotten = Vec::new();
    let mut waiting = Vec::new();
    for order in batch.drain(..) {
        match order {
            Order::Keep(checkpoint) => {
                kept.insert(checkpoint.run_id, checkpoint);
            }
            Order::Forget(run_id, done) => {
                kept.remove(&run_id);
                forgotten.push(run_id);
                waiting.extend(done);
            }
        }
    }
    if !forgotten.is_empty() {
        link.forget_checkpoints(&forgotten).await?;
    }
    if !kept.is_empty() {
        let kept: Vec<_> = kept.into_values().collect();
        link.keep_checkpoints(&kept).await?;
        fault_point::pass("checkpointed");
    }
    drop(waiting);
    Ok(())
}
