//! Replaying a run: a new run of the same event, from the start or from a task that failed.
//!
//! The new run is started like any other, by an event that is addressed to it. From a task, that
//! event also brings what the old journal holds up to there, so nothing that succeeded is done
//! again; whether the journal fits the version is tried out before anything is stored.

use std::sync::Arc;

use axum::extract::{self, Path};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::access::{Allowed, ControlRuns};
use super::bodies::{self, Raw};
use super::routes::{About, Request, Routes};
use super::starts::{self, Started};
use super::{Error, State, runs, tasks, workflows};
use crate::id::Id;
use crate::run::{self, Surroundings, Unusable, entry};
use crate::store::runs::StoredRun;
use crate::trigger::REPLAY_OF;
use crate::worker::origin;
use crate::workflow::Definition;

/// Longest journal that is handed on, in bytes: it becomes the body of an event.
const JOURNAL_BYTES_MAX: usize = 8 << 20;

/// Longest journal that is read for it, in bytes.
const READ_BYTES_MAX: usize = 64 << 20;

/// Journal rows read at once.
const ROWS_MAX: u16 = 64;

/// What a replay asks for; nothing: from the start, on the same version.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The reference of a task that faulted or was cancelled.
    from: Option<String>,
    /// Another version of the workflow, or `latest`.
    version: Option<String>,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes.add(
        "post /runs/{id}/replay",
        replay,
        About {
            summary: "Start a new run of the same event: from the start, or `from` a task that \
                      faulted, on the same or another `version`",
            query: &[],
            request: Some(Request {
                media: &["application/json"],
                schema: Some("Replay"),
            }),
            answers: &[(202, Some("Id"))],
            problems: &[400, 404, 409, 413, 422],
        },
    )
}

async fn replay(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Error> {
    let wanted = match body.is_empty() {
        true => Wanted::default(),
        false => bodies::parse(&body)?,
    };
    let key = starts::idempotency_key(&headers)?;
    let id = runs::run_id(&id)?;
    let Some(stored) = state.store.run(id).await? else {
        return Err(match runs::is_requested(&state, id).await? {
            true => Error::Conflict("this run has not begun yet; try again".to_owned()),
            false => runs::unknown(),
        });
    };
    let (workflow_id, definition) = version(&state, &stored, wanted.version.as_deref()).await?;
    let run_id = Id::generate();
    let (media, body) = match &wanted.from {
        None => (None, from_start(&state, stored, definition).await?),
        Some(from) => {
            let body = from_task(&state, stored, definition, (run_id, from)).await?;
            (Some(origin::RESUMING), body)
        }
    };
    let mut start = starts::Start::new(origin::source(id), run_id, workflow_id, body);
    start.attribute(REPLAY_OF, id.to_string());
    if let Some(from) = wanted.from {
        start.attribute(origin::REPLAY_FROM, from);
    }
    if let Some(media) = media {
        start.media(media);
    }
    if let Some(key) = key {
        start.key(key);
    }
    let id = start.send(&state).await?;
    Ok(bodies::json(StatusCode::ACCEPTED, &Started { id }))
}

/// The version to run: its own, or another one of the same workflow.
async fn version(
    state: &State,
    stored: &StoredRun,
    version: Option<&str>,
) -> Result<(i32, Arc<Definition>), Error> {
    let line = &stored.line;
    let of = |version: &str| {
        (
            line.namespace.clone(),
            line.name.clone(),
            version.to_owned(),
        )
    };
    let workflow = workflows::find(state, &of(version.unwrap_or(&line.version))).await?;
    if workflow.retired {
        let detail = "this version is retired; activate it, or name another one";
        return Err(Error::Conflict(detail.to_owned()));
    }
    let definition = tasks::definition(state, workflow.id).await?;
    let definition = definition.ok_or_else(|| {
        Error::Conflict("this version of the server cannot read the workflow".to_owned())
    })?;
    Ok((workflow.id, definition))
}

async fn from_start(
    state: &State,
    stored: StoredRun,
    definition: Arc<Definition>,
) -> Result<Bytes, Error> {
    let event = stored.event;
    let origin = state
        .work(move || origin::of(&event.event, event.target.is_some(), &definition))
        .await?;
    let origin = origin.map_err(Error::Conflict)?;
    Ok(Bytes::from(origin.input.to_json()))
}

async fn from_task(
    state: &State,
    stored: StoredRun,
    definition: Arc<Definition>,
    (run_id, from): (Id, &str),
) -> Result<Bytes, Error> {
    let was = tasks::definition(state, stored.line.workflow_id).await?;
    let was = was.ok_or_else(|| {
        Error::Conflict("this version of the server cannot read the workflow of the run".to_owned())
    })?;
    let rows = rows(state, stored.line.id).await?;
    let surroundings = [stored.line.id, run_id].map(|id| tasks::surroundings(state, id));
    let from = from.to_owned();
    let body = state
        .work(move || resuming(&stored, &rows, (&was, &definition, &from), &surroundings))
        .await??;
    if body.len() > JOURNAL_BYTES_MAX {
        return Err(Error::TooLarge(format!(
            "the journal up to there is larger than {JOURNAL_BYTES_MAX} bytes; \
             replay from the start"
        )));
    }
    Ok(body)
}

/// The journal of a run.
async fn rows(state: &State, run_id: Id) -> Result<Vec<Vec<u8>>, Error> {
    let (mut rows, mut bytes, mut from) = (Vec::new(), 0, 0);
    loop {
        let page = state.store.journal(run_id, from, ROWS_MAX).await?;
        let Some((last, _)) = page.last() else {
            return Ok(rows);
        };
        from = last.saturating_add(1);
        bytes += page.iter().map(|(_, row)| row.len()).sum::<usize>();
        if bytes > READ_BYTES_MAX {
            return Err(Error::TooLarge(format!(
                "the journal of the run is larger than {READ_BYTES_MAX} bytes; \
                 replay from the start"
            )));
        }
        rows.extend(page.into_iter().map(|(_, row)| row));
    }
}

/// The input and the part of the journal that the new run begins with, tried out on it.
fn resuming(
    stored: &StoredRun,
    rows: &[Vec<u8>],
    (was, will, from): (&Arc<Definition>, &Arc<Definition>, &str),
    surroundings: &[Arc<Surroundings>; 2],
) -> Result<Bytes, Error> {
    let event = &stored.event;
    let addressed = event.target.is_some();
    let begin = |definition: &Definition| {
        let origin = origin::of(&event.event, addressed, definition);
        origin.map_err(Error::Conflict)
    };
    let begun = begin(was)?;
    let mut journal = Vec::new();
    for row in rows {
        let entries = entry::decode(row).map_err(|error| Error::Conflict(error.to_string()))?;
        journal.extend(entries);
    }
    let created_at = runs::made_at(stored.line.id);
    let journal = entry::from_start(created_at, begun.input, begun.journal, journal);
    let [old, new] = surroundings;
    let prefix = run::before(was, old, &journal, from).map_err(refused)?;
    let input = begin(will)?.input;
    let created_at = runs::made_at(new.id);
    let tried = entry::from_start(created_at, input.clone(), prefix.clone(), Vec::new());
    run::begins_with(will, new, &tried, from).map_err(refused)?;
    Ok(Bytes::from(origin::resuming(&input, &prefix)))
}

fn refused(unfit: Unusable) -> Error {
    match unfit {
        Unusable::NotFailed(_) => Error::invalid(unfit.to_string()),
        Unusable::Misfit(_) | Unusable::NotReached(_) => Error::Conflict(unfit.to_string()),
    }
}
