//! Questions a sender asks before it delivers, and literal answers it wants.
//!
//! Read from `handshake:` and `acknowledge:`, evaluated by `Scheme`. A handshake is answered, not
//! stored. Whether it must be signed is always written down, never assumed.

use bytes::Bytes;
use http::HeaderName;

use super::compile::{filled_text, filled_texts, template};
use super::template::{Allowed, Names, Scope, Template};
use super::view::View;
use crate::workflow::document::{Object, Place};

/// Longest text that is echoed, in bytes; a longer challenge is no handshake.
const ANSWER_BYTES_MAX: usize = 4_096;

/// A literal answer to a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body, where there is one.
    pub content_type: Option<String>,
    /// The body, which may be empty.
    pub body: Bytes,
}

/// The answer a sender wants once its events are committed.
pub type Acknowledgement = Response;

/// One entry of `handshake:`.
#[derive(Clone, Debug)]
pub(super) struct Handshake {
    /// Whether the delivery must be verified before it is answered.
    pub verified: bool,
    conditions: Vec<Condition>,
    status: u16,
    content_type: Option<String>,
    body: Option<Template>,
}

#[derive(Clone, Debug)]
enum Condition {
    Method(http::Method),
    Header(HeaderName),
    Query(String),
    /// The scalar at a pointer is there, and is this where a value is given.
    Json(usize, Option<String>),
}

impl Handshake {
    pub fn read(place: &Place<'_>, names: &mut Names) -> Option<Self> {
        let object = place.object()?;
        let conditions = object
            .required("when")
            .and_then(|place| when(&place, names));
        let verified = object.required("verify");
        let verified = verified.and_then(|place| place.one_of(&["before", "never"]));
        let respond = object.required("respond");
        let answer = respond.and_then(|place| respond_parts(&place));
        object.finish();
        let (status, content_type, body) = answer?;
        let body = match body {
            None => None,
            Some(place) => Some(template(&place, Allowed::Delivery, names)?),
        };
        Some(Self {
            verified: verified? == 0,
            conditions: conditions?,
            status,
            content_type,
            body,
        })
    }

    /// The answer, where the delivery is this handshake and has all that the answer needs.
    pub fn answer(&self, view: &View<'_>) -> Option<Response> {
        if !self
            .conditions
            .iter()
            .all(|condition| condition.holds(view))
        {
            return None;
        }
        let body = match &self.body {
            None => Vec::new(),
            Some(body) => body.bytes(view, &Scope::NONE).ok()?,
        };
        (body.len() <= ANSWER_BYTES_MAX).then(|| Response {
            status: self.status,
            content_type: self.content_type.clone(),
            body: body.into(),
        })
    }
}

impl Condition {
    fn holds(&self, view: &View<'_>) -> bool {
        match self {
            Self::Method(method) => view.delivery.method == method,
            Self::Header(name) => view.header(std::slice::from_ref(name)).is_some(),
            Self::Query(name) => view.query(std::slice::from_ref(name)).is_some(),
            Self::Json(index, wanted) => {
                let found = view.json(std::slice::from_ref(index));
                let same = |found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
                found.is_some_and(same)
            }
        }
    }
}

impl Response {
    /// Reads `acknowledge:`, whose body is literal.
    pub(super) fn read(place: &Place<'_>) -> Option<Self> {
        let (status, content_type, body) = respond_parts(place)?;
        let body = match body {
            None => "",
            Some(place) => place.string()?,
        };
        Some(Self {
            status,
            content_type,
            body: Bytes::copy_from_slice(body.as_bytes()),
        })
    }
}

type Answer<'a> = (u16, Option<String>, Option<Place<'a>>);

fn respond_parts<'a>(place: &Place<'a>) -> Option<Answer<'a>> {
    let object = place.object()?;
    let status = object.required("status");
    let status = status.and_then(|place| place.integer(200, 299));
    let content_type = object.optional_string("contentType").map(str::to_owned);
    let body = object.optional("body");
    object.finish();
    let status = u16::try_from(status?).ok()?;
    Some((status, content_type, body))
}

fn when(place: &Place<'_>, names: &mut Names) -> Option<Vec<Condition>> {
    let object = place.object()?;
    let mut conditions = Vec::new();
    if let Some(place) = object.optional("method") {
        let method = filled_text(&place)?.parse();
        let method = method
            .map_err(|_| place.fault("this is no HTTP method"))
            .ok()?;
        conditions.push(Condition::Method(method));
    }
    if let Some(place) = object.optional("header") {
        for text in filled_texts(&place)? {
            let name = text
                .parse()
                .map_err(|_| place.fault("this is no header name"))
                .ok()?;
            conditions.push(Condition::Header(name));
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
    if let Some(place) = object.optional("json") {
        for (key, wanted) in place.object()?.members() {
            let Some(index) = names.pointer(&key.name) else {
                wanted.fault_with(format!("`{}` is no JSON pointer", key.name), HINT);
                return None;
            };
            let wanted = filled_text(&wanted)?.to_owned();
            conditions.push(Condition::Json(index, Some(wanted)));
        }
    }
    if let Some(place) = object.optional("jsonPresent") {
        for text in filled_texts(&place)? {
            let Some(index) = names.pointer(text) else {
                place.fault_with(format!("`{text}` is no JSON pointer"), HINT);
                return None;
            };
            conditions.push(Condition::Json(index, None));
        }
    }
    Some(())
}
