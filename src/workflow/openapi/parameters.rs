//! Parameters of an operation: where each goes, and how a list or an object becomes text.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Api;

/// Headers that are said elsewhere; a parameter of that name means nothing (OpenAPI 3, section
/// Parameter Object).
const HEADERS_IGNORED: [&str; 3] = ["accept", "content-type", "authorization"];

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `in`.
    #[serde(rename = "in")]
    pub place: Where,
    /// Whether a call must give it.
    #[serde(default)]
    pub required: bool,
    /// How a list or an object becomes text.
    pub spread: Spread,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Where {
    /// Into the path.
    Path,
    /// Into the query.
    Query,
    /// Into a header.
    Header,
    /// Into a cookie.
    Cookie,
    /// It is the body (Swagger 2).
    Body,
    /// Into the form that is the body (Swagger 2).
    Form,
}

/// How a list or an object becomes text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Spread {
    /// Each item by itself, under the same name; each member under its own.
    Repeated,
    /// Joined by this.
    Joined(String),
    /// Each member as `name[member]`.
    Deep,
    /// As JSON.
    Json,
}

/// The parameters of an operation and of its path, where the operation's win.
pub(super) fn read(api: &Api, item: &Value, operation: &Value) -> Result<Vec<Parameter>, String> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for owner in [operation, item] {
        let list = owner.get("parameters").and_then(Value::as_array);
        for value in list.into_iter().flatten() {
            let Some(parameter) = parameter(api, api.resolve(value)?)? else {
                continue;
            };
            let same = |it: &Parameter| it.name == parameter.name && it.place == parameter.place;
            if !parameters.iter().any(same) {
                parameters.push(parameter);
            }
        }
    }
    Ok(parameters)
}

fn parameter(api: &Api, value: &Value) -> Result<Option<Parameter>, String> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let name = text("name").ok_or("it has a parameter without a name")?;
    let place = match text("in").unwrap_or_default() {
        "path" => Where::Path,
        "query" => Where::Query,
        "header" if HEADERS_IGNORED.contains(&&*name.to_ascii_lowercase()) => return Ok(None),
        "header" => Where::Header,
        "cookie" => Where::Cookie,
        "body" if api.swagger => Where::Body,
        "formData" if api.swagger && text("type") == Some("file") => {
            return Err(format!(
                "its parameter `{name}` is a file, which is not supported"
            ));
        }
        "formData" if api.swagger => Where::Form,
        other => {
            return Err(format!(
                "its parameter `{name}` is in `{other}`, which is nowhere"
            ));
        }
    };
    let spread = if value.get("content").is_some() {
        Spread::Json
    } else if api.swagger {
        collection(text("collectionFormat"))
    } else {
        style(name, place, value)?
    };
    Ok(Some(Parameter {
        name: name.to_owned(),
        place,
        required: place == Where::Path || value.get("required") == Some(&Value::Bool(true)),
        spread,
    }))
}

/// `collectionFormat` of Swagger 2.
fn collection(format: Option<&str>) -> Spread {
    let separator = match format {
        Some("multi") => return Spread::Repeated,
        Some("ssv") => " ",
        Some("tsv") => "\t",
        Some("pipes") => "|",
        _ => ",",
    };
    Spread::Joined(separator.to_owned())
}

/// `style` and `explode` of OpenAPI 3.
fn style(name: &str, place: Where, value: &Value) -> Result<Spread, String> {
    let style = value.get("style").and_then(Value::as_str);
    let form = matches!(place, Where::Query | Where::Cookie);
    let explode = value.get("explode").and_then(Value::as_bool);
    match (style.unwrap_or(if form { "form" } else { "simple" }), form) {
        ("form", true) if explode != Some(false) => Ok(Spread::Repeated),
        ("form", true) | ("simple", false) => Ok(Spread::Joined(",".to_owned())),
        ("spaceDelimited", true) => Ok(Spread::Joined(" ".to_owned())),
        ("pipeDelimited", true) => Ok(Spread::Joined("|".to_owned())),
        ("deepObject", true) => Ok(Spread::Deep),
        (style, _) => Err(format!(
            "its parameter `{name}` has the style `{style}`, which is not supported"
        )),
    }
}
