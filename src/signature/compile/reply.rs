//! The grammar of `handshake:` and `acknowledge:`.
//!
//! Called by `compile`. What an answer may contain is bounded: parts of the delivery, settings,
//! and codes made with a secret, never a secret itself.

use bytes::Bytes;
use regex::Regex;

use super::leaf::checks;
use super::words::{all, filled_text, filled_texts, pattern, template};
use crate::signature::Acknowledgement;
use crate::signature::handshake::{Body, Condition, Deed, Handshake, Member, Reply};
use crate::signature::template::{Allowed, Names};
use crate::workflow::document::{Content, Object, Place};

pub(super) fn handshakes(place: &Place<'_>, names: &mut Names) -> Option<Vec<Handshake>> {
    let items = place.array()?;
    all(items.iter().map(|item| handshake(item, names)))
}

fn handshake(place: &Place<'_>, names: &mut Names) -> Option<Handshake> {
    let object = place.object()?;
    let conditions = object
        .required("when")
        .and_then(|place| when(&place, names));
    let verified = object.required("verify");
    let verified = verified.and_then(|place| place.one_of(&["before", "never"]));
    let checks = match object.optional("checks") {
        None => Some(Vec::new()),
        Some(place) => checks(&place, names),
    };
    let action = match object.optional("action") {
        None => Some(None),
        Some(place) => deed(&place, names).map(Some),
    };
    let respond = object.required("respond");
    let reply = respond.and_then(|place| reply(&place, names));
    let _for_people = object.optional_string("note");
    object.finish();
    Some(Handshake {
        verified: verified? == 0,
        conditions: conditions?,
        checks: checks?,
        action: action?,
        reply: reply?,
    })
}

/// Reads `acknowledge:`, whose body is literal.
pub fn acknowledgement(place: &Place<'_>) -> Option<Acknowledgement> {
    let object = place.object()?;
    let (status, content_type) = head(&object);
    let body = match object.optional("body") {
        None => Some(""),
        Some(place) => place.string(),
    };
    object.finish();
    Some(Acknowledgement {
        status: status?,
        content_type,
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body?.as_bytes()),
    })
}

fn head(object: &Object<'_>) -> (Option<u16>, Option<String>) {
    let status = object.required("status");
    let status = status.and_then(|place| place.integer(200, 299));
    let status = status.and_then(|status| u16::try_from(status).ok());
    let content_type = object.optional_string("contentType").map(str::to_owned);
    (status, content_type)
}

fn reply(place: &Place<'_>, names: &mut Names) -> Option<Reply> {
    let object = place.object()?;
    let (status, content_type) = head(&object);
    let mut headers = Vec::new();
    if let Some(place) = object.optional("headers") {
        for (key, value) in place.object()?.members() {
            let Ok(name) = key.name.parse() else {
                value.fault(format!("`{}` is no header name", key.name));
                continue;
            };
            headers.push((name, template(&value, Allowed::Reply, names)?));
        }
    }
    let text = object.optional("body");
    let json = object.optional("json");
    object.finish();
    let body = match (text, json) {
        (Some(_), Some(json)) => {
            json.fault("an answer has a `body` or `json`, not both");
            return None;
        }
        (None, None) => Body::Empty,
        (Some(text), None) if text.node().as_str() == Some("") => Body::Empty,
        (Some(text), None) => Body::Text(template(&text, Allowed::Reply, names)?),
        (None, Some(json)) => {
            let members = json.object()?;
            let members = members.members().map(|(key, value)| {
                let member = match &value.node().content {
                    Content::String(_) => Member::Text(template(&value, Allowed::Reply, names)?),
                    _ => Member::Literal(value.node().to_serde()),
                };
                Some((key.name.clone(), member))
            });
            Body::Json(all(members)?)
        }
    };
    Some(Reply {
        status: status?,
        content_type,
        headers,
        body,
    })
}

fn deed(place: &Place<'_>, names: &mut Names) -> Option<Deed> {
    let object = place.object()?;
    let store = object.optional("store");
    let confirm = object.optional("confirm");
    object.finish();
    match (store, confirm) {
        (Some(place), None) => {
            let object = place.object()?;
            let name = object
                .required("secret")
                .and_then(|place| filled_text(&place));
            let value = object.required("value");
            let value = value.and_then(|place| template(&place, Allowed::Delivery, names));
            object.finish();
            Some(Deed::Store {
                name: names.secret(name?),
                value: value?,
            })
        }
        (None, Some(place)) => {
            let object = place.object()?;
            let url = object.required("get");
            let url = url.and_then(|place| template(&place, Allowed::Delivery, names));
            let host: Option<Regex> = object
                .required("host")
                .and_then(|place| pattern(&place, true));
            object.finish();
            Some(Deed::Confirm {
                url: url?,
                host: host?,
            })
        }
        _ => {
            place.fault("an action is either `store` or `confirm`");
            None
        }
    }
}

fn when(place: &Place<'_>, names: &mut Names) -> Option<Vec<Condition>> {
    let object = place.object()?;
    let mut conditions = Vec::new();
    if let Some(place) = object.optional("method") {
        let method = filled_text(&place)?.parse();
        let method = method.map_err(|_| place.fault("this is no HTTP method"));
        conditions.push(Condition::Method(method.ok()?));
    }
    if let Some(place) = object.optional("pathEnds") {
        conditions.push(Condition::Path(filled_text(&place)?.to_owned()));
    }
    if let Some(place) = object.optional("header") {
        for text in filled_texts(&place)? {
            let name = text
                .parse()
                .map_err(|_| place.fault("this is no header name"));
            conditions.push(Condition::Header(name.ok()?, None));
        }
    }
    if let Some(place) = object.optional("headerIs") {
        for (key, value) in place.object()?.members() {
            let name = key
                .name
                .parse()
                .map_err(|_| value.fault("this is no header name"));
            let wanted = filled_text(&value)?.to_owned();
            conditions.push(Condition::Header(name.ok()?, Some(wanted)));
        }
    }
    if let Some(place) = object.optional("query") {
        let names = filled_texts(&place)?.into_iter();
        conditions.extend(names.map(|name| Condition::Query(name.to_owned())));
    }
    json_conditions(&object, names, &mut conditions)?;
    object.finish();
    if conditions.is_empty() {
        place.fault("a handshake needs at least one condition");
        return None;
    }
    Some(conditions)
}

fn json_conditions(
    object: &Object<'_>,
    names: &mut Names,
    conditions: &mut Vec<Condition>,
) -> Option<()> {
    const HINT: &str = "a JSON pointer such as `/type`";
    let mut pointer = |text: &str, place: &Place<'_>| {
        let index = names.pointer(text);
        if index.is_none() {
            place.fault_with(format!("`{text}` is no JSON pointer"), HINT);
        }
        index
    };
    if let Some(place) = object.optional("json") {
        for (key, wanted) in place.object()?.members() {
            let index = pointer(&key.name, &wanted)?;
            let wanted = match &wanted.node().content {
                Content::Number(digits) => digits.clone(),
                Content::Bool(truth) => truth.to_string(),
                _ => filled_text(&wanted)?.to_owned(),
            };
            conditions.push(Condition::Json(index, wanted));
        }
    }
    type Make = fn(usize) -> Condition;
    let kinds: [(&'static str, Make); 3] = [
        ("jsonPresent", |index| Condition::JsonPresent(index, true)),
        ("jsonAbsent", |index| Condition::JsonPresent(index, false)),
        ("jsonEmpty", Condition::JsonEmpty),
    ];
    for (word, condition) in kinds {
        if let Some(place) = object.optional(word) {
            for text in filled_texts(&place)? {
                conditions.push(condition(pointer(text, &place)?));
            }
        }
    }
    Some(())
}
