//! The tasks of a run: found by replaying its journal, as the worker does, but with a record each.
//!
//! The journal is read a part at a time and a page of records is kept, so what a run of a hundred
//! thousand tasks costs in memory is a page.

use std::sync::Arc;

use axum::extract::{self, Path};
use axum::response::Response;
use http::Uri;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::access::{Allowed, ReadRuns};
use super::pages::{self, Query};
use super::routes::{About, Routes};
use super::{Error, State, runs};
use crate::id::Id;
use crate::problem::Problem;
use crate::run::{Attempt, Links, Record, Run, Surroundings, entry};
use crate::store::runs::{Status, StoredRun};
use crate::worker::origin;
use crate::workflow::Definition;

/// Journal rows in memory at once.
const ROWS_MAX: u16 = 64;

/// One execution of a task.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownTask {
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

/// What a replayed run says of itself.
pub(super) struct Told {
    /// Raw input of the workflow.
    pub(super) input: Option<Box<RawValue>>,
    /// A page of its tasks, in the order they began.
    pub(super) tasks: Vec<ShownTask>,
    /// How many tasks stand before the next page, where there is one.
    pub(super) next: Option<usize>,
    /// Why there are none.
    pub(super) missing: Option<String>,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes.add(
        "get /runs/{id}/tasks",
        list,
        About {
            summary: "List the tasks a run has executed, in the order they began",
            query: &[
                (
                    "after",
                    "How many tasks to leave out: those of the pages before",
                ),
                pages::LIMIT,
            ],
            request: None,
            answers: &[(200, Some("[Task]"))],
            problems: &[400, 404],
        },
    )
}

async fn list(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["after", "limit"])?;
    let (after, limit) = (query.parse("after")?.unwrap_or(0), query.limit()?);
    let stored = state.store.run(runs::run_id(&id)?).await?;
    let stored = stored.ok_or_else(runs::unknown)?;
    let told = told(&state, &stored, (after, usize::from(limit))).await?;
    let json = serde_json::to_vec(&told.tasks).map_err(|error| Error::Internal(error.into()))?;
    let json = (state.redactor)().redact_json(json);
    Ok(query.page_of(json, told.next.map(|next| next.to_string())))
}

/// Replays a run, keeping the tasks of a page: how many stand before it, and how many it has.
///
/// # Errors
/// Where the database is away.
pub(super) async fn told(
    state: &State,
    stored: &StoredRun,
    (after, most): (usize, usize),
) -> Result<Told, Error> {
    let missing = |input, why: Option<&str>| Told {
        input,
        tasks: Vec::new(),
        next: None,
        missing: why.map(str::to_owned),
    };
    let Some(definition) = definition(state, stored.line.workflow_id).await? else {
        let why = "this version of the server cannot read the workflow";
        return Ok(missing(None, Some(why)));
    };
    let surroundings = surroundings(state, stored.line.id);
    let pending = stored.line.status == Status::Pending;
    let (event, addressed) = (stored.event.event.clone(), stored.event.target.is_some());
    let begun = state.work(move || {
        let origin = origin::of(&event, addressed, &definition)?;
        let run = Run::new(definition, surroundings).recorded_within(after, most);
        let input = raw(&origin.input.to_json());
        Ok::<_, String>((run, input, origin))
    });
    let (mut run, input, origin) = match begun.await? {
        Ok(begun) => begun,
        Err(why) => return Ok(missing(None, Some(&why))),
    };
    if pending {
        // Replaying would show what it is going to do, as if it had been done.
        return Ok(missing(input, None));
    }
    let created_at = runs::made_at(stored.line.id);
    let mut start = Some(origin);
    let mut from = 0;
    loop {
        let rows = state.store.journal(stored.line.id, from, ROWS_MAX).await?;
        let last = rows.last().map(|(seq, _)| *seq);
        let origin = start.take();
        if last.is_none() && origin.is_none() {
            break;
        }
        from = last.map_or(from, |seq| seq.saturating_add(1));
        let applied = state.work(move || {
            let mut entries = Vec::new();
            for (_, row) in &rows {
                entries.extend(entry::decode(row)?);
            }
            if let Some(origin) = origin {
                let (input, prefix) = (origin.input, origin.journal);
                entries = entry::from_start(created_at, input, prefix, entries);
            }
            entries.into_iter().for_each(|entry| run.apply(entry));
            Ok::<_, entry::DecodeError>(run)
        });
        run = match applied.await? {
            Ok(run) => run,
            Err(error) => return Ok(missing(input, Some(&error.to_string()))),
        };
    }
    let end = after.saturating_add(most);
    let next = (run.records_begun() > end).then_some(end);
    let tasks = state.work(move || run.records().iter().map(task).collect());
    Ok(Told {
        input,
        tasks: tasks.await?,
        next,
        missing: None,
    })
}

/// What surrounds a run that is replayed here.
pub(super) fn surroundings(state: &State, id: Id) -> Arc<Surroundings> {
    Arc::new(Surroundings {
        tasks_max: state.tasks_max,
        id,
        environment: Arc::clone(&state.environment),
        secrets: Arc::clone(&state.secrets),
        links: Arc::new(Links::hidden()),
    })
}

/// A compiled workflow; none where this version cannot read it.
///
/// # Errors
/// Where the database is away.
pub(super) async fn definition(
    state: &State,
    workflow_id: i32,
) -> Result<Option<Arc<Definition>>, Error> {
    let definitions = Arc::clone(&state.definitions);
    // It may be read anew, which needs the same stacks as replaying it.
    let read = state
        .work
        .spawn(async move { definitions.workflow(workflow_id).await });
    Ok(read
        .await
        .map_err(|failure| Error::Internal(failure.into()))??)
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
pub(super) fn raw(json: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice(json).ok()
}
