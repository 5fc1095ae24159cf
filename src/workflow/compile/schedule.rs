//! `schedule`: what starts runs: single events, or time.

use regex::{Regex, RegexBuilder};

use super::components::Components;
use super::{Context, field, timetable, unsupported};
use crate::expression::Value;
use crate::workflow::definition::{
    AttributeFilter, EventFilter, PATTERN_CHARACTERS, Read, Schedule,
};
use crate::workflow::document::{Content, Place};

/// Largest compiled form of one pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Reads `schedule`; `policy` is `document.metadata.schedule`.
pub fn schedule(place: &Place<'_>, policy: Option<&Place<'_>>) -> Option<Schedule> {
    let object = place.object()?;
    let timed = ["cron", "every", "after"];
    let timed = timed.iter().filter(|word| object.has(word)).count();
    let found = timed + usize::from(object.has("on"));
    if found != 1 {
        let message = format!("a schedule has one of cron, every, after and on, not {found}");
        place.fault(message);
    }
    if let Some(read) = object.optional("read")
        && timed > 0
    {
        read.fault("`read` is about the events of `on`");
    }
    if timed > 0 {
        let timetable = timetable::timetable(&object, policy);
        let _ = object.optional("on");
        object.finish();
        return timetable.map(|timetable| Schedule::Time(Box::new(timetable)));
    }
    if let Some(policy) = policy {
        not_timed(policy);
    }
    let read = object.optional("read");
    let on = object.optional("on");
    object.finish();
    let read = read.map_or(Some(Read::Envelope), |place| read_as(&place));
    let filter = on.and_then(|place| strategy(&place));
    Some(Schedule::On {
        filter: filter?,
        read: read?,
    })
}

/// `document.metadata.schedule` of a workflow that time does not start.
pub fn not_timed(policy: &Place<'_>) {
    let hint = "remove it, or add a `schedule` with one of them";
    policy.fault_with("this is about `schedule.cron`, `every` and `after`", hint);
}

fn read_as(place: &Place<'_>) -> Option<Read> {
    match place.one_of(&["data", "envelope", "raw"])? {
        0 => Some(Read::Data),
        1 => Some(Read::Envelope),
        _ => {
            unsupported(place, "`read: raw`");
            None
        }
    }
}

/// `on`: only one event for each run.
fn strategy(place: &Place<'_>) -> Option<EventFilter> {
    let object = place.object()?;
    for word in ["all", "any", "until"] {
        if let Some(place) = object.optional(word) {
            unsupported(&place, &format!("`schedule: on: {word}`"));
        }
    }
    let one = object.optional("one");
    if one.is_none() && object.is_empty() {
        place.fault_with(
            "this says nothing about events",
            "write `one: {with: {type: …}}`",
        );
    }
    object.finish();
    filter(&one?)
}

fn filter(place: &Place<'_>) -> Option<EventFilter> {
    let object = place.object()?;
    if let Some(place) = object.optional("correlate") {
        unsupported(&place, "`correlate` of a schedule");
    }
    let with = object.required("with").and_then(|place| place.object());
    object.finish();
    let with = with?;
    if with.is_empty() {
        with.place()
            .fault_with("a filter names at least one attribute", "write {type: …}");
    }
    let nothing = (Components::default(), Value::null());
    let context = Context::new(&nothing.0, &nothing.1);
    let mut attributes = Vec::with_capacity(with.len());
    for (key, place) in with.members() {
        // CloudEvents 1.0, section "Attribute Naming Convention".
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if key.name.is_empty() || !key.name.bytes().all(named) {
            let hint = "lower-case letters and digits, as in CloudEvents".to_owned();
            with.at_key(key, "this is no name of an attribute", Some(hint));
            continue;
        }
        if let Some(filter) = attribute(&key.name, &place, &context) {
            attributes.push((key.name.clone(), filter));
        }
    }
    Some(EventFilter { with: attributes })
}

fn attribute(name: &str, place: &Place<'_>, context: &Context<'_>) -> Option<AttributeFilter> {
    let text = match &place.node().content {
        Content::String(text) => text,
        Content::Object(_) if name == "data" => return data(place),
        Content::Number(text) if name != "data" => text,
        _ => {
            place.unexpected(if name == "data" {
                "a string or an object"
            } else {
                "a string"
            });
            return None;
        }
    };
    if field::is_expression(text) {
        return field::expression(place, context).map(AttributeFilter::Predicate);
    }
    if text.contains("${") {
        let hint = "write '${ . == \"…\" }' around the whole of it";
        place.fault_with("an expression is the whole filter or no part of it", hint);
        return None;
    }
    Some(AttributeFilter::Text {
        literal: text.clone(),
        pattern: pattern(text),
    })
}

/// `data: {…}`: members that must be equal, never evaluated.
fn data(place: &Place<'_>) -> Option<AttributeFilter> {
    let object = place.object()?;
    for (_, member) in object.members() {
        if member
            .node()
            .as_str()
            .is_some_and(|text| text.contains("${"))
        {
            let hint = "write `data: ${ .… }` for a condition on the data";
            member.fault_with("members of `data` are compared, not evaluated", hint);
        }
    }
    Some(AttributeFilter::Data(place.value()))
}

/// The text as an anchored pattern, unless it matches only itself or is no pattern at all.
fn pattern(text: &str) -> Option<Regex> {
    if !text.contains(PATTERN_CHARACTERS) {
        return None;
    }
    let anchored = format!(r"\A(?:{text})\z");
    RegexBuilder::new(&anchored)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .ok()
}
