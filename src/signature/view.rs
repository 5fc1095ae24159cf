//! A delivery as templates see it: one value per name, blank and ambiguous values absent.
//!
//! Made once per delivery by the functions of `Scheme`, read by templates, extraction and checks.
//! The body is scanned for JSON at most once, and only if something asks for a member.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::{HeaderName, header};

use super::Delivery;
use super::pointer::{self, Found, Pointer};
use super::xml;

/// Part of a body that is a form; more fields than this are not looked at.
const FIELDS_MAX: usize = 1_000;

pub(super) struct View<'a> {
    pub delivery: &'a Delivery<'a>,
    pointers: &'a [Pointer],
    json: OnceCell<Vec<Option<Found>>>,
}

impl<'a> View<'a> {
    pub fn new(delivery: &'a Delivery<'a>, pointers: &'a [Pointer]) -> Self {
        Self {
            delivery,
            pointers,
            json: OnceCell::new(),
        }
    }

    /// The values of the first of these headers that is there.
    pub fn headers(&self, names: &[HeaderName]) -> Vec<&'a [u8]> {
        let present = names.iter().find_map(|name| {
            let values = self.delivery.headers.get_all(name).iter();
            let values: Vec<_> = values.map(http::HeaderValue::as_bytes).collect();
            (!values.is_empty()).then_some(values)
        });
        present.unwrap_or_default()
    }

    /// The one value of the first of these headers that is there.
    pub fn header(&self, names: &[HeaderName]) -> Option<&'a [u8]> {
        only(self.headers(names))
    }

    /// The one value of the first of these query parameters that is there.
    pub fn query(&self, names: &[String]) -> Option<Cow<'a, str>> {
        let (_, query) = self.delivery.path_and_query.split_once('?')?;
        field(query.as_bytes(), names)
    }

    /// All values of the headers whose names begin so.
    pub fn headers_beginning(&self, start: &str) -> Vec<&'a [u8]> {
        let headers = self.delivery.headers.iter();
        let named = headers.filter(|(name, _)| name.as_str().starts_with(start));
        named.map(|(_, value)| value.as_bytes()).collect()
    }

    /// The one value of the first of these form fields that is there.
    pub fn form(&self, names: &[String]) -> Option<Cow<'a, str>> {
        field(self.delivery.body, names)
    }

    /// Whether the body says it is a form.
    pub fn is_form(&self) -> bool {
        let media = self.header(&[header::CONTENT_TYPE]).unwrap_or_default();
        let essence = media.split(|byte| *byte == b';').next();
        let essence = essence.unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }

    /// The scalar at the first of these pointers (by index) that leads to one.
    pub fn json(&self, indexes: &[usize]) -> Option<&str> {
        indexes.iter().find_map(|index| text(self.found(*index)?))
    }

    /// What is at this pointer (by index).
    pub fn found(&self, index: usize) -> Option<&Found> {
        let select = || pointer::select(self.delivery.body, self.pointers);
        self.json.get_or_init(select)[index].as_ref()
    }

    /// The one text of the elements at the first of these paths that has any.
    pub fn xml(&self, paths: &[Pointer]) -> Option<String> {
        let mut texts = paths
            .iter()
            .map(|path| xml::texts(self.delivery.body, path));
        texts.find_map(|texts| only(texts?))
    }

    /// The path without the query.
    pub fn path(&self) -> &'a str {
        let whole = self.delivery.path_and_query;
        whole.split_once('?').map_or(whole, |(path, _)| path)
    }
}

/// A scalar that is not blank.
pub(super) fn text(found: &Found) -> Option<&str> {
    match found {
        Found::Text(text) if !text.trim().is_empty() => Some(text),
        _ => None,
    }
}

/// Values that disagree count as absent: otherwise what we check and what we use could differ.
pub(super) fn only<T: AsRef<[u8]>>(values: Vec<T>) -> Option<T> {
    let mut values = values.into_iter();
    let first = values.next()?;
    let agree = values.all(|value| value.as_ref() == first.as_ref());
    (agree && !first.as_ref().trim_ascii().is_empty()).then_some(first)
}

fn field<'a>(text: &'a [u8], names: &[String]) -> Option<Cow<'a, str>> {
    names.iter().find_map(|name| {
        let fields = form_urlencoded::parse(text).take(FIELDS_MAX);
        let values = fields.filter(|(key, _)| key == name);
        let values = values.map(|(_, value)| Bytes(value));
        only(values.collect()).map(|value| value.0)
    })
}

/// Text compared by its bytes.
struct Bytes<'a>(Cow<'a, str>);

impl AsRef<[u8]> for Bytes<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
