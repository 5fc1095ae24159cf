//! YAML and JSON documents as trees that know where each node stands.
//!
//! Workflows, sources and destinations are all read through this, so that every fault in any of
//! them names line, column and JSON pointer.

use serde::Serialize;

/// One thing wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// RFC 6901 pointer to the node.
    pub pointer: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do, or the nearest known word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A node with its place.
#[derive(Clone, Debug)]
pub struct Node {
    pub line: u32,
    pub column: u32,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    Null,
    Bool(bool),
    /// The number as spelled.
    Number(String),
    String(String),
    Array(Vec<Node>),
    /// Members in order; keys are unique.
    Object(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub name: String,
    pub line: u32,
    pub column: u32,
}

/// Reads exactly one YAML 1.2 (core schema) or JSON document within the limits of SEMANTICS 1.1.
pub fn read(_text: &str) -> Result<Node, Fault> {
    todo!()
}
