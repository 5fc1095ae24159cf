//! The part of the worker that the API needs; replaced by the worker itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::id::Id;
use crate::store::{self, Link, NewEvent, Store};
use crate::workflow::{self, Definition};

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

/// Hands events to the writer; cheap to clone.
#[derive(Clone)]
pub struct Appender(Arc<Mutex<Link>>);

impl Appender {
    /// Appends through this connection, one event at a time.
    #[must_use]
    pub fn direct(link: Link) -> Self {
        Self(Arc::new(Mutex::new(link)))
    }

    /// Hands in an event and waits until it is committed.
    ///
    /// # Errors
    /// Where it is not known to be stored.
    pub async fn append(&self, event: NewEvent) -> Result<Receipt, Unavailable> {
        let id = event.event.id;
        let done = self.0.lock().await.append(&[event]).await;
        let done = done.map_err(|_| Unavailable { retry_after_s: 2 })?;
        let before = done.first().copied().flatten();
        Ok(Receipt {
            id: before.unwrap_or(id),
            duplicate: before.is_some(),
        })
    }
}

/// The workflows in force on this node.
pub struct Definitions(Store);

impl Definitions {
    /// Nothing is active until [`Definitions::reload`] has run.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    /// Reads the active deployments.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn reload(&self) -> Result<(), store::Error> {
        Ok(())
    }

    /// A workflow by id, whatever its version.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn workflow(&self, id: i32) -> Result<Option<Arc<Definition>>, store::Error> {
        let text = self.0.workflow_text(id).await?;
        Ok(text
            .and_then(|text| workflow::parse(&text).ok())
            .map(Arc::new))
    }
}

/// Tells those who wait for a run on this node that it has ended.
#[derive(Debug, Default)]
pub struct Endings;

impl Endings {
    /// Returns when this node has ended the run, at the latest after `at_most`.
    pub async fn wait(&self, _run: Id, at_most: Duration) {
        tokio::time::sleep(at_most).await;
    }
}
