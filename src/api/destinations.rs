//! Destinations: the policies under which calls go to other systems.

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::access::{Allowed, ChangeDestinations, ReadDefinitions};
use super::bodies::{self, Text};
use super::definitions::named;
use super::pages::Query;
use super::routes::{About, Routes};
use super::workflows::DEFINITION;
use super::{Error, State};
use crate::store;
use crate::store::destinations::Destination;
use crate::store::sources::Put;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    version: i32,
    created_at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
}

/// Runs that wait for a destination are counted up to here.
const WAITING_MAX: i32 = 100_000;

/// The time over which this node counts its calls, in seconds.
const RECENT_S: f64 = 30.0;

/// How a destination is, by what all nodes know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    /// `up`; `down`: calls wait, one tries now and then; `held`: it asked to be left alone.
    state: &'static str,
    /// When it went down, or came up for the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<jiff::Timestamp>,
    /// Why it went down, or did not come up.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Calls that tried since it went down, and failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_probes: Option<i32>,
    /// When calls, or the next one that tries, are let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<jiff::Timestamp>,
    /// Calls a second, since it refused some and did not say when to come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    slowed_to: Option<f64>,
    /// Calls that may begin at once, where it has a rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_left: Option<i64>,
    /// Runs that wait for it.
    waiting: i64,
    /// How long these take at the pace of the last half minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    drained_in_seconds: Option<f64>,
}

impl Condition {
    fn new(found: store::conditions::Found, recent_calls: u32) -> Self {
        let known = found.condition;
        let pace = f64::from(recent_calls) / RECENT_S * found.nodes.max(1) as f64;
        let held = known.as_ref().filter(|known| !known.held_for.is_zero());
        let down = known.as_ref().filter(|known| known.down);
        let retry_at = match (down, held) {
            (Some(down), Some(held)) => down.retry_at.max(held.held_until),
            (Some(down), None) => down.retry_at,
            (None, held) => held.and_then(|held| held.held_until),
        };
        let state = match (down, held) {
            (Some(_), _) => "down",
            (None, Some(_)) => "held",
            (None, None) => "up",
        };
        let drains = state == "up" && pace > 0.0;
        Self {
            state,
            failed_probes: down.map(|down| down.probes),
            retry_at,
            slowed_to: known
                .as_ref()
                .and_then(|known| Some(known.slowed?.0))
                .filter(|_| state != "down"),
            rate_left: found.rate_left,
            waiting: found.waiting,
            drained_in_seconds: drains.then(|| (found.waiting as f64 / pace).ceil()),
            since: known
                .as_ref()
                .filter(|it| it.changes > 0)
                .map(|it| it.since),
            cause: known.and_then(|known| known.cause),
        }
    }
}

impl<'a> Shown<'a> {
    fn new(destination: &'a Destination, with_text: bool) -> Self {
        Self {
            name: &destination.name,
            version: destination.version,
            created_at: destination.created_at,
            text: with_text.then_some(destination.text.as_str()),
            condition: None,
        }
    }
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    const ONE: &str = "Definition";
    routes
        .add(
            "get /destinations",
            list,
            About::plain(
                "List destinations by name",
                &[(200, Some("[Definition]"))],
                &[400],
            ),
        )
        .add(
            "get /destinations/{name}",
            show,
            About::plain(
                "Show a destination with its text, and how it is",
                &[(200, Some("Destination"))],
                &[404],
            ),
        )
        .add(
            "put /destinations/{name}",
            put,
            About {
                summary: "Set a destination; an equal text changes nothing",
                query: &[],
                request: Some(DEFINITION),
                answers: &[(201, Some(ONE)), (200, Some(ONE))],
                problems: &[400, 413, 415, 422],
            },
        )
        .add(
            "delete /destinations/{name}",
            remove,
            About::plain(
                "Forget a destination; calls to it then go without a policy",
                &[(204, None)],
                &[404],
            ),
        )
}

fn unknown() -> Error {
    Error::NotFound("there is no such destination".to_owned())
}

async fn list(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &[])?;
    let destinations = state.store.destinations().await?;
    let shown: Vec<Shown<'_>> = destinations
        .iter()
        .map(|destination| Shown::new(destination, false))
        .collect();
    Ok(query.page(&shown, None))
}

async fn show(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let destination = state.store.destination(&name).await?.ok_or_else(unknown)?;
    let number = destination.number;
    let found = state.store.condition(number, WAITING_MAX).await?;
    let shown = Shown {
        condition: Some(Condition::new(found, (state.recent_calls)(number))),
        ..Shown::new(&destination, true)
    };
    Ok(bodies::json(StatusCode::OK, &shown))
}

async fn put(
    _: Allowed<ChangeDestinations>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Text(text): Text,
) -> Result<Response, Error> {
    let check = state.checks.destination;
    named("destination", &name, &state, (check, text.clone())).await?;
    let done = state.store.put_destination(&name, &text).await?;
    if !matches!(done, Put::Unchanged(_)) {
        state.changed().await;
    }
    let destination = state.store.destination(&name).await?.ok_or_else(unknown)?;
    let status = if matches!(done, Put::Created(_)) {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(bodies::json(status, &Shown::new(&destination, false)))
}

async fn remove(
    _: Allowed<ChangeDestinations>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    if !state.store.remove_destination(&name).await? {
        return Err(unknown());
    }
    state.changed().await;
    Ok(StatusCode::NO_CONTENT)
}
