//! An event as data: the JSON event format of CloudEvents 1.0.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mime::Mime;

use super::body;
use crate::event::Event;
use crate::expression::Value;

/// What the `source` of deliveries begins with.
const HOOKS: &str = "/hooks/";

/// Attributes that come from fields of their own and cannot be overwritten by extensions.
const OWN: [&str; 7] = [
    "specversion",
    "id",
    "source",
    "type",
    "datacontenttype",
    "data",
    "data_base64",
];

/// The event as data: the JSON format of CloudEvents 1.0, `data` parsed by its media type.
///
/// JSON (`application/json`, `+json`) becomes a value; forms, multipart and XML that a source has
/// received become objects, elsewhere they and text are a string; anything else is `data_base64`.
/// JSON that is not JSON becomes the string it is, or `data_base64` where it is not UTF-8. Without
/// a media type the body is JSON if it parses, else as with text. An empty body has no `data`.
#[must_use]
pub fn envelope(event: &Event) -> Value {
    let text = |text: &str| Value::string(text);
    let mut members = vec![
        ("specversion".to_owned(), text("1.0")),
        ("id".to_owned(), text(&event.event_id)),
        ("source".to_owned(), text(&event.source)),
        ("type".to_owned(), text(&event.kind)),
    ];
    if let Some(content_type) = &event.content_type {
        members.push(("datacontenttype".to_owned(), text(content_type)));
    }
    if let Some(time) = attribute(event, "time") {
        members.push(("time".to_owned(), Value::string(time.into_owned())));
    }
    for (name, value) in &event.attributes {
        if name != "time" && !OWN.contains(&name.as_str()) {
            members.push((name.clone(), text(value)));
        }
    }
    members.extend(data(event));
    Value::object(members)
}

/// The event's data as it was received: the text it is, or base64 where it is none.
#[must_use]
pub fn raw(event: &Event) -> Value {
    let body = event.body.as_ref();
    string(body).unwrap_or_else(|| Value::string(STANDARD.encode(body)))
}

/// An attribute of the event by its CloudEvents name.
pub fn attribute<'a>(event: &'a Event, name: &str) -> Option<Cow<'a, str>> {
    let own = match name {
        "specversion" => "1.0",
        "id" => &event.event_id,
        "source" => &event.source,
        "type" => &event.kind,
        "datacontenttype" => event.content_type.as_deref()?,
        "data" | "data_base64" => return None,
        "time" if !event.attributes.contains_key("time") => {
            return Some(Cow::Owned(received_at(event).to_string()));
        }
        _ => event.attributes.get(name)?,
    };
    Some(Cow::Borrowed(own))
}

/// When the event was received: the time in its id.
#[must_use]
pub fn received_at(event: &Event) -> Timestamp {
    let made_at_ms = i64::try_from(event.id.made_at_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(made_at_ms).unwrap_or(Timestamp::MAX)
}

fn data(event: &Event) -> Option<(String, Value)> {
    let body = event.body.as_ref();
    if body.is_empty() {
        return None;
    }
    let parsed = match form(event.content_type.as_deref()) {
        Form::Json => Value::from_json(body).ok().or_else(|| string(body)),
        Form::Text => string(body),
        // What a CloudEvent says is a string stays one.
        Form::Parts if !event.source.starts_with(HOOKS) => string(body),
        Form::Parts => parts(event).or_else(|| string(body)),
        Form::Bytes => None,
    };
    Some(match parsed {
        Some(value) => ("data".to_owned(), value),
        None => (
            "data_base64".to_owned(),
            Value::string(STANDARD.encode(body)),
        ),
    })
}

fn string(body: &[u8]) -> Option<Value> {
    std::str::from_utf8(body).ok().map(Value::string)
}

/// An object made of the parts of a body, where it is what its media type says.
fn parts(event: &Event) -> Option<Value> {
    let content_type = event.content_type.as_deref()?;
    let media: Mime = content_type.parse().ok()?;
    match (media.type_(), media.subtype()) {
        (mime::MULTIPART, _) => body::multipart(&event.body, content_type),
        (_, mime::WWW_FORM_URLENCODED) => body::form(&event.body),
        _ => body::xml(&event.body),
    }
}

enum Form {
    Json,
    /// A form, multipart or XML.
    Parts,
    Text,
    Bytes,
}

fn form(content_type: Option<&str>) -> Form {
    let Some(content_type) = content_type else {
        return Form::Json;
    };
    let Ok(media) = content_type.parse::<Mime>() else {
        return Form::Bytes;
    };
    let subtype = media.subtype();
    match (media.type_(), media.suffix()) {
        _ if subtype == mime::JSON => Form::Json,
        (_, Some(mime::JSON)) => Form::Json,
        (mime::TEXT | mime::APPLICATION, _) if subtype == mime::XML => Form::Parts,
        (_, Some(mime::XML)) => Form::Parts,
        (mime::APPLICATION, _) if subtype == mime::WWW_FORM_URLENCODED => Form::Parts,
        (mime::MULTIPART, _) if subtype == mime::FORM_DATA => Form::Parts,
        (mime::TEXT, _) => Form::Text,
        _ => Form::Bytes,
    }
}
