//! Secrets: references in definitions, values in memory, and the redactor for every output.
//!
//! A reference says where a value lives (`env`, `file`, or `secret` for one sealed in the
//! database); values are resolved when needed, never stored beside definitions.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::SecretString;

/// `{env: NAME}`, `{file: PATH}` or `{secret: name}` / `{secret: name.member}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    Env(String),
    File(String),
    Sealed {
        name: String,
        member: Option<String>,
    },
}

/// Replaces every live secret value (≥ 8 characters; also base64, hex, URL-encoded) by `***`.
#[derive(Clone, Default)]
pub struct Redactor;

impl Redactor {
    pub fn new<'a>(_values: impl IntoIterator<Item = &'a str>) -> Self {
        todo!()
    }
    /// The text itself where nothing is to hide.
    pub fn redact<'a>(&self, _text: &'a str) -> std::borrow::Cow<'a, str> {
        todo!()
    }
    pub fn redact_bytes(&self, _text: Vec<u8>) -> Vec<u8> {
        todo!()
    }
}

/// All secrets known now: sealed ones from the database (opened), environment and files on demand.
#[derive(Default)]
pub struct Secrets;

impl Secrets {
    pub fn new(_sealed: HashMap<String, SecretString>) -> Self {
        todo!()
    }
    /// The value behind a reference.
    pub fn resolve(&self, _reference: &Reference) -> Option<SecretString> {
        todo!()
    }
    /// `$secrets.<name>`: a sealed secret, else the variable `HOOKWRIGHT_SECRET_<NAME>`; parsed as JSON where it is an object.
    pub fn named(&self, _name: &str) -> Option<SecretString> {
        todo!()
    }
    pub fn redactor(&self) -> Arc<Redactor> {
        todo!()
    }
}
