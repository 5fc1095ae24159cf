//! `retry` of a destination: the language's own shape, and the statuses it applies to.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::positive;
use crate::call::retry::{ATTEMPTS_CAP, Errors, Policy, Unknown};
use crate::workflow::definition::Backoff;
use crate::workflow::document::{Object, Place};

/// The widest growth of a delay that still means something.
const FACTOR_MAX: f64 = 100.0;

/// Delays of a schedule at most.
const SCHEDULE_MAX: usize = 100;

/// Entries of `statuses` at most.
const STATUSES_MAX: usize = 64;

/// The policy, and the deadline of one attempt where it names one.
pub(super) fn read(place: &Place<'_>) -> Option<(Policy, Option<Duration>)> {
    let object = place.object()?;
    let mut policy = Policy::default();
    for name in ["when", "exceptWhen"] {
        if let Some(at) = object.optional(name) {
            at.fault_with(
                format!("`{name}` is not supported in a destination"),
                "use `statuses` here, or a `try` with a retry in the workflow",
            );
        }
    }
    if let Some(delay) = object.optional_duration("delay") {
        policy.delay = delay;
    }
    if let Some(growth) = object.optional("backoff").and_then(|at| backoff(&at)) {
        policy.backoff = growth;
    }
    policy.jitter = object.optional("jitter").and_then(|at| jitter(&at));
    policy.unknown_outcome = object
        .optional("unknownOutcome")
        .and_then(|at| at.one_of(&["retry", "fail"]))
        .map(|word| [Unknown::Retry, Unknown::Fail][word]);
    if let Some(errors) = object.optional("errors").and_then(|at| errors(&at)) {
        policy.errors = errors;
    }
    if let Some(at) = object.optional("schedule") {
        let others = ["delay", "backoff"];
        if others.iter().any(|name| object.has(name)) {
            at.fault_with(
                "`schedule` says all delays by itself",
                "leave out `delay` and `backoff`",
            );
        }
        policy.schedule = schedule(&at);
        policy.attempts_max = u32::try_from(policy.schedule.len() + 1).unwrap_or(u32::MAX);
    }
    let limits = object.optional_object("limit");
    let attempt_duration = limits.and_then(|limit| limited(limit, &mut policy));
    if let Some(ranges) = object
        .optional("statuses")
        .and_then(|at| statuses(&at, 300))
    {
        policy.statuses = ranges;
    }
    object.finish();
    Some((policy, attempt_duration))
}

/// `limit {attempt {count, duration}, duration}`; `count` is the number of retries, as in the
/// language, so there is one try more. Gives the deadline of one attempt.
fn limited(limit: Object<'_>, policy: &mut Policy) -> Option<Duration> {
    policy.duration_max = positive(&limit, "duration");
    let attempt = limit.optional_object("attempt");
    limit.finish();
    let attempt = attempt?;
    let count = attempt
        .optional("count")
        .and_then(|at| at.integer(0, i64::from(ATTEMPTS_CAP) - 1))
        .and_then(|count| u32::try_from(count).ok());
    if let Some(count) = count {
        policy.attempts_max = count + 1;
    }
    let duration = positive(&attempt, "duration");
    attempt.finish();
    duration
}

/// The delays before the second attempt and those after it.
fn schedule(place: &Place<'_>) -> Vec<Duration> {
    let list = place.array().unwrap_or_default();
    if list.is_empty() || list.len() > SCHEDULE_MAX {
        place.fault(format!("a schedule has 1 to {SCHEDULE_MAX} delays"));
    }
    list.iter().filter_map(Place::duration).collect()
}

/// Which failures without an answer are tried again.
fn errors(place: &Place<'_>) -> Option<Errors> {
    let mut errors = Errors {
        connect: false,
        timeout: false,
        broken: false,
    };
    for at in place.array()? {
        match at.one_of(&["connect", "timeout", "broken"])? {
            0 => errors.connect = true,
            1 => errors.timeout = true,
            _ => errors.broken = true,
        }
    }
    Some(errors)
}

fn backoff(place: &Place<'_>) -> Option<Backoff> {
    let object = place.object()?;
    let constant = object.optional("constant");
    let linear = object.optional("linear");
    let exponential = object.optional("exponential");
    object.finish();
    match (constant, linear, exponential) {
        (Some(at), None, None) => {
            at.object()?.finish();
            Some(Backoff::Constant)
        }
        (None, Some(at), None) => {
            let members = at.object()?;
            let increment = members.optional_duration("increment");
            members.finish();
            Some(Backoff::Linear { increment })
        }
        (None, None, Some(at)) => {
            let members = at.object()?;
            let factor = members.optional("factor").and_then(|at| factor(&at));
            let max_delay = positive(&members, "maxDelay");
            members.finish();
            Some(Backoff::Exponential { factor, max_delay })
        }
        _ => {
            place.fault_with(
                "`backoff` has exactly one member",
                "write constant: {}, linear: {} or exponential: {}",
            );
            None
        }
    }
}

fn factor(place: &Place<'_>) -> Option<f64> {
    let factor = place.number()?;
    let usable = (1.0..=FACTOR_MAX).contains(&factor);
    if !usable {
        place.fault("a factor is a number from 1 to 100");
    }
    usable.then_some(factor)
}

fn jitter(place: &Place<'_>) -> Option<(Duration, Duration)> {
    let object = place.object()?;
    let from = object.optional_duration("from").unwrap_or_default();
    let to = object.required("to").and_then(|at| at.duration());
    object.finish();
    let to = to?;
    if to < from {
        place.fault("`to` must not be shorter than `from`");
        return None;
    }
    Some((from, to))
}

/// Statuses: numbers, or classes such as `5xx`.
pub(super) fn statuses(place: &Place<'_>, min: i64) -> Option<Vec<RangeInclusive<u16>>> {
    let list = place.array()?;
    if list.len() > STATUSES_MAX {
        place.fault(format!("at most {STATUSES_MAX} statuses may be listed"));
        return None;
    }
    Some(list.iter().filter_map(|at| status(at, min)).collect())
}

fn status(place: &Place<'_>, min: i64) -> Option<RangeInclusive<u16>> {
    match place.node().as_str() {
        Some("2xx") if min < 300 => Some(200..=299),
        Some("3xx") if min < 300 => Some(300..=399),
        Some("4xx") => Some(400..=499),
        Some("5xx") => Some(500..=599),
        Some(_) => {
            place.fault_with("this is no status", "write 409, 4xx or 5xx");
            None
        }
        None => {
            let status = u16::try_from(place.integer(min, 599)?).ok()?;
            Some(status..=status)
        }
    }
}
