//! The workflow language: documents read, checked and compiled, all faults at once.
//!
//! Serverless Workflow DSL 1.0.x. [`parse`] turns a text into a [`Definition`] in which every
//! expression is compiled and every name resolved, so that whoever runs it cannot meet a
//! definition that does not fit together. Pure: no clock, no network, no database.

mod compile;
pub mod definition;
pub mod document;
pub mod openapi;
mod tasks;

pub use compile::validator;
pub use definition::Definition;
pub use document::Fault;
pub use openapi::Documents;

use document::{Faults, Place};

/// Reads, checks and compiles one workflow document (YAML or JSON), without its API documents:
/// whether the operations it calls are there is not known then.
///
/// # Errors
/// As [`parse_with`].
pub fn parse(text: &str) -> Result<Definition, Vec<Fault>> {
    parse_with(text, &Documents::default())
}

/// Reads, checks and compiles one workflow document (YAML or JSON).
///
/// Text that is no document at all has one fault; otherwise everything that is wrong is found at
/// once, at most 200 faults, in the order of the text.
///
/// # Errors
/// The faults, each with line, column, JSON pointer, and a hint where there is one.
pub fn parse_with(text: &str, documents: &Documents) -> Result<Definition, Vec<Fault>> {
    let root = document::read(text).map_err(|fault| vec![fault])?;
    let faults = Faults::new();
    let definition = compile::definition(&Place::root(&root, &faults), documents);
    faults.result(definition)
}
