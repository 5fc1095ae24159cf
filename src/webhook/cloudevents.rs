//! CloudEvents as deliveries of a source: binary, structured and batched (HTTP binding 1.0).
//!
//! Called by `admission` for sources of the provider `cloudevents`. The body of a structured event
//! is its `data` as it was written, a slice of the delivery. What is no valid CloudEvent is kept
//! whole, as any other delivery: it was verified, so it is not lost.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use serde_json::value::RawValue;

/// Events of one batch at most; a larger one is kept whole.
const BATCH_MAX: usize = 5_000;

/// Longest attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 4_096;

/// One CloudEvent.
pub struct Cloud {
    /// Its `id`.
    pub id: String,
    /// Its `source`, which is the sender's word and never ours.
    pub source: String,
    /// Its `type`.
    pub kind: String,
    /// All other attributes.
    pub attributes: BTreeMap<String, String>,
    /// `datacontenttype`.
    pub content_type: Option<String>,
    /// Its data.
    pub data: Bytes,
}

type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The events of a delivery; None where it is none of the three forms.
#[must_use]
pub fn read(headers: &HeaderMap, body: &Bytes) -> Option<Vec<Cloud>> {
    let media = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = media.split(';').next()?.trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents+json" => Some(vec![structured(body, body)?]),
        "application/cloudevents-batch+json" => {
            let batch: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
            let events = batch
                .iter()
                .map(|one| structured(body, one.get().as_bytes()));
            let events = events.collect::<Option<Vec<_>>>()?;
            (events.len() <= BATCH_MAX).then_some(events)
        }
        _ => Some(vec![binary(headers, body, media)?]),
    }
}

fn structured(body: &Bytes, text: &[u8]) -> Option<Cloud> {
    let mut members: Members<'_> = serde_json::from_slice(text).ok()?;
    let data = members.remove("data");
    let base64 = members.remove("data_base64");
    let mut attributes = BTreeMap::new();
    for (name, value) in members {
        let value = match serde_json::from_str(value.get()).ok()? {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        attributes.insert(name.into_owned(), value);
    }
    let content_type = attributes.remove("datacontenttype");
    let data = match (data, base64) {
        (Some(data), None) => content(body, data, content_type.as_deref()),
        (None, Some(base64)) => {
            let text: String = serde_json::from_str(base64.get()).ok()?;
            BASE64_STANDARD.decode(text).ok()?.into()
        }
        (None, None) => Bytes::new(),
        (Some(_), Some(_)) => return None,
    };
    let json = (!data.is_empty()).then(|| "application/json".to_owned());
    cloud(attributes, content_type.or(json), data)
}

/// JSON as it was written; for another media type, a string's content.
fn content(body: &Bytes, data: &RawValue, content_type: Option<&str>) -> Bytes {
    let json = content_type.is_none_or(|media| {
        let essence = media.split(';').next().unwrap_or_default().trim();
        essence.ends_with("/json") || essence.ends_with("+json")
    });
    match serde_json::from_str::<String>(data.get()) {
        Ok(text) if !json => Bytes::from(text),
        _ => body.slice_ref(data.get().as_bytes()),
    }
}

fn binary(headers: &HeaderMap, body: &Bytes, media: &str) -> Option<Cloud> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix("ce-") {
            let value = percent_decode_str(value.to_str().ok()?)
                .decode_utf8()
                .ok()?;
            attributes.insert(name.to_owned(), value.into_owned());
        }
    }
    cloud(attributes, Some(media.to_owned()), body.clone())
}

fn cloud(
    mut attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    data: Bytes,
) -> Option<Cloud> {
    let fit = attributes.iter().all(|(name, value)| {
        let named = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let plain = !value.chars().any(char::is_control);
        named && plain && value.len() <= ATTRIBUTE_BYTES_MAX
    });
    let version = attributes.remove("specversion")?;
    let mut required = |name| {
        attributes
            .remove(name)
            .filter(|value: &String| !value.is_empty())
    };
    let (id, source, kind) = (required("id")?, required("source")?, required("type")?);
    (fit && version == "1.0").then_some(Cloud {
        id,
        source,
        kind,
        attributes,
        content_type,
        data,
    })
}
