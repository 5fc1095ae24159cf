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
use crate::signature::Cause;
use crate::store::rejections::{Kind, Label};
use crate::webhook::rejected::Unreleased;

/// Rejections that one request releases at most; ask again for more.
const BULK_MAX: u16 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: Id,
    source: &'a str,
    cause: &'a str,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_of: Option<Id>,
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
                ..About::plain(
                    "List rejected deliveries, newest first, as long as they are kept",
                    &[(200, Some("[Any]"))],
                    &[400],
                )
            },
        )
        .add(
            "get /rejections/{id}/body",
            body,
            About::plain(
                "The body of a rejected delivery, byte for byte, as a download",
                &[(200, None)],
                &[404],
            ),
        )
        .add(
            "post /rejections/{id}/release",
            release,
            About::plain(
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
                ..About::plain(
                    "Release up to 100 rejected deliveries, newest first; go on after `next`",
                    &[(200, Some("Any"))],
                    &[400],
                )
            },
        )
}

fn unknown() -> Error {
    Error::NotFound("no such delivery is kept".to_owned())
}

fn id(text: &str) -> Result<Id, Error> {
    text.parse().map_err(|_| unknown())
}

fn shown(label: &Label) -> Shown<'_> {
    Shown {
        id: Id::from(label.id),
        source: &label.source,
        cause: &label.cause,
        reason: reason(&label.cause),
        duplicate_of: label.duplicate_of.map(Id::from),
        received_at: label.received_at,
        method: &label.method,
        bytes: label.bytes,
    }
}

/// The cause as a sentence.
fn reason(cause: &str) -> String {
    match cause {
        "duplicate" => "there is an event of this id, with the same body".to_owned(),
        "conflict" => "there is an event of this id, but with another body".to_owned(),
        _ => {
            let known = Cause::ALL.iter().find(|known| known.label() == cause);
            known.map_or_else(|| cause.to_owned(), ToString::to_string)
        }
    }
}

async fn list(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    page(&state, &uri, Kind::Refused).await
}

/// A page of what is kept of one kind.
pub(super) async fn page(state: &State, uri: &Uri, kind: Kind) -> Result<Response, Error> {
    let query = Query::new(uri, &["source", "after", "limit"])?;
    let limit = query.limit()?;
    let at = (query.parse("after")?, limit);
    let store = &state.rejected.store;
    let labels = store.rejections(kind, query.get("source"), at).await?;
    let items: Vec<_> = labels.iter().map(shown).collect();
    let next = pages::next(&labels, limit, |label| Id::from(label.id).to_string());
    Ok(query.page(&items, next))
}

async fn body(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    Path(text): Path<String>,
) -> Result<Response, Error> {
    bytes(&state, &text, Kind::Refused).await
}

/// The body of one that is kept.
pub(super) async fn bytes(state: &State, text: &str, kind: Kind) -> Result<Response, Error> {
    let kept = state.rejected.store.rejection(kind, id(text)?).await?;
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
    let_in(&state, &text, Kind::Refused).await
}

/// Lets one in that is kept.
pub(super) async fn let_in(state: &State, text: &str, kind: Kind) -> Result<Response, Error> {
    let events = state.rejected.release(kind, id(text)?).await;
    let events = events.map_err(told)?;
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
    let at = (before, BULK_MAX);
    let labels = store.rejections(Kind::Refused, query.get("source"), at);
    let labels = labels.await?;
    let mut released = Released::default();
    for label in &labels {
        match state
            .rejected
            .release(Kind::Refused, Id::from(label.id))
            .await
        {
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
