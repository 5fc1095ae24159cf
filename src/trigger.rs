//! Which workflows an event starts, and why not the others. Pure.
//!
//! The worker builds [`Triggers`] from the active deployments and asks it for every event of the
//! inbox. Deployments are found through an index, so that an event costs about the same with ten
//! workflows as with ten thousand. This module reads no database and starts nothing.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::event::Event;
use crate::expression::Value;
use crate::workflow::Definition;
use crate::workflow::definition::{AttributeFilter, EventFilter, Read, Schedule};

mod envelope;
mod filter;
pub mod gate;
mod index;
pub mod timetable;

pub use envelope::envelope;

use filter::{Candidate, Verdict};
use index::Index;

/// Most characters of an event's type that a sentence repeats; the sender chose it.
const TYPE_CHARS_SHOWN: usize = 200;

/// The deployed triggers, indexed so that matching does not grow with the number of workflows.
#[derive(Default)]
pub struct Triggers {
    deployments: Vec<Deployment>,
    /// By `type` and `source`, where a filter names both.
    by_both: Index,
    /// By `type` alone, where a filter names no source.
    by_type: Index,
    /// By `source` alone, where a filter names no type.
    by_source: Index,
    /// Filters that name neither in a way that can be looked up.
    others: Vec<usize>,
    /// All filters that name a type, to explain why none of them matched.
    near: Index,
}

struct Deployment {
    id: i32,
    definition: Arc<Definition>,
}

impl Deployment {
    fn filter(&self) -> Option<&EventFilter> {
        let Some(Schedule::On { filter, .. }) = &self.definition.schedule else {
            return None;
        };
        Some(filter)
    }
}

/// What an event leads to.
pub struct Matched {
    /// Ids of the workflows (`workflows.id`) to start, with their definitions, in the order in
    /// which the deployments were given.
    pub starts: Vec<(i32, Arc<Definition>)>,
    /// Where nothing matched: a sentence that says why. It quotes no data.
    pub ignored: Option<String>,
    /// How many filters could not be evaluated; each counts as "no match".
    pub filter_errors: usize,
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
        let Some(filter) = deployment.filter() else {
            return;
        };
        let at = self.deployments.len();
        let (kind, source) = (indexed(filter, "type"), indexed(filter, "source"));
        match (kind, source) {
            (Some(kind), Some(source)) => self.by_both.insert(&both(kind, source), at),
            (Some(kind), None) => self.by_type.insert(kind, at),
            (None, Some(source)) => self.by_source.insert(source, at),
            (None, None) => self.others.push(at),
        }
        if let Some(kind) = kind {
            self.near.insert(kind, at);
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
        let candidate = Candidate {
            event,
            envelope: &|| envelope.get(),
        };
        let mut found = self.others.clone();
        self.by_both
            .find(&both(&event.kind, &event.source), &mut found);
        self.by_type.find(&event.kind, &mut found);
        self.by_source.find(&event.source, &mut found);
        found.sort_unstable();
        found.dedup();
        let mut matched = Matched {
            starts: Vec::new(),
            ignored: None,
            filter_errors: 0,
        };
        let mut refused = None;
        for at in found {
            let deployment = &self.deployments[at];
            let Some(filter) = deployment.filter() else {
                continue;
            };
            match candidate.judge(filter) {
                Verdict::Matches => {
                    let definition = Arc::clone(&deployment.definition);
                    matched.starts.push((deployment.id, definition));
                }
                verdict => {
                    matched.filter_errors += usize::from(matches!(verdict, Verdict::Error(_)));
                    refused.get_or_insert((at, verdict));
                }
            }
        }
        if matched.starts.is_empty() {
            matched.ignored = Some(self.explain(&candidate, refused));
        }
        matched
    }

    fn explain(&self, candidate: &Candidate<'_>, refused: Option<(usize, Verdict)>) -> String {
        let kind = &candidate.event.kind;
        let (at, verdict) = match refused {
            // A filter that wants another type says nothing about this one.
            Some((at, verdict)) if !verdict.is_about("type") => (at, verdict),
            _ => {
                let mut near = Vec::new();
                self.near.find(kind, &mut near);
                let refusal = near.first().and_then(|at| {
                    let filter = self.deployments[*at].filter()?;
                    Some((*at, candidate.judge(filter)))
                });
                let Some(refusal) = refusal else {
                    let kind: String = kind.chars().take(TYPE_CHARS_SHOWN).collect();
                    return format!("no active workflow listens for type {kind}");
                };
                refusal
            }
        };
        let document = &self.deployments[at].definition.document;
        let (namespace, name, version) = (&document.namespace, &document.name, &document.version);
        format!("the filter of {namespace}/{name} ({version}) said no: {verdict}")
    }
}

/// The input of a run that an event starts: a list with the event, or with its data where the
/// definition says `schedule.read: data`.
#[must_use]
pub fn input(definition: &Definition, envelope: Value) -> Value {
    let item = match definition.schedule {
        Some(Schedule::On {
            read: Read::Data, ..
        }) => envelope.get("data").unwrap_or_default(),
        _ => envelope,
    };
    Value::array(vec![item])
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

/// What an attribute must be, where an index can look it up.
fn indexed<'a>(filter: &'a EventFilter, name: &str) -> Option<&'a str> {
    filter
        .with
        .iter()
        .find_map(|(attribute, wanted)| match wanted {
            AttributeFilter::Text { literal, pattern } if attribute == name => {
                let simple = pattern.is_none() || index::only_dots(literal);
                simple.then_some(literal.as_str())
            }
            _ => None,
        })
}

/// Two attributes as one key; no dot stands for a line feed, and what is found is judged again.
fn both(kind: &str, source: &str) -> String {
    format!("{kind}\n{source}")
}
