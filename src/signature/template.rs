//! Templates: text with `{…}` parts of a delivery, compiled to segments that are fed onwards.
//!
//! Used for what a sender signs, for event facts, checks and handshake answers. A part that is
//! absent makes the whole template absent; nothing is ever replaced by an empty text.
//!
//! Parts: `{body} {url} {method} {path} {header:A,B} {query:a,b} {form:a,b} {json:/a,/b}`, and
//! where a signature is checked also `{sig:k}` (a field of the signature) and `{secret:name}`.
//! Names after a comma are alternatives: the first that is present counts. `{{` and `}}` are
//! literal braces. Filters follow a bar: `{body|sha256hex}`.

use aws_lc_rs::digest;
use http::HeaderName;

use super::pointer::Pointer;
use super::view::{View, only};

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

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Body,
    Url,
    Method,
    Path,
    Header(Vec<HeaderName>),
    Query(Vec<String>),
    Form(Vec<String>),
    Json(Vec<usize>),
    Field(String),
    Secret(String),
}

#[derive(Clone, Copy, Debug)]
enum Filter {
    Sha256Hex,
}

/// A part the delivery does not have, or has in an ambiguous or blank form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absent;

/// What a template may name beside the delivery itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Parts of the delivery only: results are stored or shown.
    Delivery,
    /// Also `{sig:}`: results are compared or parsed.
    Signature,
    /// Also `{secret:}`: results are hashed or compared in constant time.
    Secret,
}

/// What `{sig:}` and `{secret:}` mean while one signature is checked with one secret.
pub(super) struct Scope<'s> {
    pub fields: &'s [(&'s str, &'s str)],
    pub secret: &'s dyn Fn(&str) -> Option<Vec<u8>>,
}

impl Scope<'_> {
    /// Where neither occurs.
    pub const NONE: Scope<'static> = Scope {
        fields: &[],
        secret: &|_| None,
    };
}

/// The names templates collect while a scheme is compiled.
#[derive(Default)]
pub(super) struct Names {
    pub pointers: Vec<Pointer>,
    pub secrets: Vec<String>,
}

impl Names {
    pub fn pointer(&mut self, text: &str) -> Option<usize> {
        let pointer = Pointer::parse(text)?;
        let known = self.pointers.iter().position(|known| *known == pointer);
        Some(known.unwrap_or_else(|| {
            self.pointers.push(pointer);
            self.pointers.len() - 1
        }))
    }

    pub fn secret(&mut self, name: &str) -> String {
        if !self.secrets.iter().any(|known| known == name) {
            self.secrets.push(name.to_owned());
        }
        name.to_owned()
    }
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
            segment.part.feed(view, scope, &mut collect)?;
            for filter in &segment.filters {
                bytes = filter.apply(&bytes);
            }
            sink(&bytes);
        }
        Ok(())
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

    /// The secrets this template reads.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.segments
            .iter()
            .filter_map(|segment| match &segment.part {
                Part::Secret(name) => Some(name.as_str()),
                _ => None,
            })
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
        let filters = pieces.map(Filter::parse).collect::<Result<_, _>>()?;
        Ok(Self { part, filters })
    }
}

impl Part {
    fn parse(text: &str, allowed: Allowed, names: &mut Names) -> Result<Self, String> {
        let (kind, argument) = text.split_once(':').unwrap_or((text, ""));
        if argument.is_empty() {
            return Self::parse_plain(text);
        }
        let list = || argument.split(',').map(str::to_owned).collect();
        match kind {
            "header" => argument
                .split(',')
                .map(|name| {
                    name.parse()
                        .map_err(|_| format!("`{name}` is no header name"))
                })
                .collect::<Result<_, _>>()
                .map(Self::Header),
            "query" => Ok(Self::Query(list())),
            "form" => Ok(Self::Form(list())),
            "json" => argument
                .split(',')
                .map(|text| names.pointer(text).ok_or_else(|| no_pointer(text)))
                .collect::<Result<_, _>>()
                .map(Self::Json),
            "sig" if allowed != Allowed::Delivery => Ok(Self::Field(argument.to_owned())),
            "secret" if allowed == Allowed::Secret => Ok(Self::Secret(names.secret(argument))),
            "sig" | "secret" => Err(format!("`{{{text}}}` may not be used here")),
            _ => Err(unknown(text)),
        }
    }

    fn parse_plain(text: &str) -> Result<Self, String> {
        match text {
            "body" => Ok(Self::Body),
            "url" => Ok(Self::Url),
            "method" => Ok(Self::Method),
            "path" => Ok(Self::Path),
            _ => Err(unknown(text)),
        }
    }

    fn feed(
        &self,
        view: &View<'_>,
        scope: &Scope<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Absent> {
        match self {
            Self::Literal(text) => sink(text.as_bytes()),
            Self::Body => sink(view.delivery.body),
            Self::Url => sink(view.delivery.url.ok_or(Absent)?.as_bytes()),
            Self::Method => sink(view.delivery.method.as_str().as_bytes()),
            Self::Path => sink(view.path().as_bytes()),
            Self::Header(names) => sink(view.header(names).ok_or(Absent)?),
            Self::Query(names) => sink(view.query(names).ok_or(Absent)?.as_bytes()),
            Self::Form(names) => sink(view.form(names).ok_or(Absent)?.as_bytes()),
            Self::Json(indexes) => sink(view.json(indexes).ok_or(Absent)?.as_bytes()),
            Self::Field(name) => {
                let fields = scope.fields.iter().filter(|(key, _)| key == name);
                sink(
                    only(fields.map(|(_, value)| value).collect())
                        .ok_or(Absent)?
                        .as_bytes(),
                );
            }
            Self::Secret(name) => sink(&(scope.secret)(name).ok_or(Absent)?),
        }
        Ok(())
    }

    fn header(&self) -> Option<&[HeaderName]> {
        match self {
            Self::Header(names) => Some(names),
            _ => None,
        }
    }
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "sha256hex" => Ok(Self::Sha256Hex),
            _ => Err(format!(
                "the filter `{text}` is not known; known: sha256hex"
            )),
        }
    }

    fn apply(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256Hex => hex::encode(digest::digest(&digest::SHA256, bytes)).into_bytes(),
        }
    }
}

fn no_pointer(text: &str) -> String {
    format!("`{text}` is no JSON pointer: it starts with `/` and has at most 16 parts")
}

fn unknown(text: &str) -> String {
    format!(
        "`{{{text}}}` is not known; known: body, url, method, path, header:, query:, form:, json:, \
         sig:, secret:"
    )
}
