//! Mail: brings what is addressed to runs to those that are in memory, and wakes those that wait.
//!
//! A run in memory on this node learns of its mail at once where this node routed the event, else
//! within half a second. A run that waits is woken after the commit of whoever wrote to it, and
//! again after its own commit by which it went to wait; what a node that died did not wake, any
//! node finds within a few seconds.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use super::append::chain;
use crate::id::Id;
use crate::store::{self, BATCH_MAX, Link, Mail};

/// Pause between two looks for mail of runs in memory; a run younger than this is not asked for.
const POLL_PERIOD: Duration = Duration::from_millis(500);

/// Pause between two looks over all mail.
const DELIVERY_PERIOD: Duration = Duration::from_secs(1);

/// Pages of one look over all mail; the next look goes on behind them.
const PAGES_MAX: usize = 4;

/// Where the mail of a run in memory is put.
#[derive(Debug)]
pub struct Letterbox {
    run_id: Id,
    since: Instant,
    letters: Mutex<Vec<Mail>>,
    /// Told when something is put in.
    pub arrived: Notify,
}

impl Letterbox {
    /// The empty letterbox of a run.
    #[must_use]
    pub fn new(run_id: Id) -> Self {
        Self {
            run_id,
            since: Instant::now(),
            letters: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Takes out what came. A letter may come again until the settlement that took it is durable.
    #[must_use]
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, mail: Vec<Mail>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        // One that nobody empties gets no more than it had.
        *letters = mail;
        drop(letters);
        self.arrived.notify_one();
    }
}

/// The mail of a run in memory: what it has still to take in, and what it has.
#[derive(Debug, Default)]
pub struct Post {
    letters: VecDeque<Mail>,
    /// All that came since the run is in memory: what comes again is dropped.
    seen: HashSet<Id>,
    /// Taken in, and not settled yet.
    taken: Vec<Id>,
}

impl Post {
    /// The mail a run was loaded with.
    #[must_use]
    pub fn of(mail: Vec<Mail>) -> Self {
        let mut post = Self::default();
        post.put(mail);
        post
    }

    /// More of it.
    pub fn put(&mut self, mail: Vec<Mail>) {
        for mail in mail {
            if self.seen.insert(mail.id) {
                self.letters.push_back(mail);
            }
        }
    }

    /// The next letter, where it was written before `due`: times and mail come in their order.
    pub fn next(&mut self, due: Option<Timestamp>) -> Option<Mail> {
        let written_at = written_at(self.letters.front()?.id);
        if due.is_some_and(|due| due < written_at) {
            return None;
        }
        let mail = self.letters.pop_front()?;
        self.taken.push(mail.id);
        Some(mail)
    }

    /// Whether something was taken in that is not settled yet.
    #[must_use]
    pub fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// What was taken in, for the settlement that is about to be made.
    pub fn taken(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.taken)
    }
}

/// When a letter was written: its id says so.
fn written_at(id: Id) -> Timestamp {
    let ms = i64::try_from(id.made_at_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// Runs of which this node knows that they may have mail.
#[derive(Debug, Default)]
pub struct Addressees {
    runs: Mutex<HashSet<Id>>,
    told: Notify,
}

impl Addressees {
    /// These runs got mail, or went to wait while some may have been on its way.
    pub fn tell(&self, runs: impl IntoIterator<Item = Id>) {
        let mut all = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.extend(runs);
        if all.len() > before {
            self.told.notify_one();
        }
    }

    fn take(&self) -> HashSet<Id> {
        std::mem::take(&mut self.runs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Delivers, for ever.
pub async fn run(shared: Arc<Shared>, mut link: Link) {
    let (mut delivered_at, mut position) = (Instant::now(), None);
    let mut polled_at = Instant::now();
    loop {
        let told = shared.addressees.told.notified();
        let _period = tokio::time::timeout(POLL_PERIOD, told).await;
        let told = shared.addressees.take();
        let everybody = polled_at.elapsed() >= POLL_PERIOD;
        if everybody {
            polled_at = Instant::now();
        }
        if let Err(error) = deliver(&shared, &mut link, told, everybody).await {
            tracing::warn!(error = %chain(&error), "mail could not be delivered; trying again");
        }
        if delivered_at.elapsed() >= DELIVERY_PERIOD {
            delivered_at = Instant::now();
            learn(&shared, &mut link).await;
            match look_over(&shared, &mut link, position).await {
                Ok(next) => position = next,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "mail could not be looked over");
                }
            }
        }
    }
}

/// Learns what runs of other nodes listen with: whoever ends a run must know who wants to hear
/// of it.
async fn learn(shared: &Shared, link: &mut Link) {
    let known = shared.listening.known().revision;
    let learnt = match link.listening_revision().await {
        Ok(revision) if revision == known => Ok(()),
        Ok(_) => shared.listening.learn(link, &shared.definitions).await,
        Err(error) => Err(error),
    };
    if let Err(error) = learnt {
        tracing::warn!(error = %chain(&error), "filters of runs could not be read");
    }
}

/// Wakes those who were told of and wait; brings the others, and with `everybody` all that have
/// been in memory for a while, their mail.
async fn deliver(
    shared: &Shared,
    link: &mut Link,
    told: HashSet<Id>,
    everybody: bool,
) -> Result<(), store::Error> {
    let waiting: Vec<Id> = told.iter().copied().collect();
    let mut woken = 0;
    for runs in waiting.chunks(BATCH_MAX) {
        woken += link.wake(runs).await?;
    }
    if woken > 0 {
        shared.wake_claims.notify_one();
    }
    let here = shared.held.letterboxes(|letterbox| {
        told.contains(&letterbox.run_id) || (everybody && letterbox.since.elapsed() >= POLL_PERIOD)
    });
    for letterboxes in here.chunks(BATCH_MAX) {
        let runs: Vec<Id> = letterboxes
            .iter()
            .map(|letterbox| letterbox.run_id)
            .collect();
        let mut mail = link.mail(&runs).await?;
        for letterbox in letterboxes {
            if let Some(mail) = mail.remove(&letterbox.run_id) {
                letterbox.put(mail);
            }
        }
    }
    Ok(())
}

/// Looks over all mail from `position` on, a few pages at a time.
async fn look_over(
    shared: &Shared,
    link: &mut Link,
    mut position: Option<Id>,
) -> Result<Option<Id>, store::Error> {
    for _ in 0..PAGES_MAX {
        let delivered = link.deliver(position).await?;
        if delivered.woken > 0 {
            shared.wake_claims.notify_one();
        }
        if delivered.undeliverable > 0 {
            let letters = delivered.undeliverable;
            tracing::debug!(letters, "mail was for runs that had ended");
        }
        position = delivered.next;
        if position.is_none() {
            break;
        }
    }
    Ok(position)
}
