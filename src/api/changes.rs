//! Changes that APIs announce in their answers, and the tasks they concern.

use axum::extract;
use axum::response::Response;
use http::Uri;

use super::access::{Allowed, ReadDefinitions};
use super::pages::{self, Query};
use super::routes::{About, Routes};
use super::{Error, State};

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes.add(
        "get /changes",
        list,
        About {
            summary: "List what APIs announce about themselves, the newest first",
            query: &[pages::LIMIT],
            request: None,
            answers: &[(200, Some("[Change]"))],
            problems: &[400],
        },
    )
}

async fn list(
    _: Allowed<ReadDefinitions>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["limit"])?;
    let changes = state.store.changes(query.limit()?).await?;
    Ok(query.page(&changes, None))
}
