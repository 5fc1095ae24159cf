//! The fields of a span or an event, collected with bounds.

use std::error::Error;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};

/// Bytes collected of one field. More than [`super::layer`] shows: secrets are hidden before a
/// text is cut, and one that the cut splits would not be found.
const COLLECTED_BYTES_MAX: usize = 256 * 1024;
/// Causes of an error that are followed.
const CAUSES_MAX: usize = 16;

/// A field's value, ready to be shown.
#[derive(Clone)]
pub(super) enum Value {
    /// Text, neither redacted nor escaped yet.
    Text(String),
    /// A number or boolean as JSON writes it.
    Bare(String),
}

/// Fields in the order they were recorded; a name recorded again replaces the value.
#[derive(Clone, Default)]
pub(super) struct Fields(pub(super) Vec<(&'static str, Value)>);

impl Fields {
    /// The text of a field.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(known, _)| *known == name)?;
        match self.0.remove(index).1 {
            Value::Text(text) | Value::Bare(text) => Some(text),
        }
    }

    /// Adds fields, replacing those of the same name.
    pub(super) fn extend(&mut self, later: Self) {
        for (name, value) in later.0 {
            self.put(name, value);
        }
    }

    fn put(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    fn text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        let mut bounded = Bounded(String::new());
        // The error only says that the bound was met.
        let _ = bounded.write_fmt(text);
        self.put(field.name(), Value::Text(bounded.0));
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.put(field.name(), Value::Bare(value.to_string()));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.bare(field, value),
            false => self.text(field, format_args!("{value}")),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.text(field, format_args!("{value}"));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        for _ in 0..CAUSES_MAX {
            let Some(error) = cause else { break };
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.text(field, format_args!("{text}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// A text that takes so much and then no more.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = COLLECTED_BYTES_MAX - self.0.len();
        let taken = text.floor_char_boundary(free);
        self.0.push_str(&text[..taken]);
        if taken < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
