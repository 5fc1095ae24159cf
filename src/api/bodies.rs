//! Request bodies, and answers that are JSON.
//!
//! Bodies are bounded by `api.body_bytes_max`; what is wrong with one is a problem, never a plain
//! text of the framework.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, State};

/// A body as bytes.
#[derive(Debug)]
pub struct Raw(pub Bytes);

/// A body as UTF-8 text: a definition in YAML or JSON, whatever media type it came with.
#[derive(Debug)]
pub struct Text(pub String);

/// A body as JSON of a known form, whatever media type it came with.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl FromRequest<State> for Raw {
    type Rejection = Error;

    async fn from_request(request: Request, state: &State) -> Result<Self, Error> {
        if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING)
            && encoding.as_bytes() != b"identity"
        {
            return Err(Error::Unsupported(
                "send the body without Content-Encoding".to_owned(),
            ));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(refusal) if refusal.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let bytes_max = state.config.body_bytes_max;
                let detail =
                    format!("the body is larger than {bytes_max} bytes (api.body_bytes_max)");
                Err(Error::TooLarge(detail))
            }
            Err(_) => Err(Error::BadRequest(
                "the body did not arrive whole".to_owned(),
            )),
        }
    }
}

impl FromRequest<State> for Text {
    type Rejection = Error;

    async fn from_request(request: Request, state: &State) -> Result<Self, Error> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        // A copy, because the bytes may be shared with the connection's buffer.
        match String::from_utf8(bytes.into()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(Error::BadRequest("the body is not UTF-8 text".to_owned())),
        }
    }
}

impl<T: DeserializeOwned> FromRequest<State> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &State) -> Result<Self, Error> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// Reads a body as JSON of a known form.
///
/// # Errors
/// 400 with the place where it is no JSON, 422 where it is JSON of another form. The text of the
/// body is in neither: it may hold a secret.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.classify() == serde_json::error::Category::Data {
            Error::invalid(format!(
                "the JSON is not of the form that this path takes (line {line}, column {column})"
            ))
        } else {
            Error::BadRequest(format!(
                "the body is not JSON (line {line}, column {column})"
            ))
        }
    })
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(json) => answer(status, json),
        Err(failure) => Error::Internal(failure.into()).into_response(),
    }
}

/// An answer whose JSON is already written.
pub fn answer(status: StatusCode, json: impl Into<axum::body::Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, json.into()).into_response()
}

/// The media type of a request, in lower case, without parameters; empty where there is none.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}
