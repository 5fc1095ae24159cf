//! `emit`: an event is published when the step is committed; the output is the event.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::event::Event;
use crate::expression::Value;
use crate::problem::Kind;
use crate::run::Run;
use crate::run::fault::Fault;
use crate::run::flow::Move;
use crate::run::frame::FrameId;
use crate::run::scope::{Moment, View};
use crate::workflow::definition::Emit;

/// Largest data of one event, in bytes.
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// Most data that a run emits without waiting for anything, in bytes.
const MOMENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest attribute, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 4_096;

pub(super) fn begin(run: &mut Run, id: FrameId, task: &Emit) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let view = View::of(run, frame, Moment::Task);
    let mut attributes = BTreeMap::new();
    for (name, template) in &task.attributes {
        let value = view.template(template, &frame.input)?;
        if let Some(text) = text(&view, name, &value)? {
            attributes.insert(name.clone(), text);
        }
    }
    let data = match &task.data {
        Some(template) => Some(view.template(template, &frame.input)?),
        None => None,
    };
    let made_at_ms = u64::try_from(run.now.as_millisecond()).unwrap_or_default();
    let key = frame.key();
    let name = format!("emit {}#{}", key.reference, key.iteration);
    let own = run.surroundings.id.derive_at(made_at_ms, &name);
    let event = event(run, own, attributes, data.as_ref())
        .ok_or_else(|| view.wrong("`emit` gave an event without a `type`"))?;
    let bytes = event.body.len();
    if bytes > DATA_BYTES_MAX || run.emitted_bytes + bytes > MOMENT_BYTES_MAX {
        let detail = format!(
            "the data of an event has at most {DATA_BYTES_MAX} bytes, and of all events emitted \
             in one go {MOMENT_BYTES_MAX}"
        );
        return Err(Fault::new(Kind::Runtime, detail));
    }
    let output = output(&event, data);
    run.emitted_bytes += bytes;
    run.outgoing.push((id, event));
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then: None,
    });
    Ok(())
}

/// An attribute as text; `None` where the event does not have it.
fn text(view: &View<'_>, name: &str, value: &Value) -> Result<Option<String>, Fault> {
    let text = match (value.as_str(), value.as_bool(), value.as_i64()) {
        (Some(text), ..) => text.to_owned(),
        (_, Some(truth), _) => truth.to_string(),
        (_, _, Some(number)) => number.to_string(),
        _ if value.is_null() => return Ok(None),
        _ => {
            let detail = format!("`{name}` of the event gave no string, boolean or integer");
            return Err(view.wrong(detail));
        }
    };
    let fits = match name {
        "time" => text.parse::<Timestamp>().is_ok(),
        "specversion" => text == "1.0",
        "id" | "source" | "type" => !text.is_empty(),
        _ => true,
    };
    if !fits || text.len() > ATTRIBUTE_BYTES_MAX || text.contains(char::is_control) {
        let detail = format!("`{name}` of the event gave what CloudEvents does not allow there");
        return Err(view.wrong(detail));
    }
    Ok(Some(text))
}

fn event(
    run: &Run,
    id: crate::id::Id,
    mut attributes: BTreeMap<String, String>,
    data: Option<&Value>,
) -> Option<Event> {
    let document = &run.definition.document;
    attributes.remove("specversion");
    let mut own = |name: &str| attributes.remove(name);
    let event_id = own("id").unwrap_or_else(|| id.to_string());
    let source = own("source").unwrap_or_else(|| {
        format!(
            "/{}/{}/{}",
            document.namespace, document.name, document.version
        )
    });
    let kind = own("type")?;
    let content_type = own("datacontenttype").unwrap_or_else(|| "application/json".to_owned());
    let time = own("time").unwrap_or_else(|| run.now.to_string());
    attributes.insert("time".to_owned(), time);
    let is_json = content_type
        .parse::<mime::Mime>()
        .is_ok_and(|media| media.subtype() == mime::JSON || media.suffix() == Some(mime::JSON));
    let body = match data {
        None => Bytes::new(),
        Some(data) => match data.as_str() {
            Some(text) if !is_json => Bytes::copy_from_slice(text.as_bytes()),
            _ => data.to_json().into(),
        },
    };
    Some(Event {
        id,
        event_id,
        source,
        kind,
        attributes,
        content_type: Some(content_type),
        headers: Vec::new(),
        body,
    })
}

/// The event in the JSON format of CloudEvents.
fn output(event: &Event, data: Option<Value>) -> Value {
    let text = |name: &str, text: &str| (name.to_owned(), Value::string(text));
    let own = [
        text("specversion", "1.0"),
        text("id", &event.event_id),
        text("source", &event.source),
        text("type", &event.kind),
        text(
            "datacontenttype",
            event.content_type.as_deref().unwrap_or_default(),
        ),
    ];
    let others = event
        .attributes
        .iter()
        .map(|(name, value)| text(name, value));
    let data = data.map(|data| ("data".to_owned(), data));
    Value::object(own.into_iter().chain(others).chain(data))
}
