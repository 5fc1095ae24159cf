//! One request to a token endpoint (RFC 6749 sections 4.4 and 6), and what it answers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::{LIFE_DEFAULT, MARGIN};
use crate::call::egress;
use crate::call::failure::Failure;
use crate::call::response::{self, Unread};
use crate::run::{Grant, TokenRequest};
use crate::workflow::definition::{ClientAuthentication, TokenEncoding};

/// How long a token endpoint may take.
pub(in crate::call) const ASK_MAX: Duration = Duration::from_secs(10);

/// Bytes of a token endpoint's answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Characters kept of what a token endpoint says about a refusal.
const REASON_CHARS_MAX: usize = 300;

/// Why there is no token.
#[derive(Clone, Debug)]
pub(in crate::call) struct Denial {
    detail: String,
    /// Whether asking again may help.
    transient: bool,
    /// The egress policy forbids the endpoint.
    blocked: bool,
    /// The refresh token is not good any more.
    pub(super) invalid_grant: bool,
}

impl Denial {
    pub(in crate::call) fn of(detail: impl Into<String>, transient: bool) -> Self {
        Self {
            detail: detail.into(),
            transient,
            blocked: false,
            invalid_grant: false,
        }
    }

    pub(super) fn unstored(error: &dyn std::fmt::Display) -> Self {
        Self::of(format!("no token: {error}"), true)
    }

    pub(super) fn busy() -> Self {
        Self::of("another node did not get a token in time", true)
    }

    pub(super) fn interrupted() -> Self {
        Self::of("the request for a token was interrupted", true)
    }

    /// As the failure of the call that needed the token.
    pub(in crate::call) fn into_failure(self) -> Failure {
        match self {
            Self { blocked: true, .. } => Failure::blocked(&self.detail),
            _ => Failure::without_token(self.detail, self.transient),
        }
    }
}

/// A token as it was granted.
pub(in crate::call) struct Granted {
    pub(in crate::call) access: SecretString,
    /// The refresh token that takes the place of the one used.
    pub(super) refresh: Option<SecretString>,
    /// How long it may be used.
    pub(in crate::call) fresh: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered {
    access_token: Option<SecretString>,
    token_type: Option<String>,
    /// Seconds; some servers send a string.
    expires_in: serde_json::Value,
    refresh_token: Option<SecretString>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Asks for a token; `refresh` is the refresh token that counts now.
pub(super) async fn ask(
    client: &reqwest::Client,
    request: &TokenRequest,
    refresh: Option<&SecretString>,
) -> Result<Granted, Denial> {
    let deadline = Instant::now() + ASK_MAX;
    let wire = wire(request, refresh)?;
    let response = tokio::time::timeout_at(deadline, client.execute(wire))
        .await
        .map_err(|_| Denial::of("the token endpoint did not answer in time", true))?
        .map_err(|error| {
            let failure = Failure::transport(error, false);
            let blocked = failure.problem.is(crate::problem::Kind::Authorization);
            Denial {
                blocked,
                ..Denial::of(format!("the token endpoint: {}", failure.cause), !blocked)
            }
        })?;
    read(response, request, deadline).await
}

/// Reads the answer of a token endpoint.
pub(in crate::call) async fn read(
    response: reqwest::Response,
    request: &TokenRequest,
    deadline: Instant,
) -> Result<Granted, Denial> {
    let answer = response::read(response, ANSWER_BYTES_MAX, deadline)
        .await
        .map_err(|unread| match unread {
            Unread::Long => Denial::of("the answer of the token endpoint is too long", false),
            Unread::Late | Unread::Broken(_) => {
                Denial::of("the answer of the token endpoint did not come whole", true)
            }
        })?;
    let status = answer.status;
    let answered: Option<Answered> = serde_json::from_slice(&answer.body).ok();
    if !status.is_success() {
        let answered = answered.unwrap_or_default();
        let mut detail = format!("the token endpoint answered {}", status.as_u16());
        for text in [&answered.error, &answered.error_description] {
            let text = text.as_deref().unwrap_or_default();
            if !text.is_empty() {
                detail.push_str(": ");
                detail.extend(text.chars().take(REASON_CHARS_MAX));
            }
        }
        let transient = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        return Err(Denial {
            invalid_grant: answered.error.as_deref() == Some("invalid_grant"),
            ..Denial::of(detail, transient)
        });
    }
    granted(answered.unwrap_or_default(), request)
}

fn granted(answered: Answered, request: &TokenRequest) -> Result<Granted, Denial> {
    let refuse = |what: &str| Denial::of(format!("the token endpoint {what}"), false);
    let access = answered
        .access_token
        .filter(|token| !token.expose_secret().is_empty())
        .ok_or_else(|| refuse("gave no `access_token`"))?;
    let kind = answered.token_type.as_deref().unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(refuse("gave a token that is no bearer token"));
    }
    if !request.issuers.is_empty()
        && let Some(issuer) = issuer(access.expose_secret())
        && !request.issuers.contains(&issuer)
    {
        return Err(refuse("gave a token of another issuer than `issuers` has"));
    }
    let seconds = match &answered.expires_in {
        serde_json::Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let life = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let day = Duration::from_secs(24 * 60 * 60);
    let fresh = match life {
        Some(life) => life.min(day).saturating_sub(MARGIN),
        None => LIFE_DEFAULT,
    };
    Ok(Granted {
        access,
        refresh: answered.refresh_token,
        fresh,
    })
}

/// Who issued a token, where it is a JWT (RFC 7519) that says so. It is not verified: the API it is
/// for does that.
fn issuer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("iss")?.as_str()?.to_owned())
}

/// The request for a token; `refresh` is the refresh token that counts now.
pub(in crate::call) fn wire(
    request: &TokenRequest,
    refresh: Option<&SecretString>,
) -> Result<reqwest::Request, Denial> {
    let url = egress::parse(&request.uri)
        .map_err(|error| Denial::of(format!("of the token endpoint, {error}"), false))?;
    let mut wire = reqwest::Request::new(Method::POST, url);
    let json = request.encoding == TokenEncoding::Json;
    let kind = TokenEncoding::NAMES[usize::from(json)];
    let headers = wire.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if request.client_authentication == ClientAuthentication::Basic {
        let value = HeaderValue::from_str(&basic(request));
        let mut value = value.map_err(|_| Denial::of("the client cannot be named", false))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let members = members(request, refresh);
    let body = if json {
        let members = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()));
        serde_json::Value::Object(members.collect()).to_string()
    } else {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(members)
            .finish()
    };
    *wire.body_mut() = Some(body.into());
    Ok(wire)
}

/// The members of the request, credentials of the client included where they go into the body.
fn members(request: &TokenRequest, refresh: Option<&SecretString>) -> Vec<(&'static str, String)> {
    let plain = |value: &SecretString| value.expose_secret().to_owned();
    let mut members = Vec::with_capacity(6);
    match &request.grant {
        Grant::ClientCredentials => members.push(("grant_type", "client_credentials".to_owned())),
        Grant::RefreshToken(first) => {
            members.push(("grant_type", "refresh_token".to_owned()));
            members.push(("refresh_token", plain(refresh.unwrap_or(first))));
        }
    }
    if request.client_authentication != ClientAuthentication::Basic {
        members.extend(
            request
                .client_id
                .as_ref()
                .map(|it| ("client_id", plain(it))),
        );
    }
    if request.client_authentication == ClientAuthentication::Post {
        let secret = request.client_secret.as_ref();
        members.extend(secret.map(|it| ("client_secret", plain(it))));
    }
    for (name, list) in [("scope", &request.scopes), ("audience", &request.audiences)] {
        if !list.is_empty() {
            members.push((name, list.join(" ")));
        }
    }
    members
}

/// RFC 6749 section 2.3.1: both parts are form-encoded first.
fn basic(request: &TokenRequest) -> String {
    let encoded = |value: &Option<SecretString>| -> String {
        let text = value.as_ref().map_or("", ExposeSecret::expose_secret);
        form_urlencoded::byte_serialize(text.as_bytes()).collect()
    };
    let pair = format!(
        "{}:{}",
        encoded(&request.client_id),
        encoded(&request.client_secret)
    );
    format!("Basic {}", STANDARD.encode(pair))
}
