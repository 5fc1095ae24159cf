//! Runs: lists, and one run as its journal tells it.
//!
//! Nothing about tasks is stored beside the journal: what a run did is found by replaying it, the
//! same way as the worker does, but keeping a record of every task.

use std::sync::Arc;

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::access::{Allowed, ControlRuns, ReadRuns};
use super::pages::{self, Query};
use super::routes::{About, Routes};
use super::{Error, State, bodies, starts};
use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;
use crate::run::{Attempt, Record, Run, Surroundings, entry};
use crate::store::runs::{RunFilter, RunLine, Status, StoredRun};
use crate::store::workflows::Workflow;
use crate::worker::route;
use crate::workflow::Definition;

/// The query parameter for a status, for the description.
pub const STATUS: (&str, &str) = (
    "status",
    "Only of this status: pending, running, waiting, suspended, cancelled, faulted, completed",
);

#[derive(Serialize)]
struct WorkflowIdentity<'a> {
    namespace: &'a str,
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLine<'a> {
    id: Id,
    workflow: WorkflowIdentity<'a>,
    status: &'static str,
    event_id: Id,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRun<'a> {
    id: Id,
    workflow: WorkflowIdentity<'a>,
    status: &'static str,
    event_id: Id,
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    error: Option<Box<RawValue>>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    tasks: Vec<ShownTask>,
    /// Why the tasks cannot be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks_missing: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownTask {
    reference: Arc<str>,
    name: String,
    iteration: String,
    attempt: u32,
    status: &'static str,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    error: Option<Problem>,
    attempts: Vec<ShownAttempt>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAttempt {
    number: u32,
    started_at: Timestamp,
    duration_ms: u32,
    status: Option<u16>,
    error: Option<Problem>,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    let control = |summary| About {
        summary,
        query: &[],
        request: None,
        answers: &[],
        problems: &[404, 501],
    };
    routes
        .add(
            "get /runs",
            list,
            About {
                summary: "List runs, newest first; a page may be short and yet have a next one",
                query: &[
                    STATUS,
                    (
                        "workflow",
                        "Only of this workflow: namespace/name or namespace/name/version",
                    ),
                    pages::AFTER,
                    pages::LIMIT,
                ],
                request: None,
                answers: &[(200, Some("[RunLine]"))],
                problems: &[400],
            },
        )
        .add(
            "get /runs/{id}",
            show,
            About {
                summary: "Show a run with every task it has executed",
                query: &[],
                request: None,
                answers: &[(200, Some("Run"))],
                problems: &[404],
            },
        )
        .add(
            "post /runs/{id}/suspend",
            later,
            control("Suspend a run (not supported yet)"),
        )
        .add(
            "post /runs/{id}/resume",
            later,
            control("Resume a run (not supported yet)"),
        )
        .add(
            "post /runs/{id}/cancel",
            later,
            control("Cancel a run (not supported yet)"),
        )
        .add(
            "post /runs/{id}/replay",
            later,
            control("Run it again (not supported yet)"),
        )
}

async fn later(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id = run_id(&id)?;
    state.store.run_line(id).await?.ok_or_else(unknown)?;
    Err(Error::NotSupported(
        "not supported by this version yet".to_owned(),
    ))
}

/// The status a query asks for.
///
/// # Errors
/// 400 where it is none.
pub(super) fn status(query: &Query) -> Result<Option<Status>, Error> {
    let Some(word) = query.get("status") else {
        return Ok(None);
    };
    let status = Status::of(word).map(Some);
    status.ok_or_else(|| {
        let words = Status::ALL.map(Status::word).join(", ");
        Error::BadRequest(format!("status must be one of {words}"))
    })
}

async fn list(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["status", "workflow", "after", "limit"])?;
    let workflow_ids = match query.get("workflow") {
        Some(workflow) => Some(versions(&state, workflow).await?),
        None => None,
    };
    let filter = RunFilter {
        workflow_ids,
        status: status(&query)?,
    };
    page(&state, &query, &filter).await
}

/// Keys of the versions that `namespace/name` or `namespace/name/version` means.
async fn versions(state: &State, workflow: &str) -> Result<Vec<i32>, Error> {
    let parts: Vec<&str> = workflow.split('/').collect();
    let (namespace, name, version) = match parts[..] {
        [namespace, name] => (namespace, name, None),
        [namespace, name, version] => (namespace, name, Some(version)),
        _ => {
            let detail = "workflow must be namespace/name or namespace/name/version";
            return Err(Error::BadRequest(detail.to_owned()));
        }
    };
    if let Some(version) = version {
        let found = state.store.workflow((namespace, name, version)).await?;
        return Ok(found.into_iter().map(|workflow| workflow.id).collect());
    }
    let of = (Some(namespace), Some(name));
    let found = state.store.workflows(of, 0, pages::LIMIT_MAX).await?;
    Ok(found.into_iter().map(|workflow| workflow.id).collect())
}

/// A page of runs.
///
/// # Errors
/// 400 where the query asks for an impossible page.
pub(super) async fn page(
    state: &State,
    query: &Query,
    filter: &RunFilter,
) -> Result<Response, Error> {
    let page = state
        .store
        .runs(filter, query.parse("after")?, query.limit()?)
        .await?;
    let shown: Vec<ShownLine<'_>> = page.items.iter().map(line).collect();
    Ok(query.page(&shown, page.next.map(|next| next.to_string())))
}

fn line(line: &RunLine) -> ShownLine<'_> {
    ShownLine {
        id: line.id,
        workflow: identity(line),
        status: line.status.word(),
        event_id: line.event_id,
        created_at: made_at(line.id),
        ended_at: line.ended_at,
    }
}

fn identity(line: &RunLine) -> WorkflowIdentity<'_> {
    let RunLine {
        namespace,
        name,
        version,
        ..
    } = line;
    WorkflowIdentity {
        namespace,
        name,
        version,
    }
}

/// When an id was made.
pub(super) fn made_at(id: Id) -> Timestamp {
    let at_ms = i64::try_from(id.made_at_ms()).unwrap_or_default();
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}

fn unknown() -> Error {
    Error::NotFound("there is no such run".to_owned())
}

fn run_id(text: &str) -> Result<Id, Error> {
    text.parse().map_err(|_| unknown())
}

async fn show(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    shown(&state, run_id(&id)?).await
}

/// The answer that shows a run.
///
/// # Errors
/// 404 where there is none.
pub(super) async fn shown(state: &State, id: Id) -> Result<Response, Error> {
    let Some(stored) = state.store.run(id).await? else {
        return requested(state, id).await;
    };
    let (definitions, workflow_id) = (Arc::clone(&state.definitions), stored.line.workflow_id);
    // It may be read anew, which needs the same stacks as replaying it.
    let read = state
        .work
        .spawn(async move { definitions.workflow(workflow_id).await });
    let definition = read
        .await
        .map_err(|failure| Error::Internal(failure.into()))??;
    let (secrets, environment) = (Arc::clone(&state.secrets), Arc::clone(&state.environment));
    let tasks_max = state.tasks_max;
    let surroundings = Surroundings {
        tasks_max,
        id,
        environment,
        secrets,
    };
    let json = state
        .work(move || told(&stored, definition, surroundings))
        .await?;
    let json = json.map_err(|failure| Error::Internal(failure.into()))?;
    // Replaying evaluates expressions, and those may show secrets.
    let json = (state.redactor)().redact_json(json);
    Ok(bodies::answer(StatusCode::OK, json))
}

/// A manual start is answered before its run is made: until then its event stands for it.
async fn requested(state: &State, id: Id) -> Result<Response, Error> {
    let event = state
        .store
        .event(starts::event_of(id))
        .await?
        .ok_or_else(unknown)?;
    let workflow_id = event
        .target
        .filter(|(_, run_id)| *run_id == id)
        .map(|(id, _)| id);
    let workflow = match workflow_id {
        Some(workflow_id) => state.store.workflow_by_id(workflow_id).await?,
        None => None,
    };
    let workflow = workflow.ok_or_else(unknown)?;
    if let Some(reason) = state.store.decision(&event).await?.ignored {
        return Err(Error::NotFound(format!(
            "this run was not started: {reason}"
        )));
    }
    let Workflow {
        namespace,
        name,
        version,
        ..
    } = &workflow;
    let run = ShownRun {
        id,
        workflow: WorkflowIdentity {
            namespace,
            name,
            version,
        },
        status: Status::Pending.word(),
        event_id: event.event.id,
        input: raw(&event.event.body),
        output: None,
        error: None,
        created_at: made_at(id),
        started_at: None,
        ended_at: None,
        tasks: Vec::new(),
        tasks_missing: None,
    };
    Ok(bodies::json(StatusCode::OK, &run))
}

/// What a replayed run says of itself.
struct Told {
    started_at: Option<Timestamp>,
    tasks: Vec<ShownTask>,
    missing: Option<String>,
}

fn told(
    stored: &StoredRun,
    definition: Option<Arc<Definition>>,
    surroundings: Surroundings,
) -> Result<Vec<u8>, serde_json::Error> {
    let line = &stored.line;
    let (event, addressed) = (&stored.event.event, stored.event.target.is_some());
    let input = definition
        .as_deref()
        .map(|definition| route::input(event, addressed, definition));
    let input = input.unwrap_or_default();
    let raw_input = raw(&input.to_json());
    let told = replay(stored, definition, surroundings, input);
    let status = line.status;
    let created_at = made_at(line.id);
    let started = status != Status::Pending;
    serde_json::to_vec(&ShownRun {
        id: line.id,
        workflow: identity(line),
        status: status.word(),
        event_id: line.event_id,
        input: raw_input,
        output: stored.output.as_deref().and_then(raw),
        error: stored.error.as_deref().and_then(raw),
        created_at,
        started_at: started.then(|| told.started_at.unwrap_or(created_at)),
        ended_at: line.ended_at,
        tasks: told.tasks,
        tasks_missing: told.missing,
    })
}

fn replay(
    stored: &StoredRun,
    definition: Option<Arc<Definition>>,
    surroundings: Surroundings,
    input: Value,
) -> Told {
    let missing = |why: String| Told {
        started_at: None,
        tasks: Vec::new(),
        missing: Some(why),
    };
    let Some(definition) = definition else {
        return missing("this version of the server cannot read the workflow".to_owned());
    };
    if stored.line.status == Status::Pending {
        // Replaying would show what it is going to do, as if it had been done.
        return Told {
            started_at: None,
            tasks: Vec::new(),
            missing: None,
        };
    }
    let mut journal = Vec::new();
    for row in &stored.journal {
        match entry::decode(row) {
            Ok(more) => journal.extend(more),
            Err(error) => return missing(error.to_string()),
        }
    }
    let entries = entry::from_start(made_at(stored.line.id), input, journal);
    let started_at = entries.first().map(|entry| entry.at);
    let run = Run::replay_recorded(definition, Arc::new(surroundings), entries);
    let tasks = run.records().iter().map(task).collect();
    Told {
        started_at,
        tasks,
        missing: None,
    }
}

fn task(record: &Record) -> ShownTask {
    ShownTask {
        reference: Arc::clone(&record.reference),
        name: record.name.clone(),
        iteration: record.iteration.clone(),
        attempt: record.attempt,
        status: record.status,
        started_at: record.started_at,
        ended_at: record.ended_at,
        input: raw(&record.input.to_json()),
        output: record
            .output
            .as_ref()
            .and_then(|output| raw(&output.to_json())),
        error: record.error.clone(),
        attempts: record.attempts.iter().map(attempt).collect(),
    }
}

fn attempt(attempt: &Attempt) -> ShownAttempt {
    ShownAttempt {
        number: attempt.number,
        started_at: attempt.started_at,
        duration_ms: attempt.duration_ms,
        status: attempt.status,
        error: attempt.error.clone(),
    }
}

/// JSON that is already written, checked.
fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(json).ok()
}
