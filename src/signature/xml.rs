//! Elements of an XML body by their path of local names, such as `/Envelope/Body/Item`.
//!
//! Called by `view`, `elements` and by whoever makes data of a body. The body is read as a stream
//! and no tree is built. A document type, an entity of its own, bad nesting or too much depth make
//! the whole body unreadable: no webhook needs them, and every attack on XML parsers does.

use quick_xml::Reader;
use quick_xml::XmlVersion::Implicit1_0;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::pointer::Pointer;

/// Deepest nesting read.
const DEPTH_MAX: usize = 64;

/// Texts one path may lead to; more are not looked at.
const TEXTS_MAX: usize = 1_000;

/// The texts of all elements at `path`, or with `@name` at its end of that attribute. None where
/// the body is not readable or nothing is there.
pub(super) fn texts(body: &[u8], path: &Pointer) -> Option<Vec<String>> {
    let mut texts = Texts::new(path.tokens());
    read(std::str::from_utf8(body).ok()?, &mut texts)?;
    (!texts.found.is_empty()).then_some(texts.found)
}

/// As [`texts`], with paths that begin below the one element that `raw` is.
pub(super) fn texts_within(raw: &str, path: &Pointer) -> Option<Vec<String>> {
    let mut texts = Texts::new(path.tokens());
    texts.skipped = 1;
    read(raw, &mut texts)?;
    (!texts.found.is_empty()).then_some(texts.found)
}

/// The elements at `path` as they stand in the body; None where the body is not readable, or has
/// none or more than `most`.
pub(super) fn elements<'a>(body: &'a [u8], path: &Pointer, most: usize) -> Option<Vec<&'a str>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut slices = Slices {
        path: path.tokens(),
        begun: None,
        found: Vec::new(),
        most,
    };
    read(text, &mut slices)?;
    let slices = slices
        .found
        .into_iter()
        .map(|(from, to)| text.get(from..to));
    let slices: Vec<_> = slices.collect::<Option<_>>()?;
    (!slices.is_empty()).then_some(slices)
}

/// What is made of the elements as they come by; None ends the reading.
pub(crate) trait Visit {
    /// An element begins at this byte; the path ends with its name.
    fn start(&mut self, path: &[String], element: &BytesStart<'_>, at: usize) -> Option<()>;
    /// Text within the element that the path names.
    fn text(&mut self, path: &[String], text: &str);
    /// The element that the path names ends before this byte.
    fn end(&mut self, path: &[String], at: usize);
}

/// Reads a body as it comes by; None where it is not readable, or the visit ends it.
pub(crate) fn read(text: &str, visit: &mut dyn Visit) -> Option<()> {
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut seen = false;
    loop {
        let before = position(&reader)?;
        let event = reader.read_event().ok()?;
        let after = position(&reader)?;
        match event {
            Event::Start(element) => {
                path.push(local(&element));
                visit.start(&path, &element, before)?;
                seen = true;
            }
            Event::Empty(element) => {
                path.push(local(&element));
                visit.start(&path, &element, before)?;
                visit.end(&path, after);
                path.pop();
                seen = true;
            }
            Event::End(_) => {
                visit.end(&path, after);
                path.pop()?;
            }
            Event::Text(piece) => visit.text(&path, &piece.xml10_content()),
            Event::CData(piece) => visit.text(&path, &piece.xml10_content()),
            Event::GeneralRef(name) => visit.text(&path, &character(&name)?),
            Event::DocType(_) => return None,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return (seen && path.is_empty()).then_some(()),
        }
        if path.len() > DEPTH_MAX {
            return None;
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> Option<usize> {
    usize::try_from(reader.buffer_position()).ok()
}

fn local(element: &BytesStart<'_>) -> String {
    element.local_name().as_ref().to_owned()
}

/// The character that a reference means: by number, or one of the five that XML has.
fn character(reference: &BytesRef<'_>) -> Option<String> {
    if let Some(character) = reference.resolve_char_ref().ok()? {
        return Some(character.to_string());
    }
    let name = reference.xml10_content();
    quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned)
}

/// Collects texts at a path.
struct Texts<'p> {
    path: &'p [String],
    attribute: Option<&'p str>,
    skipped: usize,
    found: Vec<String>,
}

impl<'p> Texts<'p> {
    fn new(tokens: &'p [String]) -> Self {
        let last = tokens.split_last();
        let attribute = last.and_then(|(last, rest)| Some((last.strip_prefix('@')?, rest)));
        Self {
            path: attribute.map_or(tokens, |(_, rest)| rest),
            attribute: attribute.map(|(name, _)| name),
            skipped: 0,
            found: Vec::new(),
        }
    }

    fn is_here(&self, path: &[String]) -> bool {
        path.get(self.skipped..)
            .is_some_and(|path| path == self.path)
    }
}

impl Visit for Texts<'_> {
    fn start(&mut self, path: &[String], element: &BytesStart<'_>, _at: usize) -> Option<()> {
        if !self.is_here(path) {
            return Some(());
        }
        let Some(name) = self.attribute else {
            self.found.push(String::new());
            return (self.found.len() <= TEXTS_MAX).then_some(());
        };
        for attribute in element.attributes() {
            let attribute = attribute.ok()?;
            if attribute.key.local_name().as_ref() == name {
                let value = attribute.normalized_value(Implicit1_0).ok()?;
                self.found.push(value.into_owned());
            }
        }
        Some(())
    }

    fn text(&mut self, path: &[String], text: &str) {
        if self.attribute.is_none()
            && self.is_here(path)
            && let Some(last) = self.found.last_mut()
        {
            last.push_str(text);
        }
    }

    fn end(&mut self, _path: &[String], _at: usize) {}
}

/// Collects the places of elements at a path.
struct Slices<'p> {
    path: &'p [String],
    begun: Option<usize>,
    found: Vec<(usize, usize)>,
    most: usize,
}

impl Visit for Slices<'_> {
    fn start(&mut self, path: &[String], _element: &BytesStart<'_>, at: usize) -> Option<()> {
        if path == self.path {
            self.begun = Some(at);
        }
        (self.found.len() < self.most).then_some(())
    }

    fn text(&mut self, _path: &[String], _text: &str) {}

    fn end(&mut self, path: &[String], at: usize) {
        if path == self.path
            && let Some(from) = self.begun.take()
        {
            self.found.push((from, at));
        }
    }
}
