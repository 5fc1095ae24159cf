//! Bodies of deliveries as data: forms, multipart and XML as objects.
//!
//! Called by `envelope`. A body that is not what its media type says, or has too many parts, is no
//! object; it is then the text it is. The bytes themselves are kept in any case.

use std::collections::HashMap;
use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream;
use quick_xml::XmlVersion::Implicit1_0;
use quick_xml::events::BytesStart;

use crate::expression::Value;
use crate::signature::xml::{self, Visit};

/// Fields of a form or parts of a multipart body.
const FIELDS_MAX: usize = 1_000;

/// Elements and attributes of an XML body.
const NODES_MAX: usize = 10_000;

/// Deepest nesting of an XML body that becomes an object: below what expressions may return.
const DEPTH_MAX: usize = 32;

/// Members of an object in the order of their first appearance; what repeats becomes a list.
#[derive(Default)]
struct Members {
    order: Vec<(String, Vec<Value>)>,
    places: HashMap<String, usize>,
}

impl Members {
    fn add(&mut self, name: String, value: Value) {
        if let Some(place) = self.places.get(&name) {
            self.order[*place].1.push(value);
            return;
        }
        self.places.insert(name.clone(), self.order.len());
        self.order.push((name, vec![value]));
    }

    fn into_value(self) -> Value {
        let members = self.order.into_iter().map(|(name, mut values)| {
            let only = if values.len() == 1 {
                values.pop()
            } else {
                None
            };
            (name, only.unwrap_or_else(|| Value::array(values)))
        });
        Value::object(members)
    }
}

/// A form: each field a text, or a list of them.
pub(super) fn form(body: &[u8]) -> Option<Value> {
    std::str::from_utf8(body).ok()?;
    let mut members = Members::default();
    for (count, (name, value)) in form_urlencoded::parse(body).enumerate() {
        if count >= FIELDS_MAX {
            return None;
        }
        members.add(name.into_owned(), Value::string(value.into_owned()));
    }
    Some(members.into_value())
}

/// A multipart body: each part a text, or an object where it is a file.
pub(super) fn multipart(body: &Bytes, content_type: &str) -> Option<Value> {
    let boundary = multer::parse_boundary(content_type).ok()?;
    let whole = stream::iter([Ok::<_, Infallible>(body.clone())]);
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut members = Members::default();
    let mut count = 0;
    // All of it is there: nothing is ever waited for.
    while let Some(part) = parts.next_field().now_or_never()?.ok()? {
        count += 1;
        if count > FIELDS_MAX {
            return None;
        }
        let name = part.name().unwrap_or_default().to_owned();
        let file = part.file_name().map(str::to_owned);
        let media = part.content_type().map(ToString::to_string);
        let content = part.bytes().now_or_never()?.ok()?;
        members.add(name, part_value(file, media, &content));
    }
    (count > 0).then(|| members.into_value())
}

fn part_value(file: Option<String>, media: Option<String>, content: &Bytes) -> Value {
    let text = std::str::from_utf8(content).ok().map(Value::string);
    let content = match text {
        Some(text) if file.is_none() => return text,
        Some(text) => ("data".to_owned(), text),
        None => (
            "data_base64".to_owned(),
            Value::string(STANDARD.encode(content)),
        ),
    };
    let named = |name: &str, value: Option<String>| {
        value.map(|value| (name.to_owned(), Value::string(value)))
    };
    let about = [named("filename", file), named("contentType", media)];
    Value::object(about.into_iter().flatten().chain([content]))
}

/// XML: an element is a text, or an object of its attributes (`@name`), its text (`#text`) and its
/// elements, by their names without prefix. The root is the one member of the whole.
pub(super) fn xml(body: &[u8]) -> Option<Value> {
    let mut tree = Tree {
        open: vec![Element::default()],
        nodes: 0,
    };
    xml::read(std::str::from_utf8(body).ok()?, &mut tree)?;
    Some(tree.open.pop()?.members.into_value())
}

#[derive(Default)]
struct Element {
    members: Members,
    text: String,
}

struct Tree {
    /// The elements that have begun, below them the whole.
    open: Vec<Element>,
    nodes: usize,
}

impl Visit for Tree {
    fn start(&mut self, path: &[String], element: &BytesStart<'_>, _at: usize) -> Option<()> {
        let mut begun = Element::default();
        self.nodes += 1;
        for attribute in element.attributes() {
            let attribute = attribute.ok()?;
            self.nodes += 1;
            let name = attribute.key.local_name().as_ref().to_owned();
            let value = attribute.normalized_value(Implicit1_0).ok()?;
            let value = Value::string(value.into_owned());
            begun.members.add(format!("@{name}"), value);
        }
        self.open.push(begun);
        (self.nodes <= NODES_MAX && path.len() <= DEPTH_MAX).then_some(())
    }

    fn text(&mut self, _path: &[String], text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
    }

    fn end(&mut self, path: &[String], _at: usize) {
        let Some(Element { mut members, text }) = self.open.pop() else {
            return;
        };
        let value = if members.order.is_empty() {
            Value::string(text)
        } else {
            if !text.trim().is_empty() {
                members.add("#text".to_owned(), Value::string(text.trim()));
            }
            members.into_value()
        };
        if let (Some(parent), Some(name)) = (self.open.last_mut(), path.last()) {
            parent.members.add(name.clone(), value);
        }
    }
}
