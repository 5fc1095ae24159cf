//! Rejected deliveries: what was refused, why, and letting it in once the cause is gone.
//!
//! Heads are sealed and never shown: they may hold credentials. Verifying again uses the source as
//! it is now and the time at which the delivery arrived.

use axum::extract::{self, Path};
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use super::access::{Allowed, PublishEvents, ReadEvents};
use super::bodies;
use super::pages::{self, Query};
use super::routes::{About, Routes};
use super::{Error, State};
use crate::id::Id;
use crate::store::rejections::Label;
use crate::webhook::rejected::Unreleased;

/// Rejections that one request releases at most; ask again for more.
const BULK_MAX: u16 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: Id,
    source: &'a str,
    cause: &'a str,
    received_at: jiff::Timestamp,
    method: &'a str,
    bytes: i32,
}

#[derive(Default, Serialize)]
struct Released {
    /// Deliveries that passed.
    released: usize,
    /// Events they held, known ones included.
    events: usize,
    /// Deliveries that are still refused.
    refused: usize,
    /// Where to go on, while there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    let about = |summary, answers, problems| About {
        summary,
        query: &[],
        request: None,
        answers,
        problems,
    };
    routes
        .add(
            "get /rejections",
            list,
            About {
                query: &[
                    ("source", "Only of this source"),
                    pages::AFTER,
                    pages::LIMIT,
                ],
                ..about(
                    "List rejected deliveries, newest first; they are kept for 7 days",
                    &[(200, Some("[Any]"))],
                    &[400],
                )
            },
        )
        .add(
            "get /rejections/{id}/body",
            body,
            about(
                "The body of a rejected delivery, byte for byte, as a download",
                &[(200, None)],
                &[404],
            ),
        )
        .add(
            "post /rejections/{id}/release",
            release,
            about(
                "Verify a rejected delivery again, as of when it arrived, and append its events",
                &[(200, Some("Any"))],
                &[404, 409],
            ),
        )
        .add(
            "post /rejections/release",
            release_all,
            About {
                query: &[("source", "Only of this source"), pages::AFTER],
                ..about(
                    "Release up to 100 rejected deliveries, newest first; go on after `next`",
                    &[(200, Some("Any"))],
                    &[400],
                )
            },
        )
}

fn unknown() -> Error {
    Error::NotFound("there is no such rejection".to_owned())
}

fn id(text: &str) -> Result<Id, Error> {
    text.parse().map_err(|_| unknown())
}

fn shown(label: &Label) -> Shown<'_> {
    Shown {
        id: Id::from(label.id),
        source: &label.source,
        cause: &label.cause,
        received_at: label.received_at,
        method: &label.method,
        bytes: label.bytes,
    }
}

async fn list(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["source", "after", "limit"])?;
    let limit = query.limit()?;
    let before = query.parse("after")?;
    let store = &state.rejected.store;
    let labels = store.rejections(query.get("source"), before, limit).await?;
    let items: Vec<_> = labels.iter().map(shown).collect();
    let next = pages::next(&labels, limit, |label| Id::from(label.id).to_string());
    Ok(query.page(&items, next))
}

async fn body(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    Path(text): Path<String>,
) -> Result<Response, Error> {
    let kept = state.rejected.store.rejection(id(&text)?).await?;
    let mut response = Response::new(kept.ok_or_else(unknown)?.body.into());
    let headers = response.headers_mut();
    let media = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, media);
    let download = HeaderValue::from_static("attachment");
    headers.insert(header::CONTENT_DISPOSITION, download);
    Ok(response)
}

async fn release(
    _: Allowed<PublishEvents>,
    extract::State(state): extract::State<State>,
    Path(text): Path<String>,
) -> Result<Response, Error> {
    let events = state.rejected.release(id(&text)?).await.map_err(told)?;
    let released = Released {
        released: 1,
        events,
        ..Released::default()
    };
    Ok(bodies::json(StatusCode::OK, &released))
}

async fn release_all(
    _: Allowed<PublishEvents>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["source", "after"])?;
    let before = query.parse("after")?;
    let store = &state.rejected.store;
    let labels = store.rejections(query.get("source"), before, BULK_MAX);
    let labels = labels.await?;
    let mut released = Released::default();
    for label in &labels {
        match state.rejected.release(Id::from(label.id)).await {
            Ok(events) => {
                released.released += 1;
                released.events += events;
            }
            Err(Unreleased::Refused(_)) => released.refused += 1,
            // Another request has released it.
            Err(Unreleased::Unknown) => {}
            Err(error) => return Err(told(error)),
        }
    }
    released.next = pages::next(&labels, BULK_MAX, |label| Id::from(label.id).to_string());
    Ok(bodies::json(StatusCode::OK, &released))
}

fn told(error: Unreleased) -> Error {
    match error {
        Unreleased::Unknown => unknown(),
        Unreleased::Refused(rejection) => {
            let label = rejection.label();
            Error::Conflict(format!("the delivery is still refused: {label}"))
        }
        Unreleased::Unavailable(unavailable) => unavailable.into(),
        Unreleased::Store(error) => error.into(),
    }
}
