//! Refused deliveries, kept so that they can be verified again once the cause is gone.
//!
//! The door hands a refusal to [`Rejected::keep`], which never waits; a task of its own seals and
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
use crate::id::Id;
use crate::secret::{Keyring, SealContext, Sealed};
use crate::signature::{Cause, Delivery};
use crate::store::rejections::Kept;
use crate::store::{self, Store};
use crate::worker::{Appender, Unavailable};

/// Refusals that may wait to be stored.
const QUEUE_MAX: usize = 64;

/// Refusals kept in a minute on this node.
const PER_MINUTE_MAX: u32 = 120;

/// Refusals kept in all.
const ROWS_MAX: i64 = 10_000;

/// Bytes of refusals kept in all.
const BYTES_MAX: i64 = 64 * 1024 * 1024;

/// How long they are kept.
const DAYS_MAX: i32 = 7;

/// Pause between two looks at what is to be forgotten.
const EXPIRE_PERIOD: Duration = Duration::from_secs(60);

/// The version that the seal of a head names.
const SEAL_VERSION: i32 = 1;

/// A refusal on its way into the table.
struct Refused {
    source: String,
    cause: Cause,
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
    minute: AtomicU64,
    in_minute: AtomicU32,
    begun: Instant,
    skipped: prometheus::IntCounter,
}

impl Queue {
    /// An empty one; its metric goes to `registry`.
    ///
    /// # Errors
    /// Where the registry has the metric already.
    pub fn new(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let skipped = prometheus::IntCounter::new(
            "hookwright_rejections_skipped_total",
            "Rejected deliveries that were not kept, because there were too many.",
        )?;
        registry.register(Box::new(skipped.clone()))?;
        Ok(Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            minute: AtomicU64::new(0),
            in_minute: AtomicU32::new(0),
            begun: Instant::now(),
            skipped,
        })
    }

    /// Whether one more may be kept in this minute.
    fn admits(&self) -> bool {
        let minute = self.begun.elapsed().as_secs() / 60;
        if self.minute.swap(minute, Ordering::AcqRel) != minute {
            self.in_minute.store(0, Ordering::Release);
        }
        self.in_minute.fetch_add(1, Ordering::AcqRel) < PER_MINUTE_MAX
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

    /// Hands in a refusal; never waits. Only what a source refused for its signature is kept.
    pub fn keep(&self, source: &str, cause: Cause, delivery: &Delivery<'_>) {
        if !self.queue.admits() {
            self.queue.skipped.inc();
            return;
        }
        let headers = delivery.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let refused = Refused {
            source: source.to_owned(),
            cause,
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

    /// Verifies a kept delivery again, as of when it arrived, and appends its events. How many
    /// there were; the rejection is forgotten.
    ///
    /// # Errors
    /// [`Unreleased`]; the rejection stays.
    pub async fn release(&self, id: Id) -> Result<usize, Unreleased> {
        let kept = self.store.rejection(id).await?.ok_or(Unreleased::Unknown)?;
        let refused = Unreleased::Refused(Rejection::UnknownSource);
        let source = self.sources.get(&kept.source).ok_or(refused)?;
        let malformed = || Unreleased::Refused(Rejection::Signature(Cause::SignatureMalformed));
        let head = self.open(&kept).ok_or_else(malformed)?;
        let method = kept.method.parse().map_err(|_| malformed())?;
        let headers = head.headers().ok_or_else(malformed)?;
        let body = Bytes::from(kept.body);
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
        for event in events {
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
            cause: refused.cause.label().to_owned(),
            method: refused.method,
            kek_id: sealed.kek_id,
            wrapped_key: sealed.wrapped_key,
            head: sealed.sealed,
            body: refused.body.to_vec(),
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
                .expire_rejections(DAYS_MAX, (ROWS_MAX, BYTES_MAX))
                .await;
            if let Err(error) = expired {
                tracing::warn!(%error, "rejected deliveries could not be forgotten");
            }
        }
    }
}
