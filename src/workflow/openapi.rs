//! API documents: Swagger 2 and OpenAPI 3.0 or 3.1, read as far as a call needs them.
//!
//! A workflow's documents are read when it is deployed, and the operations it calls are pinned:
//! stored beside it, so that what is deployed does not change when a document does. Pure: whoever
//! deploys fetches the texts and hands them in as [`Documents`].

mod operation;
mod parameters;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::document::{self, Content, Node};

pub use operation::Operation;
pub use parameters::{Parameter, Spread, Where};

/// Documents one workflow may name.
pub const DOCUMENTS_MAX: usize = 32;

/// What is known of API documents while a workflow is compiled.
#[derive(Default)]
pub struct Documents {
    read: HashMap<String, Result<Api, String>>,
    pins: HashMap<(String, String), Arc<Operation>>,
}

/// An operation as it is stored with the workflow that calls it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The document's address.
    pub document: String,
    /// The operation in it.
    pub operation_id: String,
    /// What it was when the workflow was deployed.
    pub operation: Arc<Operation>,
}

/// What came of looking for an operation.
pub(super) enum Lookup {
    /// It is there.
    Found(Arc<Operation>),
    /// The document has none of this name, but these.
    Missing(Vec<String>),
    /// The document or the operation cannot be used, for this reason.
    Unusable(String),
    /// Nobody has read the document, so nothing can be said.
    Unknown,
}

impl Documents {
    /// What a workflow's deployment has pinned; unreadable ones are left out.
    #[must_use]
    pub fn pinned(pins: &[u8]) -> Self {
        let pins: Vec<Pin> = serde_json::from_slice(pins).unwrap_or_default();
        let pins = pins
            .into_iter()
            .map(|pin| ((pin.document, pin.operation_id), pin.operation));
        Self {
            read: HashMap::new(),
            pins: pins.collect(),
        }
    }

    /// Adds a document, or why it could not be fetched.
    pub fn add(&mut self, uri: String, fetched: Result<Vec<u8>, String>) {
        let api = fetched.and_then(|text| Api::read(&uri, &text));
        self.read.insert(uri, api);
    }

    pub(super) fn find(&self, uri: &str, operation_id: &str) -> Lookup {
        let key = (uri.to_owned(), operation_id.to_owned());
        if let Some(operation) = self.pins.get(&key) {
            return Lookup::Found(Arc::clone(operation));
        }
        match self.read.get(uri) {
            None => Lookup::Unknown,
            Some(Err(reason)) => Lookup::Unusable(reason.clone()),
            Some(Ok(api)) => match api.operation(operation_id) {
                Some(Ok(operation)) => Lookup::Found(Arc::new(operation)),
                Some(Err(reason)) => Lookup::Unusable(reason),
                None => Lookup::Missing(api.operations().map(|(id, _)| id.to_owned()).collect()),
            },
        }
    }
}

/// The addresses of the API documents a workflow's text names, at most [`DOCUMENTS_MAX`]; none
/// where it cannot be read.
#[must_use]
pub fn addresses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if text.contains("openapi")
        && let Ok(root) = document::read(text)
    {
        collect(&root, &mut found);
    }
    found
}

/// A document is at most 64 levels deep.
fn collect(node: &Node, found: &mut Vec<String>) {
    if node.get("call").and_then(Node::as_str) == Some("openapi") {
        let endpoint = node.pointer("/with/document/endpoint");
        let uri = endpoint.and_then(|it| it.as_str().or_else(|| it.get("uri")?.as_str()));
        if let Some(uri) = uri
            && found.len() < DOCUMENTS_MAX
            && !found.iter().any(|known| known == uri)
            && !uri.contains(['{', '}'])
        {
            found.push(uri.to_owned());
        }
    }
    match &node.content {
        Content::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Content::Object(members) => members.iter().for_each(|(_, it)| collect(it, found)),
        _ => {}
    }
}

/// An API document.
struct Api {
    url: Url,
    root: Value,
    swagger: bool,
}

impl Api {
    fn read(uri: &str, text: &[u8]) -> Result<Self, String> {
        let url = Url::parse(uri).map_err(|_| "its address is no URL".to_owned())?;
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        let root: Value = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?
        } else {
            serde_saphyr::from_str(text).map_err(|_| "it is neither JSON nor YAML".to_owned())?
        };
        let version = |name: &str| root.get(name).and_then(Value::as_str).unwrap_or_default();
        let swagger = version("swagger").starts_with("2.");
        let openapi = version("openapi");
        if !swagger && !openapi.starts_with("3.0") && !openapi.starts_with("3.1") {
            return Err("it is neither Swagger 2 nor OpenAPI 3.0 or 3.1".to_owned());
        }
        Ok(Self { url, root, swagger })
    }

    /// Follows `$ref` within the document.
    fn resolve<'a>(&'a self, mut value: &'a Value) -> Result<&'a Value, String> {
        const REFERENCES_MAX: usize = 16;
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
                return Ok(value);
            };
            let pointer = reference
                .strip_prefix('#')
                .ok_or_else(|| format!("`{reference}` leads to another document"))?;
            let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
            let target = self.root.pointer(&pointer);
            value = target.ok_or_else(|| format!("`{reference}` leads nowhere"))?;
        }
        Err("a `$ref` leads in a circle".to_owned())
    }

    /// All operations by their ids: path item, path and method.
    fn operations(&self) -> impl Iterator<Item = (&str, (&Value, &str, &str))> {
        const METHODS: [&str; 8] = [
            "get", "put", "post", "delete", "options", "head", "patch", "trace",
        ];
        let paths = self.root.get("paths").and_then(Value::as_object);
        paths.into_iter().flatten().flat_map(move |(path, item)| {
            let item = self.resolve(item).unwrap_or(item);
            METHODS.into_iter().filter_map(move |method| {
                let id = item.get(method)?.get("operationId")?.as_str()?;
                Some((id, (item, path.as_str(), method)))
            })
        })
    }

    fn operation(&self, id: &str) -> Option<Result<Operation, String>> {
        let (_, (item, path, method)) = self.operations().find(|(known, _)| *known == id)?;
        Some(Operation::read(self, item, path, method))
    }
}

/// The pins of a workflow, as they are stored; none where it calls no API document.
pub(super) fn pins_json(pins: BTreeMap<(String, String), Arc<Operation>>) -> Option<Vec<u8>> {
    if pins.is_empty() {
        return None;
    }
    let pins: Vec<Pin> = pins
        .into_iter()
        .map(|((document, operation_id), operation)| Pin {
            document,
            operation_id,
            operation,
        })
        .collect();
    serde_json::to_vec(&pins).ok()
}
