//! The body of a request: JSON, text or a form, by the value and the content type.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use crate::call::Config;
use crate::call::failure::Failure;
use crate::expression::Value;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const FORM: &str = "application/x-www-form-urlencoded";

/// Serialises a body and sets its content type where none is given.
pub(super) fn encode(
    value: &Value,
    headers: &mut HeaderMap,
    config: &Config,
) -> Result<Bytes, Failure> {
    let body = if let Some(text) = value.as_str() {
        headers.entry(CONTENT_TYPE).or_insert(TEXT);
        Bytes::copy_from_slice(text.as_bytes())
    } else if is_form(headers) && value.is_object() {
        Bytes::from(form(value))
    } else {
        headers.entry(CONTENT_TYPE).or_insert(JSON);
        Bytes::from(value.to_json())
    };
    if body.len() > config.request_bytes_max {
        return Err(Failure::invalid(format!(
            "the body is longer than {} bytes (call.request_bytes_max)",
            config.request_bytes_max
        )));
    }
    Ok(body)
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(FORM))
}

/// An object as a form: an array repeats its key, null is left out, what is no string is JSON.
fn form(value: &Value) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, member) in value.members().unwrap_or_default() {
        let items = member.items().unwrap_or_else(|| vec![member]);
        for item in items.iter().filter(|item| !item.is_null()) {
            match item.as_str() {
                Some(text) => form.append_pair(&name, text),
                None => form.append_pair(&name, &String::from_utf8_lossy(&item.to_json())),
            };
        }
    }
    form.finish()
}
