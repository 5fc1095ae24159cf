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
}

impl<'a> Shown<'a> {
    fn new(destination: &'a Destination, with_text: bool) -> Self {
        Self {
            name: &destination.name,
            version: destination.version,
            created_at: destination.created_at,
            text: with_text.then_some(destination.text.as_str()),
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
                "Show a destination with its text",
                &[(200, Some(ONE))],
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
    Ok(bodies::json(
        StatusCode::OK,
        &Shown::new(&destination, true),
    ))
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
