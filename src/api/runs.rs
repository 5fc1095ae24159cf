//! Runs: lists, and one run as its journal tells it.
//!
//! Nothing about tasks is stored beside the journal: what a run did is found by replaying it
//! (`tasks`).

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::access::{Allowed, ReadRuns};
use super::pages::{self, Query};
use super::routes::{About, Routes};
use super::tasks::{self, ShownTask};
use super::ties::ShownTies;
use super::{Error, State, bodies};
use crate::id::Id;
use crate::store::events::StoredEvent;
use crate::store::runs::{RunFilter, RunLine, Status};
use crate::store::workflows::Workflow;
use crate::worker::origin::{self, Ties};

/// Tasks that are shown with a run; `tasksNext` says where the others are.
const TASKS_SHOWN_MAX: usize = pages::LIMIT_MAX as usize;

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
    /// Where the other tasks are, where there are more than a page shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks_next: Option<String>,
    /// Why the tasks cannot be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks_missing: Option<String>,
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
    let told = tasks::told(state, &stored, (0, TASKS_SHOWN_MAX)).await?;
    let line = &stored.line;
    let started = line.status != Status::Pending;
    let run = ShownRun {
        id,
        workflow: identity(line),
        status: line.status.word(),
        event_id: line.event_id,
        ties: Ties::of_event(&stored.event.event, stored.event.target.is_some()).into(),
        input: told.input,
        output: stored.output.as_deref().and_then(tasks::raw),
        error: stored.error.as_deref().and_then(tasks::raw),
        created_at: made_at(id),
        started_at: started.then_some(made_at(id)),
        ended_at: line.ended_at,
        tasks: told.tasks,
        tasks_next: told.next.map(|next| format!("{id}/tasks?after={next}")),
        tasks_missing: told.missing,
    };
    let json = serde_json::to_vec(&run).map_err(|failure| Error::Internal(failure.into()))?;
    // Replaying evaluates expressions, and those may show secrets.
    let json = (state.redactor)().redact_json(json);
    Ok(bodies::answer(StatusCode::OK, json))
}

/// The event of a start that is answered before its run is made.
async fn request(state: &State, id: Id) -> Result<Option<StoredEvent>, Error> {
    let event = state.store.event(id.counterpart()).await?;
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
            _ => tasks::raw(&event.event.body),
        },
        output: None,
        error: None,
        created_at: made_at(id),
        started_at: None,
        ended_at: None,
        tasks: Vec::new(),
        tasks_next: None,
        tasks_missing: None,
    };
    Ok(bodies::json(StatusCode::OK, &run))
}
