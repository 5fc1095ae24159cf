//! Whether one event filter holds for one event, and if not, because of which attribute.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;

use crate::event::is_lifecycle;
use crate::expression::{Scope, Value};
use crate::workflow::definition::{AttributeFilter, EventFilter};

/// An event with ways to look into it.
pub struct Candidate<'a> {
    /// An attribute by its CloudEvents name, as text.
    pub attribute: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
    /// The event as data.
    pub envelope: &'a dyn Fn() -> Value,
    /// What conditions see besides, and what `now` means to them.
    pub scope: &'a dyn Scope,
    /// Whether that is the scope of the run that listens. Elsewhere conditions on its variables
    /// count as true: the run will judge.
    pub is_run: bool,
}

/// What a filter says, with the name of the attribute that decided.
pub enum Verdict {
    /// It lets the event through.
    Matches,
    /// The attribute is not what it must be.
    Differs(String),
    /// The attribute does not exist.
    Absent(String),
    /// The predicate does not hold.
    False(String),
    /// The predicate could not be evaluated.
    Error(String),
}

impl Verdict {
    /// Whether the attribute of this name decided.
    pub fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Matches => false,
            Self::Differs(about)
            | Self::Absent(about)
            | Self::False(about)
            | Self::Error(about) => about == name,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches => write!(f, "it matches"),
            Self::Differs(name) => write!(f, "{name} is not what it asks for"),
            Self::Absent(name) => write!(f, "the event has no {name}"),
            Self::False(name) => write!(f, "its condition on {name} is not true"),
            Self::Error(name) => write!(f, "its condition on {name} cannot be evaluated"),
        }
    }
}

impl Candidate<'_> {
    /// All attributes must match; texts are compared before anything is evaluated. A filter that
    /// says nothing lets everything through but the lifecycle of runs.
    pub fn judge(&self, filter: &EventFilter) -> Verdict {
        if filter.with.is_empty() && self.text("type").is_some_and(|kind| is_lifecycle(&kind)) {
            return Verdict::Differs("type".to_owned());
        }
        let is_text = |wanted: &AttributeFilter| matches!(wanted, AttributeFilter::Text { .. });
        let texts = filter.with.iter().filter(|(_, wanted)| is_text(wanted));
        let others = filter.with.iter().filter(|(_, wanted)| !is_text(wanted));
        for (name, wanted) in texts.chain(others) {
            let verdict = self.attribute(name, wanted);
            if !matches!(verdict, Verdict::Matches) {
                return verdict;
            }
        }
        Verdict::Matches
    }

    /// What the event says of each correlation, in their order; `None` where one says nothing, or
    /// cannot be evaluated: then the event does not match. One that needs the run has `None` where
    /// this is not the run.
    pub fn correlated(&self, filter: &EventFilter) -> Option<Vec<Option<Value>>> {
        filter
            .correlate
            .iter()
            .map(|correlation| {
                if !correlation.local && !self.is_run {
                    return Some(None);
                }
                let value = correlation.from.evaluate(&(self.envelope)(), self.scope);
                value.ok().filter(|value| !value.is_null()).map(Some)
            })
            .collect()
    }

    fn attribute(&self, name: &str, wanted: &AttributeFilter) -> Verdict {
        match wanted {
            AttributeFilter::Text { literal, pattern } => {
                let text = match name {
                    "data" => self.data().as_str().map(|text| Cow::Owned(text.to_owned())),
                    _ => self.text(name),
                };
                let Some(text) = text else {
                    return Verdict::Absent(name.to_owned());
                };
                let matches = text == *literal
                    || pattern
                        .as_ref()
                        .is_some_and(|pattern| pattern.is_match(&text));
                if matches {
                    Verdict::Matches
                } else {
                    Verdict::Differs(name.to_owned())
                }
            }
            AttributeFilter::Deferred(_) if !self.is_run => Verdict::Matches,
            AttributeFilter::Predicate(predicate) | AttributeFilter::Deferred(predicate) => {
                let value = match name {
                    "data" => self.data(),
                    _ => self
                        .text(name)
                        .map_or_else(Value::null, |text| Value::string(text.into_owned())),
                };
                match predicate.evaluate(&value, self.scope) {
                    Ok(value) if value.is_truthy() => Verdict::Matches,
                    Ok(_) => Verdict::False(name.to_owned()),
                    Err(_) => Verdict::Error(name.to_owned()),
                }
            }
            AttributeFilter::Data(wanted) => {
                let data = self.data();
                let equal = |(key, value): (String, Value)| data.get(&key) == Some(value);
                let matches = wanted
                    .members()
                    .is_some_and(|all| all.into_iter().all(equal));
                if matches {
                    Verdict::Matches
                } else {
                    Verdict::Differs(name.to_owned())
                }
            }
        }
    }

    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        (self.attribute)(name)
    }

    fn data(&self) -> Value {
        (self.envelope)().get("data").unwrap_or_default()
    }
}

/// A filter of a schedule has no variables, and its `now` is when the event was received.
pub struct ReceivedAt(pub Timestamp);

impl Scope for ReceivedAt {
    fn variable(&self, _name: &str) -> Value {
        Value::null()
    }

    fn now(&self) -> Timestamp {
        self.0
    }
}
