//! Problem details (RFC 9457), which are also the errors of the workflow language.
//!
//! One type serves both: a task that faults and an HTTP answer that refuses carry the same five
//! members. This module knows no other module's errors; each maps its own.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

/// The base of the workflow language's standard error types.
const STANDARD: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// Other spellings of [`STANDARD`] that mean the same (the specification's own kit uses them).
const ALIASES: [&str; 3] = [
    "https://open-workflow-specification.org/spec/1.0.0/errors/",
    "https://serverlessworkflow.io/dsl/errors/types/",
    "https://open-workflow-specification.org/dsl/errors/types/",
];

/// The last words of the standard types.
pub const STANDARD_NAMES: [&str; 8] = [
    "configuration",
    "validation",
    "expression",
    "authentication",
    "authorization",
    "timeout",
    "communication",
    "runtime",
];

/// A standard kind of error, with its default status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The definition or the server's settings are wrong (400).
    Configuration,
    /// Data does not fit its schema (400).
    Validation,
    /// An expression cannot be evaluated (400).
    Expression,
    /// Credentials are missing or refused (401).
    Authentication,
    /// The caller may not do this (403).
    Authorization,
    /// A deadline has passed (408).
    Timeout,
    /// A call to another system failed (500).
    Communication,
    /// The server itself failed (500).
    Runtime,
}

impl Kind {
    const fn parts(self) -> (&'static str, u16) {
        match self {
            Self::Configuration => ("configuration", 400),
            Self::Validation => ("validation", 400),
            Self::Expression => ("expression", 400),
            Self::Authentication => ("authentication", 401),
            Self::Authorization => ("authorization", 403),
            Self::Timeout => ("timeout", 408),
            Self::Communication => ("communication", 500),
            Self::Runtime => ("runtime", 500),
        }
    }
}

/// What went wrong, in the members of RFC 9457.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The HTTP status, or the status the workflow raised.
    pub status: u16,
    /// A short summary that is the same for all problems of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What happened this time, never with secrets or payload data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where it happened: a JSON pointer into the definition, or a path of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl Problem {
    /// A problem of a standard kind with its default status.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (name, status) = kind.parts();
        Self {
            kind: Cow::Owned(format!("{STANDARD}{name}")),
            status,
            title: None,
            detail: Some(detail.into()),
            instance: None,
        }
    }

    /// The same problem with another status.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same problem with a title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// The same problem located at a JSON pointer or path.
    #[must_use]
    pub fn at(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Whether this is of the given standard kind, in any spelling.
    #[must_use]
    pub fn is(&self, kind: Kind) -> bool {
        normalise(&self.kind).strip_prefix(STANDARD) == Some(kind.parts().0)
    }

    /// The last word of its type, where it is a standard one: one of [`STANDARD_NAMES`].
    #[must_use]
    pub fn standard_name(&self) -> Option<&'static str> {
        let kind = normalise(&self.kind);
        let word = kind.strip_prefix(STANDARD)?;
        STANDARD_NAMES.into_iter().find(|name| *name == word)
    }
}

impl Problem {
    /// A problem of HTTP itself: no type of its own, the status says it all (RFC 9457 section
    /// 4.2.1).
    #[must_use]
    pub fn http(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: Cow::Borrowed("about:blank"),
            status: status.as_u16(),
            title: status.canonical_reason().map(str::to_owned),
            detail: Some(detail.into()),
            instance: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response()
    }
}

/// A type URI in its canonical spelling: aliases of the standard base become the standard base.
#[must_use]
pub fn normalise(kind: &str) -> Cow<'_, str> {
    ALIASES
        .iter()
        .find_map(|alias| kind.strip_prefix(alias))
        .map_or(Cow::Borrowed(kind), |name| {
            Cow::Owned(format!("{STANDARD}{name}"))
        })
}
