//! Schedules that start on several events: which events belong together.

use super::filter::ReceivedAt;
use super::{Candidate, Gathers, Verdict, listeners, read_as, received_at};
use crate::event::Event;
use crate::expression::Value;
use crate::workflow::Definition;
use crate::workflow::definition::{Consume, EventFilter, Read, Schedule, Strategy, Until};

/// What of the events given suffices for a start.
pub struct Complete {
    /// Which of them are used up.
    pub used: Vec<usize>,
    /// The input of the run; none where what ends the gathering came before anything else.
    pub input: Option<Value>,
}

/// Whether these events, each with the filters it has passed, suffice to start a run; oldest first.
#[must_use]
pub fn complete(definition: &Definition, events: &[(&Event, u64)]) -> Option<Complete> {
    let Some(Schedule::On {
        events: strategy,
        read,
    }) = &definition.schedule
    else {
        return None;
    };
    match &strategy.until {
        None => all(strategy, *read, events),
        Some(until) => {
            let own = strategy.filters.len();
            let mut taken = Taken::default();
            let mut met = 0_u64;
            for (at, (event, filters)) in events.iter().enumerate() {
                let ends = match until {
                    Until::Events(until) if filters >> own != 0 => {
                        met |= filters >> own;
                        taken.used.push(at);
                        let wanted = (1_u64 << until.filters.len().min(63)) - 1;
                        until.consume != Consume::All || met & wanted == wanted
                    }
                    _ => {
                        taken.used.push(at);
                        taken.values.push(read_as(*read, event));
                        holds(until, event, &taken.values)
                    }
                };
                if ends {
                    let some = !taken.values.is_empty();
                    return Some(Complete {
                        used: taken.used,
                        input: some.then(|| Value::array(taken.values)),
                    });
                }
            }
            None
        }
    }
}

#[derive(Default)]
struct Taken {
    used: Vec<usize>,
    values: Vec<Value>,
}

/// Whether a condition holds for what was gathered so far; one that fails does not.
fn holds(until: &Until, event: &Event, values: &[Value]) -> bool {
    let Until::Condition(condition) = until else {
        return false;
    };
    let scope = ReceivedAt(received_at(event));
    let result = condition.evaluate(&Value::array(values.to_vec()), &scope);
    result.is_ok_and(|value| value.is_truthy())
}

/// One event for each filter, each event for the first filter that is still open; the input is in
/// the order of the filters.
fn all(strategy: &Strategy, read: Read, events: &[(&Event, u64)]) -> Option<Complete> {
    let mut filled: Vec<Option<usize>> = vec![None; strategy.filters.len()];
    for (at, (_, filters)) in events.iter().enumerate() {
        let open = |(number, place): &(usize, &mut Option<usize>)| {
            place.is_none() && filters >> number & 1 == 1
        };
        if let Some((_, place)) = filled.iter_mut().enumerate().find(open) {
            *place = Some(at);
        }
    }
    let used: Vec<usize> = filled.into_iter().collect::<Option<_>>()?;
    let values = used.iter().map(|at| read_as(read, events[*at].0));
    Some(Complete {
        input: Some(Value::array(values.collect())),
        used,
    })
}

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
