//! Hiding secrets in JSON text so that it stays JSON: what is stored must be readable again.
//!
//! Called by [`super::Redactor::redact_json`] only where something is to be hidden. Strings are
//! redacted by their value, whatever their escapes; a number that shows a secret becomes a string.

use std::borrow::Cow;

use super::Redactor;

/// The same JSON with secrets hidden; text that is no JSON is redacted as it is.
pub(super) fn redact(redactor: &Redactor, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string(rest),
            '-' | '0'..='9' => scalar(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match first {
            '"' => push_string(redactor, token, &mut out),
            '-' | '0'..='9' => push_number(redactor, token, &mut out),
            _ => out.push_str(token),
        }
        rest = after;
    }
    out
}

/// Bytes of the string token that `text` starts with, its quotes included.
fn string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Bytes of the number that `text` starts with.
fn scalar(text: &str) -> usize {
    let of_number = |c: char| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E');
    text.find(|c| !of_number(c)).unwrap_or(text.len())
}

fn push_string(redactor: &Redactor, token: &str, out: &mut String) {
    let Ok(value) = serde_json::from_str::<String>(token) else {
        out.push_str(&redactor.redact(token));
        return;
    };
    match redactor.redact(&value) {
        Cow::Borrowed(_) => out.push_str(token),
        Cow::Owned(hidden) => out.push_str(&serde_json::Value::from(hidden).to_string()),
    }
}

fn push_number(redactor: &Redactor, token: &str, out: &mut String) {
    match redactor.redact(token) {
        Cow::Borrowed(_) => out.push_str(token),
        Cow::Owned(hidden) => out.push_str(&serde_json::Value::from(hidden).to_string()),
    }
}
