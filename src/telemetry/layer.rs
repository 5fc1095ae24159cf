//! Turns each event into one line. Fields of the spans around it stand beside its own, flat, so
//! that `run.id` is found in the same place whoever logged.

use std::fmt::Write;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Fields, Value};
use super::queue::Lines;
use super::{Format, Redaction};

/// Bytes shown of one text; the rest is cut.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a line beyond which no further field is added.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Names the line itself uses.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The layer that writes lines.
pub(super) struct LineLayer {
    format: Format,
    lines: Lines,
    redaction: Redaction,
}

impl LineLayer {
    pub(super) fn new(format: Format, lines: Lines, redaction: Redaction) -> Self {
        Self {
            format,
            lines,
            redaction,
        }
    }

    fn line(&self, event: &Event<'_>, mut fields: Fields) -> String {
        let metadata = event.metadata();
        let mut target = metadata.target().to_owned();
        if target == "log" {
            // Recorded by a library through the `log` crate; the true target is a field.
            target = fields.take_text("log.target").unwrap_or(target);
            fields.0.retain(|(name, _)| !name.starts_with("log."));
        }
        let message = fields.take_text("message").unwrap_or_default();
        let timestamp = format!("{:.6}", jiff::Timestamp::now());
        let level = metadata.level().as_str();
        let mut line = Line {
            format: self.format,
            text: String::with_capacity(512),
        };
        match self.format {
            Format::Json => {
                line.text.push('{');
                line.field("timestamp", &Value::Text(timestamp));
                line.field("level", &Value::Text(level.to_owned()));
                line.field("target", &Value::Text(target));
                line.field("message", &Value::Text(self.shown(message)));
            }
            Format::Text => {
                let _ = write!(line.text, "{timestamp} {level:>5} ");
                escape(&self.shown(message), &mut line.text);
            }
        }
        self.fields(&mut line, fields);
        line.text.push_str(if self.format == Format::Json {
            "}\n"
        } else {
            "\n"
        });
        line.text
    }

    fn fields(&self, line: &mut Line, fields: Fields) {
        for (name, value) in fields.0 {
            if RESERVED.contains(&name) {
                continue;
            }
            if line.text.len() > LINE_BYTES_MAX {
                line.field("truncated", &Value::Bare("true".to_owned()));
                return;
            }
            match value {
                Value::Text(text) => line.field(name, &Value::Text(self.shown(text))),
                Value::Bare(_) => line.field(name, &value),
            }
        }
    }

    /// Hides secrets, then cuts: the other way round could leave half a secret.
    fn shown(&self, text: String) -> String {
        let mut text = self.redaction.apply(text);
        if text.len() > TEXT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.push('…');
        }
        text
    }
}

impl<S> Layer<S> for LineLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let mut later = Fields::default();
        record.record(&mut later);
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            fields.extend(later);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span.clone());
            }
        }
        fields.extend(own);
        self.lines.send(self.line(event, fields));
    }
}

/// A line as it grows.
struct Line {
    format: Format,
    text: String,
}

impl Line {
    fn field(&mut self, name: &str, value: &Value) {
        match self.format {
            Format::Json if self.text.len() > 1 => self.text.push(','),
            Format::Json => {}
            Format::Text => self.text.push(' '),
        }
        match self.format {
            Format::Json => self.quoted(name),
            Format::Text => self.text.push_str(name),
        }
        self.text.push(if self.format == Format::Json {
            ':'
        } else {
            '='
        });
        match value {
            Value::Bare(bare) => self.text.push_str(bare),
            Value::Text(text) if self.format == Format::Text && is_word(text) => {
                self.text.push_str(text);
            }
            Value::Text(text) => self.quoted(text),
        }
    }

    fn quoted(&mut self, text: &str) {
        self.text.push('"');
        escape(text, &mut self.text);
        self.text.push('"');
    }
}

/// Whether a value reads well without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '='))
}

/// JSON's escapes, for everything that could end a line, move a terminal's cursor or turn the
/// direction of reading, not only for what JSON demands.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || is_invisible(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// Line and paragraph separators, and the marks that reorder text (Unicode TR 9).
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
