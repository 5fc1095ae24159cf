//! Which listening runs may want an event: keys that are looked up in the database.
//!
//! Thousands of runs of one workflow listen with the same filter; a hundred thousand of them may
//! wait, each for its own order. So a filter is judged once for an event, and the runs are found by
//! a key made of the filter and of the values they expect.

use std::cell::OnceCell;
use std::sync::Arc;

use uuid::Uuid;

use super::envelope::attribute;
use super::filter::ReceivedAt;
use super::index::Filters;
use super::{Candidate, Lazy, Verdict, received_at};
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::workflow::Definition;
use crate::workflow::definition::{EventFilter, Kind, Task};

/// A filter of a task that listens.
#[derive(Clone)]
pub struct Filter {
    /// The row of `workflows`.
    workflow_id: i32,
    task: Arc<Task>,
    /// Which of its filters.
    number: usize,
}

impl Filter {
    /// The filter of this number of the task at `reference`, where there is one.
    #[must_use]
    pub fn new(
        workflow_id: i32,
        definition: &Definition,
        (reference, number): (&str, usize),
    ) -> Option<Self> {
        let task = Arc::clone(definition.task(reference)?);
        let filter = Self {
            workflow_id,
            task,
            number,
        };
        filter.filter().is_some().then_some(filter)
    }

    fn filter(&self) -> Option<&EventFilter> {
        let Kind::Listen(listen) = &self.task.kind else {
            return None;
        };
        listen.to.all_filters().nth(self.number)
    }
}

/// All filters that runs listen with, indexed as triggers are.
#[derive(Default)]
pub struct Listeners {
    filters: Vec<Filter>,
    index: Filters,
}

impl Listeners {
    /// Indexes filters.
    pub fn new(filters: impl IntoIterator<Item = Filter>) -> Self {
        let mut listeners = Self::default();
        for given in filters {
            if let Some(filter) = given.filter() {
                listeners.index.insert(filter, listeners.filters.len());
                listeners.filters.push(given);
            }
        }
        listeners
    }

    /// Whether a run may listen for events of the lifecycle of runs.
    #[must_use]
    pub const fn hears_lifecycle(&self) -> bool {
        self.index.hear_lifecycle()
    }

    /// Whether a run may listen for this event, as far as type and source say.
    #[must_use]
    pub fn may_want(&self, event: &Event) -> bool {
        !self.index.find(event).is_empty()
    }

    /// The keys of those who may want the event.
    pub fn keys(&self, event: &Event, envelope: &dyn Fn() -> Value) -> Vec<Id> {
        let mut keys = Vec::new();
        if self.filters.is_empty() {
            return keys;
        }
        let envelope = Lazy {
            make: envelope,
            made: OnceCell::new(),
        };
        let scope = ReceivedAt(received_at(event));
        let candidate = Candidate {
            attribute: &|name| attribute(event, name),
            envelope: &|| envelope.get(),
            scope: &scope,
            is_run: false,
        };
        for at in self.index.find(event) {
            let known = &self.filters[at];
            let Some(filter) = known.filter() else {
                continue;
            };
            if !matches!(candidate.judge(filter), Verdict::Matches) {
                continue;
            }
            let Some(values) = candidate.correlated(filter) else {
                continue;
            };
            let place = (known.task.reference.as_ref(), known.number);
            let make = |values| key(known.workflow_id, place, values);
            keys.push(make(None));
            let values: Option<Vec<Value>> = values.into_iter().collect();
            if let Some(values) = values.filter(|values| !values.is_empty())
                && are_exact(&values)
            {
                keys.push(make(Some(&values)));
            }
        }
        keys
    }
}

/// The key of a filter of a task of a workflow, for runs that expect these values of all its
/// correlations, or, without values, for those that expect what is not known yet.
#[must_use]
pub fn key(workflow_id: i32, (reference, number): (&str, usize), values: Option<&[Value]>) -> Id {
    let mut name = format!("{workflow_id} {number} {reference}\n").into_bytes();
    match values.filter(|values| are_exact(values)) {
        None => name.push(b'?'),
        Some(values) => values.iter().for_each(|value| write(value, &mut name)),
    }
    digest(&name)
}

/// The key of what belongs together for a workflow that starts on several events.
pub fn group(workflow_id: i32, values: &[(String, Value)]) -> Id {
    let mut name = format!("{workflow_id} on\n").into_bytes();
    for (key, value) in values {
        name.extend_from_slice(key.as_bytes());
        name.push(0);
        write(value, &mut name);
    }
    digest(&name)
}

fn digest(name: &[u8]) -> Id {
    Uuid::new_v5(&Uuid::nil(), name).into()
}

/// Whether equal values have equal texts: then they can be looked up.
fn are_exact(values: &[Value]) -> bool {
    !values
        .iter()
        .any(|value| value.is_object() || value.as_array().is_some())
}

/// Numbers that are equal are written alike.
fn write(value: &Value, out: &mut Vec<u8>) {
    match (value.as_i64(), value.as_f64()) {
        (Some(number), _) => out.extend_from_slice(number.to_string().as_bytes()),
        (None, Some(number)) => out.extend_from_slice(format!("{number:e}").as_bytes()),
        (None, None) => value.write_json(out),
    }
    out.push(0);
}
