//! A run in memory as a timeline for people.

use jiff::{SignedDuration, Timestamp};

use super::say;
use crate::expression::Value;
use crate::run::{Attempt, End, Record};
use crate::simulate::Played;

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 400;

/// Prints what happened, each line with its distance from the start.
pub fn print(played: &Played, indent: &str) {
    let mut lines = Vec::new();
    for record in &played.records {
        of_record(record, &mut lines);
    }
    for (at, event) in &played.emitted {
        lines.push((*at, format!("emitted {}", event.kind)));
    }
    lines.push((played.ended_at, end(played.end.as_ref())));
    // Stable: what happened at the same time stays in order.
    lines.sort_by_key(|(at, _)| *at);
    for (at, text) in lines {
        let since = shown(at.duration_since(played.started_at));
        say(&format!("{indent}{:>14}  {text}", format!("+{since}")));
    }
}

/// A duration in whole milliseconds, such as `1h 5s 20ms`.
pub fn shown(duration: SignedDuration) -> String {
    let whole = SignedDuration::from_millis_i128(duration.as_millis()).abs();
    match whole.is_zero() {
        true => "0ms".to_owned(),
        false => format!("{whole:#}"),
    }
}

fn of_record(record: &Record, lines: &mut Vec<(Timestamp, String)>) {
    let name = match record.iteration.as_str() {
        "" => record.name.clone(),
        iteration => format!("{}[{iteration}]", record.name),
    };
    for attempt in &record.attempts {
        lines.push((ended_at(attempt), format!("{name}: {}", told(attempt))));
    }
    let Some(ended_at) = record.ended_at else {
        let text = format!("{name}: {} ({})", record.status, record.reference);
        lines.push((record.started_at, text));
        return;
    };
    let detail = match (&record.error, &record.output) {
        (Some(error), _) => format!(": {}", error.detail.as_deref().unwrap_or("no detail")),
        (None, Some(output)) if !record.attempts.is_empty() => format!(", output {}", cut(output)),
        _ => String::new(),
    };
    lines.push((ended_at, format!("{name}: {}{detail}", record.status)));
}

fn told(attempt: &Attempt) -> String {
    let answer = match (attempt.status, &attempt.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.detail.clone().unwrap_or_default(),
        (None, None) => "no answer".to_owned(),
    };
    format!(
        "attempt {}: {answer} ({} ms)",
        attempt.number, attempt.duration_ms
    )
}

fn ended_at(attempt: &Attempt) -> Timestamp {
    let took = SignedDuration::from_millis(attempt.duration_ms.into());
    attempt
        .started_at
        .saturating_add(took)
        .unwrap_or(attempt.started_at)
}

fn end(end: Option<&End>) -> String {
    match end {
        None => "the run waits for what does not come".to_owned(),
        Some(End::Completed(output)) => format!("completed, output {}", cut(output)),
        Some(End::Faulted(problem)) => format!(
            "faulted at {}: {} {}: {}",
            problem.instance.as_deref().unwrap_or("/"),
            problem.status,
            problem.title.as_deref().unwrap_or(&problem.kind),
            problem.detail.as_deref().unwrap_or("no detail"),
        ),
        Some(End::Cancelled) => "cancelled".to_owned(),
    }
}

fn cut(value: &Value) -> String {
    let text = String::from_utf8_lossy(&value.to_json()).into_owned();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
