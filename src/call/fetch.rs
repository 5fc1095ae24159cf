//! Fetches small public documents: sets of keys, certificates, confirmations that a sender wants.
//!
//! Called by the receiving door. Nothing of ours is sent with the request, redirects are not
//! followed, and what is fetched is bounded in bytes and time. The guard decides what may be
//! reached, as for every other call.

use std::time::Duration;

use bytes::Bytes;

use super::Destinations;
use super::egress;

/// Largest document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// How long one may take: senders wait for their answer meanwhile, the hastiest for 3 seconds.
const FETCH_TIMEOUT: Duration = Duration::from_millis(2_000);

/// Why there is no document; for the operator's log.
#[derive(Debug, thiserror::Error)]
pub enum Unfetched {
    /// The guard forbids it, or the URL is none.
    #[error("the URL may not be fetched: {0}")]
    Refused(#[from] egress::Refusal),
    /// No answer, or it broke off.
    #[error("it could not be fetched")]
    Failed,
    /// An answer other than 2xx.
    #[error("the answer was {0}")]
    Status(u16),
    /// More than 256 KiB.
    #[error("the answer is too large")]
    TooLarge,
}

impl Destinations {
    /// The body of what a GET of this URL answers.
    ///
    /// # Errors
    /// [`Unfetched`].
    pub async fn fetch(&self, url: &str) -> Result<Bytes, Unfetched> {
        let url = egress::parse(url)?;
        let reach = self.guard.admit(&url, &[])?;
        let client = self.guard.client(&reach).map_err(|_| Unfetched::Failed)?;
        let request = client.get(url).timeout(FETCH_TIMEOUT);
        let mut response = request.send().await.map_err(|_| Unfetched::Failed)?;
        if !response.status().is_success() {
            return Err(Unfetched::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Unfetched::Failed)? {
            if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(Unfetched::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}
