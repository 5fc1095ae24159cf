//! The receiving door: `/hooks/{source}`.
//!
//! A delivery is bounded, verified over its raw bytes, and handed to the writer; the sender gets
//! its 2xx when the event is committed. This door knows neither workflows nor runs: what is
//! deployed can never refuse a delivery. Only bad deliveries get a 4xx; whatever is our fault is a
//! 503 that asks the sender to come again (RELIABILITY A7).

pub mod admission;
pub mod cloudevents;
pub mod counters;
pub mod documents;
mod gate;
pub mod rejected;
pub mod sample;
pub mod source;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use ipnet::IpNet;
use serde::Deserialize;
use tokio::time::Instant;

use crate::fault_point;
use crate::problem::Problem;
use crate::signature::{Action, Cause, Delivery, Scheme};
use crate::store::NewEvent;
use crate::worker::{Appender, Unavailable};

pub use admission::{Admission, Admitted};
pub use counters::{Counters, Rejection};
pub use documents::Documents;
pub use gate::Peer;
pub use rejected::Rejected;
pub use source::{Source, Sources};

/// Events of one batch that wait for their commit at once. They go in in order.
const BATCH_IN_FLIGHT_MAX: usize = 128;

/// Keeps a secret that a sender has sent, under a name in the database that has no secret yet.
/// Whether it is kept.
pub type Capture = dyn Fn(String, String) -> BoxFuture<'static, bool> + Send + Sync;

/// Settings of the door.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Largest body taken, in bytes; a larger one is answered 413.
    pub body_bytes_max: usize,
    /// How long a body may take to arrive, in milliseconds.
    pub body_timeout_ms: u64,
    /// Networks of proxies whose `X-Forwarded-For` counts, for sources that take deliveries from
    /// certain networks only.
    pub trusted_proxies: Vec<IpNet>,
    /// Rejected deliveries, and as many duplicates, that a node keeps in a minute.
    pub rejections_per_minute_max: u32,
    /// Rejected deliveries, and as many duplicates, that are kept in all.
    pub rejections_max: u32,
    /// Bytes of rejected deliveries, and as many of duplicates, that are kept in all.
    pub rejections_bytes_max: u64,
    /// How many days they are kept.
    pub rejections_days: u16,
}

impl Config {
    /// How much is kept of deliveries that became no event.
    #[must_use]
    pub const fn kept(&self) -> rejected::Limits {
        rejected::Limits {
            per_minute_max: self.rejections_per_minute_max,
            bounds: crate::store::rejections::Bounds {
                days: self.rejections_days,
                count: self.rejections_max,
                bytes: self.rejections_bytes_max,
            },
        }
    }
}

/// What the door works with.
#[derive(Clone)]
pub struct Door {
    /// The sources in force.
    pub sources: Arc<Sources>,
    /// The way into the log.
    pub appender: Appender,
    /// What was received and what became of it.
    pub counters: Arc<Counters>,
    /// What senders publish.
    pub documents: Arc<Documents>,
    /// Where refused deliveries are kept.
    pub rejected: Arc<Rejected>,
    /// Where a secret goes that a sender sends.
    pub capture: Arc<Capture>,
    /// Limits.
    pub config: Config,
}

/// The routes of the door.
pub fn router(door: Door) -> Router {
    Router::new()
        .route("/hooks/{source}", axum::routing::any(receive))
        .route(
            "/hooks/{source}/{*below}",
            axum::routing::any(receive_below),
        )
        .with_state(door)
}

/// A delivery that is not taken, and what its sender is told.
enum Refusal {
    /// The delivery is bad.
    Rejected(Rejection),
    /// We cannot take it now.
    Unavailable(Unavailable),
}

async fn receive(
    State(door): State<Door>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    received(&door, &name, request).await
}

/// Some senders append to the URL they are given (Atlassian's lifecycle callbacks).
async fn receive_below(
    State(door): State<Door>,
    Path((name, _below)): Path<(String, String)>,
    request: Request<Body>,
) -> Response {
    received(&door, &name, request).await
}

async fn received(door: &Door, name: &str, request: Request<Body>) -> Response {
    let received_at = Instant::now();
    let source = door.sources.get(name);
    let label = source
        .as_ref()
        .map_or("unknown", |source| source.name.as_str())
        .to_owned();
    door.counters.received(&label);
    let quiet = source.as_ref().is_some_and(|source| source.is_quiet());
    let taken = take(door, source, request).await;
    match taken {
        Ok(Taken::Stored { answer, duplicate }) => {
            door.counters
                .stored(&label, duplicate, received_at.elapsed());
            answer
        }
        Ok(Taken::Answered(response)) => {
            door.counters.answered(&label);
            response
        }
        Err(Refusal::Rejected(Rejection::Signature(Cause::KeyUnavailable))) => {
            // Ours to repair: a 4xx would make the sender give up.
            door.counters.unavailable(&label);
            unavailable_response(Unavailable { retry_after_s: 30 })
        }
        Err(Refusal::Rejected(rejection)) => {
            door.counters.rejected(&label, rejection);
            tracing::info!(
                target: "hookwright::webhook",
                { source.name = label, cause = rejection.label() },
                "delivery rejected"
            );
            reject(rejection, quiet)
        }
        Err(Refusal::Unavailable(unavailable)) => {
            door.counters.unavailable(&label);
            unavailable_response(unavailable)
        }
    }
}

/// What became of a good delivery.
enum Taken {
    /// Its events are in the log.
    Stored {
        answer: Response,
        /// All of them were there before.
        duplicate: bool,
    },
    /// A handshake, or nothing happened: answered at once, nothing is stored.
    Answered(Response),
}

async fn take(
    door: &Door,
    source: Option<Arc<Admission>>,
    request: Request<Body>,
) -> Result<Taken, Refusal> {
    let (parts, body) = request.into_parts();
    if let Some(encoding) = parts.headers.get(header::CONTENT_ENCODING)
        && encoding.as_bytes() != b"identity"
    {
        // The signature is over the bytes as sent, and a compressed body has no honest size.
        return Err(Refusal::Rejected(Rejection::ContentEncoding));
    }
    let entered = source.as_ref().map_or(Ok(()), |source| {
        source.enter(&parts, body.is_end_stream(), &door.config.trusted_proxies)
    });
    if let Err(rejection) = entered
        && !rejection.is_secretive()
    {
        return Err(Refusal::Rejected(rejection));
    }
    let own = source
        .as_ref()
        .and_then(|source| source.intake.body_bytes_max);
    let body_bytes_max = own.unwrap_or(door.config.body_bytes_max);
    let body = read(body, &parts.headers, (body_bytes_max, &door.config))
        .await
        .map_err(Refusal::Rejected)?;
    let path_and_query = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let url = source
        .as_ref()
        .and_then(|source| source.public_url(path_and_query));
    let delivery = Delivery {
        method: &parts.method,
        path_and_query,
        url: url.as_deref(),
        headers: &parts.headers,
        body: &body,
        now: jiff::Timestamp::now().as_second(),
    };
    let Some(source) = &source else {
        pretend(&delivery);
        return Err(Refusal::Rejected(Rejection::UnknownSource));
    };
    if let Err(rejection) = entered {
        pretend(&delivery);
        return Err(Refusal::Rejected(rejection));
    }
    decide(door, source, &delivery).await
}

/// What becomes of a delivery that a source has looked at the head of.
async fn decide(
    door: &Door,
    source: &Admission,
    delivery: &Delivery<'_>,
) -> Result<Taken, Refusal> {
    let admitted = admit(door, source, delivery).await;
    if let Err(Rejection::Signature(cause)) = &admitted
        && *cause != Cause::KeyUnavailable
    {
        let why = rejected::Why::Refused(*cause);
        door.rejected.keep(&source.name, why, delivery);
    }
    match admitted.map_err(Refusal::Rejected)? {
        Admitted::Event(new) => {
            fault_point::pass("verified");
            let receipt = door
                .appender
                .append(*new)
                .await
                .map_err(Refusal::Unavailable)?;
            fault_point::pass("stored");
            let answer = source.acknowledgement().unwrap_or_else(|| {
                let body = format!("{{\"id\":\"{}\"}}", receipt.id);
                ([(header::CONTENT_TYPE, "application/json")], body).into_response()
            });
            let duplicate = receipt.duplicate;
            if duplicate {
                let why = rejected::Why::Duplicate(receipt.id);
                door.rejected.keep(&source.name, why, delivery);
            }
            Ok(Taken::Stored { answer, duplicate })
        }
        Admitted::Batch(events) => batch(door, source, events).await,
        Admitted::Handshake(response, action) => {
            act(door, source, action).await?;
            Ok(Taken::Answered(response))
        }
    }
}

/// Decides, with what is published fetched where the source needs any; once more with newer keys
/// where the one that signed is not among those known.
async fn admit(
    door: &Door,
    source: &Admission,
    delivery: &Delivery<'_>,
) -> Result<Admitted, Rejection> {
    let needed = source.needed(delivery);
    if needed.is_empty() {
        return source.admit(delivery, &Vec::new());
    }
    let documents = door.documents.get(&needed, false).await;
    match source.admit(delivery, &documents) {
        Err(Rejection::Signature(Cause::KeyUnknown)) => {
            let documents = door.documents.get(&needed, true).await;
            source.admit(delivery, &documents)
        }
        decided => decided,
    }
}

/// Appends the events of one delivery, and answers when all are committed. Where some cannot be,
/// the sender is asked to come again, and those that are in the log count as duplicates then.
async fn batch(door: &Door, source: &Admission, events: Vec<NewEvent>) -> Result<Taken, Refusal> {
    let count = events.len();
    let appends = events.into_iter().map(|new| door.appender.append(new));
    let receipts = futures_util::stream::iter(appends).buffered(BATCH_IN_FLIGHT_MAX);
    let receipts: Vec<_> = receipts.collect().await;
    let receipts = receipts.into_iter().collect::<Result<Vec<_>, _>>();
    let receipts = receipts.map_err(Refusal::Unavailable)?;
    let duplicate = receipts.iter().all(|receipt| receipt.duplicate);
    let answer = source.acknowledgement().unwrap_or_else(|| {
        let first = receipts.first().map(|receipt| receipt.id.to_string());
        let body = serde_json::json!({ "id": first, "events": count }).to_string();
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    });
    if count == 0 {
        return Ok(Taken::Answered(answer));
    }
    Ok(Taken::Stored { answer, duplicate })
}

/// Does what a handshake asks for; where that fails, the sender is to ask again.
async fn act(door: &Door, source: &Admission, action: Option<Action>) -> Result<(), Refusal> {
    let failed = Refusal::Unavailable(Unavailable { retry_after_s: 30 });
    match action {
        None => Ok(()),
        Some(Action::Store { name, value }) => {
            let Some(secret) = source.capture_name(&name) else {
                return Err(failed);
            };
            let kept = (door.capture)(secret.to_owned(), value).await;
            if kept {
                tracing::info!(
                    target: "hookwright::webhook",
                    { source.name = source.name, secret.name = secret },
                    "the sender's secret was captured; end the source's `registration`"
                );
            }
            kept.then_some(()).ok_or(failed)
        }
        Some(Action::Confirm { url }) => {
            let confirmed = door.documents.confirm(&url).await;
            confirmed.map_err(|error| {
                tracing::warn!(
                    target: "hookwright::webhook",
                    { source.name = source.name, error = %error },
                    "a subscription could not be confirmed"
                );
                failed
            })
        }
    }
}

/// Reads the body as it is, within the limits of size and time.
async fn read(
    body: Body,
    headers: &HeaderMap,
    (body_bytes_max, config): (usize, &Config),
) -> Result<Bytes, Rejection> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > body_bytes_max) {
        return Err(Rejection::BodyTooLarge);
    }
    let collect = Limited::new(body, body_bytes_max).collect();
    let deadline = Duration::from_millis(config.body_timeout_ms);
    match tokio::time::timeout(deadline, collect).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::BodyTooLarge),
        Ok(Err(_)) => Err(Rejection::BodyIncomplete),
        Err(_) => Err(Rejection::BodyTimeout),
    }
}

/// Spends what a verification costs, so that an unknown source cannot be told from a bad signature.
fn pretend(delivery: &Delivery<'_>) {
    struct NoKeys;
    impl crate::signature::Keys for NoKeys {
        fn values(&self, _name: &str) -> Vec<Vec<u8>> {
            vec![vec![0; 32]]
        }
    }
    if let Some(scheme) = Scheme::provider("github") {
        let _always_wrong = scheme.verify(delivery, &NoKeys);
    }
}

fn reject(rejection: Rejection, quiet: bool) -> Response {
    let (status, detail) = match rejection {
        Rejection::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
        Rejection::BodyTimeout => (
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        ),
        Rejection::BodyIncomplete => (StatusCode::BAD_REQUEST, "the body is incomplete"),
        Rejection::ContentEncoding => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the body without Content-Encoding",
        ),
        Rejection::Method => (
            StatusCode::METHOD_NOT_ALLOWED,
            "the source takes no such method",
        ),
        Rejection::ContentType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the source takes no such media type",
        ),
        Rejection::RateLimit { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "the source takes no more deliveries now; please send it again",
        ),
        // One answer for all: a stranger learns nothing of what exists or how close he came.
        Rejection::UnknownSource
        | Rejection::Address
        | Rejection::PathToken
        | Rejection::Signature(_) => (
            StatusCode::UNAUTHORIZED,
            "the delivery could not be verified",
        ),
    };
    if quiet && status == StatusCode::UNAUTHORIZED {
        return status.into_response();
    }
    let mut response = Problem::http(status, detail).into_response();
    if let Rejection::RateLimit { retry_after_s } = rejection {
        let after = HeaderValue::from(retry_after_s);
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    if matches!(rejection, Rejection::BodyTimeout | Rejection::BodyTooLarge) {
        // What is left of the body is not read.
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn unavailable_response(unavailable: Unavailable) -> Response {
    let detail = "the event could not be stored; please send it again";
    let mut response = Problem::http(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    let after = HeaderValue::from(unavailable.retry_after_s);
    response.headers_mut().insert(header::RETRY_AFTER, after);
    response
}
