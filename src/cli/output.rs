//! What the commands that read a server print: tables for people, JSON for programs.

use clap::ValueEnum;
use serde_json::Value;

use super::say;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// The server's own answer, for programs.
    Json,
}

impl Output {
    /// Prints JSON, or calls `print` for people.
    ///
    /// # Errors
    /// Where the answer has no JSON form.
    pub fn print(self, answer: &Value, print: impl FnOnce(&Value)) -> anyhow::Result<()> {
        match self {
            Self::Table => print(answer),
            Self::Json => say(&serde_json::to_string_pretty(answer)?),
        }
        Ok(())
    }
}

/// Prints rows under their headings, each column as wide as its widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let headings: Vec<String> = headings.iter().map(|text| (*text).to_owned()).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in all() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        say(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Prints names and values, one a line; what is absent is left out.
pub fn facts(facts: &[(&str, &Value)]) {
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_null()) {
        say(&format!("{:<9} {}", format!("{name}:"), text(value)));
    }
}

/// A value in one line: text without quotes, nothing for null. Control characters, which a sender
/// may have chosen, are escaped, so that they cannot steer the terminal.
pub fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// `namespace/name/version` of a workflow.
pub fn workflow(of: &Value) -> String {
    ["namespace", "name", "version"]
        .map(|member| text(&of["workflow"][member]))
        .join("/")
}
