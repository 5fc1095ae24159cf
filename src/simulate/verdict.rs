//! What came of a case, held against what was expected.

use std::time::Duration;

use jiff::SignedDuration;

use super::answers::{self, Rule};
use super::decisions::Decision;
use super::document::{Calls, Case, Elapsed, ExpectedCall};
use super::drive::Played;
use super::expected::{Expected, Members, shown};
use super::rehearsal::Call;
use crate::expression::Value;
use crate::problem::Problem;
use crate::run::End;
use crate::trigger;

/// What came of a case.
#[derive(Debug)]
pub struct Verdict {
    /// All that is otherwise than expected; nothing where the case passed.
    pub mismatches: Vec<Mismatch>,
    /// The run; none where an event started none.
    pub played: Option<Played>,
    /// The requests it made, in order.
    pub calls: Vec<Call>,
}

/// One thing that is otherwise than expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Line and column of the expectation, from 1.
    pub place: (u32, u32),
    /// Its RFC 6901 pointer; empty where it is not about one value.
    pub pointer: String,
    /// What was expected and what was.
    pub message: String,
}

impl Mismatch {
    pub(super) const fn at(place: (u32, u32), message: String) -> Self {
        let pointer = String::new();
        Self {
            place,
            pointer,
            message,
        }
    }
}

impl Verdict {
    pub(super) fn failed(case: &Case, mismatch: Mismatch) -> Self {
        debug_assert!(case.line <= mismatch.place.0);
        Self {
            mismatches: vec![mismatch],
            played: None,
            calls: Vec::new(),
        }
    }
}

/// What came of a case whose event started no run.
pub(super) fn ignored(case: &Case, reason: &str, place: (u32, u32)) -> Verdict {
    let mismatch = match &case.expect.ignored {
        None => Some(Mismatch::at(
            place,
            format!("the event starts no run: {reason}"),
        )),
        Some((Some(part), place)) if !reason.contains(part.as_str()) => {
            let message = format!("expected a reason with {part:?}\n     was {reason:?}");
            Some(Mismatch::at(*place, message))
        }
        Some(_) => None,
    };
    Verdict {
        mismatches: mismatch.into_iter().collect(),
        played: None,
        calls: Vec::new(),
    }
}

/// What came of a case that was played.
pub(super) fn judge(
    case: &Case,
    played: Played,
    calls: Vec<Call>,
    (rules, decisions): (&[Rule], &[Decision]),
    unanswered: Option<String>,
) -> Verdict {
    let mut found = Vec::new();
    if let Some(unanswered) = unanswered {
        // Everything else would follow from this.
        found.push(Mismatch::at(case.expect.place, unanswered));
    } else {
        of_end(case, &played, &mut found);
        if let Some(expected) = &case.expect.calls {
            of_calls(expected, &calls, &mut found);
        }
        if let Some((expected, place)) = &case.expect.emits {
            of_events(expected, *place, &played, &mut found);
        }
        if let Some(expected) = &case.expect.elapsed {
            of_time(expected, &played, &mut found);
        }
        found.extend(decisions.iter().map(|decision| {
            let message = "expected that this decision is asked for\n     was never";
            Mismatch::at(decision.place, message.to_owned())
        }));
        for rule in rules.iter().filter(|rule| rule.strict) {
            let left = rule.left_over();
            found.extend(left.map(|(place, given, times)| {
                let name = &rule.name;
                let message = format!(
                    "expected that this answer of `{name}` is asked for {times} times\n     \
                     was {given}"
                );
                Mismatch::at(place, message)
            }));
        }
    }
    Verdict {
        mismatches: found,
        played: Some(played),
        calls,
    }
}

fn of_end(case: &Case, played: &Played, found: &mut Vec<Mismatch>) {
    let (status, detail) = match &played.end {
        None => ("waiting", String::new()),
        Some(End::Completed(output)) => ("completed", format!(" with {}", shown(output))),
        Some(End::Faulted(problem)) => ("faulted", format!(": {}", shown(&error(problem, false)))),
        Some(End::Cancelled) => ("cancelled", String::new()),
    };
    let (expected, place) = case.expect.status;
    if status != expected {
        let message = format!("expected {expected}\n     was {status}{detail}");
        found.push(Mismatch::at(place, message));
        return;
    }
    match (&played.end, &case.expect.output, &case.expect.error) {
        (Some(End::Completed(output)), Some(expected), _) => {
            expected.compare(output, Members::All, found);
        }
        (Some(End::Faulted(problem)), _, Some(expected)) => {
            let short = expected
                .text_of("type")
                .is_some_and(|text| !text.contains(':'));
            expected.compare(&error(problem, short), Members::Given, found);
        }
        _ => {}
    }
}

/// An error as data; with the last word of its type only, where that is what is compared.
fn error(problem: &Problem, short: bool) -> Value {
    let value = serde_json::to_value(problem).unwrap_or_default();
    let value = Value::from_serde(&value);
    match problem.standard_name().filter(|_| short) {
        Some(name) => value.with("type", Value::string(name)),
        None => value,
    }
}

fn of_calls(expected: &Calls, calls: &[Call], found: &mut Vec<Mismatch>) {
    let mut made = calls.iter();
    for wanted in &expected.calls {
        for time in 1..=wanted.times {
            let Some(call) = made.next() else {
                let message = match wanted.times {
                    1 => "expected this call\n     was none".to_owned(),
                    times => format!("expected this call {times} times\n     was {}", time - 1),
                };
                found.push(Mismatch::at(wanted.place, message));
                return;
            };
            let before = found.len();
            wanted.compare(call, found);
            if found.len() > before {
                // What is after a call that is not the one meant says nothing.
                return;
            }
        }
    }
    for call in made {
        let body = answers::body(&call.sent);
        let body = match body.is_null() {
            true => String::new(),
            false => format!(" with {}", shown(&body)),
        };
        let (method, url) = (&call.sent.method, &call.sent.url);
        let message = format!("not expected: {method} {url} of task `{}`{body}", call.task);
        found.push(Mismatch::at(expected.place, message));
    }
}

fn of_events(expected: &[Expected], place: (u32, u32), played: &Played, found: &mut Vec<Mismatch>) {
    let emitted: Vec<Value> = played
        .emitted
        .iter()
        .map(|(_, event)| trigger::envelope(event))
        .collect();
    for (expected, event) in expected.iter().zip(&emitted) {
        expected.compare(event, Members::Given, found);
    }
    let (wanted, was) = (expected.len(), emitted.len());
    if wanted != was {
        let kinds: Vec<&str> = played
            .emitted
            .iter()
            .map(|(_, event)| event.kind.as_str())
            .collect();
        let message = match kinds.is_empty() {
            true => format!("expected {wanted} events\n     was none"),
            false => format!(
                "expected {wanted} events\n     was {was}: {}",
                kinds.join(", ")
            ),
        };
        found.push(Mismatch::at(place, message));
    }
}

impl ExpectedCall {
    fn compare(&self, call: &Call, found: &mut Vec<Mismatch>) {
        let mut differ = |place, wanted: &str, was: &str| {
            let message = format!("expected {wanted}\n     was {was}");
            found.push(Mismatch::at(place, message));
        };
        let what = format!("{} {}", call.sent.method, call.sent.url);
        match &self.task {
            Some((task, place)) if *task != call.task => {
                differ(
                    *place,
                    &format!("a call of task {task}"),
                    &format!("{what} of task {}", call.task),
                );
            }
            _ => {}
        }
        match &self.method {
            Some((method, place)) if *method != call.sent.method => differ(*place, method, &what),
            _ => {}
        }
        match &self.uri {
            Some((uri, place)) if !uri.fits(&call.sent.url) && !uri.fits(&call.uri) => {
                differ(*place, uri.text(), &what);
            }
            _ => {}
        }
        for (name, expected) in &self.headers {
            let mut headers = call.sent.headers.iter();
            let header = headers.find(|(given, _)| given.eq_ignore_ascii_case(name));
            let value = header.map(|(_, value)| Value::string(value.as_str()));
            expected.compare(&value.unwrap_or_default(), Members::Given, found);
        }
        if let Some(expected) = &self.body {
            expected.compare(&answers::body(&call.sent), Members::Given, found);
        }
    }
}

fn of_time(expected: &Elapsed, played: &Played, found: &mut Vec<Mismatch>) {
    let elapsed = played.ended_at.duration_since(played.started_at);
    let was = Duration::try_from(elapsed).unwrap_or_default();
    let early = expected.min.is_some_and(|min| was < min);
    let late = expected.max.is_some_and(|max| was > max);
    if early || late {
        let text = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let wanted = match (expected.min.map(text), expected.max.map(text)) {
            (Some(min), Some(max)) if min == max => format!("{min:#}"),
            (Some(min), Some(max)) => format!("{min:#} to {max:#}"),
            (Some(min), None) => format!("{min:#} or longer"),
            (_, max) => format!("{:#} or less", max.unwrap_or_default()),
        };
        let message = format!("expected {wanted}\n     was {elapsed:#}");
        found.push(Mismatch::at(expected.place, message));
    }
}
