//! Events: `emit`, `listen`, and the strategies and filters that listens share with schedules.

use jiff::Timestamp;
use regex::{Regex, RegexBuilder};

use super::{Context, data, field, task};
use crate::expression::{Expression, Template};
use crate::workflow::definition::{
    AttributeFilter, Consume, Correlation, Emit, EventFilter, Foreach, Kind, Listen,
    PATTERN_CHARACTERS, Read, Strategy, TaskList, Until,
};
use crate::workflow::document::{Content, Object, Place};

/// Largest compiled form of one pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Most filters of one strategy.
const FILTERS_MAX: usize = 64;

/// An `emit` task.
pub fn emit(place: &Place<'_>, context: &Context<'_>) -> Option<Kind> {
    let object = place.object()?;
    let event = object.required("event").and_then(|place| place.object());
    object.finish();
    let event = event?;
    let with = event.required("with").and_then(|place| place.object());
    event.finish();
    let with = with?;
    if !with.has("type") {
        with.place().fault("`type` is missing here");
    }
    let mut attributes = Vec::with_capacity(with.len());
    let mut data = None;
    for (key, place) in with.members() {
        if key.name == "data" {
            data = field::template(&place, context);
            continue;
        }
        if key.name == "data_base64" {
            let hint = "write `data`, with a string in base64".to_owned();
            with.at_key(key, "`data_base64` is a form of the wire", Some(hint));
            continue;
        }
        if !is_attribute(&with, key) {
            continue;
        }
        if let Some(template) = emitted(&key.name, &place, context) {
            attributes.push((key.name.clone(), template));
        }
    }
    Some(Kind::Emit(Box::new(Emit { attributes, data })))
}

/// An attribute of an event to emit: what is known of it now is checked now.
fn emitted(name: &str, place: &Place<'_>, context: &Context<'_>) -> Option<Template> {
    let text = match &place.node().content {
        Content::String(text) => text.as_str(),
        Content::Bool(_) | Content::Number(_) => "",
        _ => {
            place.unexpected("a string, or an expression that gives one");
            return None;
        }
    };
    let is_string = place.node().as_str().is_some();
    if !field::is_expression(text) {
        let fault = match name {
            "specversion" if text != "1.0" => Some("the version of CloudEvents here is '1.0'"),
            "id" | "source" | "type" | "datacontenttype" | "dataschema" | "subject"
                if !is_string || text.is_empty() =>
            {
                Some("this attribute is a string that is not empty")
            }
            "time" if text.parse::<Timestamp>().is_err() => {
                Some("the time of an event is as in RFC 3339, such as 2026-01-31T12:00:00Z")
            }
            "datacontenttype" if text.parse::<mime::Mime>().is_err() => {
                Some("this is a media type, such as application/json")
            }
            _ => None,
        };
        if let Some(fault) = fault {
            place.fault(fault);
            return None;
        }
    }
    field::template(place, context)
}

/// CloudEvents 1.0, section "Attribute Naming Convention".
fn is_attribute(with: &Object<'_>, key: &crate::workflow::document::Key) -> bool {
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = !key.name.is_empty() && key.name.bytes().all(named);
    if !valid {
        let hint = "lower-case letters and digits, as in CloudEvents".to_owned();
        with.at_key(key, "this is no name of an attribute", Some(hint));
    }
    valid
}

/// A `listen` task: `place` holds what it listens to, `task` its `foreach`.
pub fn listen(place: &Place<'_>, task: &Object<'_>, context: &Context<'_>) -> Option<Kind> {
    let each = task.optional("foreach");
    let object = place.object()?;
    let read_as = object.optional("read");
    let to = object.required("to");
    object.finish();
    let foreach = each.map(|place| foreach(&place, context));
    let to = to.and_then(|place| strategy(&place, context));
    let read = read_as.map_or(Some(Read::Data), |place| read(&place));
    Some(Kind::Listen(Box::new(Listen {
        to: to?,
        read: read?,
        foreach: foreach.map_or(Some(None), |foreach| foreach.map(Some))?,
    })))
}

fn foreach(place: &Place<'_>, context: &Context<'_>) -> Option<Foreach> {
    let object = place.object()?;
    let variable = |name: &'static str, default: &'static str| match object.optional(name) {
        Some(place) => field::variable(&place),
        None => Some(default),
    };
    let (item, at) = (variable("item", "item"), variable("at", "index"));
    if item.is_some() && item == at {
        place.fault_with(
            "`item` and `at` have the same name",
            "the one would hide the other",
        );
    }
    let inner = context.with_variables(&[item.unwrap_or("item"), at.unwrap_or("index")]);
    let body = object
        .optional("do")
        .map(|place| task::list(&place, &inner));
    let output = data::output(&object, &inner);
    let export = data::export(&object, &inner);
    object.finish();
    let empty = || Some(TaskList { tasks: Vec::new() });
    Some(Foreach {
        item: item?.to_owned(),
        at: at?.to_owned(),
        body: body.unwrap_or_else(empty)?,
        output,
        export,
    })
}

/// `read`.
pub fn read(place: &Place<'_>) -> Option<Read> {
    const READS: [Read; 3] = [Read::Data, Read::Envelope, Read::Raw];
    let word = place.one_of(&["data", "envelope", "raw"])?;
    READS.get(word).copied()
}

/// `one`, `any` or `all`, with the `until` of `any`.
pub fn strategy(place: &Place<'_>, context: &Context<'_>) -> Option<Strategy> {
    let object = place.object()?;
    let words = ["one", "any", "all"];
    let found: Vec<&str> = words.into_iter().filter(|word| object.has(word)).collect();
    if found.len() != 1 {
        let message = if found.is_empty() {
            "this says nothing about events".to_owned()
        } else {
            format!(
                "a strategy is one of one, any and all, not {}",
                found.join(" and ")
            )
        };
        place.fault_with(message, "write `one: {with: {type: …}}`");
    }
    let one = object.optional("one");
    let several = [(Consume::Any, "any"), (Consume::All, "all")]
        .map(|(consume, word)| (consume, object.optional(word)));
    let until = object.optional("until");
    object.finish();
    if let Some(place) = &until
        && found != ["any"]
    {
        place.fault_with(
            "`until` belongs to `any`",
            "`one` and `all` end by themselves",
        );
    }
    let until = until.map(|place| self::until(&place, context));
    let (consume, filters) = if let Some(place) = one {
        (
            Consume::One,
            filter(&place, context).map(|filter| vec![filter]),
        )
    } else {
        let (consume, place) = several
            .into_iter()
            .find_map(|(consume, place)| Some((consume, place?)))?;
        (consume, filters(&place, consume, context))
    };
    Some(Strategy {
        consume,
        filters: filters?,
        until: until.map_or(Some(None), |until| until.map(Some))?,
    })
}

/// Whether the filters of a schedule correlate by the same keys, so that it can be known which
/// events belong together.
pub fn agree(place: &Place<'_>, strategy: &Strategy) -> bool {
    let mut keys = strategy.all_filters().map(|filter| {
        let learnt = filter.correlate.iter().filter(|key| key.expect.is_none());
        let mut names: Vec<&str> = learnt.map(|key| key.name.as_str()).collect();
        names.sort_unstable();
        names
    });
    let first = keys.next().unwrap_or_default();
    let agree = keys.all(|names| names == first);
    if !agree {
        place.fault_with(
            "the filters of a schedule correlate by different keys",
            "give each filter the same names under `correlate`, or an `expect`",
        );
    }
    agree
}

fn filters(place: &Place<'_>, consume: Consume, context: &Context<'_>) -> Option<Vec<EventFilter>> {
    let items = place.array()?;
    if items.len() > FILTERS_MAX {
        place.fault(format!("a strategy has at most {FILTERS_MAX} filters"));
        return None;
    }
    if items.is_empty() {
        if consume == Consume::Any {
            // Every event but those of the lifecycle of runs.
            return Some(vec![EventFilter::default()]);
        }
        place.fault_with("`all` of nothing", "name at least one event");
        return None;
    }
    let filters: Vec<Option<EventFilter>> =
        items.iter().map(|place| filter(place, context)).collect();
    filters.into_iter().collect()
}

/// `until`: a condition, or events.
fn until(place: &Place<'_>, context: &Context<'_>) -> Option<Until> {
    if place.node().as_str().is_some() {
        return field::expression(place, context).map(Until::Condition);
    }
    let strategy = strategy(place, context)?;
    if strategy.until.is_some() {
        place.fault("an `until` has no `until` of its own");
        return None;
    }
    Some(Until::Events(Box::new(strategy)))
}

fn filter(place: &Place<'_>, context: &Context<'_>) -> Option<EventFilter> {
    let object = place.object()?;
    let correlate = object.optional("correlate");
    let with = object.required("with").and_then(|place| place.object());
    object.finish();
    let correlate = correlate.map_or(Some(Vec::new()), |place| correlations(&place, context));
    let with = with?;
    if with.is_empty() {
        with.place()
            .fault_with("a filter names at least one attribute", "write {type: …}");
    }
    let mut attributes = Vec::with_capacity(with.len());
    for (key, place) in with.members() {
        if is_attribute(&with, key)
            && let Some(filter) = attribute(&key.name, &place, context)
        {
            attributes.push((key.name.clone(), filter));
        }
    }
    Some(EventFilter {
        with: attributes,
        correlate: correlate?,
    })
}

fn correlations(place: &Place<'_>, context: &Context<'_>) -> Option<Vec<Correlation>> {
    let object = place.object()?;
    if object.is_empty() {
        place.fault_with("this correlates nothing", "write `name: {from: .data.id}`");
    }
    let each: Vec<Option<Correlation>> = object
        .members()
        .map(|(key, place)| correlation(&key.name, &place, context))
        .collect();
    each.into_iter().collect()
}

fn correlation(name: &str, place: &Place<'_>, context: &Context<'_>) -> Option<Correlation> {
    let object = place.object()?;
    let from = object.required("from");
    let expect = object.optional("expect");
    object.finish();
    let local = from.as_ref().is_some_and(|place| is_local(place));
    let from = from.and_then(|place| field::expression(&place, context));
    let expect = expect.map(|place| expected(&place, context));
    Some(Correlation {
        name: name.to_owned(),
        from: from?,
        local,
        expect: expect.map_or(Some(None), |expect| expect.map(Some))?,
    })
}

/// `expect`: `${ }` or what begins with a dot or a dollar is an expression, all else a constant.
fn expected(place: &Place<'_>, context: &Context<'_>) -> Option<Template> {
    match place.node().as_str().map(str::trim) {
        Some(text) if text.starts_with(['.', '$']) => {
            field::expression(place, context).map(Template::Expression)
        }
        _ => field::template(place, context),
    }
}

/// Whether an expression needs no variable from outside.
fn is_local(place: &Place<'_>) -> bool {
    let text = place.node().as_str().unwrap_or_default();
    Expression::compile(text, &[]).is_ok()
}

fn attribute(name: &str, place: &Place<'_>, context: &Context<'_>) -> Option<AttributeFilter> {
    let text = match &place.node().content {
        Content::String(text) => text,
        Content::Object(_) if name == "data" => return members(place),
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
        let deferred = !is_local(place);
        return field::expression(place, context).map(|predicate| {
            if deferred {
                AttributeFilter::Deferred(predicate)
            } else {
                AttributeFilter::Predicate(predicate)
            }
        });
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
fn members(place: &Place<'_>) -> Option<AttributeFilter> {
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
