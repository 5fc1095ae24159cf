//! Destination documents: read, checked, all faults at once.
//!
//! The API and `apply` call [`parse`] to check a document; the registry turns what it returns into
//! a destination. Nothing here resolves a secret or sends a request.

mod authentication;
mod limits;
mod oauth2;
mod outages;
mod retries;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::egress::addresses::NotANetwork;
use super::egress::{self, Allowance};
use super::{circuit, limit, retry};
use crate::workflow::document::{Fault, Faults, Object, Place, read};

pub use authentication::{Authentication, Carrier, Username};
pub use oauth2::OAuth2;

/// Characters of a destination's name at most (an RFC 1123 label).
pub const NAME_CHARS_MAX: usize = 63;

/// Calls in flight that a destination may ask for at most.
pub const CONCURRENCY_MAX: i64 = 1_000;

/// Static headers of a destination at most.
pub const HEADERS_MAX: usize = 64;

/// Allowed networks of a destination at most.
pub const ALLOWANCES_MAX: usize = 64;

/// Headers the client itself writes; given by hand they could only break the message.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A checked destination document.
#[derive(Clone, Debug)]
pub struct Document {
    /// `destination`: its name.
    pub name: String,
    /// `baseUrl`: without user, query or fragment.
    pub base_url: Url,
    /// `authentication`.
    pub authentication: Option<Authentication>,
    /// `headers`: sent with every call unless the workflow gives its own.
    pub headers: HeaderMap,
    /// `timeout`: the whole call, from start to the end of the answer.
    pub timeout: Option<Duration>,
    /// `retry`.
    pub retry: retry::Policy,
    /// `concurrency`: calls in flight on this node.
    pub concurrency: Option<usize>,
    /// `circuitBreaker`: when it counts as down; `None` where that is `off`.
    pub circuit_breaker: Option<circuit::Policy>,
    /// `rateLimit`: how many calls may begin; `None` where it is `off`, so that answers teach
    /// nothing either.
    pub rate_limit: Option<limit::Limit>,
    /// `egress.allow`.
    pub allow: Vec<Allowance>,
    /// `idempotencyKey`: the header that carries the key; `None` where it is `off`.
    pub idempotency_key: Option<HeaderName>,
}

/// Reads and checks one destination document (YAML or JSON).
///
/// # Errors
/// Every fault found, each with line, column, JSON pointer, and a hint where there is one.
pub fn parse(text: &str) -> Result<Document, Vec<Fault>> {
    let root = read(text).map_err(|fault| vec![fault])?;
    let faults = Faults::new();
    let document = document(&Place::root(&root, &faults));
    faults.result(document)
}

/// Whether a header is written by the client itself.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(&name.as_str())
}

fn document(place: &Place<'_>) -> Option<Document> {
    let object = place.object()?;
    let name = object.required("destination").and_then(|at| name(&at));
    let base_url = object.required("baseUrl").and_then(|at| base_url(&at));
    let authentication = object
        .optional("authentication")
        .and_then(|at| authentication::read(&at));
    let headers = object
        .optional("headers")
        .and_then(|at| headers(&at))
        .unwrap_or_default();
    let (retry, attempt_duration) = object
        .optional("retry")
        .and_then(|at| retries::read(&at))
        .unwrap_or_default();
    let timeout = shortest(positive(&object, "timeout"), attempt_duration);
    let concurrency = object
        .optional("concurrency")
        .and_then(|at| at.integer(1, CONCURRENCY_MAX))
        .and_then(|count| usize::try_from(count).ok());
    let rate_limit = match object.optional("rateLimit") {
        Some(at) => limits::read(&at),
        None => Some(limit::Limit::default()),
    };
    let circuit_breaker = match object.optional("circuitBreaker") {
        Some(at) => outages::read(&at),
        None => Some(circuit::Policy::default()),
    };
    let allow = object.optional("egress").and_then(|at| allow(&at));
    let idempotency_key = match object.optional("idempotencyKey") {
        Some(at) => idempotency_key(&at),
        None => Some(HeaderName::from_static("idempotency-key")),
    };
    object.finish();
    Some(Document {
        name: name?,
        base_url: base_url?,
        authentication,
        headers,
        timeout,
        retry,
        concurrency,
        circuit_breaker,
        rate_limit,
        allow: allow.unwrap_or_default(),
        idempotency_key,
    })
}

fn name(place: &Place<'_>) -> Option<String> {
    let text = place.string()?;
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let edges = text.starts_with('-') || text.ends_with('-');
    if text.is_empty() || text.len() > NAME_CHARS_MAX || !plain || edges {
        place.fault_with(
            "this is no name for a destination",
            "use 1 to 63 lower-case letters, digits and inner hyphens",
        );
        return None;
    }
    Some(text.to_owned())
}

fn base_url(place: &Place<'_>) -> Option<Url> {
    let text = place.string()?;
    let url = match egress::parse(text) {
        Ok(url) => url,
        Err(refusal) => {
            place.fault_with(
                refusal.to_string(),
                "write it like https://api.example.com/v2",
            );
            return None;
        }
    };
    let extra = [
        (
            !url.username().is_empty() || url.password().is_some(),
            "a user name or password",
        ),
        (url.query().is_some(), "a query"),
        (url.fragment().is_some(), "a fragment"),
    ];
    for (_, what) in extra.iter().filter(|(present, _)| *present) {
        place.fault_with(
            format!("a base URL cannot contain {what}"),
            "credentials belong under `authentication`, query values into the call",
        );
    }
    extra.iter().all(|(present, _)| !present).then_some(url)
}

fn headers(place: &Place<'_>) -> Option<HeaderMap> {
    let object = place.object()?;
    if object.len() > HEADERS_MAX {
        place.fault(format!("there may be at most {HEADERS_MAX} headers"));
        return None;
    }
    let mut headers = HeaderMap::with_capacity(object.len());
    for (key, at) in object.members() {
        let Some(name) = header_name(&key.name) else {
            let message = format!("the header `{}` cannot be set here", key.name);
            let hint = "the server sets it itself, or it belongs under `authentication`";
            object.at_key(key, message, Some(hint.to_owned()));
            continue;
        };
        let Some(text) = at.string() else { continue };
        match HeaderValue::from_str(text) {
            Ok(value) => drop(headers.insert(name, value)),
            Err(_) => at.fault("a header's value is one line of visible characters"),
        }
    }
    Some(headers)
}

/// A header name that a definition may set: valid, not the client's own, no credential.
fn header_name(text: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok()?;
    let credential = matches!(name.as_str(), "authorization" | "cookie");
    (!credential && !is_reserved(&name)).then_some(name)
}

fn allow(place: &Place<'_>) -> Option<Vec<Allowance>> {
    let object = place.object()?;
    let list = object.optional("allow").and_then(|at| at.array());
    object.finish();
    let list = list?;
    if list.len() > ALLOWANCES_MAX {
        place.fault(format!("at most {ALLOWANCES_MAX} networks may be allowed"));
    }
    let mut allow = Vec::with_capacity(list.len());
    for at in list {
        let Some(text) = at.string() else { continue };
        match text.parse() {
            Ok(allowance) => allow.push(allowance),
            Err(error) => at.fault_with(NotANetwork::to_string(&error), NotANetwork::HINT),
        }
    }
    Some(allow)
}

fn idempotency_key(place: &Place<'_>) -> Option<HeaderName> {
    let text = place.string()?;
    if text == "off" {
        return None;
    }
    let name = header_name(text);
    if name.is_none() {
        place.fault_with(
            "this is no name of a header that may be set",
            "write one such as Idempotency-Key, or off",
        );
    }
    name
}

/// A duration longer than zero.
pub(super) fn positive(object: &Object<'_>, name: &'static str) -> Option<Duration> {
    let at = object.optional(name)?;
    let duration = at.duration()?;
    if duration.is_zero() {
        at.fault("this must be longer than zero");
        return None;
    }
    Some(duration)
}

fn shortest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
