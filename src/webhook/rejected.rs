//! Deliveries that became no event, kept so that they can be let in later: refused ones once the
//! cause is gone, duplicates where they were meant.
//!
//! The door hands one to [`Rejected::keep`], which never waits; a task of its own seals and
//! stores it. A flood costs nothing but the count of those that were not kept: so many a minute,
//! so many rows, so many bytes, so many days. [`Rejected::release`] verifies one again with the
//! source as it is now, at the time the delivery arrived.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Admitted, Documents, Rejection, Sources};
use crate::event::DedupeKey;
use crate::id::Id;
use crate::secret::{Keyring, SealContext, Sealed};
use crate::signature::{Cause, Delivery};
use crate::store::rejections::{Bounds, Kept, Kind};
use crate::store::{self, Store};
use crate::trigger::REPLAY_OF;
use crate::worker::{Appender, Unavailable};

/// Deliveries that may wait to be stored.
const QUEUE_MAX: usize = 64;

/// Pause between two looks at what is to be forgotten.
const EXPIRE_PERIOD: Duration = Duration::from_secs(60);

/// The version that the seal of a head names.
const SEAL_VERSION: i32 = 1;

/// How much is kept, of refused deliveries and as much again of duplicates. Keys of `[webhook]`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Deliveries kept in a minute on this node.
    pub per_minute_max: u32,
    /// What is kept in all.
    pub bounds: Bounds,
}

/// Why a delivery became no event.
#[derive(Clone, Copy, Debug)]
pub enum Why {
    /// The check that failed.
    Refused(Cause),
    /// The event it duplicates.
    Duplicate(Id),
}

impl Why {
    const fn label(self) -> &'static str {
        match self {
            Self::Refused(cause) => cause.label(),
            Self::Duplicate(_) => "duplicate",
        }
    }
}

/// A delivery on its way into the table.
struct Refused {
    source: String,
    why: Why,
    method: String,
    head: Head,
    body: Bytes,
}

/// What is sealed of a delivery. Values of headers need not be text.
#[derive(Serialize, Deserialize)]
struct Head {
    path_and_query: String,
    headers: Vec<(String, Vec<u8>)>,
}

/// Why a refused delivery was not released.
#[derive(Debug, thiserror::Error)]
pub enum Unreleased {
    /// There is none of this id.
    #[error("there is no such rejection")]
    Unknown,
    /// It still does not pass.
    #[error("the delivery is still refused: {}", .0.label())]
    Refused(Rejection),
    /// The events could not be stored.
    #[error("the events could not be stored now")]
    Unavailable(Unavailable),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Keeps refused deliveries and releases them.
pub struct Rejected {
    /// The database.
    pub store: Store,
    /// Seals heads.
    pub keyring: Arc<Keyring>,
    /// Name of the environment, for the seal.
    pub environment: Arc<str>,
    /// The sources in force.
    pub sources: Arc<Sources>,
    /// What senders publish.
    pub documents: Arc<Documents>,
    /// The way into the log.
    pub appender: Appender,
    queue: Queue,
}

/// The way to the keeping task.
pub struct Queue {
    sender: mpsc::Sender<Refused>,
    receiver: Mutex<Option<mpsc::Receiver<Refused>>>,
    /// Of refusals and of duplicates: neither takes the other's place.
    budgets: [Budget; 2],
    begun: Instant,
    limits: Limits,
    skipped: prometheus::IntCounter,
}

/// How many were kept in which minute.
#[derive(Default)]
struct Budget {
    minute: AtomicU64,
    in_minute: AtomicU32,
}

impl Queue {
    /// An empty one; its metric goes to `registry`.
    ///
    /// # Errors
    /// Where the registry has the metric already.
    pub fn new(registry: &prometheus::Registry, limits: Limits) -> Result<Self, prometheus::Error> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let skipped = prometheus::IntCounter::new(
            "hookwright_rejections_skipped_total",
            "Rejected deliveries and duplicates that were not kept, because there were too many.",
        )?;
        registry.register(Box::new(skipped.clone()))?;
        Ok(Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            budgets: [Budget::default(), Budget::default()],
            begun: Instant::now(),
            limits,
            skipped,
        })
    }

    /// Whether one more may be kept in this minute.
    fn admits(&self, why: Why) -> bool {
        let budget = match why {
            Why::Refused(_) => &self.budgets[0],
            Why::Duplicate(_) => &self.budgets[1],
        };
        let minute = self.begun.elapsed().as_secs() / 60;
        if budget.minute.swap(minute, Ordering::AcqRel) != minute {
            budget.in_minute.store(0, Ordering::Release);
        }
        budget.in_minute.fetch_add(1, Ordering::AcqRel) < self.limits.per_minute_max
    }
}

/// What keeping and releasing work with.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Seals heads.
    pub keyring: Arc<Keyring>,
    /// Name of the environment, for the seal.
    pub environment: Arc<str>,
    /// The sources in force.
    pub sources: Arc<Sources>,
    /// What senders publish.
    pub documents: Arc<Documents>,
    /// The way into the log.
    pub appender: Appender,
}

impl Rejected {
    /// Starts the keeping task, which ends with the process.
    #[must_use]
    pub fn start(parts: Parts, queue: Queue) -> Arc<Self> {
        let receiver = match queue.receiver.lock() {
            Ok(mut receiver) => receiver.take(),
            Err(_) => None,
        };
        let rejected = Arc::new(Self {
            store: parts.store,
            keyring: parts.keyring,
            environment: parts.environment,
            sources: parts.sources,
            documents: parts.documents,
            appender: parts.appender,
            queue,
        });
        if let Some(receiver) = receiver {
            tokio::spawn(keep(Arc::downgrade(&rejected), receiver));
        }
        rejected
    }

    /// Hands in a delivery; never waits. Kept is what a source refused for its signature, and what
    /// is an event already.
    pub fn keep(&self, source: &str, why: Why, delivery: &Delivery<'_>) {
        if !self.queue.admits(why) {
            self.queue.skipped.inc();
            return;
        }
        let headers = delivery.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let refused = Refused {
            source: source.to_owned(),
            why,
            method: delivery.method.to_string(),
            head: Head {
                path_and_query: delivery.path_and_query.to_owned(),
                headers: headers.collect(),
            },
            body: delivery.body.clone(),
        };
        if self.queue.sender.try_send(refused).is_err() {
            self.queue.skipped.inc();
        }
    }

    /// Verifies a kept delivery again, as of when it arrived, and appends its events; that of a
    /// duplicate as a new one that names the first. How many there were; the delivery is forgotten.
    ///
    /// # Errors
    /// [`Unreleased`]; the rejection stays.
    pub async fn release(&self, kind: Kind, id: Id) -> Result<usize, Unreleased> {
        let kept = self.store.rejection(kind, id).await?;
        let mut kept = kept.ok_or(Unreleased::Unknown)?;
        let refused = Unreleased::Refused(Rejection::UnknownSource);
        let source = self.sources.get(&kept.source).ok_or(refused)?;
        let malformed = || Unreleased::Refused(Rejection::Signature(Cause::SignatureMalformed));
        let head = self.open(&kept).ok_or_else(malformed)?;
        let method = kept.method.parse().map_err(|_| malformed())?;
        let headers = head.headers().ok_or_else(malformed)?;
        let body = Bytes::from(std::mem::take(&mut kept.body));
        let url = source.public_url(&head.path_and_query);
        let delivery = Delivery {
            method: &method,
            path_and_query: &head.path_and_query,
            url: url.as_deref(),
            headers: &headers,
            body: &body,
            now: kept.received_at.as_second(),
        };
        let needed = source.needed(&delivery);
        let documents = self.documents.get(&needed, false).await;
        let admitted = source.admit(&delivery, &documents);
        let events = match admitted.map_err(Unreleased::Refused)? {
            Admitted::Event(event) => vec![*event],
            Admitted::Batch(events) => events,
            // The sender asked long ago and has gone.
            Admitted::Handshake(..) => Vec::new(),
        };
        let count = events.len();
        for mut event in events {
            if let Some(first) = kept.duplicate_of {
                let first = Id::from(first).to_string();
                event.event.attributes.insert(REPLAY_OF.to_owned(), first);
                // A key of its own, the same when this is done twice: this repetition is meant.
                event.key = DedupeKey::new(REPLAY_OF, &id.to_string());
            }
            let appended = self.appender.append(event).await;
            appended.map_err(Unreleased::Unavailable)?;
        }
        self.store.forget_rejection(id).await?;
        Ok(count)
    }

    fn context<'a>(&'a self, name: &'a str) -> SealContext<'a> {
        SealContext {
            environment: &self.environment,
            name,
            version: SEAL_VERSION,
        }
    }

    fn seal(&self, refused: Refused) -> Option<Kept> {
        let id = Id::generate();
        let plain = serde_json::to_vec(&refused.head).ok()?;
        let name = id.to_string();
        let sealed = self.keyring.seal(&self.context(&name), &plain).ok()?;
        Some(Kept {
            id: id.uuid(),
            received_at: jiff::Timestamp::now(),
            source: refused.source,
            cause: refused.why.label().to_owned(),
            method: refused.method,
            kek_id: sealed.kek_id,
            wrapped_key: sealed.wrapped_key,
            head: sealed.sealed,
            body: refused.body.to_vec(),
            duplicate_of: match refused.why {
                Why::Refused(_) => None,
                Why::Duplicate(first) => Some(first.uuid()),
            },
        })
    }

    fn open(&self, kept: &Kept) -> Option<Head> {
        let sealed = Sealed {
            kek_id: kept.kek_id.clone(),
            wrapped_key: kept.wrapped_key.clone(),
            sealed: kept.head.clone(),
        };
        let name = Id::from(kept.id).to_string();
        let plain = self.keyring.open(&self.context(&name), &sealed).ok()?;
        serde_json::from_str(plain.expose_secret()).ok()
    }
}

impl Head {
    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().ok()?;
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some(headers)
    }
}

/// Stores what is handed in and forgets what is too old, until nobody can hand in any more.
async fn keep(rejected: std::sync::Weak<Rejected>, mut queue: mpsc::Receiver<Refused>) {
    let mut batch = Vec::with_capacity(QUEUE_MAX);
    let mut expired_at: Option<Instant> = None;
    loop {
        let taken = queue.recv_many(&mut batch, QUEUE_MAX).await;
        let Some(rejected) = rejected.upgrade().filter(|_| taken > 0) else {
            return;
        };
        let kept = batch.drain(..).filter_map(|refused| rejected.seal(refused));
        let kept: Vec<_> = kept.collect();
        if let Err(error) = rejected.store.keep_rejections(kept).await {
            rejected.queue.skipped.inc_by(taken as u64);
            tracing::warn!(%error, "rejected deliveries could not be kept");
        }
        if expired_at.is_none_or(|at| at.elapsed() >= EXPIRE_PERIOD) {
            expired_at = Some(Instant::now());
            let expired = rejected
                .store
                .expire_rejections(rejected.queue.limits.bounds)
                .await;
            if let Err(error) = expired {
                tracing::warn!(%error, "rejected deliveries could not be forgotten");
            }
        }
    }
}
