//! Which workflows an event starts, and why not the others. Pure.
//!
//! The worker builds [`Triggers`] from the active deployments and asks it for every event of the
//! inbox. Deployments are found through an index, so that an event costs about the same with ten
//! workflows as with ten thousand. This module reads no database and starts nothing.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::event::{Event, is_caused_by, is_lifecycle};
use crate::expression::Value;
use crate::id::Id;
use crate::workflow::Definition;
use crate::workflow::definition::{EventFilter, Read, Schedule, Strategy};

mod body;
mod envelope;
mod filter;
pub mod gate;
mod gather;
mod index;
mod listeners;
mod screen;
pub mod timetable;
mod verdicts;

pub use envelope::{envelope, raw, received_at};
pub use filter::{Candidate, Verdict};
pub use gather::{Complete, complete};
pub use listeners::{Filter, Listeners, key};
pub use screen::{REPLAY_OF, Screen, is_asked_for};
pub use verdicts::Told;

use envelope::attribute;
use filter::ReceivedAt;
use index::Filters;

/// Most characters of an event's type that a sentence repeats; the sender chose it.
const TYPE_CHARS_SHOWN: usize = 200;

/// The deployed triggers, indexed so that matching does not grow with the number of workflows.
#[derive(Default)]
pub struct Triggers {
    deployments: Vec<Deployment>,
    /// Which filter of which deployment.
    filters: Vec<(usize, usize)>,
    index: Filters,
}

struct Deployment {
    id: i32,
    definition: Arc<Definition>,
}

impl Deployment {
    fn strategy(&self) -> Option<&Strategy> {
        let Some(Schedule::On { events, .. }) = &self.definition.schedule else {
            return None;
        };
        Some(events)
    }

    fn filter(&self, number: usize) -> Option<&EventFilter> {
        self.strategy()?.all_filters().nth(number)
    }
}

/// What an event leads to.
pub struct Matched {
    /// Ids of the workflows (`workflows.id`) to start, with their definitions, in the order in
    /// which the deployments were given.
    pub starts: Vec<(i32, Arc<Definition>)>,
    /// Workflows that start when more has come.
    pub gathers: Vec<Gathers>,
    /// Where nothing matched: a sentence that says why. It quotes no data.
    pub ignored: Option<String>,
    /// How many filters could not be evaluated; each counts as "no match".
    pub filter_errors: usize,
}

/// A workflow that starts when more has come, and what an event has to do with it.
#[derive(Clone, Debug)]
pub struct Gathers {
    /// The row of `workflows`.
    pub workflow_id: i32,
    /// The events that belong together have the same one.
    pub group: Id,
    /// The filters it has passed, one bit for each.
    pub filters: u64,
}

impl Triggers {
    /// Indexes the active deployments; those without a schedule are left out.
    pub fn new(deployments: impl IntoIterator<Item = (i32, Arc<Definition>)>) -> Self {
        let mut triggers = Self::default();
        for (id, definition) in deployments {
            triggers.add(Deployment { id, definition });
        }
        triggers
    }

    /// Whether a workflow may want events of the lifecycle of runs.
    #[must_use]
    pub const fn hears_lifecycle(&self) -> bool {
        self.index.hear_lifecycle()
    }

    /// Whether a workflow may want this event, as far as type and source say.
    #[must_use]
    pub fn may_want(&self, event: &Event) -> bool {
        !self.index.find(event).is_empty()
    }

    /// How many deployments listen for events.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.deployments.len()
    }

    /// Whether no deployment listens for events.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.deployments.is_empty()
    }

    fn add(&mut self, deployment: Deployment) {
        let Some(strategy) = deployment.strategy() else {
            return;
        };
        for (number, filter) in strategy.all_filters().enumerate() {
            self.index.insert(filter, self.filters.len());
            self.filters.push((self.deployments.len(), number));
        }
        self.deployments.push(deployment);
    }

    /// The workflows that an event starts.
    ///
    /// `envelope` is asked for at most once, and only where a filter looks into data.
    pub fn route(&self, event: &Event, envelope: &dyn Fn() -> Value) -> Matched {
        let envelope = Lazy {
            make: envelope,
            made: OnceCell::new(),
        };
        let scope = ReceivedAt(received_at(event));
        // There is no run yet: its variables are null.
        let candidate = Candidate {
            attribute: &|name| attribute(event, name),
            envelope: &|| envelope.get(),
            scope: &scope,
            is_run: true,
        };
        let mut matched = Matched {
            starts: Vec::new(),
            gathers: Vec::new(),
            ignored: None,
            filter_errors: 0,
        };
        let mut refused = None;
        let mut circle = false;
        for at in self.index.find(event) {
            let (place, number) = self.filters[at];
            let deployment = &self.deployments[place];
            let (Some(strategy), Some(filter)) = (deployment.strategy(), deployment.filter(number))
            else {
                continue;
            };
            let document = &deployment.definition.document;
            if is_lifecycle(&event.kind) && is_caused_by(event, &document.namespace, &document.name)
            {
                circle = true;
                continue;
            }
            let verdict = match candidate.judge(filter) {
                Verdict::Matches => gather::expected(&candidate, filter),
                verdict => Err(verdict),
            };
            match verdict {
                Ok(values) if gather::gathers(strategy) => {
                    gather::add(&mut matched.gathers, (deployment.id, number), &values);
                }
                // Of several filters that match, one starts the run.
                Ok(_)
                    if matched
                        .starts
                        .last()
                        .is_some_and(|(id, _)| *id == deployment.id) => {}
                Ok(_) => {
                    let definition = Arc::clone(&deployment.definition);
                    matched.starts.push((deployment.id, definition));
                }
                Err(verdict) => {
                    matched.filter_errors += usize::from(matches!(verdict, Verdict::Error(_)));
                    refused.get_or_insert((at, verdict));
                }
            }
        }
        if matched.starts.is_empty() && matched.gathers.is_empty() {
            matched.ignored = Some(if circle {
                "it tells of a run that began with an event of the same workflow: a circle".into()
            } else {
                self.explain(&candidate, event, refused)
            });
        }
        matched
    }

    fn explain(
        &self,
        candidate: &Candidate<'_>,
        event: &Event,
        refused: Option<(usize, Verdict)>,
    ) -> String {
        let (at, verdict) = match refused {
            // A filter that wants another type says nothing about this one.
            Some((at, verdict)) if !verdict.is_about("type") => (at, verdict),
            _ => {
                let refusal = self.index.near(event).and_then(|at| {
                    let (place, number) = self.filters[at];
                    let filter = self.deployments[place].filter(number)?;
                    Some((at, candidate.judge(filter)))
                });
                let Some(refusal) = refusal else {
                    let kind: String = event.kind.chars().take(TYPE_CHARS_SHOWN).collect();
                    return format!("no active workflow listens for type {kind}");
                };
                refusal
            }
        };
        let document = &self.deployments[self.filters[at].0].definition.document;
        let (namespace, name, version) = (&document.namespace, &document.name, &document.version);
        format!("the filter of {namespace}/{name} ({version}) said no: {verdict}")
    }
}

/// The input of a run that an event starts: a list with the event, or with what of it the
/// definition says in `schedule.read`.
#[must_use]
pub fn input(definition: &Definition, event: &Event) -> Value {
    let read = match definition.schedule {
        Some(Schedule::On { read, .. }) => read,
        _ => Read::Envelope,
    };
    Value::array(vec![read_as(read, event)])
}

/// What of an event a run gets.
#[must_use]
pub fn read_as(read: Read, event: &Event) -> Value {
    match read {
        Read::Envelope => envelope(event),
        Read::Data => envelope(event).get("data").unwrap_or_default(),
        Read::Raw => raw(event),
    }
}

/// The event's data form, made at most once.
struct Lazy<'a> {
    make: &'a dyn Fn() -> Value,
    made: OnceCell<Value>,
}

impl Lazy<'_> {
    fn get(&self) -> Value {
        self.made.get_or_init(|| (self.make)()).clone()
    }
}
