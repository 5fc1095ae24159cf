//! Hearing from other nodes at once, where waiting for the next look would be too late.
//!
//! What is heard only says that there is something to look at; whoever hears nothing, because the
//! database or a pooler between does not pass it on, looks all the same after a period.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::Store;

/// Pause before the connection is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Listens on one channel, on a connection of its own.
pub struct Ear {
    store: Store,
    channel: &'static str,
    listener: Option<PgListener>,
}

impl Store {
    /// An ear for a channel; it connects when it is first used.
    #[must_use]
    pub fn ear(&self, channel: &'static str) -> Ear {
        Ear {
            store: self.clone(),
            channel,
            listener: None,
        }
    }
}

impl Ear {
    /// Waits until something was said, or may have been while there was no connection. Dropping
    /// the future loses nothing that a look after a period does not find.
    pub async fn heard(&mut self) {
        match &mut self.listener {
            Some(listener) => {
                if listener.recv().await.is_err() {
                    self.listener = None;
                    tokio::time::sleep(AGAIN).await;
                }
            }
            None => match self.connect().await {
                Ok(listener) => self.listener = Some(listener),
                Err(_) => tokio::time::sleep(AGAIN).await,
            },
        }
    }

    async fn connect(&self) -> Result<PgListener, sqlx::Error> {
        let options = self.store.options("ear", &[]);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(options)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(self.channel).await?;
        Ok(listener)
    }
}
