//! Data flow: `input`, `output`, `export` with their filters and JSON Schemas.

use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};

use super::{Context, field, unsupported};
use crate::workflow::definition::{Flow, Schema};
use crate::workflow::document::{Fault, Object, Place};

/// Largest compiled form of one pattern in a schema, in bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// `input: {schema, from}` of a workflow or task.
pub fn input(object: &Object<'_>, context: &Context<'_>) -> Flow {
    flow(object.optional("input"), "from", context)
}

/// `output: {schema, as}` of a workflow or task.
pub fn output(object: &Object<'_>, context: &Context<'_>) -> Flow {
    flow(object.optional("output"), "as", context)
}

/// `export: {schema, as}` of a task.
pub fn export(object: &Object<'_>, context: &Context<'_>) -> Flow {
    flow(object.optional("export"), "as", context)
}

fn flow(place: Option<Place<'_>>, filter: &'static str, context: &Context<'_>) -> Flow {
    let Some(object) = place.and_then(|place| place.object()) else {
        return Flow::default();
    };
    let shape = object.optional(filter);
    let filter = shape.and_then(|place| field::shape(&place, context));
    let schema = object.optional("schema").and_then(|place| schema(&place));
    object.finish();
    Flow { filter, schema }
}

fn schema(place: &Place<'_>) -> Option<Schema> {
    let object = place.object()?;
    if let Some(place) = object.optional("format")
        && let Some(format) = place.string()
        && format != "json"
        && !format.starts_with("json:")
    {
        place.fault_with(
            format!("schemas in `{format}` are not supported"),
            "write `json`",
        );
    }
    let resource = object.optional("resource");
    if let Some(place) = &resource {
        unsupported(place, "a schema from elsewhere");
    }
    let document = if resource.is_some() {
        object.optional("document")
    } else {
        object.required("document")
    };
    object.finish();
    compile(&document?)
}

/// A validator of a JSON Schema (2020-12).
///
/// # Errors
/// Where the document is no schema.
pub fn validator(document: &serde_json::Value) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(patterns)
        .build(document)
        .map_err(|error| error.to_owned())
}

/// Compiles a JSON Schema (2020-12). Patterns run in linear time, references stay inside it, and
/// one that comes back to itself ends (the validator sees to that).
pub fn compile(place: &Place<'_>) -> Option<Schema> {
    let document = place.node().to_serde();
    match validator(&document) {
        Ok(validator) => Some(Schema(Arc::new(validator))),
        Err(error) => {
            let below = error.instance_path().to_string();
            let is_reference = below.is_empty();
            let hint = is_reference.then(|| "references must stay inside the schema".to_owned());
            let node = place.node().pointer(&below).unwrap_or_else(|| place.node());
            place.faults().push(Fault {
                pointer: format!("{}{below}", place.pointer()),
                line: node.line,
                column: node.column,
                message: format!("this is no JSON Schema (2020-12): {error}"),
                hint,
            });
            None
        }
    }
}
