//! What senders publish and deliveries are verified with: sets of keys, certificates.
//!
//! A document is fetched when the first delivery needs it and kept. When it is old it is fetched
//! again; where that fails, the old one serves on for a day. A stranger can make us fetch only
//! what a source's document allows, a few at a time, and never the same thing twice in a row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::call::{Destinations, Unfetched};

/// How long a document is used without asking again.
const FRESH: Duration = Duration::from_secs(3_600);

/// How long it is used when asking again fails.
const STALE: Duration = Duration::from_secs(86_400);

/// Pause between two tries at one URL: after a failure, and for a key that is not in the set.
const PAUSE: Duration = Duration::from_secs(30);

/// Documents kept; beyond it the one that was looked at longest ago is forgotten.
const DOCUMENTS_MAX: usize = 256;

/// Documents fetched at once.
const FETCHES_MAX: usize = 4;

/// Documents one delivery may need.
const NEEDED_MAX: usize = 4;

/// Documents for one delivery, by URL.
pub type Held = Vec<(String, Bytes)>;

/// The documents known, and the way to further ones.
pub struct Documents {
    destinations: Arc<Destinations>,
    known: Mutex<HashMap<String, Known>>,
    fetches: Semaphore,
}

struct Known {
    body: Option<(Bytes, Instant)>,
    tried_at: Instant,
}

impl Documents {
    /// None known yet.
    #[must_use]
    pub fn new(destinations: Arc<Destinations>) -> Self {
        Self {
            destinations,
            known: Mutex::default(),
            fetches: Semaphore::new(FETCHES_MAX),
        }
    }

    /// The documents at these URLs, as far as they can be had. `again` asks for newer ones than
    /// are known, as when a key is not among them.
    pub async fn get(&self, urls: &[String], again: bool) -> Held {
        let mut held = Held::new();
        for url in urls.iter().take(NEEDED_MAX) {
            if let Some(body) = self.one(url, again).await {
                held.push((url.clone(), body));
            }
        }
        held
    }

    /// Fetches a URL once, for what happens by that.
    ///
    /// # Errors
    /// [`Unfetched`].
    pub async fn confirm(&self, url: &str) -> Result<(), Unfetched> {
        let _place = self.fetches.acquire().await;
        self.destinations.fetch(url).await.map(drop)
    }

    async fn one(&self, url: &str, again: bool) -> Option<Bytes> {
        if !self.is_due(url, again) {
            return self.body(url);
        }
        let _place = self.fetches.acquire().await;
        // Another delivery may have fetched it while this one waited.
        if self.is_due(url, again) {
            self.note_try(url);
            match self.destinations.fetch(url).await {
                Ok(body) => self.note(url, body),
                Err(error) => tracing::warn!(
                    target: "hookwright::webhook",
                    { url = url, error = %error },
                    "a sender's published keys could not be fetched"
                ),
            }
        }
        self.body(url)
    }

    fn is_due(&self, url: &str, again: bool) -> bool {
        let known = self.locked();
        let Some(known) = known.get(url) else {
            return true;
        };
        let fresh = known
            .body
            .as_ref()
            .is_some_and(|(_, at)| at.elapsed() < FRESH);
        (again || !fresh) && known.tried_at.elapsed() >= PAUSE
    }

    fn body(&self, url: &str) -> Option<Bytes> {
        let known = self.locked();
        let (body, at) = known.get(url)?.body.as_ref()?;
        (at.elapsed() < STALE).then(|| body.clone())
    }

    fn note_try(&self, url: &str) {
        let mut known = self.locked();
        let tried_at = Instant::now();
        if known.len() >= DOCUMENTS_MAX && !known.contains_key(url) {
            let oldest = known.iter().min_by_key(|(_, known)| known.tried_at);
            let oldest = oldest.map(|(url, _)| url.clone());
            oldest.and_then(|url| known.remove(&url));
        }
        let entry = known.entry(url.to_owned());
        let entry = entry.or_insert(Known {
            body: None,
            tried_at,
        });
        entry.tried_at = tried_at;
    }

    fn note(&self, url: &str, body: Bytes) {
        if let Some(known) = self.locked().get_mut(url) {
            known.body = Some((body, Instant::now()));
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        match self.known.lock() {
            Ok(known) => known,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}
