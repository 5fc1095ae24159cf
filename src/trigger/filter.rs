//! Whether one event filter holds for one event, and if not, because of which attribute.

use std::fmt;

use jiff::Timestamp;

use super::envelope::{attribute, received_at};
use crate::event::Event;
use crate::expression::{Scope, Value};
use crate::workflow::definition::{AttributeFilter, EventFilter};

/// An event with a way to look into it.
pub struct Candidate<'a> {
    /// The event.
    pub event: &'a Event,
    /// The event as data.
    pub envelope: &'a dyn Fn() -> Value,
}

/// What a filter says, with the name of the attribute that decided.
pub enum Verdict {
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
    /// All attributes must match; texts are compared before anything is evaluated.
    pub fn judge(&self, filter: &EventFilter) -> Verdict {
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

    fn attribute(&self, name: &str, wanted: &AttributeFilter) -> Verdict {
        match wanted {
            AttributeFilter::Text { literal, pattern } => {
                let text = match name {
                    "data" => self.data().as_str().map(str::to_owned),
                    _ => attribute(self.event, name).map(|text| text.into_owned()),
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
            AttributeFilter::Predicate(predicate) => {
                let value = match name {
                    "data" => self.data(),
                    _ => attribute(self.event, name)
                        .map_or_else(Value::null, |text| Value::string(text.into_owned())),
                };
                match predicate.evaluate(&value, &ReceivedAt(received_at(self.event))) {
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

    fn data(&self) -> Value {
        (self.envelope)().get("data").unwrap_or_default()
    }
}

/// A filter has no variables, and its `now` is when the event was received.
struct ReceivedAt(Timestamp);

impl Scope for ReceivedAt {
    fn variable(&self, _name: &str) -> Value {
        Value::null()
    }

    fn now(&self) -> Timestamp {
        self.0
    }
}
