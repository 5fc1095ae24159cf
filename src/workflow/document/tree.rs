//! From parser events to a tree: anchors expanded, limits held, duplicate keys refused.
//!
//! Called by `document::read` only. Everything here is iterative, so no document can exhaust the
//! stack.

use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, Tag};

use super::{
    Content, DEPTH_MAX, Fault, Key, NODES_MAX, Node, SCALAR_BYTES_MAX, TEXT_BYTES_MAX, join, scalar,
};

pub fn read(text: &str) -> Result<Node, Fault> {
    let start = Marker::new(0, 1, 0);
    let mut builder = Builder::default();
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the document has {} bytes", text.len());
        let hint = format!("a document has at most {TEXT_BYTES_MAX} bytes (1 MiB)");
        return Err(builder.fault(start, message, Some(hint)));
    }
    let mut options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX + 1,
        block_nesting_limit: DEPTH_MAX + 1,
    };
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.event(event, span.start)?,
            Err(error) => {
                let message = format!("this is not YAML: {}", error.info());
                return Err(builder.fault(*error.marker(), message, None));
            }
        }
    }
    let empty = builder.fault(start, "the document is empty".to_owned(), None);
    builder.root.ok_or(empty)
}

/// A list or object whose end has not been seen.
struct Open {
    anchor: usize,
    /// Size before it began, so that the size of the whole is known at its end.
    before: Size,
    deepest: usize,
    node: Node,
    key: Option<Key>,
}

/// A finished node that has a name.
struct Anchored {
    node: Node,
    size: Size,
}

#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    scalar_bytes: usize,
    /// Levels of lists and objects; 0 for a scalar.
    levels: usize,
}

#[derive(Default)]
struct Builder {
    documents: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    size: Size,
    /// Of all copies in `anchors`.
    named: Size,
    root: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, at: Marker) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let hint = "put each document into a file or request of its own".to_owned();
                    let message = "a second document begins here".to_owned();
                    return Err(self.fault(at, message, Some(hint)));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let content = self.scalar(&text, style, tag.as_deref(), at)?;
                self.grow(1, text.len(), at)?;
                let size = Size {
                    nodes: 1,
                    scalar_bytes: text.len(),
                    levels: 0,
                };
                let node = node(at, content);
                self.name(anchor, &node, size, at)?;
                self.place(node, Some(&text))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", at)?;
                self.begin(Content::Array(Vec::new()), anchor, at)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", at)?;
                self.begin(Content::Object(Vec::new()), anchor, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at),
            Event::Alias(id) => self.alias(id, at),
            _ => Ok(()),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Marker,
    ) -> Result<Content, Fault> {
        let resolved = || {
            scalar::resolve(text)
                .map_err(|why| self.fault(at, format!("`{}`: {why}", cut(text)), quote_it()))
        };
        let Some(tag) = tag else {
            return match style {
                ScalarStyle::Plain => resolved(),
                _ => Ok(Content::String(text.to_owned())),
            };
        };
        let content = match tag.core_suffix() {
            Some("str") => return Ok(Content::String(text.to_owned())),
            None if tag.parts() == ("", "!") || tag.parts() == ("!", "") => {
                return Ok(Content::String(text.to_owned()));
            }
            Some(_) => resolved()?,
            None => return Err(self.unknown_tag(tag, at)),
        };
        match (tag.core_suffix(), &content) {
            (Some("null"), Content::Null)
            | (Some("bool"), Content::Bool(_))
            | (Some("int" | "float"), Content::Number(_)) => Ok(content),
            _ => {
                let message = format!("`{}` is not what its tag says", cut(text));
                Err(self.fault(at, message, Some("remove the tag".to_owned())))
            }
        }
    }

    fn collection_tag(&self, tag: Option<&Tag>, own: &str, at: Marker) -> Result<(), Fault> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema_tag(own) => Err(self.unknown_tag(tag, at)),
            _ => Ok(()),
        }
    }

    fn unknown_tag(&self, tag: &Tag, at: Marker) -> Fault {
        let message = format!("the tag {} has no meaning here", cut(&tag.original()));
        self.fault(
            at,
            message,
            Some("remove the tag, or quote the text".to_owned()),
        )
    }

    fn begin(&mut self, content: Content, anchor: usize, at: Marker) -> Result<(), Fault> {
        if self.key_expected() {
            return Err(self.fault(at, "a key must be a plain word".to_owned(), None));
        }
        let before = self.size;
        self.grow(1, 0, at)?;
        self.deepen(self.open.len() + 1, at)?;
        let node = node(at, content);
        let deepest = self.open.len() + 1;
        self.open.push(Open {
            anchor,
            before,
            deepest,
            node,
            key: None,
        });
        Ok(())
    }

    fn end(&mut self, at: Marker) -> Result<(), Fault> {
        let Some(done) = self.open.pop() else {
            return Ok(());
        };
        if let Some(key) = duplicate(&done.node) {
            let message = format!("the key `{}` is there twice", cut(&key.name));
            let mut fault = self.fault(Marker::new(0, 1, 0), message, None);
            (fault.line, fault.column) = (key.line, key.column);
            fault.hint = Some("keep one of the two".to_owned());
            return Err(fault);
        }
        let size = Size {
            nodes: self.size.nodes - done.before.nodes,
            scalar_bytes: self.size.scalar_bytes - done.before.scalar_bytes,
            levels: done.deepest - self.open.len(),
        };
        self.name(done.anchor, &done.node, size, at)?;
        if let Some(parent) = self.open.last_mut() {
            parent.deepest = parent.deepest.max(done.deepest);
        }
        self.place(done.node, None)
    }

    fn alias(&mut self, id: usize, at: Marker) -> Result<(), Fault> {
        let Some(target) = self.anchors.get(&id) else {
            let message = "an alias cannot stand inside what it names".to_owned();
            return Err(self.fault(at, message, None));
        };
        let size = target.size;
        self.grow(size.nodes, size.scalar_bytes, at)?;
        self.deepen(self.open.len() + size.levels, at)?;
        let deepest = self.open.len() + size.levels;
        if let Some(parent) = self.open.last_mut() {
            parent.deepest = parent.deepest.max(deepest);
        }
        let mut node = self.anchors[&id].node.clone();
        node.line = line(at);
        node.column = column(at);
        let text = node.as_str().map(str::to_owned);
        self.place(node, text.as_deref())
    }

    /// Keeps a copy of a node that has a name. Names within names would copy a document once per
    /// level, so the copies together have the limits of a document.
    fn name(&mut self, anchor: usize, node: &Node, size: Size, at: Marker) -> Result<(), Fault> {
        if anchor == 0 {
            return Ok(());
        }
        self.named.nodes += size.nodes;
        self.named.scalar_bytes += size.scalar_bytes;
        if self.named.nodes > NODES_MAX || self.named.scalar_bytes > SCALAR_BYTES_MAX {
            let message = "too much of the document has names (`&name`)".to_owned();
            return Err(self.fault(at, message, None));
        }
        let node = node.clone();
        self.anchors.insert(anchor, Anchored { node, size });
        Ok(())
    }

    /// Puts a finished node where it belongs; `text` is the spelling of a scalar.
    fn place(&mut self, node: Node, text: Option<&str>) -> Result<(), Fault> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.node.content, parent.key.take(), text) {
            (Content::Object(members), Some(key), _) => members.push((key, node)),
            (Content::Object(_), None, Some(text)) => {
                let (line, column) = (node.line, node.column);
                parent.key = Some(Key {
                    name: text.to_owned(),
                    line,
                    column,
                });
            }
            (Content::Array(items), ..) => items.push(node),
            _ => {
                let at = Marker::new(0, node.line as usize, node.column as usize - 1);
                return Err(self.fault(at, "a key must be a plain word".to_owned(), None));
            }
        }
        Ok(())
    }

    fn key_expected(&self) -> bool {
        self.open.last().is_some_and(|parent| {
            parent.key.is_none() && matches!(parent.node.content, Content::Object(_))
        })
    }

    fn grow(&mut self, nodes: usize, scalar_bytes: usize, at: Marker) -> Result<(), Fault> {
        self.size.nodes += nodes;
        self.size.scalar_bytes += scalar_bytes;
        let message = if self.size.nodes > NODES_MAX {
            format!("the document has more than {NODES_MAX} nodes")
        } else if self.size.scalar_bytes > SCALAR_BYTES_MAX {
            format!("the document has more than {SCALAR_BYTES_MAX} bytes of text")
        } else {
            return Ok(());
        };
        let hint = "what an alias (`*name`) stands for counts each time".to_owned();
        Err(self.fault(at, message, Some(hint)))
    }

    fn deepen(&self, levels: usize, at: Marker) -> Result<(), Fault> {
        if levels <= DEPTH_MAX {
            return Ok(());
        }
        let message = format!("nested more than {DEPTH_MAX} levels deep");
        Err(self.fault(at, message, None))
    }

    fn fault(&self, at: Marker, message: String, hint: Option<String>) -> Fault {
        let pointer = self.open.iter().fold(String::new(), |pointer, open| {
            match (&open.node.content, &open.key) {
                (Content::Array(items), _) => join(&pointer, &items.len().to_string()),
                (_, Some(key)) => join(&pointer, &key.name),
                _ => pointer,
            }
        });
        Fault {
            pointer,
            line: line(at),
            column: column(at),
            message,
            hint,
        }
    }
}

fn duplicate(node: &Node) -> Option<Key> {
    let Content::Object(members) = &node.content else {
        return None;
    };
    let mut names = HashSet::with_capacity(members.len());
    let twice = members
        .iter()
        .find(|(key, _)| !names.insert(key.name.as_str()));
    twice.map(|(key, _)| key.clone())
}

fn node(at: Marker, content: Content) -> Node {
    Node {
        line: line(at),
        column: column(at),
        content,
    }
}

fn line(at: Marker) -> u32 {
    u32::try_from(at.line()).unwrap_or(u32::MAX).max(1)
}

fn column(at: Marker) -> u32 {
    u32::try_from(at.col() + 1).unwrap_or(u32::MAX)
}

fn quote_it() -> Option<String> {
    Some("put it in quotes if a string is meant".to_owned())
}

/// The first characters of a text that someone else chose the length of.
fn cut(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
