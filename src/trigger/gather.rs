//! Schedules that start on several events: which events belong together.

use super::{Candidate, Gathers, Verdict, listeners};
use crate::expression::Value;
use crate::workflow::definition::{Consume, EventFilter, Strategy};

/// Whether one event is not enough.
pub fn gathers(strategy: &Strategy) -> bool {
    strategy.until.is_some() || (strategy.consume == Consume::All && strategy.filters.len() > 1)
}

/// What an event says of the correlations of a filter it has passed, where that is what they
/// expect.
pub fn expected(
    candidate: &Candidate<'_>,
    filter: &EventFilter,
) -> Result<Vec<(String, Value)>, Verdict> {
    if filter.correlate.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = || Verdict::Differs("data".to_owned());
    let values = candidate.correlated(filter).ok_or_else(wrong)?;
    let mut correlated = Vec::with_capacity(values.len());
    for (correlation, value) in filter.correlate.iter().zip(values) {
        let value = value.ok_or_else(wrong)?;
        if let Some(expect) = &correlation.expect {
            let expected = expect.evaluate(&Value::null(), candidate.scope);
            if !expected.is_ok_and(|expected| expected == value) {
                return Err(wrong());
            }
        } else {
            correlated.push((correlation.name.clone(), value));
        }
    }
    correlated.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(correlated)
}

/// Notes that the event has passed a filter of a workflow that gathers.
pub fn add(
    gathers: &mut Vec<Gathers>,
    (workflow_id, filter): (i32, usize),
    values: &[(String, Value)],
) {
    let group = listeners::group(workflow_id, values);
    let bit = 1_u64 << (filter % 64);
    let known = gathers
        .iter_mut()
        .find(|known| known.workflow_id == workflow_id && known.group == group);
    match known {
        Some(known) => known.filters |= bit,
        None => gathers.push(Gathers {
            workflow_id,
            group,
            filters: bit,
        }),
    }
}
