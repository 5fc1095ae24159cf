//! Makes an HTTP request from the templates of a call and the task's input.
//!
//! It knows what the language says about a request, nothing of destinations or of the network.

use super::credentials;
use crate::expression::{Template, Value};
use crate::run::Request;
use crate::run::fault::Fault;
use crate::run::scope::View;
use crate::workflow::definition::{Endpoint, HttpCall};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986, section 2.3.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Evaluates a call into the request it wants.
pub(super) fn make(view: &View<'_>, call: &HttpCall, input: &Value) -> Result<Request, Fault> {
    let method = view.template(&call.method, input)?;
    let method = method
        .as_str()
        .filter(|method| !method.is_empty())
        .ok_or_else(|| view.wrong("`method` did not give a string"))?
        .to_ascii_uppercase();
    Ok(Request {
        method,
        uri: uri(view, &call.endpoint, input)?,
        headers: pairs(view, call.headers.as_ref(), input, "headers")?,
        query: pairs(view, call.query.as_ref(), input, "query")?,
        body: match &call.body {
            Some(body) => Some(view.template(body, input)?),
            None => None,
        },
        authentication: match &call.authentication {
            Some(authentication) => Some(credentials::make(view, authentication, input)?),
            None => None,
        },
        output: call.output,
        redirect: call.redirect,
        retried: call.retried,
    })
}

pub(super) fn uri(view: &View<'_>, endpoint: &Endpoint, input: &Value) -> Result<String, Fault> {
    match endpoint {
        Endpoint::Uri(template) => {
            let uri = expand(template, input).map_err(|name| {
                view.wrong(format!(
                    "`{{{name}}}` of the endpoint is an object or an array; a URI takes a scalar"
                ))
            })?;
            if dot_segments(&uri) > dot_segments(template) {
                return Err(view.wrong(
                    "a value of the input makes a part of the endpoint's path `.` or `..`, \
                     which would lead to another path",
                ));
            }
            Ok(uri)
        }
        Endpoint::Expression(expression) => view
            .expression(expression, input)?
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| view.wrong("`endpoint` did not give a string")),
    }
}

/// Fills a URI template (RFC 6570 level 1) with top-level members; missing ones are empty.
///
/// The error is the name of a member that is no scalar.
fn expand(template: &str, input: &Value) -> Result<String, String> {
    let mut uri = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        uri.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            uri.push('{');
            rest = after;
            continue;
        };
        if let Some(value) = input.get(name) {
            let text = scalar(&value).ok_or_else(|| name.to_owned())?;
            uri.extend(utf8_percent_encode(&text, RESERVED));
        }
        rest = after;
    }
    uri.push_str(rest);
    Ok(uri)
}

/// How many segments of the path mean this or the parent directory (RFC 3986 section 5.2.4); the
/// dots are unreserved, so encoding does not take their meaning away.
pub(super) fn dot_segments(uri: &str) -> usize {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let is_dots = |segment: &&str| matches!(segment.replace("%2E", ".").as_str(), "." | "..");
    path.replace("%2e", "%2E")
        .split('/')
        .filter(is_dots)
        .count()
}

/// Names and values of headers or query: an array repeats its name, null is dropped.
fn pairs(
    view: &View<'_>,
    template: Option<&Template>,
    input: &Value,
    what: &str,
) -> Result<Vec<(String, String)>, Fault> {
    let Some(template) = template else {
        return Ok(Vec::new());
    };
    let value = view.template(template, input)?;
    if value.is_null() {
        return Ok(Vec::new());
    }
    let members = value
        .members()
        .ok_or_else(|| view.wrong(format!("`{what}` did not give an object")))?;
    let mut pairs = Vec::with_capacity(members.len());
    for (name, value) in members {
        for item in value.items().unwrap_or_else(|| vec![value.clone()]) {
            if item.is_null() {
                continue;
            }
            let text = scalar(&item).ok_or_else(|| {
                view.wrong(format!(
                    "a member of `{what}` is neither scalar nor list of them"
                ))
            })?;
            pairs.push((name.clone(), text));
        }
    }
    Ok(pairs)
}

/// The text of a scalar: strings as they are, numbers with their digits; null is empty.
pub(super) fn scalar(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    if value.is_null() {
        return Some(String::new());
    }
    if value.is_object() || value.as_array().is_some() {
        return None;
    }
    String::from_utf8(value.to_json()).ok()
}
