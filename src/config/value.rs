//! Small questions about TOML values: the name of a type, reading a variable, the nearest key.

use toml::Value;

/// The type of a value, with its article, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

/// Whether a value may stand in the place of the default. An integer may where a number is meant.
pub(super) fn fits(value: &Value, default: &Value) -> bool {
    value.same_type(default) || matches!((value, default), (Value::Integer(_), Value::Float(_)))
}

/// A variable's text as the type of the default asks: a text stays as it is (so that a password
/// of digits stays one), a list may be written `a,b`, everything else is TOML.
pub(super) fn read(text: &str, default: Option<&Value>) -> Value {
    match default {
        Some(Value::String(_)) => return text.into(),
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            return Value::Array(items.map(Value::from).collect());
        }
        _ => {}
    }
    text.trim().parse().unwrap_or_else(|_| text.into())
}

/// The known name closest to a misspelt one, where one is close enough to be meant.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let bound = name.chars().count() / 2 + 1;
    known
        .map(|candidate| (distance(name, &candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
