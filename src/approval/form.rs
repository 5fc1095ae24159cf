//! Forms of approvals: what was filled in is held against the schema, and what a browser sends is
//! turned into JSON of its types.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::workflow;

/// Something that was filled in wrongly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Where: `comment`, `by`, or the name of a field of the form.
    pub field: String,
    /// What is wrong, as the rest of a sentence that begins with the field.
    pub message: String,
}

impl Wrong {
    /// This is wrong with that field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// What is wrong with a form. Nothing of what was filled in is repeated.
#[must_use]
pub fn check(schema: Option<&Value>, filled: Option<&Value>) -> Vec<Wrong> {
    let Some(schema) = schema else {
        let unwanted = filled.is_some_and(|filled| !is_empty(filled));
        let wrong = unwanted.then(|| Wrong::new("form", "is not asked for"));
        return wrong.into_iter().collect();
    };
    let empty = Value::Object(Map::new());
    let filled = filled.unwrap_or(&empty);
    let Ok(validator) = workflow::validator(schema) else {
        return vec![Wrong::new("form", "has a schema that cannot be read")];
    };
    validator
        .iter_errors(filled)
        .map(|error| {
            use jsonschema::error::ValidationErrorKind;
            let path = error.instance_path().to_string();
            let field = path.trim_start_matches('/').to_owned();
            match error.kind() {
                ValidationErrorKind::Required { property } => {
                    let name = property.as_str().unwrap_or("form");
                    Wrong::new(name, "must be filled in")
                }
                other => {
                    let rule = other.keyword();
                    let field = if field.is_empty() {
                        "form".to_owned()
                    } else {
                        field
                    };
                    Wrong::new(field, format!("does not hold `{rule}` of the form"))
                }
            }
        })
        .collect()
}

fn is_empty(filled: &Value) -> bool {
    filled.is_null() || filled.as_object().is_some_and(Map::is_empty)
}

/// What a browser sent, with the types of the schema: an empty text is a field that was left out,
/// a box that is not ticked is false. What is no number stays a text, and is then found wrong.
#[must_use]
pub fn typed(schema: &Value, sent: &[(String, String)]) -> Value {
    let mut filled = Map::new();
    for (name, field) in fields(schema) {
        let text = sent.iter().find(|(key, _)| key == name);
        let text = text.map(|(_, text)| text.as_str());
        let value = match (kind(field), text) {
            ("boolean", text) => Value::Bool(text.is_some()),
            (_, None | Some("")) => continue,
            ("number" | "integer", Some(text)) => number(text.trim()),
            (_, Some(text)) => Value::from(text),
        };
        filled.insert(name.clone(), value);
    }
    Value::Object(filled)
}

fn number(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(number @ Value::Number(_)) => number,
        _ => Value::from(text),
    }
}

/// The fields of a form, in the order written.
pub fn fields(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The type of a field.
#[must_use]
pub fn kind(field: &Value) -> &str {
    field["type"].as_str().unwrap_or("string")
}
