//! The receiving door: `/hooks/{source}`.
//!
//! A delivery is bounded, verified over its raw bytes, and handed to the writer; the sender gets
//! its 2xx when the event is committed. This door knows neither workflows nor runs: what is
//! deployed can never refuse a delivery. Only bad deliveries get a 4xx; whatever is our fault is a
//! 503 that asks the sender to come again (RELIABILITY A7).

pub mod counters;
pub mod source;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::time::Instant;

use crate::fault_point;
use crate::id::Id;
use crate::problem::Problem;
use crate::signature::{Delivery, Scheme};
use crate::worker::{Appender, Unavailable};

pub use counters::{Counters, Rejection};
pub use source::{Admission, Source, Sources};

/// Settings of the door.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Largest body taken, in bytes; a larger one is answered 413.
    pub body_bytes_max: usize,
    /// How long a body may take to arrive, in milliseconds.
    pub body_timeout_ms: u64,
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
    /// Limits.
    pub config: Config,
}

/// The routes of the door.
pub fn router(door: Door) -> Router {
    Router::new()
        .route("/hooks/{source}", axum::routing::any(receive))
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
    let received_at = Instant::now();
    let source = door.sources.get(&name);
    let label = source
        .as_ref()
        .map_or("unknown", |source| source.name.as_str())
        .to_owned();
    door.counters.received(&label);
    let taken = take(&door, source, request).await;
    match taken {
        Ok(Taken::Stored {
            id,
            duplicate,
            answer,
        }) => {
            door.counters
                .stored(&label, duplicate, received_at.elapsed());
            if let Some(answer) = answer {
                return answer;
            }
            let body = format!("{{\"id\":\"{id}\"}}");
            (
                StatusCode::OK,
                [(header::CONTENT_TYPE, "application/json")],
                body,
            )
                .into_response()
        }
        Ok(Taken::Answered(response)) => {
            door.counters.answered(&label);
            response
        }
        Err(Refusal::Rejected(rejection)) => {
            door.counters.rejected(&label, rejection);
            tracing::info!(
                target: "hookwright::webhook",
                { source.name = label, cause = rejection.label() },
                "delivery rejected"
            );
            reject(rejection)
        }
        Err(Refusal::Unavailable(unavailable)) => {
            door.counters.unavailable(&label);
            unavailable_response(unavailable)
        }
    }
}

/// What became of a good delivery.
enum Taken {
    Stored {
        id: Id,
        duplicate: bool,
        answer: Option<Response>,
    },
    /// A handshake, answered at once; nothing is stored.
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
    let body = read(body, &parts.headers, &door.config)
        .await
        .map_err(Refusal::Rejected)?;
    let path_and_query = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let delivery = Delivery {
        method: &parts.method,
        path_and_query,
        url: source.as_ref().and_then(|source| source.url.as_deref()),
        headers: &parts.headers,
        body: &body,
        now: jiff::Timestamp::now().as_second(),
    };
    let Some(source) = &source else {
        pretend(&delivery);
        return Err(Refusal::Rejected(Rejection::UnknownSource));
    };
    let new = match source.admit(&delivery).map_err(Refusal::Rejected)? {
        source::Admitted::Event(new) => new,
        source::Admitted::Handshake(response) => return Ok(Taken::Answered(response)),
    };
    fault_point::pass("verified");
    let receipt = door
        .appender
        .append(*new)
        .await
        .map_err(Refusal::Unavailable)?;
    fault_point::pass("stored");
    let answer = source.acknowledgement();
    Ok(Taken::Stored {
        id: receipt.id,
        duplicate: receipt.duplicate,
        answer,
    })
}

/// Reads the body as it is, within the limits of size and time.
async fn read(body: Body, headers: &HeaderMap, config: &Config) -> Result<Bytes, Rejection> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > config.body_bytes_max) {
        return Err(Rejection::BodyTooLarge);
    }
    let collect = Limited::new(body, config.body_bytes_max).collect();
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

fn reject(rejection: Rejection) -> Response {
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
        // One answer for all: a stranger learns nothing of what exists or how close he came.
        Rejection::UnknownSource | Rejection::Signature(_) => (
            StatusCode::UNAUTHORIZED,
            "the delivery could not be verified",
        ),
    };
    let mut response = Problem::http(status, detail).into_response();
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
