//! The ledger: whether everything that came in is accounted for, at this moment.

use axum::extract;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::access::{Allowed, ReadRuns};
use super::routes::{About, Routes};
use super::{Error, State, bodies};
use crate::store::ledger::Ledger;

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    ledger: Ledger,
    /// What this node's door has counted since it started.
    door: serde_json::Value,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes.add(
        "get /ledger",
        show,
        About {
            summary: "Show the books of events and runs, of one moment, and this node's door",
            query: &[],
            request: None,
            answers: &[(200, Some("Ledger"))],
            problems: &[],
        },
    )
}

async fn show(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
) -> Result<Response, Error> {
    let ledger = state.store.ledger().await?;
    Ok(bodies::json(
        StatusCode::OK,
        &Shown {
            ledger,
            door: (state.door)(),
        },
    ))
}
