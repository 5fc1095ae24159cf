//! CloudEvents 1.0 over HTTP: structured, batched and binary mode, read into events of the log.
//!
//! Called by `api::events`. The body of a structured event is its `data` as it was written, not
//! parsed and written again.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use super::{Error, bodies};
use crate::event::Event;
use crate::id::Id;

/// Longest attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 4_096;

/// Most attributes beside the required ones.
const ATTRIBUTES_MAX: usize = 64;

/// The media type of one structured event.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// The media type of many.
pub const BATCHED: &str = "application/cloudevents-batch+json";

type Members = BTreeMap<String, Box<RawValue>>;

/// Reads the events of a request.
///
/// # Errors
/// 400 or 422 where it is no valid CloudEvent, 415 where it is in a format not taken here.
pub fn read(headers: &HeaderMap, body: &Bytes, events_max: usize) -> Result<Vec<Event>, Error> {
    let media_type = bodies::media_type(headers);
    match media_type.as_str() {
        STRUCTURED => Ok(vec![structured(bodies::parse(body)?)?]),
        BATCHED => {
            let batch: Vec<Members> = bodies::parse(body)?;
            if batch.len() > events_max {
                let detail =
                    format!("a batch has at most {events_max} events (api.batch_events_max)");
                return Err(Error::TooLarge(detail));
            }
            batch.into_iter().map(structured).collect()
        }
        other if other.starts_with("application/cloudevents") => Err(Error::Unsupported(format!(
            "of the structured formats only {STRUCTURED} and {BATCHED} are taken"
        ))),
        _ if headers.contains_key("ce-specversion") => Ok(vec![binary(headers, body.clone())?]),
        _ => Err(Error::Unsupported(format!(
            "send a CloudEvent: {STRUCTURED}, {BATCHED}, or any media type with ce- headers"
        ))),
    }
}

fn wrong(detail: &str) -> Error {
    Error::invalid(format!("not a CloudEvent: {detail}"))
}

fn structured(mut members: Members) -> Result<Event, Error> {
    let data = members.remove("data");
    let base64 = members.remove("data_base64");
    let mut attributes = BTreeMap::new();
    for (name, value) in members {
        if value.get() == "null" {
            continue;
        }
        attributes.insert(name, text(&value)?);
    }
    let content_type = attributes.remove("datacontenttype");
    let body = match (data, base64) {
        (Some(_), Some(_)) => return Err(wrong("data and data_base64 exclude each other")),
        (Some(data), None) => content(&data, content_type.as_deref()),
        (None, Some(base64)) => decoded(&base64)?,
        (None, None) => Bytes::new(),
    };
    // The JSON format says that data without a type is JSON.
    let content_type =
        content_type.or_else(|| (!body.is_empty()).then(|| "application/json".to_owned()));
    event(attributes, content_type, body)
}

/// An attribute's value in its canonical string form: a string, boolean or integer.
fn text(value: &RawValue) -> Result<String, Error> {
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(serde_json::Value::Bool(value)) => Ok(value.to_string()),
        Ok(serde_json::Value::Number(number)) if number.is_i64() => Ok(number.to_string()),
        _ => Err(wrong("attributes are strings, booleans or integers")),
    }
}

/// The bytes of `data`: JSON as it was written; for another media type, a string's content.
fn content(data: &RawValue, content_type: Option<&str>) -> Bytes {
    let is_json = content_type.is_none_or(|media| {
        let essence = media
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        essence.ends_with("/json") || essence.ends_with("+json")
    });
    match serde_json::from_str::<String>(data.get()) {
        Ok(text) if !is_json => Bytes::from(text),
        _ => Bytes::copy_from_slice(data.get().as_bytes()),
    }
}

fn decoded(base64: &RawValue) -> Result<Bytes, Error> {
    let text: Result<String, _> = serde_json::from_str(base64.get());
    let bytes = text
        .ok()
        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    bytes
        .map(Bytes::from)
        .ok_or_else(|| wrong("data_base64 is not base64"))
}

fn binary(headers: &HeaderMap, body: Bytes) -> Result<Event, Error> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        let value = value
            .to_str()
            .map_err(|_| wrong("headers are ASCII, percent-encoded"))?;
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| wrong("percent-encoded headers are UTF-8"))?;
        if attributes
            .insert(name.to_owned(), value.into_owned())
            .is_some()
        {
            return Err(wrong("an attribute is there twice"));
        }
    }
    let content_type = headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    event(attributes, content_type, body)
}

fn event(
    mut attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    body: Bytes,
) -> Result<Event, Error> {
    let mut required = |name: &str| {
        let value = attributes.remove(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| wrong(&format!("{name} is missing or empty")))
    };
    if required("specversion")? != "1.0" {
        return Err(wrong("specversion must be 1.0"));
    }
    let (event_id, source, kind) = (required("id")?, required("source")?, required("type")?);
    check(&attributes, &[&event_id, &source, &kind])?;
    Ok(Event {
        id: Id::generate(),
        event_id,
        source,
        kind,
        attributes,
        content_type,
        headers: Vec::new(),
        body,
    })
}

fn check(attributes: &BTreeMap<String, String>, required: &[&String]) -> Result<(), Error> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(wrong("it has more than 64 attributes"));
    }
    let named = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if !attributes.keys().all(|name| named(name)) {
        return Err(wrong(
            "names of attributes are lower-case letters and digits",
        ));
    }
    let mut values = attributes.values().chain(required.iter().copied());
    if values.any(|value| value.len() > ATTRIBUTE_BYTES_MAX || value.contains(char::is_control)) {
        return Err(wrong(
            "attributes have at most 4096 bytes and no control characters",
        ));
    }
    if attributes
        .get("time")
        .is_some_and(|time| time.parse::<jiff::Timestamp>().is_err())
    {
        return Err(wrong("time must be as in RFC 3339"));
    }
    Ok(())
}
