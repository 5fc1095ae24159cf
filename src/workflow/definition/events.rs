//! What definitions say of events: which ones are consumed, and what is emitted.

use super::{Flow, TaskList};
use crate::expression::{Expression, Template, Value};

/// `read`: what of an event a run gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The event with its attributes; what a schedule gives where it says nothing.
    Envelope,
    /// Its data only; what a listen gives where it says nothing.
    Data,
    /// Its data as a string, as it was received.
    Raw,
}

/// Which events a schedule or a listen consumes.
#[derive(Clone, Debug)]
pub struct Strategy {
    /// How many of the filters must be met.
    pub consume: Consume,
    /// The filters in the order written. `any: []` has one that says nothing.
    pub filters: Vec<EventFilter>,
    /// What ends `any`, which else takes one event.
    pub until: Option<Until>,
}

impl Strategy {
    /// All filters: those of the strategy, then those of its `until`.
    pub fn all_filters(&self) -> impl Iterator<Item = &EventFilter> {
        let until = match &self.until {
            Some(Until::Events(strategy)) => strategy.filters.as_slice(),
            Some(Until::Condition(_)) | None => &[],
        };
        self.filters.iter().chain(until)
    }
}

/// The kinds of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consume {
    /// `one`: an event that its filter lets through.
    One,
    /// `any`: an event that one of the filters lets through.
    Any,
    /// `all`: an event for each filter.
    All,
}

/// `until` of `any`.
#[derive(Clone, Debug)]
pub enum Until {
    /// Holds for the array of what was consumed so far.
    Condition(Expression),
    /// These events, which are not consumed.
    Events(Box<Strategy>),
}

/// `correlate.<name>`: what events must agree on.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// The key's name: filters that use the same one expect the same value.
    pub name: String,
    /// Gives the value, from the event with its attributes.
    pub from: Expression,
    /// Whether `from` needs nothing but the event.
    pub local: bool,
    /// The value expected; without it, the first one seen is.
    pub expect: Option<Template>,
}

/// Characters that give a text a meaning of its own as a regular expression.
pub const PATTERN_CHARACTERS: [char; 14] = [
    '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$',
];

/// `with` of an event filter: all attributes must match.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Attribute name and what it must be, in the order written; without any, every event but
    /// those of the lifecycle of runs.
    pub with: Vec<(String, AttributeFilter)>,
    /// What must agree besides.
    pub correlate: Vec<Correlation>,
}

/// What one attribute must be.
#[derive(Clone, Debug)]
pub enum AttributeFilter {
    /// Equal, or an anchored regular expression that matches (RE2 syntax).
    Text {
        /// The text as written.
        literal: String,
        /// The text as an anchored pattern, where it is one that could match something else.
        pattern: Option<regex::Regex>,
    },
    /// A predicate: `.` is the attribute's value.
    Predicate(Expression),
    /// A predicate that also looks at variables of the run that listens.
    Deferred(Expression),
    /// `data: {…}`: these members must be equal.
    Data(Value),
}

/// `emit.event.with`.
#[derive(Debug)]
pub struct Emit {
    /// The context attributes, in the order written.
    pub attributes: Vec<(String, Template)>,
    /// `data`.
    pub data: Option<Template>,
}

/// `listen` with its `foreach`.
#[derive(Debug)]
pub struct Listen {
    /// `to`.
    pub to: Strategy,
    /// `read`.
    pub read: Read,
    /// `foreach`.
    pub foreach: Option<Foreach>,
}

/// `foreach` of a `listen`: what is done with each event before the next one.
#[derive(Debug)]
pub struct Foreach {
    /// `item`, default `item`.
    pub item: String,
    /// `at`, default `index`.
    pub at: String,
    /// `do`; empty where absent.
    pub body: TaskList,
    /// `output`.
    pub output: Flow,
    /// `export`.
    pub export: Flow,
}
