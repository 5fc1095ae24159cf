//! YAML and JSON documents as trees that know where each node stands.
//!
//! Workflows, sources and destinations are all read through this, so that every fault in any of
//! them names line, column and JSON pointer. [`read`] builds the tree, [`Faults`] with
//! [`Place`] and [`Object`] take it apart and collect everything that is wrong. This module knows
//! no word of any language that is written in such documents.

use std::time::Duration;

use serde::Serialize;

use crate::expression::Value;

mod reader;
mod scalar;
mod span;
mod tree;

pub use reader::{Faults, Object, Place, nearest};
pub use span::{DURATION_MAX, duration, duration_of};

/// Largest text of one document, in bytes (1 MiB).
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Most nodes of one document once aliases are expanded; keys count too.
pub const NODES_MAX: usize = 100_000;
/// Most bytes in the scalars and keys of one document once aliases are expanded (4 MiB).
pub const SCALAR_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;
/// Deepest nesting of lists and objects.
pub const DEPTH_MAX: usize = 64;

/// One thing wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// RFC 6901 pointer to the node; empty for the document as a whole.
    pub pointer: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do, or the nearest known word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, " {}", self.pointer)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// A node with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What it holds.
    pub content: Content,
}

/// What a node holds: the six kinds of JSON.
#[derive(Clone, Debug)]
pub enum Content {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number in JSON spelling; its digits are kept (`010` has become `10`, `0x1F` `31`).
    Number(String),
    /// A string.
    String(String),
    /// A list.
    Array(Vec<Node>),
    /// Members in order; keys are unique.
    Object(Vec<(Key, Node)>),
}

/// The key of a member with its place.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key; a number or a word such as `null` is taken as it is spelled.
    pub name: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Reads exactly one YAML 1.2 (core schema) or JSON document.
///
/// # Errors
/// The first place where the text is no such document, or where it exceeds [`TEXT_BYTES_MAX`],
/// [`NODES_MAX`], [`SCALAR_BYTES_MAX`] or [`DEPTH_MAX`]; duplicate keys, tags outside the core
/// schema, several documents and numbers JSON does not have (`.inf`, `.nan`) are refused too.
pub fn read(text: &str) -> Result<Node, Fault> {
    tree::read(text)
}

impl Node {
    /// The kind of node in words with an article, for messages: `a string`, `an object`, …
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "null",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::String(_) => "a string",
            Content::Array(_) => "a list",
            Content::Object(_) => "an object",
        }
    }

    /// The text, where the node is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.content {
            Content::String(text) => Some(text),
            _ => None,
        }
    }

    /// The member `name`, where the node is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Object(members) => members
                .iter()
                .find(|(key, _)| key.name == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// The node at an RFC 6901 pointer.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Self> {
        let Some(path) = pointer.strip_prefix('/') else {
            return pointer.is_empty().then_some(self);
        };
        path.split('/').try_fold(self, |node, token| {
            let token = token.replace("~1", "/").replace("~0", "~");
            match &node.content {
                Content::Array(items) => items.get(token.parse::<usize>().ok()?),
                _ => node.get(&token),
            }
        })
    }

    /// The node as data for expressions; numbers keep their digits.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Null => Value::null(),
            Content::Bool(truth) => Value::bool(*truth),
            Content::Number(digits) => Value::from_json(digits.as_bytes()).unwrap_or_default(),
            Content::String(text) => Value::string(text.as_str()),
            Content::Array(items) => Value::array(items.iter().map(Self::to_value).collect()),
            Content::Object(members) => Value::object(
                members
                    .iter()
                    .map(|(key, node)| (key.name.clone(), node.to_value())),
            ),
        }
    }

    /// The node as `serde_json` data, for JSON Schemas and `serde`; numbers beyond 64 bits
    /// become doubles, or null where they exceed those too.
    #[must_use]
    pub fn to_serde(&self) -> serde_json::Value {
        match &self.content {
            Content::Null => serde_json::Value::Null,
            Content::Bool(truth) => (*truth).into(),
            Content::Number(digits) => serde_json::from_str(digits).unwrap_or_default(),
            Content::String(text) => text.as_str().into(),
            Content::Array(items) => items.iter().map(Self::to_serde).collect(),
            Content::Object(members) => members
                .iter()
                .map(|(key, node)| (key.name.clone(), node.to_serde()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// One more token on an RFC 6901 pointer, escaped.
#[must_use]
pub fn join(pointer: &str, token: &str) -> String {
    if token.contains(['~', '/']) {
        format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1"))
    } else {
        format!("{pointer}/{token}")
    }
}

/// The duration a place holds, or nothing and a fault there; see [`duration_of`].
fn place_duration(place: &Place<'_>) -> Option<Duration> {
    duration(place.node())
        .map_err(|message| place.fault(message))
        .ok()
}
