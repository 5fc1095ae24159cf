//! Events: publishing CloudEvents, lists, one event and what became of it, its bytes, replay.

use axum::extract::{self, Path};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::access::{Allowed, PublishEvents, ReadEvents};
use super::bodies::{self, Raw};
use super::pages::{self, Query};
use super::routes::{About, Request, Routes};
use super::{Error, State, cloudevents, runs};
use crate::event::{DedupeKey, Event};
use crate::id::Id;
use crate::store::NewEvent;
use crate::store::events::{EventFilter, EventLine, StoredEvent};
use crate::trigger::{self, REPLAY_OF};
use crate::worker::{Receipt, Unavailable};

/// How many emitted events are listed where nothing is said.
const EMITTED_DEFAULT: u16 = 1_000;

#[derive(Serialize)]
struct Accepted {
    id: Id,
    duplicate: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLine<'a> {
    id: Id,
    event_id: &'a str,
    source: &'a str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'a str>,
    body_bytes: u64,
    received_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownEvent<'a> {
    #[serde(flatten)]
    line: ShownLine<'a>,
    attributes: &'a std::collections::BTreeMap<String, String>,
    headers: &'a [(String, String)],
    /// `inbox`, `held`, `ignored` or `routed`.
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<String>,
    runs: Vec<Id>,
}

/// Adds the routes of this file.
#[must_use]
pub fn routes(routes: Routes) -> Routes {
    const SHOW: &str = "Show an event and what became of it";
    const WHY: &str = "Show why: which secret matched, which duplicates came, what filters said";
    const BODY: &str = "Its body, byte for byte, as a download";
    const REPLAY: &str = "Append it again as a new event, linked by `replayof`";
    let plain = |summary, answers| About {
        summary,
        query: &[],
        request: None,
        answers,
        problems: &[404],
    };
    let media = &[cloudevents::STRUCTURED, cloudevents::BATCHED, "*/*"];
    routes
        .add("post /events", publish, About {
            summary: "Publish a CloudEvent (structured or binary mode) or a batch; an id that its \
                      source has used before is not stored again",
            query: &[],
            request: Some(Request { media, schema: Some("Any") }),
            answers: &[(202, Some("Accepted"))],
            problems: &[400, 413, 415, 422],
        })
        .add("get /events", list, About {
            summary: "List events, newest first; a page may be short and yet have a next one",
            query: &[
                ("type", "Only of this CloudEvents type"),
                ("source", "Only of this CloudEvents source"),
                pages::AFTER,
                pages::LIMIT,
            ],
            request: None,
            answers: &[(200, Some("[EventLine]"))],
            problems: &[400],
        })
        .add("get /events/emitted", emitted, About {
            summary: "List the CloudEvents that workflows emitted, oldest first",
            query: &[
                pages::AFTER,
                pages::LIMIT,
            ],
            request: None,
            answers: &[(200, Some("[Any]"))],
            problems: &[400],
        })
        .add("get /events/{id}", show, plain(SHOW, &[(200, Some("Event"))]))
        .add("get /events/{id}/why", super::why::show, plain(WHY, &[(200, Some("Any"))]))
        .add("get /events/{id}/body", body, plain(BODY, &[(200, None)]))
        .add(
            "post /events/{id}/replay",
            replay,
            plain(REPLAY, &[(202, Some("Accepted"))]),
        )
}

async fn publish(
    _: Allowed<PublishEvents>,
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Error> {
    let is_batch = bodies::media_type(&headers) == cloudevents::BATCHED;
    let events = cloudevents::read(&headers, &body, state.config.batch_events_max)?;
    let window_days = state.config.dedupe_window_days;
    let accepted = append(
        &state,
        events.into_iter().map(|event| {
            let key = DedupeKey::new(&event.source, &event.event_id);
            NewEvent {
                event,
                key,
                window_days,
                target: None,
            }
        }),
    )
    .await?;
    match accepted.as_slice() {
        [one] if !is_batch => Ok(bodies::json(StatusCode::ACCEPTED, one)),
        all => Ok(bodies::json(StatusCode::ACCEPTED, &all)),
    }
}

/// Hands all over at once, so that they share a commit. If one is not taken, none counts as taken:
/// those that were stored are duplicates when the batch comes again.
async fn append(
    state: &State,
    events: impl Iterator<Item = NewEvent>,
) -> Result<Vec<Accepted>, Error> {
    let mut appending = JoinSet::new();
    for (place, event) in events.enumerate() {
        let appender = state.appender.clone();
        appending.spawn(async move { (place, appender.append(event).await) });
    }
    let mut done: Vec<(usize, Result<Receipt, Unavailable>)> = appending.join_all().await;
    done.sort_by_key(|(place, _)| *place);
    let accepted = done
        .into_iter()
        .map(|(_, receipt)| receipt.map(|Receipt { id, duplicate }| Accepted { id, duplicate }));
    Ok(accepted.collect::<Result<_, _>>()?)
}

async fn list(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["type", "source", "after", "limit"])?;
    let wanted = |name| query.get(name).map(str::to_owned);
    let filter = EventFilter {
        kind: wanted("type"),
        source: wanted("source"),
    };
    let page = state
        .store
        .events(&filter, query.parse("after")?, query.limit()?)
        .await?;
    let shown: Vec<ShownLine<'_>> = page.items.iter().map(line).collect();
    Ok(query.page(&shown, page.next.map(|next| next.to_string())))
}

fn line(line: &EventLine) -> ShownLine<'_> {
    ShownLine {
        id: line.id,
        event_id: &line.event_id,
        source: &line.source,
        r#type: &line.kind,
        datacontenttype: line.content_type.as_deref(),
        body_bytes: line.body_bytes,
        received_at: runs::made_at(line.id),
    }
}

async fn emitted(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    uri: Uri,
) -> Result<Response, Error> {
    let query = Query::new(&uri, &["after", "limit"])?;
    let limit = match query.get("limit") {
        Some(_) => query.limit()?,
        None => EMITTED_DEFAULT,
    };
    let events = state.store.emitted(query.parse("after")?, limit).await?;
    let shown: Vec<Box<RawValue>> = events.iter().filter_map(structured).collect();
    let next = pages::next(&events, limit, |event| event.id.to_string());
    Ok(query.page(&shown, next))
}

/// An event in the JSON format of CloudEvents.
fn structured(event: &Event) -> Option<Box<RawValue>> {
    let text = String::from_utf8(trigger::envelope(event).to_json()).ok()?;
    RawValue::from_string(text).ok()
}

pub(super) async fn find(state: &State, id: &str) -> Result<StoredEvent, Error> {
    let unknown = || Error::NotFound("there is no such event".to_owned());
    let id: Id = id.parse().map_err(|_| unknown())?;
    state.store.event(id).await?.ok_or_else(unknown)
}

async fn show(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let stored = find(&state, &id).await?;
    let decision = state.store.decision(&stored).await?;
    let event = &stored.event;
    let word = decision.word();
    let line = ShownLine {
        id: event.id,
        event_id: &event.event_id,
        source: &event.source,
        r#type: &event.kind,
        datacontenttype: event.content_type.as_deref(),
        body_bytes: event.body.len() as u64,
        received_at: runs::made_at(event.id),
    };
    let shown = ShownEvent {
        line,
        attributes: &event.attributes,
        headers: &event.headers,
        decision: word,
        ignored: decision.ignored,
        runs: decision.runs.into_iter().map(|(id, _)| id).collect(),
    };
    Ok(bodies::json(StatusCode::OK, &shown))
}

async fn body(
    _: Allowed<ReadEvents>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let event = find(&state, &id).await?.event;
    let media = event
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    let media = http::HeaderValue::try_from(media);
    let media = media.unwrap_or(http::HeaderValue::from_static("application/octet-stream"));
    let mut response = event.body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media);
    // A stranger wrote these bytes: no browser may take them for a page of this origin.
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"body\""),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    Ok(response)
}

async fn replay(
    _: Allowed<PublishEvents>,
    extract::State(state): extract::State<State>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let stored = find(&state, &id).await?;
    if stored.target.is_some() {
        let detail = "this event starts one run; replay that run instead";
        return Err(Error::Conflict(detail.to_owned()));
    }
    let (id, mut attributes) = (Id::generate(), stored.event.attributes);
    attributes.insert(REPLAY_OF.to_owned(), stored.event.id.to_string());
    let event = Event {
        id,
        attributes,
        ..stored.event
    };
    // A key of its own: this repetition is meant.
    let key = DedupeKey::new(REPLAY_OF, &id.to_string());
    let new = NewEvent {
        event,
        key,
        window_days: 1,
        target: None,
    };
    let Receipt { id, duplicate } = state.appender.append(new).await?;
    Ok(bodies::json(
        StatusCode::ACCEPTED,
        &Accepted { id, duplicate },
    ))
}
