//! `circuitBreaker` of a destination: when it counts as down, and how long it is left alone.

use super::positive;
use crate::call::circuit::Policy;
use crate::workflow::document::Place;

/// Failures in a row that may be asked for at most.
const FAILURES_MAX: i64 = 1_000;

/// The policy; none where it is `off`.
pub(super) fn read(place: &Place<'_>) -> Option<Policy> {
    if place.node().as_str() == Some("off") {
        return None;
    }
    let object = place.object()?;
    let mut policy = Policy::default();
    let failures = object.optional("failures");
    let failures = failures.and_then(|at| at.integer(1, FAILURES_MAX));
    if let Some(failures) = failures.and_then(|count| u32::try_from(count).ok()) {
        policy.failures = failures;
    }
    if let Some(pause) = positive(&object, "pause") {
        policy.pause = pause;
    }
    policy.pause_max = match positive(&object, "maxPause") {
        Some(longest) => longest.max(policy.pause),
        None => policy.pause_max.max(policy.pause),
    };
    object.finish();
    Some(policy)
}
