//! Expected data: literal values with their places, and predicates in the place of values.
//!
//! As in the filters of the language, a string that as a whole is `${ … }` is a predicate on what
//! stands in its place.

use jiff::Timestamp;

use super::document::place;
use super::verdict::Mismatch;
use crate::expression::{Expression, Scope, Value};
use crate::workflow::document::{Content, Place, join};

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 2_000;

/// What is expected at one place.
#[derive(Debug)]
pub(super) struct Expected {
    place: (u32, u32),
    pointer: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Scalar(Value),
    Predicate(Expression),
    Array(Vec<Expected>),
    Object(Vec<(String, Expected)>),
}

/// How objects are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// Those given and no others.
    All,
    /// Those given; others do not matter.
    Given,
}

struct Nothing;

impl Scope for Nothing {
    fn variable(&self, _name: &str) -> Value {
        Value::null()
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

impl Expected {
    pub fn read(at: &Place<'_>) -> Option<Self> {
        let what = match &at.node().content {
            Content::String(text) if is_expression(text) => match Expression::compile(text, &[]) {
                Ok(expression) => What::Predicate(expression),
                Err(error) => {
                    match error.hint {
                        Some(hint) => at.fault_with(error.message, hint),
                        None => at.fault(error.message),
                    }
                    return None;
                }
            },
            Content::Array(_) => What::Array(at.array()?.iter().filter_map(Self::read).collect()),
            Content::Object(_) => {
                let object = at.object()?;
                let members = object.members();
                let member = |(key, at): (&crate::workflow::document::Key, Place<'_>)| {
                    Some((key.name.clone(), Self::read(&at)?))
                };
                What::Object(members.filter_map(member).collect())
            }
            _ => What::Scalar(at.value()),
        };
        Some(Self {
            place: place(at),
            pointer: at.pointer().to_owned(),
            what,
        })
    }

    /// The text that is expected of a member, where it is one.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        let What::Object(members) = &self.what else {
            return None;
        };
        let (_, member) = members.iter().find(|(member, _)| member == name)?;
        match &member.what {
            What::Scalar(value) => value.as_str(),
            _ => None,
        }
    }

    /// Adds all that is otherwise than expected; what is absent counts as null.
    pub fn compare(&self, actual: &Value, members: Members, found: &mut Vec<Mismatch>) {
        match &self.what {
            What::Scalar(wanted) if wanted == actual => {}
            What::Scalar(wanted) => found.push(self.mismatch(&shown(wanted), actual)),
            What::Predicate(expression) => {
                let holds = expression.evaluate(actual, &Nothing);
                let holds = holds.is_ok_and(|value| value.is_truthy());
                if !holds {
                    let wanted = format!("what makes `{}` true", expression.source());
                    found.push(self.mismatch(&wanted, actual));
                }
            }
            What::Array(wanted) => match actual.items() {
                Some(items) if items.len() == wanted.len() => {
                    let pairs = wanted.iter().zip(&items);
                    pairs.for_each(|(wanted, item)| wanted.compare(item, members, found));
                }
                _ => {
                    let wanted = format!("a list of {}", wanted.len());
                    found.push(self.mismatch(&wanted, actual));
                }
            },
            What::Object(wanted) => self.object(wanted, actual, members, found),
        }
    }

    fn object(
        &self,
        wanted: &[(String, Expected)],
        actual: &Value,
        members: Members,
        found: &mut Vec<Mismatch>,
    ) {
        let Some(all) = actual.members() else {
            found.push(self.mismatch("an object", actual));
            return;
        };
        for (name, wanted) in wanted {
            match actual.get(name) {
                Some(value) => wanted.compare(&value, members, found),
                None if members == Members::All && !wanted.is_predicate() => {
                    found.push(wanted.says("there is no such member"));
                }
                None => wanted.compare(&Value::null(), members, found),
            }
        }
        let is_wanted = |name: &str| wanted.iter().any(|(wanted, _)| wanted == name);
        for (name, value) in all {
            if members == Members::All && !is_wanted(&name) {
                found.push(Mismatch {
                    place: self.place,
                    pointer: join(&self.pointer, &name),
                    message: format!("not expected: {}", shown(&value)),
                });
            }
        }
    }

    const fn is_predicate(&self) -> bool {
        matches!(self.what, What::Predicate(_))
    }

    fn mismatch(&self, wanted: &str, actual: &Value) -> Mismatch {
        self.says(&format!("expected {wanted}\n     was {}", shown(actual)))
    }

    fn says(&self, message: &str) -> Mismatch {
        Mismatch {
            place: self.place,
            pointer: self.pointer.clone(),
            message: message.to_owned(),
        }
    }
}

fn is_expression(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("${") && text.ends_with('}')
}

/// A value as JSON, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = String::from_utf8_lossy(&value.to_json()).into_owned();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
