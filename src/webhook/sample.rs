//! Sends a sample to a source, signed with the source's own secret.
//!
//! Called by the API. The sample takes the way of a real delivery from its verification on; what
//! the gate asks of senders (network, rate, token in the path) is not asked of it. The secret and
//! the signature stay in this process.

use std::sync::Arc;

use http::Method;

use super::{Admission, Admitted, Rejected, Rejection};
use crate::signature::samples::Sample;
use crate::signature::{Delivery, SignError};
use crate::worker::{Receipt, Unavailable};

/// Why a sample did not become an event.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// It cannot be signed.
    #[error(transparent)]
    Unsigned(#[from] SignError),
    /// The source refuses what was signed for it.
    #[error("the source refuses the sample: {}", .0.label())]
    Refused(Rejection),
    /// It is answered as a handshake, so there is no event.
    #[error("the source takes the sample for a handshake")]
    Handshake,
    /// The event could not be stored.
    #[error("the event could not be stored now")]
    Unavailable(Unavailable),
}

/// Signs a sample for a source, verifies it as any delivery, and appends its events; the receipts.
///
/// # Errors
/// [`Unsent`]; some events of a batch may be stored then.
pub async fn send(
    rejected: &Rejected,
    source: &Arc<Admission>,
    sample: &Sample,
) -> Result<Vec<Receipt>, Unsent> {
    let now = jiff::Timestamp::now();
    let (mut headers, body) = sample.make(now, rand::random());
    let path_and_query = format!("/hooks/{}", source.name);
    let url = source.public_url(&path_and_query);
    let unsigned = Delivery {
        method: &Method::POST,
        path_and_query: &path_and_query,
        url: url.as_deref(),
        headers: &headers,
        body: &body,
        now: now.as_second(),
    };
    let added = source.sign(&unsigned)?;
    headers.extend(added);
    let delivery = Delivery {
        method: &Method::POST,
        path_and_query: &path_and_query,
        url: url.as_deref(),
        headers: &headers,
        body: &body,
        now: now.as_second(),
    };
    let documents = rejected
        .documents
        .get(&source.needed(&delivery), false)
        .await;
    let admitted = source.admit(&delivery, &documents);
    let events = match admitted.map_err(Unsent::Refused)? {
        Admitted::Event(event) => vec![*event],
        Admitted::Batch(events) => events,
        Admitted::Handshake(..) => return Err(Unsent::Handshake),
    };
    let mut receipts = Vec::with_capacity(events.len());
    for event in events {
        let receipt = rejected.appender.append(event).await;
        receipts.push(receipt.map_err(Unsent::Unavailable)?);
    }
    Ok(receipts)
}
