//! Events of a test document: those that start a run, and those that come while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::workflow::document::{Object, Place};

/// Events that come during one run at most.
const COMING_MAX: usize = 10_000;

/// The members that say whose events a case has.
const STANDARD: [&str; 4] = ["type", "source", "id", "data"];

/// When an event of a run comes.
const AFTER: &str = "after";

/// An event that comes in.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    kind: String,
    source: String,
    id: Option<String>,
    /// Absent where there is none.
    data: Option<Value>,
    /// The other attributes.
    attributes: Vec<(String, String)>,
}

/// An event that comes so long after the start of the run.
#[derive(Clone, Debug)]
pub(super) struct Coming {
    pub after: Duration,
    pub arrival: Arrival,
}

/// Reads an event that starts a run.
pub(super) fn arrival(place: &Place<'_>) -> Option<Arrival> {
    read(&place.object()?, false)
}

/// Reads the events that come during a run.
pub(super) fn coming(place: &Place<'_>) -> Option<Vec<Coming>> {
    let places = place.array()?;
    if places.len() > COMING_MAX {
        place.fault(format!("there must be at most {COMING_MAX} events"));
    }
    let one = |place: &Place<'_>| {
        let object = place.object()?;
        let after = match object.has(AFTER) {
            true => object.optional_duration(AFTER)?,
            false => Duration::ZERO,
        };
        let arrival = read(&object, true)?;
        Some(Coming { after, arrival })
    };
    places.iter().map(one).collect()
}

fn read(object: &Object<'_>, is_coming: bool) -> Option<Arrival> {
    let kind = object.required_string("type");
    let source = object.optional_string("source").unwrap_or("/test");
    let id = object.optional_string("id").map(str::to_owned);
    let data = object.optional("data").map(|at| at.value());
    let mut attributes = Vec::new();
    for (key, at) in object.members() {
        if STANDARD.contains(&key.name.as_str()) || (is_coming && key.name == AFTER) {
            continue;
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if key.name.is_empty() || !key.name.chars().all(plain) {
            let hint = "attributes are named with a–z and 0–9; the payload belongs under `data`";
            let message = format!("`{}` is no name of an attribute", key.name);
            object.at_key(key, message, Some(hint.to_owned()));
        } else if let Some(text) = at.string() {
            attributes.push((key.name.clone(), text.to_owned()));
        }
    }
    Some(Arrival {
        kind: kind?.to_owned(),
        source: source.to_owned(),
        id,
        data,
        attributes,
    })
}

/// The event, as the log would have it.
pub(super) fn event(arrival: &Arrival, at: Timestamp, id: Id) -> Event {
    let mut attributes: BTreeMap<_, _> = arrival.attributes.iter().cloned().collect();
    let content_type = attributes.remove("datacontenttype");
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    attributes
        .entry("time".to_owned())
        .or_insert_with(|| at.to_string());
    let body = match &arrival.data {
        None => Vec::new(),
        Some(data) => match data.as_str() {
            Some(text) if !content_type.contains("json") => text.as_bytes().to_vec(),
            _ => data.to_json(),
        },
    };
    Event {
        id,
        event_id: arrival.id.clone().unwrap_or_else(|| id.to_string()),
        source: arrival.source.clone(),
        kind: arrival.kind.clone(),
        attributes,
        content_type: Some(content_type),
        headers: Vec::new(),
        body: body.into(),
    }
}
