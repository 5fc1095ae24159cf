//! Sources: what each webhook endpoint verifies and how its events are named.

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use super::access::{Allowed, ChangeSources, ReadDefinitions};
use super::bodies::{self, Text};
use super::definitions::named;
use super::pages::Query;
use super::routes::{About, Routes};
use super::workflows::DEFINITION;
use super::{Error, State};
use crate::store::sources::{Put, Source};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    version: i32,
    created_at: jiff::Timestamp,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(source: &'a Source, with_text: bool) -> Self {
        Self {
            name: &source.name,
            version: source.version,
            created_at: source.created_at,
            endpoint: format!("/hooks/{}", source.name),
            text: with_text.then_some(source.text.as_str()),
        }
    }
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    const ONE: &str = "Definition";
    routes
        .add(
            "get /sources",
            list,
            About::plain(
                "List sources by name",
                &[(200, Some("[Definition]"))],
                &[400],
            ),
        )
        .add(
            "get /sources/{name}",
            show,
            About::plain("Show a source with its text", &[(200, Some(ONE))], &[404]),
        )
        .add(
            "put /sources/{name}",
            put,
            About {
                summary: "Set a source; an equal text changes nothing",
                query: &[],
                request: Some(DEFINITION),
                answers: &[(201, Some(ONE)), (200, Some(ONE))],
                problems: &[400, 413, 415, 422],
            },
        )
        .add(
            "delete /sources/{name}",
            remove,
            About::plain("Close a source's endpoint", &[(204, None)], &[404]),
        )
}

fn unknown() -> Error {
    Error::NotFound("there is no such source".to_owned())
}

async fn list(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &[])?;
    let sources = state.store.sources().await?;
    let shown: Vec<Shown<'_>> = sources
        .iter()
        .map(|source| Shown::new(source, false))
        .collect();
    Ok(query.page(&shown, None))
}

async fn show(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let source = state.store.source(&name).await?.ok_or_else(unknown)?;
    Ok(bodies::json(StatusCode::OK, &Shown::new(&source, true)))
}

async fn put(
    _: Allowed<ChangeSources>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Text(text): Text,
) -> Result<Response, Error> {
    let check = state.checks.source;
    named("source", &name, &state, (check, text.clone())).await?;
    let done = state.store.put_source(&name, &text).await?;
    if !matches!(done, Put::Unchanged(_)) {
        state.changed().await;
    }
    let source = state.store.source(&name).await?.ok_or_else(unknown)?;
    let status = if matches!(done, Put::Created(_)) {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(bodies::json(status, &Shown::new(&source, false)))
}

async fn remove(
    _: Allowed<ChangeSources>,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    if !state.store.remove_source(&name).await? {
        return Err(unknown());
    }
    state.changed().await;
    Ok(StatusCode::NO_CONTENT)
}
