//! Errors as HTTP answers: the only place that turns one into the other (RFC 9457).
//!
//! Bad requests are 4xx and say what to change; whatever is our fault is a 5xx, and where trying
//! again helps, a 503 with `Retry-After` (RELIABILITY A7). Details hold no secret and no payload.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::access::Role;
use crate::store;
use crate::worker::Unavailable;
use crate::workflow::Fault;

/// When to try again after the database was away, in seconds.
const RETRY_AFTER_S: u32 = 2;

/// Why a request was not done.
#[derive(Debug)]
pub enum Error {
    /// The request cannot be understood (400).
    BadRequest(String),
    /// No valid API key came with it (401).
    Unauthenticated(String),
    /// The key's role may not do this (403).
    Forbidden {
        /// The least role that may.
        needs: Role,
    },
    /// It may not be done, by whoever asks (403).
    Refused(String),
    /// There is no such thing (404).
    NotFound(String),
    /// The path is right, the method is not (405).
    MethodNotAllowed,
    /// It conflicts with what is stored (409).
    Conflict(String),
    /// It could have been done, and cannot any more (410).
    Gone(String),
    /// The body is too large (413).
    TooLarge(String),
    /// The body's media type or encoding is not taken here (415).
    Unsupported(String),
    /// The body was understood but is wrong (422).
    Invalid {
        /// What it was to be.
        detail: String,
        /// Everything wrong in it.
        errors: Vec<Fault>,
    },
    /// This version of the server cannot do it (501).
    NotSupported(String),
    /// The log or the database does not take it now (503).
    Unavailable {
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// A fault of the server (500); the cause is logged, not shown.
    Internal(anyhow::Error),
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

impl Error {
    /// A body that is wrong in one way that has no place in a text.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::Invalid {
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } | Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Gone(_) => StatusCode::GONE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotSupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::BadRequest(detail)
            | Self::Unauthenticated(detail)
            | Self::NotFound(detail)
            | Self::Conflict(detail)
            | Self::Gone(detail)
            | Self::Refused(detail)
            | Self::TooLarge(detail)
            | Self::Unsupported(detail)
            | Self::Invalid { detail, .. }
            | Self::NotSupported(detail) => detail.clone(),
            Self::Forbidden { needs } => {
                format!("this needs an API key of role {} or above", needs.word())
            }
            Self::MethodNotAllowed => "this path does not take this method".to_owned(),
            Self::Unavailable { .. } => "it cannot be stored or read now; try again".to_owned(),
            Self::Internal(_) => "the server failed; its log says why".to_owned(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(error = %format!("{cause:#}"), "a request failed");
        }
        let (status, detail) = (self.status(), self.detail());
        let errors = match &self {
            Self::Invalid { errors, .. } => errors.as_slice(),
            _ => &[],
        };
        let title = status.canonical_reason().unwrap_or_default();
        let status_code = status.as_u16();
        let body = Body {
            r#type: "about:blank",
            title,
            status: status_code,
            detail: &detail,
            errors,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let media = (header::CONTENT_TYPE, "application/problem+json");
        let mut response = (status, [media], json).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unavailable { retry_after_s } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
            }
            Self::Unauthenticated(_) => {
                let challenge = HeaderValue::from_static("Bearer realm=\"hookwright\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(cause) => {
                tracing::warn!(error = %format!("{cause:#}"), "the database does not answer");
                Self::Unavailable {
                    retry_after_s: RETRY_AFTER_S,
                }
            }
            store::Error::Conflict(detail) => Self::Conflict(detail),
            // Class 22 is bad data: a zero byte in a text, for one, which no column holds.
            store::Error::Refused(cause)
                if cause
                    .as_database_error()
                    .and_then(|error| error.code())
                    .is_some_and(|state| state.starts_with("22")) =>
            {
                Self::BadRequest("the request holds characters that cannot be stored".to_owned())
            }
            other => Self::Internal(other.into()),
        }
    }
}

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable {
            retry_after_s: unavailable.retry_after_s,
        }
    }
}
