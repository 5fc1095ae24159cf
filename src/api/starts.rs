//! Manual starts: `POST …/{version}/runs`.
//!
//! A start is an event like any other: it goes through the log, addressed to its workflow and with
//! the id of the run it becomes, so the answer can name the run before it exists.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{self, Path};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use tokio::time::Instant;

use super::access::{Allowed, ReadRuns, StartRuns};
use super::bodies::{self, Raw};
use super::pages::{self, Query};
use super::routes::{About, Request, Routes};
use super::workflows::{self, Identity};
use super::{Error, PREFIX, State, runs};
use crate::event::{DedupeKey, Event};
use crate::expression::Value;
use crate::id::Id;
use crate::store::runs::RunFilter;
use crate::store::{NewEvent, Target};
use crate::worker::origin;

/// Longest `Idempotency-Key`, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// First pause between two looks at a run that is waited for; it doubles up to [`LOOK_MS_MAX`].
const LOOK_MS_MIN: u64 = 5;

/// Longest pause between two looks at a run that is waited for.
const LOOK_MS_MAX: u64 = 1_000;

/// A start that is stored.
#[derive(Serialize)]
pub(super) struct Started {
    /// The run it becomes.
    pub(super) id: Id,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    routes
        .add(
            "post /workflows/{namespace}/{name}/{version}/runs",
            start,
            About {
                summary: "Start a run with the body as its input; version may be `latest`; an \
                      `Idempotency-Key` header makes a repeated start answer with the first run",
                query: &[(
                    "wait",
                    "Answer with the run once it has ended, at most after this: 500ms, 10s, 1m",
                )],
                request: Some(Request {
                    media: &["application/json"],
                    schema: Some("Any"),
                }),
                answers: &[(202, Some("Id")), (200, Some("Run"))],
                problems: &[400, 404, 409, 413, 415, 422],
            },
        )
        .add(
            "get /workflows/{namespace}/{name}/{version}/runs",
            list,
            About {
                summary: "List the runs of one version, newest first",
                query: &[runs::STATUS, pages::AFTER, pages::LIMIT],
                request: None,
                answers: &[(200, Some("[RunLine]"))],
                problems: &[400, 404],
            },
        )
}

async fn list(
    _: Allowed<ReadRuns>,
    extract::State(state): extract::State<State>,
    Path(identity): Path<Identity>,
    uri: Uri,
) -> Result<Response, Error> {
    let workflow = workflows::find(&state, &identity).await?;
    let query = Query::new(&uri, &["status", "after", "limit"])?;
    let status = runs::status(&query)?;
    let filter = RunFilter {
        workflow_ids: Some(vec![workflow.id]),
        status,
    };
    runs::page(&state, &query, &filter).await
}

async fn start(
    _: Allowed<StartRuns>,
    extract::State(state): extract::State<State>,
    Path(identity): Path<Identity>,
    (uri, headers): (Uri, HeaderMap),
    Raw(body): Raw,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["wait"])?;
    let wait = query
        .get("wait")
        .map(|text| wait(text, &state))
        .transpose()?;
    let body = input(&state, body).await?;
    let workflow = workflows::find(&state, &identity).await?;
    if workflow.retired {
        let detail = "this version is retired; activate it, or start another one";
        return Err(Error::Conflict(detail.to_owned()));
    }
    let key = idempotency_key(&headers)?;
    let mut start = Start::of(&identity, workflow.id, body);
    if let Some(key) = key {
        start.key(key);
    }
    let run_id = start.send(&state).await?;
    if let Some(wait) = wait
        && ended(&state, run_id, wait).await?
    {
        return runs::shown(&state, run_id).await;
    }
    Ok(bodies::json(StatusCode::ACCEPTED, &Started { id: run_id }))
}

/// Starts a run with `{}` as its input.
///
/// # Errors
/// Where the log does not take it now.
pub(super) async fn at_once(
    state: &State,
    identity: &Identity,
    workflow_id: i32,
) -> Result<Id, Error> {
    let body = Bytes::from_static(b"{}");
    Start::of(identity, workflow_id, body).send(state).await
}

/// The input, checked: no run starts on a body that is not JSON. An empty one is `{}`.
async fn input(state: &State, body: Bytes) -> Result<Bytes, Error> {
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let checked = body.clone();
    let read = state
        .work(move || Value::from_json(&checked).map(drop))
        .await?;
    read.map_err(|error| Error::BadRequest(format!("the input is not JSON: {error}")))?;
    Ok(body)
}

/// The header `Idempotency-Key`.
///
/// # Errors
/// 400 where it is too long, or not of visible ASCII characters.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().ok();
    let key = key.filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    key.map(Some).ok_or_else(|| {
        Error::BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters".to_owned())
    })
}

/// An event that starts a run.
pub(super) struct Start {
    event: Event,
    workflow_id: i32,
    run_id: Id,
}

impl Start {
    /// Starts this version with this input, as a new run.
    fn of((namespace, name, version): &Identity, workflow_id: i32, input: Bytes) -> Self {
        let source = format!("{PREFIX}/workflows/{namespace}/{name}/{version}");
        Self::new(source, Id::generate(), workflow_id, input)
    }

    /// Starts the workflow as this run.
    pub(super) fn new(source: String, run_id: Id, workflow_id: i32, body: Bytes) -> Self {
        let id = run_id.counterpart();
        let event = Event {
            id,
            event_id: id.to_string(),
            source,
            kind: origin::REQUESTED.to_owned(),
            attributes: BTreeMap::new(),
            content_type: Some("application/json".to_owned()),
            headers: Vec::new(),
            body,
        };
        Self {
            event,
            workflow_id,
            run_id,
        }
    }

    /// Adds an attribute of the event.
    pub(super) fn attribute(&mut self, name: &str, value: String) {
        self.event.attributes.insert(name.to_owned(), value);
    }

    /// Says that the body is more than an input.
    pub(super) fn media(&mut self, media: &str) {
        self.event.content_type = Some(media.to_owned());
    }

    /// Gives it an idempotency key: one that its source has used before names the first run.
    pub(super) fn key(&mut self, key: &str) {
        key.clone_into(&mut self.event.event_id);
    }

    /// Appends it; the id of the run.
    ///
    /// # Errors
    /// 422 where its key came with another body before, 503 where it cannot be stored now.
    pub(super) async fn send(self, state: &State) -> Result<Id, Error> {
        let Event { source, body, .. } = &self.event;
        let (dedupe, body) = (DedupeKey::new(source, &self.event.event_id), body.clone());
        let (run_id, attributes) = (self.run_id, self.event.attributes.clone());
        let new = NewEvent {
            event: self.event,
            key: dedupe,
            window_days: state.config.dedupe_window_days,
            target: Some(Target::Start {
                workflow_id: self.workflow_id,
                run_id,
            }),
        };
        let receipt = state.appender.append(new).await?;
        match receipt.duplicate {
            true => first(state, receipt.id, (&body, &attributes)).await,
            false => Ok(run_id),
        }
    }
}

/// The run of the start that this one repeats.
async fn first(
    state: &State,
    event_id: Id,
    (body, attributes): (&Bytes, &BTreeMap<String, String>),
) -> Result<Id, Error> {
    let gone = || Error::Conflict("the start that had this Idempotency-Key is gone".to_owned());
    let before = state.store.event(event_id).await?.ok_or_else(gone)?;
    if before.event.body != body || before.event.attributes != *attributes {
        let detail = "this Idempotency-Key was used with another input";
        return Err(Error::invalid(detail));
    }
    before.target.map(|(_, run_id)| run_id).ok_or_else(gone)
}

/// How long to wait: a number with `ms`, `s` or `m`.
fn wait(text: &str, state: &State) -> Result<Duration, Error> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    let at_most = u64::from(state.config.wait_ms_max);
    let wait_ms = number
        .zip(unit_ms)
        .and_then(|(number, unit)| number.checked_mul(unit));
    wait_ms
        .filter(|wait_ms| *wait_ms <= at_most)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            Error::BadRequest(format!(
                "wait must be like 500ms or 10s, and at most {at_most}ms"
            ))
        })
}

/// Waits until the run has ended, here or on another node; whether it has.
async fn ended(state: &State, run_id: Id, wait: Duration) -> Result<bool, Error> {
    let end = Instant::now() + wait;
    let mut pause = Duration::from_millis(LOOK_MS_MIN);
    loop {
        let line = state.store.run_line(run_id).await?;
        if line.is_some_and(|line| line.status.is_final()) {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        state.endings.wait(run_id, pause.min(left)).await;
        pause = (pause * 2).min(Duration::from_millis(LOOK_MS_MAX));
    }
}
