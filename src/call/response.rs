//! Reading an answer within its limits, and turning it into the output of a task.
//!
//! Bytes are counted after decompression and as they come, so neither a large answer nor a small
//! one that expands can fill the memory. Nothing here decides about retries.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::failure::Failure;
use super::request::Prepared;
use crate::expression::Value;
use crate::workflow::definition::HttpOutput;

/// Bytes of an error's body that are kept.
pub(super) const DETAIL_BYTES_MAX: usize = 4 * 1024;

/// Bytes of an error's body that are read, so that the connection can be used again.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// How long an error's body is waited for; its status already says what matters.
const ERROR_WAIT_MAX: Duration = Duration::from_secs(2);

/// Larger bodies are parsed on a thread of their own, so that other calls go on.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// Whether an answer asks to go elsewhere (RFC 9110 section 15.4).
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What an answer is, once its body has been read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why a body could not be read to its end.
pub(super) enum Unread {
    /// The deadline has passed.
    Late,
    /// It is longer than allowed.
    Long,
    /// The connection broke.
    Broken(reqwest::Error),
}

/// Reads a whole body of at most `bytes_max`.
pub(super) async fn read(
    mut response: reqwest::Response,
    bytes_max: usize,
    deadline: Instant,
) -> Result<Answer, Unread> {
    let announced = response.content_length().unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(Unread::Long);
    }
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    let reading = async {
        while let Some(chunk) = response.chunk().await.map_err(Unread::Broken)? {
            if body.len() + chunk.len() > bytes_max {
                return Err(Unread::Long);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout_at(deadline, reading).await {
        Ok(read) => read?,
        Err(_) => return Err(Unread::Late),
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// The begin of an error's body as text, whatever becomes of the rest.
pub(super) async fn detail(mut response: reqwest::Response, deadline: Instant) -> String {
    let deadline = deadline.min(Instant::now() + ERROR_WAIT_MAX);
    let mut kept = Vec::new();
    let reading = async {
        let mut total = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            total += chunk.len();
            let room = DETAIL_BYTES_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if total > ERROR_BYTES_MAX {
                break;
            }
        }
    };
    // Late or broken, the part that came is worth more than none.
    let _ = tokio::time::timeout_at(deadline, reading).await;
    let text = String::from_utf8_lossy(&kept);
    cut(text.trim(), DETAIL_BYTES_MAX).to_owned()
}

/// The text up to a number of bytes, on a boundary of characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The output of a task, in the form it asks for.
pub(super) async fn output(
    answer: Answer,
    form: HttpOutput,
    sent: &Prepared,
) -> Result<Value, Failure> {
    match form {
        HttpOutput::Raw => Ok(Value::string(STANDARD.encode(&answer.body))),
        HttpOutput::Content => content(answer.status, &answer.headers, answer.body).await,
        HttpOutput::Response => {
            let content = content(answer.status, &answer.headers, answer.body).await?;
            Ok(object([
                ("request", shown_request(sent)),
                ("statusCode", Value::int(answer.status.as_u16().into())),
                ("headers", shown_headers(&answer.headers)),
                ("content", content),
            ]))
        }
    }
}

async fn content(
    status: StatusCode,
    headers: &HeaderMap,
    mut body: Vec<u8>,
) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(Value::null());
    }
    match Media::of(headers) {
        Media::Binary => Ok(Value::string(STANDARD.encode(&body))),
        Media::Text if is_latin1(headers) => {
            let text: String = body.iter().copied().map(char::from).collect();
            Ok(Value::string(text))
        }
        Media::Text => Ok(Value::string(String::from_utf8_lossy(&body))),
        Media::Json => {
            // A byte order mark is no JSON, yet some servers send one (RFC 8259 section 8.1).
            if body.starts_with(b"\xef\xbb\xbf") {
                body.drain(..3);
            }
            let parsed = if body.len() > INLINE_BYTES_MAX {
                tokio::task::spawn_blocking(move || Value::from_json(&body))
                    .await
                    .map_err(|_| Failure::unusable(status, "the answer could not be parsed"))?
            } else {
                Value::from_json(&body)
            };
            parsed.map_err(|error| {
                Failure::unusable(status, format!("the answer is not valid JSON: {error}"))
            })
        }
    }
}

/// How the content of an answer is represented.
enum Media {
    Json,
    Text,
    Binary,
}

impl Media {
    fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let Some(essence) = value.and_then(|text| text.split(';').next()) else {
            return Self::Binary;
        };
        let essence = essence.trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Self::Json,
            "application/xml" | "application/x-www-form-urlencoded" => Self::Text,
            other if other.ends_with("+json") => Self::Json,
            other if other.ends_with("+xml") || other.starts_with("text/") => Self::Text,
            _ => Self::Binary,
        }
    }
}

/// Whether a text says that it is ISO 8859-1, whose bytes are the first 256 characters. Any other
/// text is read as UTF-8.
fn is_latin1(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().split(';').skip(1).any(|part| {
        part.split_once('=').is_some_and(|(name, charset)| {
            let charset = charset.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("charset")
                && charset.eq_ignore_ascii_case("iso-8859-1")
        })
    })
}

fn shown_request(sent: &Prepared) -> Value {
    object([
        // The language spells methods in lower case.
        (
            "method",
            Value::string(sent.method.as_str().to_ascii_lowercase()),
        ),
        ("uri", Value::string(sent.shown_url())),
        ("headers", shown_headers(&sent.headers)),
    ])
}

/// Headers as an object: names in Train-Case, repeated values joined, credentials masked.
fn shown_headers(headers: &HeaderMap) -> Value {
    Value::object(headers.keys().map(|name| {
        let values: Vec<String> = headers.get_all(name).iter().map(shown_value).collect();
        (train_case(name), Value::string(values.join(", ")))
    }))
}

fn shown_value(value: &HeaderValue) -> String {
    if value.is_sensitive() {
        return "***".to_owned();
    }
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `content-type` as `Content-Type`.
fn train_case(name: &HeaderName) -> String {
    let mut start = true;
    name.as_str()
        .chars()
        .map(|c| {
            let shown = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            shown
        })
        .collect()
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::object(members.map(|(name, value)| (name.to_owned(), value)))
}
