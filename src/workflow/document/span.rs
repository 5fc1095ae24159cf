//! Durations: ISO 8601 texts and the language's objects (SEMANTICS of `timeout`, `wait`, `retry`).
//!
//! Used for workflows, sources and destinations when they are read, and by runs for durations
//! that an expression gives. Calendar units (years, months) have no fixed length and are refused.

use std::time::Duration;

use super::{Content, Node};
use crate::expression::Value;

/// Longest duration accepted: 3,650 days.
pub const DURATION_MAX: Duration = Duration::from_secs(3650 * DAY_SECS);

const DAY_SECS: u64 = 24 * 60 * 60;
const NANOS: u128 = 1_000_000_000;

/// Members of a duration object and their length in milliseconds.
const MEMBERS: [(&str, u64); 5] = [
    ("days", DAY_SECS * 1000),
    ("hours", 60 * 60 * 1000),
    ("minutes", 60 * 1000),
    ("seconds", 1000),
    ("milliseconds", 1),
];

const FORMS: &str = "write it like PT1.5S, PT10M or P1DT2H, or as {seconds: 5}";

/// The duration in a node: a text such as `PT1.5S` or an object such as `{minutes: 5}`.
///
/// # Errors
/// A sentence that says what is wrong and what to write.
pub fn duration(node: &Node) -> Result<Duration, String> {
    match &node.content {
        Content::String(text) => text_duration(text),
        Content::Object(members) => object_duration(members.iter().map(|(key, value)| {
            let amount = match &value.content {
                Content::Number(digits) => digits.parse::<u64>().ok(),
                _ => None,
            };
            (key.name.clone(), amount)
        })),
        _ => Err(format!("this is {}, not a duration; {FORMS}", node.kind())),
    }
}

/// The duration in a value that an expression gave; the same forms as in [`duration`].
///
/// # Errors
/// A sentence that says what is wrong; it quotes no data.
pub fn duration_of(value: &Value) -> Result<Duration, String> {
    if let Some(text) = value.as_str() {
        return text_duration(text);
    }
    match value.members() {
        Some(members) => object_duration(members.into_iter().map(|(name, value)| {
            let amount = value.as_i64().and_then(|n| u64::try_from(n).ok());
            (name, amount)
        })),
        None => Err(format!("this is not a duration; {FORMS}")),
    }
}

fn object_duration(
    members: impl Iterator<Item = (String, Option<u64>)>,
) -> Result<Duration, String> {
    let mut total_ms: u128 = 0;
    let mut empty = true;
    for (name, amount) in members {
        empty = false;
        let Some((_, unit_ms)) = MEMBERS.iter().find(|(known, _)| *known == name) else {
            return Err(
                "a duration has days, hours, minutes, seconds and milliseconds only".to_owned(),
            );
        };
        let Some(amount) = amount else {
            return Err(format!(
                "`{name}` of a duration is a whole number, 0 or more"
            ));
        };
        total_ms = total_ms.saturating_add(u128::from(amount) * u128::from(*unit_ms));
    }
    if empty {
        return Err(format!("an empty object is no duration; {FORMS}"));
    }
    bounded(total_ms.saturating_mul(1_000_000))
}

fn text_duration(text: &str) -> Result<Duration, String> {
    let malformed = || format!("not an ISO 8601 duration; {FORMS}");
    let body = text.strip_prefix('P').ok_or_else(malformed)?;
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return Err(malformed()),
        Some((date, time)) => (date, time),
        None => (body, ""),
    };
    if date.is_empty() && time.is_empty() {
        return Err(malformed());
    }
    if date.contains(['Y', 'M']) {
        return Err("years and months have no fixed length; write days, such as P30D".to_owned());
    }
    let units = [('W', 7 * DAY_SECS), ('D', DAY_SECS)];
    let dated = components(date, &units).ok_or_else(malformed)?;
    let units = [('H', 3600), ('M', 60), ('S', 1)];
    let timed = components(time, &units).ok_or_else(malformed)?;
    bounded(dated.saturating_add(timed))
}

/// Sums components such as `1.5H30M` in nanoseconds; each unit at most once and in order.
fn components(text: &str, units: &[(char, u64)]) -> Option<u128> {
    let mut total: u128 = 0;
    let mut rest = text;
    for (letter, unit_secs) in units {
        let Some((amount, after)) = rest.split_once(*letter) else {
            continue;
        };
        total = total.saturating_add(amount_nanos(amount, *unit_secs)?);
        rest = after;
    }
    rest.is_empty().then_some(total)
}

fn amount_nanos(amount: &str, unit_secs: u64) -> Option<u128> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = match amount.split_once('.') {
        Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
        Some(_) => return None,
        None => (amount, ""),
    };
    if !is_digits(whole) {
        return None;
    }
    let unit = u128::from(unit_secs) * NANOS;
    let mut nanos = whole
        .parse::<u64>()
        .map_or(u128::MAX, u128::from)
        .saturating_mul(unit);
    let mut place = unit;
    // Digits beyond a nanosecond no longer count.
    for digit in fraction.bytes().take(18) {
        place /= 10;
        nanos = nanos.saturating_add(u128::from(digit - b'0') * place);
    }
    Some(nanos)
}

fn bounded(nanos: u128) -> Result<Duration, String> {
    if nanos > DURATION_MAX.as_nanos() {
        return Err("a duration is at most 3650 days".to_owned());
    }
    let secs = u64::try_from(nanos / NANOS).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanos % NANOS).unwrap_or(0);
    Ok(Duration::new(secs, rest))
}
