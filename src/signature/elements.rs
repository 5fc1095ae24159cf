//! The elements of a delivery that holds several: `batch:` and `foreach:`.
//!
//! A path is a pointer in which `*` stands for every element of an array. Called by leaves that
//! check each element and by `event`, which makes an event of each. Elements are slices of the
//! body, byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::pointer::{self, Found, Pointer};
use super::xml;

/// Elements of one delivery at most (the largest batch a known sender makes is 5,000).
const ELEMENTS_MAX: usize = 5_000;

/// A pointer with `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Pointer);

/// Where the elements of a batch stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    Json(Path),
    /// One JSON text a line.
    Lines,
    /// Elements at a path of local names.
    Xml(Pointer),
}

/// One element, with what the `{item:}` parts of a scheme look at.
pub(super) struct Item<'a> {
    /// The element's own text.
    pub raw: &'a str,
    values: Vec<Option<Found>>,
}

impl Path {
    /// None where the text is no pointer or has no `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let pointer = Pointer::parse(text)?;
        let starred = pointer.tokens().iter().any(|token| token == "*");
        starred.then_some(Self(pointer))
    }

    /// The elements; None where any array or member on the way is missing, so that no element
    /// passes unseen, and where there are too many.
    #[must_use]
    pub fn find<'a>(&self, body: &'a [u8]) -> Option<Vec<&'a str>> {
        let root = serde_json::from_slice::<&'a RawValue>(body).ok()?;
        let mut found = Vec::new();
        walk(root.get(), self.0.tokens(), &mut found)?;
        Some(found)
    }
}

fn walk<'a>(raw: &'a str, path: &[String], found: &mut Vec<&'a str>) -> Option<()> {
    let Some((token, rest)) = path.split_first() else {
        found.push(raw);
        return (found.len() <= ELEMENTS_MAX).then_some(());
    };
    if token == "*" {
        let elements: Vec<&'a RawValue> = serde_json::from_str(raw).ok()?;
        let mut elements = elements.into_iter();
        return elements.try_for_each(|element| walk(element.get(), rest, found));
    }
    // Of a repeated member the last one counts.
    let members: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(raw).ok()?;
    walk(members.get(token.as_str())?.get(), rest, found)
}

impl Batch {
    /// Reads `/events/*`, `lines` or `xml:/Envelope/Item`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "lines" {
            return Some(Self::Lines);
        }
        match text.strip_prefix("xml:") {
            Some(path) => Pointer::parse(path).map(Self::Xml),
            None => Path::parse(text).map(Self::Json),
        }
    }

    /// The elements, each with the values of `pointers`; None where the body is no such batch.
    pub fn items<'a>(&self, body: &'a [u8], pointers: &[Pointer]) -> Option<Vec<Item<'a>>> {
        let json = |raw: &'a str| Item::json(raw, pointers);
        match self {
            Self::Json(path) => Some(path.find(body)?.into_iter().map(json).collect()),
            Self::Lines => Some(lines(body)?.into_iter().map(json).collect()),
            Self::Xml(path) => {
                let elements = xml::elements(body, path, ELEMENTS_MAX)?;
                let item = |raw: &'a str| Item::xml(raw, pointers);
                Some(elements.into_iter().map(item).collect())
            }
        }
    }
}

/// Two lines or more, each of them JSON; blank ones do not count.
fn lines(body: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(body).ok()?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.take(ELEMENTS_MAX + 1).collect();
    let json = |line: &&str| serde_json::from_str::<&RawValue>(line).is_ok();
    let many = (2..=ELEMENTS_MAX).contains(&lines.len());
    (many && lines.iter().all(json)).then_some(lines)
}

impl<'a> Item<'a> {
    pub fn json(raw: &'a str, pointers: &[Pointer]) -> Self {
        let values = pointer::select(raw.as_bytes(), pointers);
        Self { raw, values }
    }

    fn xml(raw: &'a str, pointers: &[Pointer]) -> Self {
        let value = |pointer| {
            let texts = xml::texts_within(raw, pointer)?;
            super::view::only(texts).map(Found::Text)
        };
        let values = pointers.iter().map(value).collect();
        Self { raw, values }
    }

    /// The scalar at the first of these pointers (by index) that leads to one.
    pub fn text(&self, indexes: &[usize]) -> Option<&str> {
        let mut found = indexes
            .iter()
            .filter_map(|index| self.values[*index].as_ref());
        found.find_map(super::view::text)
    }
}
