//! Duplicates: deliveries whose event was there already, and letting one in that was meant.
//!
//! They are kept beside rejected deliveries, and shown and verified again the same way.

use axum::extract::{self, Path};
use axum::response::Response;
use http::Uri;

use super::access::{Allowed, PublishEvents, ReadEvents};
use super::routes::{About, Routes};
use super::{Error, State, pages, rejections};
use crate::store::rejections::Kind;

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .add(
            "get /duplicates",
            list,
            About {
                query: &[
                    ("source", "Only of this source"),
                    pages::AFTER,
                    pages::LIMIT,
                ],
                ..About::plain(
                    "List deliveries that were events already, newest first",
                    &[(200, Some("[Any]"))],
                    &[400],
                )
            },
        )
        .add(
            "get /duplicates/{id}/body",
            body,
            About::plain(
                "The body of a duplicate, byte for byte, as a download",
                &[(200, None)],
                &[404],
            ),
        )
        .add(
            "post /duplicates/{id}/accept",
            accept,
            About::plain(
                "Append a duplicate all the same, as a new event linked by `replayof`",
                &[(200, Some("Any"))],
                &[404, 409],
            ),
        )
}

async fn list(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    rejections::page(&state, &uri, Kind::Duplicate).await
}

async fn body(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    rejections::bytes(&state, &id, Kind::Duplicate).await
}

async fn accept(
    _: Allowed<PublishEvents>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    rejections::let_in(&state, &id, Kind::Duplicate).await
}
