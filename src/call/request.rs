//! Building the request of an attempt: URI, headers, credentials, body.
//!
//! Everything a workflow or a payload supplies is treated as data: it cannot leave the base URL of
//! a destination, add a second header, or see a credential. Nothing is sent here.

mod body;
mod credentials;
mod signing;

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::document::{Authentication, is_reserved};
use super::egress;
use super::exchange::Exchange;
use super::failure::Failure;
use super::registry::{Destination, named};
use super::{Config, Identity};
use crate::run::Request;
use crate::secret::Secrets;

/// Headers a workflow may give to a call at most.
const HEADERS_MAX: usize = 100;

/// What a call accepts where nobody says otherwise.
const ACCEPT_DEFAULT: HeaderValue = HeaderValue::from_static("application/json, */*;q=0.8");

/// RFC 3986 unreserved characters stay as they are.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Headers that go along when a redirect leads to another origin; any other may be a credential.
const CARRIED: [&str; 6] = [
    "accept",
    "accept-language",
    "content-language",
    "content-type",
    "idempotency-key",
    "user-agent",
];

/// Headers whose values are credentials wherever they come from.
const CREDENTIALS: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
];

/// A request, ready to send.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Credentials are marked as sensitive.
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// The name of the query parameter that carries a key, never to be shown.
    pub(super) secret_parameter: Option<String>,
    /// A credential that is yet to be got.
    pub(super) exchange: Option<Box<Exchange>>,
}

/// What a request is built from besides the request itself.
pub(super) struct Material<'a> {
    pub(super) destination: &'a Destination,
    pub(super) identity: &'a Identity,
    pub(super) secrets: &'a Secrets,
    pub(super) config: &'a Config,
    /// When it is sent.
    pub(super) now: Timestamp,
}

/// Builds the request of an attempt.
pub(super) fn prepare(request: &Request, with: &Material<'_>) -> Result<Prepared, Failure> {
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| Failure::invalid("the method is not a word HTTP knows"))?;
    let mut url = address(&request.uri, with.destination)?;
    append(&mut url, request.query.iter().map(|(k, v)| (&**k, &**v)));
    let mut headers = basic_headers(with.destination);
    given(&request.headers, &mut headers)?;
    let body = match &request.body {
        Some(value) => Some(body::encode(value, &mut headers, with.config)?),
        None => None,
    };
    identify(&method, &mut headers, with);
    let mut prepared = Prepared {
        method,
        url,
        headers,
        body,
        secret_parameter: None,
        exchange: None,
    };
    if let Some(credentials) = &request.authentication {
        credentials::given(credentials, &mut prepared)?;
    }
    if let Some(document) = &with.destination.document {
        credentials::declared(document, with.secrets, &mut prepared)?;
        if let Some(Authentication::Signed(signing)) = &document.authentication {
            let signer = signing::Signer {
                name: &document.name,
                secrets: with.secrets,
                now: with.now,
                id: with.identity.idempotency_key.to_string(),
            };
            signer.sign(signing, &mut prepared)?;
        }
    }
    if prepared.url.as_str().len() > egress::URI_CHARS_MAX {
        return Err(Failure::invalid("the URI is longer than 8,192 characters"));
    }
    Ok(prepared)
}

/// The URL of a call: its URI, or the path it names under the base URL of its destination.
fn address(uri: &str, destination: &Destination) -> Result<Url, Failure> {
    let Some((name, rest)) = named(uri) else {
        let mut url = egress::parse(uri).map_err(Failure::refused)?;
        url.set_fragment(None);
        return Ok(url);
    };
    let Some(document) = &destination.document else {
        let name: String = name.chars().take(64).collect();
        return Err(Failure::invalid(format!(
            "no destination is named `{name}`; apply one, or call a full URL"
        )));
    };
    let url = egress::under(&document.base_url, rest).map_err(Failure::refused)?;
    if !destination.covers(&url) {
        return Err(Failure::invalid(
            "the path leads out of the destination's base URL",
        ));
    }
    Ok(url)
}

/// Appends query pairs, percent-encoded as data.
fn append<'a>(url: &mut Url, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut pairs = pairs.peekable();
    if pairs.peek().is_none() {
        return;
    }
    let mut query = url.query().unwrap_or_default().to_owned();
    let before = query.len();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.extend(utf8_percent_encode(name, QUERY));
        query.push('=');
        query.extend(utf8_percent_encode(value, QUERY));
    }
    if query.len() > before {
        url.set_query(Some(&query));
    }
}

/// What every request carries, and the static headers of its destination.
fn basic_headers(destination: &Destination) -> HeaderMap {
    let mut headers = match &destination.document {
        Some(document) => document.headers.clone(),
        None => HeaderMap::with_capacity(8),
    };
    headers.entry(ACCEPT).or_insert(ACCEPT_DEFAULT);
    headers
        .entry(USER_AGENT)
        .or_insert_with(|| user_agent().clone());
    headers
}

fn user_agent() -> &'static HeaderValue {
    static AGENT: OnceLock<HeaderValue> = OnceLock::new();
    AGENT
        .get_or_init(|| HeaderValue::from_static(concat!("hookwright/", env!("CARGO_PKG_VERSION"))))
}

/// The headers of the workflow, which win over those of the destination.
fn given(given: &[(String, String)], headers: &mut HeaderMap) -> Result<(), Failure> {
    if given.len() > HEADERS_MAX {
        return Err(Failure::invalid("a call has at most 100 headers"));
    }
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::invalid("the name of a header is not usable"))?;
        if is_reserved(&name) {
            return Err(Failure::invalid(format!(
                "the header `{name}` is set by the server itself; leave it out"
            )));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            Failure::invalid(format!(
                "the value of the header `{name}` contains a line break or control character"
            ))
        })?;
        value.set_sensitive(CREDENTIALS.contains(&name.as_str()));
        headers.insert(name, value);
    }
    Ok(())
}

/// The idempotency key on methods that change something, unless the workflow gave its own.
fn identify(method: &Method, headers: &mut HeaderMap, with: &Material<'_>) {
    if matches!(*method, Method::GET | Method::HEAD) {
        return;
    }
    let name = match &with.destination.document {
        Some(document) => document.idempotency_key.clone(),
        None => Some(HeaderName::from_static("idempotency-key")),
    };
    let value = HeaderValue::from_str(&with.identity.idempotency_key.to_string());
    if let (Some(name), Ok(value)) = (name, value) {
        headers.entry(name).or_insert(value);
    }
}

impl Prepared {
    /// Turns this into the request a redirect asks for (RFC 9110 section 15.4).
    pub(super) fn redirect(&mut self, status: u16, url: Url) {
        let becomes_get = match status {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(CONTENT_TYPE);
        }
        self.url = url;
    }

    /// Drops whatever another origin must not see.
    pub(super) fn strip(&mut self) {
        let dropped: Vec<HeaderName> = self
            .headers
            .iter()
            .filter(|(name, value)| value.is_sensitive() || !CARRIED.contains(&name.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in dropped {
            self.headers.remove(name);
        }
        self.headers.remove(AUTHORIZATION);
        self.exchange = None;
    }

    /// The URL with a key in its query masked.
    pub(super) fn shown_url(&self) -> String {
        let Some(secret) = &self.secret_parameter else {
            return self.url.to_string();
        };
        let mut shown = self.url.clone();
        shown.set_query(None);
        let pairs = self.url.query_pairs();
        let masked: Vec<_> = pairs
            .map(|(name, value)| match name == secret.as_str() {
                true => (name, "***".into()),
                false => (name, value),
            })
            .collect();
        append(&mut shown, masked.iter().map(|(k, v)| (&**k, &**v)));
        shown.to_string()
    }
}
