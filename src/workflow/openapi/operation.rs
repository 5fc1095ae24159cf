//! One operation: where it is, what it takes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::Api;
use super::parameters::{self, Parameter, Where};

/// Media types of a body, the first that an operation takes is sent.
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// An operation as a call needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Upper case.
    pub method: String,
    /// The absolute URL its path is appended to, without a slash at its end.
    pub base: String,
    /// With `{name}` for its parameters.
    pub path: String,
    /// Declared parameters, those of a Swagger 2 body and form included.
    pub parameters: Vec<Parameter>,
    /// OpenAPI 3: what is not declared goes into the body, where there is one.
    #[serde(default)]
    pub body: bool,
    /// Whether that body must be there.
    #[serde(default)]
    pub body_required: bool,
    /// The media type of a body.
    pub media: String,
}

impl Operation {
    pub(super) fn read(api: &Api, item: &Value, path: &str, method: &str) -> Result<Self, String> {
        let operation = item.get(method).unwrap_or(&Value::Null);
        let parameters = parameters::read(api, item, operation)?;
        let mut read = Self {
            method: method.to_ascii_uppercase(),
            base: base(api, item, operation)?,
            path: path.to_owned(),
            parameters,
            body: false,
            body_required: false,
            media: JSON.to_owned(),
        };
        if api.swagger {
            read.swagger_media(api, operation)?;
        } else if let Some(body) = operation.get("requestBody") {
            let body = api.resolve(body)?;
            let content = body.get("content").and_then(Value::as_object);
            let media: Vec<&str> = content.into_iter().flatten().map(|(it, _)| &**it).collect();
            read.media = choose(&media)?;
            read.body = true;
            read.body_required = body.get("required").and_then(Value::as_bool) == Some(true);
        }
        Ok(read)
    }

    fn swagger_media(&mut self, api: &Api, operation: &Value) -> Result<(), String> {
        let has = |place| self.parameters.iter().any(|it| it.place == place);
        let consumes = operation
            .get("consumes")
            .or_else(|| api.root.get("consumes"));
        let consumes = consumes.and_then(Value::as_array);
        let media: Vec<&str> = consumes
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if has(Where::Form) {
            if !media.is_empty() && !media.contains(&FORM) {
                return Err("it takes a form of parts only, which is not supported".to_owned());
            }
            self.media = FORM.to_owned();
        } else if has(Where::Body) {
            self.media = choose(&media)?;
        }
        Ok(())
    }
}

/// The media type that is sent, of those an operation takes.
fn choose(media: &[&str]) -> Result<String, String> {
    let essence = |text: &str| {
        let text = text.split(';').next().unwrap_or_default();
        text.trim().to_ascii_lowercase()
    };
    let is_json = |text: &&&str| {
        let text = essence(text);
        text == JSON || text.ends_with("+json")
    };
    if media.is_empty() || media.iter().any(|text| essence(text) == "*/*") {
        return Ok(JSON.to_owned());
    }
    let json = media.iter().find(|text| essence(text) == JSON);
    let found = json.or_else(|| media.iter().find(is_json));
    let found = found.or_else(|| media.iter().find(|text| essence(text) == FORM));
    match found {
        Some(media) => Ok((*media).to_owned()),
        None => Err(format!(
            "it takes neither JSON nor a form, but {}",
            media.join(", ")
        )),
    }
}

/// Where an operation is: its server, or that of its path or of the document.
fn base(api: &Api, item: &Value, operation: &Value) -> Result<String, String> {
    let url = if api.swagger {
        swagger_base(api)?
    } else {
        let at = |value: &Value| value.get("servers")?.get(0).cloned();
        let server = at(operation).or_else(|| at(item)).or_else(|| at(&api.root));
        let text = server.as_ref().map_or_else(|| "/".to_owned(), filled);
        let url = api.url.join(&text);
        url.map_err(|_| format!("its server `{text}` is no URL"))?
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("its server is no http or https address: `{url}`"));
    }
    let mut url = url;
    url.set_query(None);
    url.set_fragment(None);
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The URL of a server with its variables at their defaults.
fn filled(server: &Value) -> String {
    let mut text = server
        .get("url")
        .and_then(Value::as_str)
        .unwrap_or("/")
        .to_owned();
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable.get("default").and_then(Value::as_str);
        text = text.replace(&format!("{{{name}}}"), default.unwrap_or_default());
    }
    text
}

/// `scheme://host/basePath`, each the document's own where it is left out.
fn swagger_base(api: &Api) -> Result<Url, String> {
    let text = |name: &str| api.root.get(name).and_then(Value::as_str);
    let schemes = api.root.get("schemes").and_then(Value::as_array);
    let schemes: Vec<&str> = schemes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let own = api.url.scheme();
    let scheme = match schemes.first() {
        Some(_) if schemes.contains(&own) => own,
        Some(_) if schemes.contains(&"https") => "https",
        Some(first) => first,
        None => own,
    };
    let mut url = match text("host") {
        Some(host) => Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|_| format!("its host `{host}` is none"))?,
        None => {
            let mut url = api.url.clone();
            let _same_kind = url.set_scheme(scheme);
            url
        }
    };
    url.set_path(text("basePath").unwrap_or("/"));
    Ok(url)
}
