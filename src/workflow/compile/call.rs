//! `call`: HTTP requests with their endpoint, arguments and credentials.

use url::Url;

use super::{Context, approval, authentication, field, function, openapi, unsupported};
use crate::expression::Template;
use crate::workflow::definition::{Authentication, Endpoint, HttpCall, HttpOutput, Kind};
use crate::workflow::document::{Content, Object, Place};

/// Calls the language has besides `http`.
const OTHER_CALLS: [&str; 4] = ["a2a", "asyncapi", "grpc", "mcp"];
/// Schemes of the addresses that can be called.
const SCHEMES: [&str; 3] = ["https", "http", "destination"];

/// A `call` task: `place` holds the word, `task` the arguments.
pub fn call(place: &Place<'_>, task: &Object<'_>, context: &Context<'_>) -> Option<Kind> {
    let arguments = task.optional("with");
    let word = place.string()?;
    if word == approval::NAME {
        return approval::call(task.place(), arguments.as_ref(), context);
    }
    if !matches!(word, "http" | "openapi") {
        if !OTHER_CALLS.contains(&word) {
            return function::call(place, arguments.as_ref(), context);
        }
        unsupported(place, &format!("`call: {word}`"));
        return None;
    }
    let Some(arguments) = arguments else {
        let hint = match word {
            "http" => "write `with: {method, endpoint}`",
            _ => "write `with: {document, operationId, parameters}`",
        };
        task.place().fault_with("`with` is missing here", hint);
        return None;
    };
    if word == "openapi" {
        return openapi::call(&arguments, context);
    }
    http(&arguments, context)
}

fn http(arguments: &Place<'_>, context: &Context<'_>) -> Option<Kind> {
    let object = arguments.object()?;
    let method = object
        .required("method")
        .and_then(|place| method(&place, context));
    let endpoint = object
        .required("endpoint")
        .and_then(|place| endpoint(&place, context));
    let headers = object.optional("headers").filter(are_headers);
    let headers = headers.and_then(|place| field::template(&place, context));
    let query = object.optional("query").filter(|place| is_object(place));
    let query = query.and_then(|place| field::template(&place, context));
    let body = object
        .optional("body")
        .and_then(|place| field::template(&place, context));
    let output = output(&object);
    let redirect = object.optional_bool("redirect").unwrap_or(false);
    object.finish();
    let (endpoint, authentication) = endpoint?;
    Some(Kind::Call(Box::new(HttpCall {
        method: method?,
        endpoint,
        authentication,
        headers,
        query,
        body,
        output,
        redirect,
        retried: context.retried,
    })))
}

/// `output`: what of the answer the task gives.
pub fn output(arguments: &Object<'_>) -> HttpOutput {
    let output = arguments.optional("output");
    match output.and_then(|place| place.one_of(&["content", "raw", "response"])) {
        Some(1) => HttpOutput::Raw,
        Some(2) => HttpOutput::Response,
        _ => HttpOutput::Content,
    }
}

fn method(place: &Place<'_>, context: &Context<'_>) -> Option<Template> {
    let text = place.string()?;
    if text.contains("${") {
        return field::template(place, context);
    }
    let upper = text.to_ascii_uppercase();
    if http::Method::from_bytes(upper.as_bytes()).is_err() || upper == "CONNECT" {
        place.fault_with(
            format!("`{text}` is no method of HTTP"),
            "write GET, POST, PUT, …",
        );
        return None;
    }
    Some(Template::Literal(crate::expression::Value::string(upper)))
}

/// `endpoint`: an address, an expression, or `{uri, authentication}`.
fn endpoint(
    place: &Place<'_>,
    context: &Context<'_>,
) -> Option<(Endpoint, Option<Authentication>)> {
    if !matches!(place.node().content, Content::Object(_)) {
        return Some((address(place, context)?, None));
    }
    let object = place.object()?;
    let uri = object
        .required("uri")
        .and_then(|place| address(&place, context));
    let authentication = object.optional("authentication");
    let authentication = authentication.map(|place| authentication::reference(&place, context));
    object.finish();
    Some((
        uri?,
        authentication.map_or(Some(None), |policy| policy.map(Some))?,
    ))
}

/// A template of an address, or an expression that gives one.
pub fn address(place: &Place<'_>, context: &Context<'_>) -> Option<Endpoint> {
    let text = place.string()?;
    if field::is_expression(text) {
        return field::expression(place, context).map(Endpoint::Expression);
    }
    if text.contains("${") {
        place.fault_with(
            "an expression is the whole address or no part of it",
            "write …/{id} to insert a member of the input, or '${ \"https://…/\\(.id)\" }'",
        );
        return None;
    }
    match check_address(text) {
        Ok(()) => Some(Endpoint::Uri(text.to_owned())),
        Err(hint) => {
            place.fault_with(
                format!("`{}` is no address that can be called", cut(text)),
                hint,
            );
            None
        }
    }
}

/// Checks an RFC 6570 level 1 template: what it becomes must be an absolute URI.
fn check_address(template: &str) -> Result<(), &'static str> {
    const NAMES: &str = "inside { } stands the name of a member of the input, such as {id}";
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(NAMES)?;
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
        if name.is_empty() || !name.chars().all(is_name) || before.contains('}') {
            return Err(NAMES);
        }
        filled.push_str(before);
        // A digit, so that it may also stand for a port.
        filled.push('1');
        rest = after;
    }
    if rest.contains('}') {
        return Err(NAMES);
    }
    filled.push_str(rest);
    const ABSOLUTE: &str = "write https://host/path, or destination://name/path";
    let url = Url::parse(&filled).map_err(|_| ABSOLUTE)?;
    if !SCHEMES.contains(&url.scheme()) || !url.has_host() {
        return Err(ABSOLUTE);
    }
    Ok(())
}

/// The arguments are an object, or an expression that gives one.
pub fn is_object(place: &Place<'_>) -> bool {
    if place.node().as_str().is_some_and(field::is_expression) {
        return true;
    }
    place.object().is_some()
}

/// Names and literal values of headers must be what HTTP can carry.
fn are_headers(place: &Place<'_>) -> bool {
    if place.node().as_str().is_some_and(field::is_expression) {
        return true;
    }
    let Some(object) = place.object() else {
        return false;
    };
    for (key, value) in object.members() {
        if http::HeaderName::from_bytes(key.name.as_bytes()).is_err() {
            object.at_key(key, "this is no name of a header", None);
        }
        match &value.node().content {
            Content::String(text) if http::HeaderValue::from_str(text).is_err() => {
                value.fault("this value has characters that no header can carry");
            }
            Content::Array(_) | Content::Object(_) => value.unexpected("a string"),
            _ => {}
        }
    }
    true
}

/// The first characters of a text, for a message.
fn cut(text: &str) -> &str {
    const BYTES_MAX: usize = 80;
    text.get(..BYTES_MAX).unwrap_or(text)
}
