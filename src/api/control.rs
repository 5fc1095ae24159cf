//! Suspending, resuming and cancelling runs: one, or those that a filter finds.
//!
//! A command is mail: it is stored, and taken in by whichever node has the run, at once where the
//! run waits and within half a second where it is in memory. So 202 says that it will happen; 200
//! that nothing was to be done; 409 that the run has ended otherwise.

use std::time::Duration;

use axum::extract::{self, Path};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::access::{Allowed, ControlRuns};
use super::bodies::{self, Json};
use super::pages::LIMIT_MAX;
use super::routes::{About, Request, Routes};
use super::{Error, State, runs};
use crate::id::Id;
use crate::store::NewMail;
use crate::store::runs::{RunFilter, RunLine, Status};
use crate::worker::command::Command;

/// Runs told by one request where it does not say how many.
const LIMIT_DEFAULT: u16 = 100;

/// How long a command waits for a run that was asked for and is not made yet.
const MADE_WITHIN: Duration = Duration::from_secs(2);

/// Pause between two looks for such a run.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Statuses of runs that a command can reach.
const OPEN: [Status; 4] = [
    Status::Pending,
    Status::Running,
    Status::Waiting,
    Status::Suspended,
];

/// The answer to a command.
#[derive(Serialize)]
struct Told {
    id: Id,
    /// Its status before the command is carried out.
    status: &'static str,
}

/// Which runs a command is for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    /// `namespace/name` or `namespace/name/version`.
    workflow: Option<String>,
    /// `pending`, `running`, `waiting` or `suspended`; all of them where not given.
    status: Option<String>,
    /// Runs at most.
    limit: Option<u16>,
}

/// The answer to a command for many runs.
#[derive(Serialize)]
struct AllTold {
    /// Those that were told.
    runs: Vec<Id>,
    /// Whether the limit was reached, so that there may be more.
    more: bool,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    let one = |summary| About {
        summary,
        query: &[],
        request: None,
        answers: &[(202, Some("Told")), (200, Some("Told"))],
        problems: &[404, 409],
    };
    let many = |summary| About {
        summary,
        query: &[],
        request: Some(Request {
            media: &["application/json"],
            schema: Some("Which"),
        }),
        answers: &[(202, Some("AllTold"))],
        problems: &[400, 413, 422],
    };
    routes
        .add(
            "post /runs/{id}/suspend",
            suspend,
            one("Suspend a run: what it has begun ends, nothing more starts, its times run on"),
        )
        .add(
            "post /runs/{id}/resume",
            resume,
            one("Resume a suspended run"),
        )
        .add(
            "post /runs/{id}/cancel",
            cancel,
            one("Cancel a run and the sub-workflows it awaits; calls in flight are interrupted"),
        )
        .add(
            "post /runs/suspend",
            suspend_all,
            many("Suspend the runs a filter finds"),
        )
        .add(
            "post /runs/resume",
            resume_all,
            many("Resume the suspended runs a filter finds"),
        )
        .add(
            "post /runs/cancel",
            cancel_all,
            many("Cancel the open runs a filter finds"),
        )
}

async fn suspend(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    tell(&state, &id, Command::Suspend).await
}

async fn resume(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    tell(&state, &id, Command::Resume).await
}

async fn cancel(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    tell(&state, &id, Command::Cancel).await
}

async fn tell(state: &State, id: &str, command: Command) -> Result<Response, Error> {
    let id = runs::run_id(id)?;
    let line = made(state, id).await?;
    let answer = |code, status: Status| {
        let status = status.word();
        bodies::json(code, &Told { id, status })
    };
    let is_so = match command {
        Command::Suspend => line.status == Status::Suspended,
        Command::Resume => !line.status.is_final() && line.status != Status::Suspended,
        Command::Cancel => line.status == Status::Cancelled,
    };
    // A command that is still under way may change that.
    if is_so && (line.status.is_final() || !state.store.is_told(id).await?) {
        return Ok(answer(StatusCode::OK, line.status));
    }
    if !line.status.is_final() && state.store.send(&command.to(id)).await? {
        return Ok(answer(StatusCode::ACCEPTED, line.status));
    }
    // It has ended, perhaps just now.
    let status = made(state, id).await?.status;
    if command == Command::Cancel && status == Status::Cancelled {
        return Ok(answer(StatusCode::OK, status));
    }
    let detail = format!("the run has ended: {}", status.word());
    Err(Error::Conflict(detail))
}

/// The run; one that was asked for a moment ago is waited for.
async fn made(state: &State, id: Id) -> Result<RunLine, Error> {
    let end = Instant::now() + MADE_WITHIN;
    loop {
        if let Some(line) = state.store.run_line(id).await? {
            return Ok(line);
        }
        if !runs::is_requested(state, id).await? {
            return Err(runs::unknown());
        }
        if Instant::now() >= end {
            return Err(Error::Unavailable { retry_after_s: 1 });
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn suspend_all(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Json(which): Json<Which>,
) -> Result<Response, Error> {
    tell_all(&state, &which, Command::Suspend).await
}

async fn resume_all(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Json(which): Json<Which>,
) -> Result<Response, Error> {
    tell_all(&state, &which, Command::Resume).await
}

async fn cancel_all(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Json(which): Json<Which>,
) -> Result<Response, Error> {
    tell_all(&state, &which, Command::Cancel).await
}

async fn tell_all(state: &State, which: &Which, command: Command) -> Result<Response, Error> {
    let limit = which.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit must be 1 to {LIMIT_MAX}");
        return Err(Error::BadRequest(detail));
    }
    let found = found(state, which, limit, command).await?;
    let more = found.len() >= usize::from(limit);
    let mail: Vec<NewMail> = found.into_iter().map(|id| command.to(id)).collect();
    let mut runs = state.store.send_all(&mail).await?;
    runs.sort_unstable();
    runs.dedup();
    Ok(bodies::json(StatusCode::ACCEPTED, &AllTold { runs, more }))
}

/// The runs a command is for. Everything is never meant by nothing: a filter must be given.
async fn found(
    state: &State,
    which: &Which,
    limit: u16,
    command: Command,
) -> Result<Vec<Id>, Error> {
    let workflow_ids = match &which.workflow {
        Some(workflow) => Some(runs::versions(state, workflow).await?),
        None => None,
    };
    let status = match (&which.status, command) {
        (Some(word), _) => Some(open(word)?),
        // Only those can be resumed.
        (None, Command::Resume) => Some(Status::Suspended),
        (None, _) => None,
    };
    match (workflow_ids, status) {
        (None, None) => Err(Error::invalid("name a workflow, a status, or both")),
        (Some(workflow_ids), None) => Ok(state.store.open_runs(&workflow_ids, limit).await?),
        (workflow_ids, status) => {
            let filter = RunFilter {
                workflow_ids,
                status,
            };
            let page = state.store.runs(&filter, None, limit).await?;
            Ok(page.items.iter().map(|line| line.id).collect())
        }
    }
}

fn open(word: &str) -> Result<Status, Error> {
    let open = OPEN.into_iter().find(|status| status.word() == word);
    open.ok_or_else(|| {
        let words = OPEN.map(Status::word).join(", ");
        Error::invalid(format!("status must be one of {words}"))
    })
}
