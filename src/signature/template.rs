//! Templates: text with `{…}` parts of a delivery, compiled to segments that are fed onwards.
//!
//! Used for what a sender signs, for event facts, checks and handshake answers. A part that is
//! absent makes the whole template absent; nothing is ever replaced by an empty text.
//!
//! The parts are in `part`, the filters that may follow one after a bar in `filter`:
//! `{body|sha256hex}`. Names after a comma are alternatives: the first that is present counts.
//! `{{` and `}}` are literal braces.

mod filter;
mod part;

use http::HeaderName;

use super::elements::Item;
use super::jwt::Claims;
use super::pointer::Pointer;
use super::view::View;
use filter::Filter;
use part::Part;

/// A template that can be rendered for any delivery.
#[derive(Clone, Debug)]
pub(super) struct Template {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
struct Segment {
    part: Part,
    filters: Vec<Filter>,
}

/// A part the delivery does not have, or has in an ambiguous or blank form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absent;

/// What a template may name beside the delivery itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Parts of the delivery only: results are stored or shown.
    Delivery,
    /// Also the filter `hmac`: results are answers to the sender.
    Reply,
    /// Also `{sig:}`: results are compared or parsed.
    Signature,
    /// Also `{secret:}`: results are hashed or compared in constant time.
    Secret,
}

/// What the parts that are not of the whole delivery mean at one moment of a verification.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    /// `{sig:}`: the fields of the signature.
    pub fields: &'s [(&'s str, &'s str)],
    /// `{secret:}` and `{parameter:}`.
    pub secret: &'s dyn Fn(&str) -> Option<Vec<u8>>,
    /// `{claim:}`: those of a token that was verified.
    pub claims: Option<&'s Claims>,
    /// `{item:}`: one element of a batch.
    pub item: Option<&'s Item<'s>>,
    /// Which of [`Template::variants`].
    pub variant: usize,
}

impl Scope<'_> {
    /// Where neither occurs.
    pub const NONE: Scope<'static> = Scope {
        fields: &[],
        secret: &|_| None,
        claims: None,
        item: None,
        variant: 0,
    };
}

/// The names templates collect while a scheme is compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Of `{json:}`, into the body.
    pub pointers: Vec<Pointer>,
    /// Of `{item:}`, into one element.
    pub items: Vec<Pointer>,
    pub secrets: Vec<String>,
    /// Settings of the source that are no secrets.
    pub parameters: Vec<String>,
}

impl Names {
    pub fn pointer(&mut self, text: &str) -> Option<usize> {
        noted(&mut self.pointers, text)
    }

    pub fn item(&mut self, text: &str) -> Option<usize> {
        noted(&mut self.items, text)
    }

    pub fn secret(&mut self, name: &str) -> String {
        if !self.secrets.iter().any(|known| known == name) {
            self.secrets.push(name.to_owned());
        }
        name.to_owned()
    }

    pub fn parameter(&mut self, name: &str) -> String {
        if !self.parameters.iter().any(|known| known == name) {
            self.parameters.push(name.to_owned());
        }
        name.to_owned()
    }
}

fn noted(known: &mut Vec<Pointer>, text: &str) -> Option<usize> {
    let pointer = Pointer::parse(text)?;
    let place = known.iter().position(|known| *known == pointer);
    Some(place.unwrap_or_else(|| {
        known.push(pointer);
        known.len() - 1
    }))
}

impl Template {
    /// Compiles the text; the error says what is wrong with it.
    pub fn parse(text: &str, allowed: Allowed, names: &mut Names) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{");
            let end =
                end.ok_or_else(|| format!("a single `{brace}` in `{text}`: write it twice"))?;
            if !literal.is_empty() {
                segments.push(Segment::literal(std::mem::take(&mut literal)));
            }
            segments.push(Segment::parse(&rest[..end], allowed, names)?);
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::literal(literal));
        }
        Ok(Self { segments })
    }

    /// Feeds the bytes of all segments to `sink`, in order and without joining them.
    pub fn feed(
        &self,
        view: &View<'_>,
        scope: &Scope<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Absent> {
        for segment in &self.segments {
            if segment.filters.is_empty() {
                segment.part.feed(view, scope, sink)?;
                continue;
            }
            let mut bytes = Vec::new();
            let mut collect = |piece: &[u8]| bytes.extend_from_slice(piece);
            let part = segment.part.feed(view, scope, &mut collect);
            let mut value = part.map(|()| bytes);
            for filter in &segment.filters {
                value = filter.apply(value, view, scope);
            }
            sink(&value?);
        }
        Ok(())
    }

    /// In how many ways the template can be read; a signature may be over any of them.
    pub fn variants(&self) -> usize {
        let filters = self.segments.iter().flat_map(|segment| &segment.filters);
        filters.map(Filter::variants).max().unwrap_or(1)
    }

    /// The bytes of all segments, joined.
    pub fn bytes(&self, view: &View<'_>, scope: &Scope<'_>) -> Result<Vec<u8>, Absent> {
        let mut bytes = Vec::new();
        self.feed(view, scope, &mut |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// The text, where it is UTF-8.
    pub fn text(&self, view: &View<'_>, scope: &Scope<'_>) -> Option<String> {
        String::from_utf8(self.bytes(view, scope).ok()?).ok()
    }

    /// The header names, where the whole template is one header without filters.
    pub fn sole_header(&self) -> Option<&[HeaderName]> {
        self.sole().and_then(Part::header)
    }

    /// The field name, where the whole template is one field of the signature.
    pub fn sole_field(&self) -> Option<&str> {
        match self.sole() {
            Some(Part::Field(name)) => Some(name),
            _ => None,
        }
    }

    fn sole(&self) -> Option<&Part> {
        match self.segments.as_slice() {
            [segment] if segment.filters.is_empty() => Some(&segment.part),
            _ => None,
        }
    }

    /// The headers this template reads.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let parts = self.segments.iter();
        let lists = parts.filter_map(|segment| segment.part.header());
        lists.flatten()
    }

    /// The secrets and parameters this template reads.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let parts = self.segments.iter().map(|segment| &segment.part);
        parts.filter_map(|part| match part {
            Part::Secret(name) | Part::Parameter(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The secret or parameter, where the whole template is one.
    pub fn sole_secret(&self) -> Option<&str> {
        match self.sole() {
            Some(Part::Secret(name) | Part::Parameter(name)) => Some(name),
            _ => None,
        }
    }
}

impl Segment {
    const fn literal(text: String) -> Self {
        Self {
            part: Part::Literal(text),
            filters: Vec::new(),
        }
    }

    fn parse(text: &str, allowed: Allowed, names: &mut Names) -> Result<Self, String> {
        let mut pieces = text.split('|');
        let part = Part::parse(pieces.next().unwrap_or_default(), allowed, names)?;
        let filters = pieces.map(|piece| Filter::parse(piece, allowed, names));
        let filters = filters.collect::<Result<_, _>>()?;
        Ok(Self { part, filters })
    }
}
