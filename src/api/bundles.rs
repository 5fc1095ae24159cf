//! Definitions as a set: `POST /definitions` takes the files of a directory, all or nothing.

use std::sync::Arc;

use axum::extract;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::access::{Allowed, ChangeDestinations};
use super::bodies::{self, Json};
use super::definitions::plan::{self, ApplyError, Mode, Plan};
use super::definitions::{self, File, FileFault, ReadError, secrets};
use super::documents;
use super::pages::Query;
use super::routes::{About, Request, Routes};
use super::{Error, State};
use crate::workflow::Fault;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    files: Vec<File>,
}

#[derive(Serialize)]
struct Shown {
    lines: Vec<ShownLine>,
}

#[derive(Serialize)]
struct ShownLine {
    action: &'static str,
    subject: String,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes.add(
        "post /definitions",
        apply,
        About {
            summary: "Apply a set of definition files, all or nothing, and show what changed",
            query: &[
                (
                    "prune",
                    "true: take out of service what the set does not have",
                ),
                ("dryRun", "true: only show what would change"),
            ],
            request: Some(Request {
                media: &["application/json"],
                schema: Some("DefinitionFiles"),
            }),
            answers: &[(200, Some("Plan"))],
            problems: &[400, 409, 413, 415, 422],
        },
    )
}

async fn apply(
    _: Allowed<ChangeDestinations>,
    extract::State(state): extract::State<State>,
    uri: Uri,
    Json(Files { files }): Json<Files>,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["prune", "dryRun"])?;
    let mode = Mode {
        dry_run: query.parse("dryRun")?.unwrap_or(false),
        prune: query.parse("prune")?.unwrap_or(false),
    };
    let checks = state.checks;
    let texts = files.iter().map(|file| file.text.as_str());
    let documents = documents::of(&state.store, &state.fetch, &state.work, texts).await;
    let set = state
        .work(move || definitions::check(files, &checks, &documents))
        .await?;
    let set = set.map_err(|error| match error {
        ReadError::Faults(faults) => invalid(faults),
        other => Error::BadRequest(other.to_string()),
    })?;
    let (environment, known) = (Arc::clone(&state.environment), Arc::clone(&state.secrets));
    let looked = move || {
        let missing = secrets::missing_of(&set, &environment, &*known);
        (set, missing)
    };
    let (set, missing) = state.work(looked).await?;
    if !missing.is_empty() {
        return Err(invalid(missing));
    }
    let plan = plan::apply(&state.store, set, mode)
        .await
        .map_err(|error| match error {
            ApplyError::Conflicts(faults) => invalid(faults),
            ApplyError::Store(error) => error.into(),
        })?;
    if plan.changes() && !mode.dry_run {
        state.changed().await;
    }
    Ok(bodies::json(StatusCode::OK, &shown(plan)))
}

fn shown(plan: Plan) -> Shown {
    let line = |line: plan::Line| ShownLine {
        action: line.action.word(),
        subject: line.subject,
    };
    Shown {
        lines: plan.lines.into_iter().map(line).collect(),
    }
}

fn invalid(faults: Vec<FileFault>) -> Error {
    let placed = |FileFault { path, fault }: FileFault| Fault {
        message: format!("{}: {}", path.display(), fault.message),
        ..fault
    };
    Error::Invalid {
        detail: "the definitions are not valid; nothing was changed".to_owned(),
        errors: faults.into_iter().map(placed).collect(),
    }
}
