//! The stored form of entries: one JSON array, an object per entry.
//!
//! Members may be added, never renamed or removed; unknown ones are ignored. Payloads go through
//! `expression::Value` on both sides, never through serde's buffers, so that numbers keep their
//! digits.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;

use super::entry::{Attempt, Change, Entry, Key, Outcome, Received};

/// Why stored entries cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the journal cannot be read: {0}")]
pub struct DecodeError(pub String);

/// The small members of an entry; the payload, where there is one, stands beside them.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    change: Cow<'a, str>,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iteration: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<StoredAttempt<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, Problem>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    child: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow_id: Option<i32>,
    #[serde(default, skip_serializing, borrow, deserialize_with = "present")]
    input: Option<&'a RawValue>,
    #[serde(default, skip_serializing, borrow, deserialize_with = "present")]
    output: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Id>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    addressed: bool,
    #[serde(default, skip_serializing, borrow, deserialize_with = "present")]
    envelope: Option<&'a RawValue>,
    #[serde(default, skip_serializing, borrow, deserialize_with = "present")]
    raw: Option<&'a RawValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredAttempt<'a> {
    number: u32,
    started_at: Timestamp,
    duration_ms: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, Problem>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

impl<'a> StoredAttempt<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error.as_ref().map(Cow::Borrowed),
            retry_after: attempt.retry_after_seconds,
        }
    }

    fn into_attempt(self) -> Attempt {
        Attempt {
            number: self.number,
            started_at: self.started_at,
            duration_ms: self.duration_ms,
            status: self.status,
            error: self.error.map(Cow::into_owned),
            retry_after_seconds: self.retry_after,
        }
    }
}

/// The stored form of entries: one JSON array.
#[must_use]
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 * entries.len() + 2);
    out.push(b'[');
    for entry in entries {
        if out.len() > 1 {
            out.push(b',');
        }
        let (line, payloads) = line(entry);
        serde_json::to_writer(&mut out, &line)
            .expect("texts, numbers and times always have a JSON form, and memory takes it");
        for (name, value) in payloads.into_iter().flatten() {
            // Within the object: before its closing brace.
            out.pop();
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            value.write_json(&mut out);
            out.push(b'}');
        }
    }
    out.push(b']');
    out
}

/// What stands beside the line: at most two values with their names.
type Payloads<'a> = [Option<Payload<'a>>; 2];

/// A value with its name.
type Payload<'a> = (&'static str, &'a Value);

fn line(entry: &Entry) -> (Line<'_>, Payloads<'_>) {
    let mut line = Line {
        at: entry.at,
        ..Line::default()
    };
    let mut payload = None;
    let mut second = None;
    let mut key = None;
    line.change = Cow::Borrowed(match &entry.change {
        Change::Started { input } => {
            payload = Some(("input", input));
            "started"
        }
        Change::Attempted {
            key: of,
            attempt,
            retry_at,
        } => {
            key = Some(of);
            line.attempt = Some(StoredAttempt::of(attempt));
            line.retry_at = Some(*retry_at);
            "attempted"
        }
        Change::Performed {
            key: of,
            attempt,
            outcome,
        } => {
            key = Some(of);
            line.attempt = Some(StoredAttempt::of(attempt));
            (payload, line.error) = parts(outcome);
            "performed"
        }
        Change::Fired { key: of } => {
            key = Some(of);
            "fired"
        }
        Change::ChildStarted {
            key: of,
            child,
            workflow_id,
        } => {
            key = Some(of);
            (line.child, line.workflow_id) = (Some(*child), Some(*workflow_id));
            "childStarted"
        }
        Change::ChildEnded { child, outcome } => {
            line.child = Some(*child);
            (payload, line.error) = parts(outcome);
            "childEnded"
        }
        Change::Suspended => "suspended",
        Change::Resumed => "resumed",
        Change::Received { event } => {
            line.event = Some(event.id);
            line.addressed = event.addressed;
            payload = Some(("envelope", &event.envelope));
            second = event.raw.as_ref().map(|raw| ("raw", raw));
            "received"
        }
        Change::Cancelled => "cancelled",
    });
    if let Some(key) = key {
        line.reference = Some(Cow::Borrowed(&key.reference));
        line.iteration = (!key.iteration.is_empty()).then_some(Cow::Borrowed(&key.iteration));
    }
    (line, [payload, second])
}

/// The payload of an outcome, or its error.
fn parts(outcome: &Outcome) -> (Option<Payload<'_>>, Option<Cow<'_, Problem>>) {
    match outcome {
        Outcome::Completed(output) => (Some(("output", output)), None),
        Outcome::Faulted(problem) => (None, Some(Cow::Borrowed(problem))),
    }
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// Where the text is not of this form.
pub fn decode(text: &[u8]) -> Result<Vec<Entry>, DecodeError> {
    let lines: Vec<Line<'_>> =
        serde_json::from_slice(text).map_err(|error| DecodeError(error.to_string()))?;
    lines.into_iter().map(entry).collect()
}

fn entry(mut line: Line<'_>) -> Result<Entry, DecodeError> {
    let change = match line.change.as_ref() {
        "started" => Change::Started {
            input: payload(line.input)?.ok_or_else(|| missing("input"))?,
        },
        "attempted" => Change::Attempted {
            key: key(&line)?,
            attempt: attempt(&mut line)?,
            retry_at: line.retry_at.ok_or_else(|| missing("retryAt"))?,
        },
        "performed" => Change::Performed {
            key: key(&line)?,
            attempt: attempt(&mut line)?,
            outcome: outcome(&mut line)?,
        },
        "fired" => Change::Fired { key: key(&line)? },
        "childStarted" => Change::ChildStarted {
            key: key(&line)?,
            child: line.child.ok_or_else(|| missing("child"))?,
            workflow_id: line.workflow_id.ok_or_else(|| missing("workflowId"))?,
        },
        "childEnded" => Change::ChildEnded {
            child: line.child.ok_or_else(|| missing("child"))?,
            outcome: outcome(&mut line)?,
        },
        "suspended" => Change::Suspended,
        "resumed" => Change::Resumed,
        "received" => Change::Received {
            event: Received {
                id: line.event.ok_or_else(|| missing("event"))?,
                addressed: line.addressed,
                envelope: payload(line.envelope)?.ok_or_else(|| missing("envelope"))?,
                raw: payload(line.raw)?,
            },
        },
        "cancelled" => Change::Cancelled,
        other => return Err(DecodeError(format!("it has an unknown change `{other}`"))),
    };
    Ok(Entry {
        at: line.at,
        change,
    })
}

fn key(line: &Line<'_>) -> Result<Key, DecodeError> {
    let reference = line.reference.as_deref();
    Ok(Key {
        reference: Arc::from(reference.ok_or_else(|| missing("reference"))?),
        iteration: Arc::from(line.iteration.as_deref().unwrap_or_default()),
    })
}

fn attempt(line: &mut Line<'_>) -> Result<Attempt, DecodeError> {
    line.attempt
        .take()
        .map(StoredAttempt::into_attempt)
        .ok_or_else(|| missing("attempt"))
}

fn outcome(line: &mut Line<'_>) -> Result<Outcome, DecodeError> {
    match (payload(line.output)?, line.error.take()) {
        (Some(output), _) => Ok(Outcome::Completed(output)),
        (None, Some(problem)) => Ok(Outcome::Faulted(problem.into_owned())),
        (None, None) => Err(missing("output")),
    }
}

/// A payload that is there, even where it is null.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn payload(raw: Option<&RawValue>) -> Result<Option<Value>, DecodeError> {
    raw.map(|raw| Value::from_json(raw.get().as_bytes()))
        .transpose()
        .map_err(|error| DecodeError(error.to_string()))
}

fn missing(member: &str) -> DecodeError {
    DecodeError(format!("an entry has no `{member}`"))
}
