//! Schedules: when workflows that time starts are due next, pausing them, and a run right now.

use std::sync::Arc;

use axum::extract::{self, Path};
use axum::response::Response;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;

use super::access::{Allowed, ControlRuns, ReadRuns, StartRuns};
use super::pages::{self, Query};
use super::routes::{About, Routes};
use super::{Error, State, bodies, starts};
use crate::id::Id;
use crate::store::timetables::Schedule as Stored;
use crate::trigger::timetable;
use crate::workflow::Definition;
use crate::workflow::definition::{CatchUp, Overlap, Schedule, Timetable, When};

/// How many of the next ticks are shown.
const NEXT_SHOWN: usize = 5;

/// Namespace and name in a path.
type Name = (String, String);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    namespace: &'a str,
    name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catch_up: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<&'static str>,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_at: Option<Timestamp>,
    /// The next tick is due and waits for the end of a run.
    waiting: bool,
    next: Vec<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
    ticks: Ticks,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Last {
    due_at: Timestamp,
    started_at: Timestamp,
    run: Id,
}

#[derive(Serialize)]
struct Ticks {
    started: i64,
    skipped: i64,
    missed: i64,
}

impl<'a> Shown<'a> {
    fn new(stored: &'a Stored, timetable: &'a Timetable) -> Self {
        let (mut cron, mut zone, mut every, mut after) = (None, None, None, None);
        match &timetable.when {
            When::Cron(expression) => {
                cron = Some(expression.text.as_str());
                zone = Some(expression.zone_name.as_str());
            }
            When::Every(span) => every = Some(iso(*span)),
            When::After(span) => after = Some(iso(*span)),
        }
        let policies = after.is_none().then(|| {
            let catch_up = match timetable.catch_up {
                CatchUp::Skip => "skip",
                CatchUp::One => "one",
                CatchUp::All => "all",
            };
            let overlap = match timetable.overlap {
                Overlap::Allow => "allow",
                Overlap::Skip => "skip",
                Overlap::Queue => "queue",
                Overlap::Cancel => "cancel",
            };
            (catch_up, overlap)
        });
        let paused_at = stored.paused_at();
        let due_at = stored.due_at().filter(|_| paused_at.is_none());
        let last = stored.last_at().zip(stored.last_run);
        Self {
            namespace: &stored.namespace,
            name: &stored.name,
            version: &stored.version,
            cron,
            every,
            after,
            timezone: zone,
            catch_up: policies.map(|(catch_up, _)| catch_up),
            overlap: policies.map(|(_, overlap)| overlap),
            paused: paused_at.is_some(),
            paused_at,
            waiting: stored.held || (after_waits(timetable) && stored.due_at().is_none()),
            next: due_at
                .map(|due_at| timetable::upcoming(timetable, due_at, NEXT_SHOWN))
                .unwrap_or_default(),
            last: last.map(|((due_at, started_at), run)| Last {
                due_at,
                started_at,
                run: run.into(),
            }),
            ticks: Ticks {
                started: stored.started,
                skipped: stored.skipped,
                missed: stored.missed,
            },
        }
    }
}

const fn after_waits(timetable: &Timetable) -> bool {
    matches!(timetable.when, When::After(_))
}

fn iso(span: std::time::Duration) -> String {
    jiff::SignedDuration::try_from(span)
        .map(|span| span.to_string())
        .unwrap_or_default()
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    const ONE: &str = "Schedule";
    let about = |summary, query, answers, problems| About {
        summary,
        query,
        request: None,
        answers,
        problems,
    };
    routes
        .add(
            "get /schedules",
            list,
            about(
                "List the schedules of active versions that time starts, by namespace and name",
                &[
                    (
                        "after",
                        "Namespace and name of the last entry of the page before: ns/name",
                    ),
                    pages::LIMIT,
                ],
                &[(200, Some("[Schedule]"))],
                &[400],
            ),
        )
        .add(
            "get /schedules/{namespace}/{name}",
            show,
            about(
                "Show the schedule of a workflow",
                &[],
                &[(200, Some(ONE))],
                &[404],
            ),
        )
        .add(
            "post /schedules/{namespace}/{name}/pause",
            pause,
            about(
                "Pause a schedule, over versions too; its ticks do not count as missed",
                &[],
                &[(200, Some(ONE))],
                &[404],
            ),
        )
        .add(
            "post /schedules/{namespace}/{name}/resume",
            resume,
            about(
                "Resume a schedule with its next tick from now",
                &[],
                &[(200, Some(ONE))],
                &[404],
            ),
        )
        .add(
            "post /schedules/{namespace}/{name}/run",
            run,
            about(
                "Start a run at once, also while the schedule is paused; its ticks stay",
                &[],
                &[(202, Some("Id"))],
                &[404],
            ),
        )
}

async fn list(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["after", "limit"])?;
    let limit = query.limit()?;
    let after = query.get("after").unwrap_or_default();
    let after = after.split_once('/').unwrap_or((after, ""));
    let stored = state.store.schedules(after, limit).await?;
    let mut definitions = Vec::with_capacity(stored.len());
    for one in &stored {
        definitions.push(state.definitions.workflow(one.workflow_id).await?);
    }
    let shown: Vec<_> = stored
        .iter()
        .zip(&definitions)
        .filter_map(|(one, definition)| Some(Shown::new(one, timed(definition.as_ref()?)?)))
        .collect();
    let key = |one: &Stored| format!("{}/{}", one.namespace, one.name);
    Ok(query.page(&shown, pages::next(&stored, limit, key)))
}

fn timed(definition: &Definition) -> Option<&Timetable> {
    match &definition.schedule {
        Some(Schedule::Time(timetable)) => Some(timetable),
        _ => None,
    }
}

/// A workflow's schedule with its definition.
async fn find(state: &State, (namespace, name): &Name) -> Result<(Stored, Arc<Definition>), Error> {
    let missing = || Error::NotFound("time starts no active version of this workflow".to_owned());
    let stored = state.store.schedule(namespace, name).await?;
    let stored = stored.ok_or_else(missing)?;
    let definition = state.definitions.workflow(stored.workflow_id).await?;
    let definition = definition.filter(|definition| timed(definition).is_some());
    Ok((stored, definition.ok_or_else(missing)?))
}

async fn shown(state: &State, name: &Name) -> Result<Response, Error> {
    let (stored, definition) = find(state, name).await?;
    let shown = timed(&definition).map(|timetable| Shown::new(&stored, timetable));
    Ok(bodies::json(StatusCode::OK, &shown))
}

async fn show(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    Path(name): Path<Name>,
) -> Result<Response, Error> {
    shown(&state, &name).await
}

async fn pause(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Path(name): Path<Name>,
) -> Result<Response, Error> {
    find(&state, &name).await?;
    state.store.pause_schedule(&name.0, &name.1).await?;
    tracing::info!(
        workflow.namespace = name.0,
        workflow.name = name.1,
        "schedule paused"
    );
    shown(&state, &name).await
}

async fn resume(
    _: Allowed<ControlRuns>,
    extract::State(state): extract::State<State>,
    Path(name): Path<Name>,
) -> Result<Response, Error> {
    let (stored, definition) = find(&state, &name).await?;
    if stored.paused_at().is_some()
        && let Some(timetable) = timed(&definition)
    {
        // `after` has no next tick of its own: it follows from the end of the last run.
        let due_at = stored.due_at().unwrap_or(stored.now);
        let next_at = timetable::following(timetable, due_at, stored.now);
        state.store.resume_schedule(&stored, next_at).await?;
        tracing::info!(
            workflow.namespace = name.0,
            workflow.name = name.1,
            "schedule resumed"
        );
    }
    shown(&state, &name).await
}

async fn run(
    _: Allowed<StartRuns>,
    extract::State(state): extract::State<State>,
    Path(name): Path<Name>,
) -> Result<Response, Error> {
    let (stored, _) = find(&state, &name).await?;
    let identity = (name.0, name.1, stored.version);
    let id = starts::at_once(&state, &identity, stored.workflow_id).await?;
    Ok(bodies::json(StatusCode::ACCEPTED, &starts::Started { id }))
}
