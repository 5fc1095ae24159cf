//! Tells those who wait for a run on this node that it has ended.
//!
//! A hint only: who waits looks the run up afterwards, and also looks without being told, because
//! another node may have ended it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::id::Id;

/// Who waits for which run.
#[derive(Debug, Default)]
pub struct Endings {
    waiting: Mutex<HashMap<Id, Vec<oneshot::Sender<()>>>>,
    count: AtomicUsize,
}

impl Endings {
    /// Returns when this node has ended the run, at the latest after `at_most`.
    pub async fn wait(&self, run: Id, at_most: Duration) {
        let (ended, told) = oneshot::channel();
        self.change(|waiting| waiting.entry(run).or_default().push(ended));
        let _late = tokio::time::timeout(at_most, told).await;
        self.change(|waiting| {
            let Some(senders) = waiting.get_mut(&run) else {
                return;
            };
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&run);
            }
        });
    }

    /// Tells those who wait for the run.
    pub fn ended(&self, run: Id) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut senders = Vec::new();
        self.change(|waiting| senders = waiting.remove(&run).unwrap_or_default());
        for sender in senders {
            let _gone = sender.send(());
        }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Id, Vec<oneshot::Sender<()>>>)) {
        let mut waiting = match self.waiting.lock() {
            Ok(waiting) => waiting,
            Err(poisoned) => poisoned.into_inner(),
        };
        change(&mut waiting);
        self.count.store(waiting.len(), Ordering::Release);
    }
}
