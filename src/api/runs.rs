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

use super::access::{Allowed, ReadRuns};
use super::pages::{self, Query};
use super::routes::{About, Routes};
use super::ties::ShownTies;
use super::{Error, State, bodies};
use crate::id::Id;
use crate::problem::Problem;
use crate::run::{Attempt, Change, Entry, Record, Run, Surroundings, entry};
use crate::store::events::StoredEvent;
use crate::store::runs::{RunFilter, RunLine, Status, StoredRun};
use crate::store::workflows::Workflow;
use crate::worker::origin::{self, Origin, Ties};
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
    #[serde(flatten)]
    ties: ShownTies,
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
    /// The run that a sub-workflow became.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Id>,
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
///
/// # Errors
/// 400 where it is neither.
pub(super) async fn versions(state: &State, workflow: &str) -> Result<Vec<i32>, Error> {
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

/// There is no such run.
pub(super) fn unknown() -> Error {
    Error::NotFound("there is no such run".to_owned())
}

/// A run's id from a path.
///
/// # Errors
/// 404 where it is none.
pub(super) fn run_id(text: &str) -> Result<Id, Error> {
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
    let definition = definition(state, stored.line.workflow_id).await?;
    let surroundings = surroundings(state, id);
    let json = state
        .work(move || told(&stored, definition, surroundings))
        .await?;
    let json = json.map_err(|failure| Error::Internal(failure.into()))?;
    // Replaying evaluates expressions, and those may show secrets.
    let json = (state.redactor)().redact_json(json);
    Ok(bodies::answer(StatusCode::OK, json))
}

/// The compiled workflow of a run, where this server can read it.
///
/// # Errors
/// Where the database does not answer.
pub(super) async fn definition(
    state: &State,
    workflow_id: i32,
) -> Result<Option<Arc<Definition>>, Error> {
    let definitions = Arc::clone(&state.definitions);
    // It may be read anew, which needs the same stacks as replaying it.
    let read = state
        .work
        .spawn(async move { definitions.workflow(workflow_id).await });
    let read = read
        .await
        .map_err(|failure| Error::Internal(failure.into()))?;
    Ok(read?)
}

/// What surrounds a run that is replayed here.
pub(super) fn surroundings(state: &State, id: Id) -> Arc<Surroundings> {
    Arc::new(Surroundings {
        tasks_max: state.tasks_max,
        id,
        environment: Arc::clone(&state.environment),
        secrets: Arc::clone(&state.secrets),
    })
}

/// The event of a start that is answered before its run is made.
async fn request(state: &State, id: Id) -> Result<Option<StoredEvent>, Error> {
    let event = state.store.event(origin::event_of(id)).await?;
    let is_of_run = |event: &StoredEvent| event.target.is_some_and(|(_, run_id)| run_id == id);
    Ok(event.filter(is_of_run))
}

/// Whether a run was asked for and is not made yet.
///
/// # Errors
/// Where the database does not answer.
pub(super) async fn is_requested(state: &State, id: Id) -> Result<bool, Error> {
    Ok(request(state, id).await?.is_some())
}

/// A start is answered before its run is made: until then its event stands for it.
async fn requested(state: &State, id: Id) -> Result<Response, Error> {
    let event = request(state, id).await?.ok_or_else(unknown)?;
    let workflow_id = event.target.map(|(id, _)| id);
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
        ties: Ties::of_event(&event.event, true).into(),
        input: match event.event.content_type.as_deref() {
            Some(origin::RESUMING) => None,
            _ => raw(&event.event.body),
        },
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
    tasks: Vec<ShownTask>,
    missing: Option<String>,
}

fn told(
    stored: &StoredRun,
    definition: Option<Arc<Definition>>,
    surroundings: Arc<Surroundings>,
) -> Result<Vec<u8>, serde_json::Error> {
    let line = &stored.line;
    let (event, addressed) = (&stored.event.event, stored.event.target.is_some());
    let origin = match definition.as_deref() {
        Some(definition) => origin::of(event, addressed, definition),
        None => Err("this version of the server cannot read the workflow".to_owned()),
    };
    let ties = Ties::of_event(event, addressed);
    let raw_input = match &origin {
        Ok(origin) => raw(&origin.input.to_json()),
        Err(_) => raw(b"null"),
    };
    let told = match (definition, origin) {
        (Some(definition), Ok(origin)) => replay(stored, definition, surroundings, origin),
        (_, origin) => Told {
            tasks: Vec::new(),
            missing: origin.err(),
        },
    };
    let status = line.status;
    let created_at = made_at(line.id);
    let started = status != Status::Pending;
    serde_json::to_vec(&ShownRun {
        id: line.id,
        workflow: identity(line),
        status: status.word(),
        event_id: line.event_id,
        ties: ties.into(),
        input: raw_input,
        output: stored.output.as_deref().and_then(raw),
        error: stored.error.as_deref().and_then(raw),
        created_at,
        started_at: started.then_some(created_at),
        ended_at: line.ended_at,
        tasks: told.tasks,
        tasks_missing: told.missing,
    })
}

fn replay(
    stored: &StoredRun,
    definition: Arc<Definition>,
    surroundings: Arc<Surroundings>,
    origin: Origin,
) -> Told {
    if stored.line.status == Status::Pending {
        // Replaying would show what it is going to do, as if it had been done.
        return Told {
            tasks: Vec::new(),
            missing: None,
        };
    }
    let at = made_at(stored.line.id);
    let mut entries = vec![Entry {
        at,
        change: Change::Started {
            input: origin.input,
        },
    }];
    entries.extend(origin.journal);
    for row in &stored.journal {
        match entry::decode(row) {
            Ok(more) => entries.extend(more),
            Err(error) => {
                return Told {
                    tasks: Vec::new(),
                    missing: Some(error.to_string()),
                };
            }
        }
    }
    let run = Run::replay_recorded(definition, surroundings, entries);
    let tasks = run.records().iter().map(task).collect();
    Told {
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
        run: record.child,
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
