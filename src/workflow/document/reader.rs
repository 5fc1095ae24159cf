//! Taking a tree apart and collecting everything that is wrong with it.
//!
//! A [`Place`] is a node with its pointer; its methods give the content in the wanted type, or
//! nothing and a fault. An [`Object`] hands out its members and, at [`Object::finish`], reports
//! the keys nobody asked for. So a reader is written as if nothing could be wrong, and what it
//! returns counts only when [`Faults`] stayed empty.

use std::cell::RefCell;
use std::time::Duration;

use super::{Content, Fault, Key, Node, join};
use crate::expression::Value;

/// Most faults that are kept; a document with more of them has one cause.
const FAULTS_MAX: usize = 200;

/// Everything found wrong so far.
#[derive(Debug, Default)]
pub struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    /// No fault yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; beyond 200 it is dropped.
    pub fn push(&self, fault: Fault) {
        let mut faults = self.0.borrow_mut();
        if faults.len() < FAULTS_MAX {
            faults.push(fault);
        }
    }

    /// Whether further faults would be dropped; no hint needs to be sought for them.
    fn is_full(&self) -> bool {
        self.0.borrow().len() >= FAULTS_MAX
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The faults in the order of the text.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Fault> {
        let mut faults = self.0.into_inner();
        faults.sort_by(|a, b| {
            (a.line, a.column, &a.pointer, &a.message)
                .cmp(&(b.line, b.column, &b.pointer, &b.message))
        });
        faults.dedup();
        faults
    }

    /// What was read, if it was read without a fault.
    ///
    /// # Errors
    /// The faults in the order of the text. Where there are none but nothing was read either,
    /// the list is empty: the reader has forgotten to say why.
    pub fn result<T>(self, read: Option<T>) -> Result<T, Vec<Fault>> {
        match read {
            Some(read) if self.is_empty() => Ok(read),
            _ => Err(self.into_sorted()),
        }
    }
}

/// A node, its RFC 6901 pointer, and where its faults go.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    node: &'a Node,
    pointer: String,
    faults: &'a Faults,
}

impl<'a> Place<'a> {
    /// The root of a document.
    #[must_use]
    pub const fn root(node: &'a Node, faults: &'a Faults) -> Self {
        Self {
            node,
            pointer: String::new(),
            faults,
        }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &'a Node {
        self.node
    }

    /// Its RFC 6901 pointer, also a task's reference.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Where faults go, for a reader that finds one elsewhere.
    #[must_use]
    pub const fn faults(&self) -> &'a Faults {
        self.faults
    }

    /// Says that something is wrong here.
    pub fn fault(&self, message: impl Into<String>) {
        self.add(message.into(), None);
    }

    /// Says that something is wrong here and what to do.
    pub fn fault_with(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.add(message.into(), Some(hint.into()));
    }

    fn add(&self, message: String, hint: Option<String>) {
        self.faults.push(Fault {
            pointer: self.pointer.clone(),
            line: self.node.line,
            column: self.node.column,
            message,
            hint,
        });
    }

    /// "did you mean", where one of the known words is near; for [`Place::fault_with`].
    #[must_use]
    pub fn meant<'k>(
        &self,
        word: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<String> {
        if self.faults.is_full() {
            return None;
        }
        nearest(word, known).map(|near| format!("did you mean `{near}`?"))
    }

    /// Says which kind of node was expected: "this must be … and is …".
    pub fn unexpected(&self, wanted: &str) {
        let message = format!("this must be {wanted} and is {}", self.node.kind());
        let scalar = matches!(self.node.content, Content::Bool(_) | Content::Number(_));
        let hint = (scalar && wanted.contains("string")).then(|| "put it in quotes".to_owned());
        self.add(message, hint);
    }

    /// The object here.
    #[must_use]
    pub fn object(&self) -> Option<Object<'a>> {
        if let Content::Object(members) = &self.node.content {
            let known = RefCell::default();
            return Some(Object {
                place: self.clone(),
                members,
                known,
            });
        }
        self.unexpected("an object");
        None
    }

    /// The items of the list here.
    #[must_use]
    pub fn array(&self) -> Option<Vec<Place<'a>>> {
        let Content::Array(items) = &self.node.content else {
            self.unexpected("a list");
            return None;
        };
        let place = |(index, node)| Place {
            node,
            pointer: format!("{}/{index}", self.pointer),
            faults: self.faults,
        };
        Some(items.iter().enumerate().map(place).collect())
    }

    /// The string here.
    #[must_use]
    pub fn string(&self) -> Option<&'a str> {
        let text = self.node.as_str();
        if text.is_none() {
            self.unexpected("a string");
        }
        text
    }

    /// The truth value here.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        if let Content::Bool(truth) = self.node.content {
            return Some(truth);
        }
        self.unexpected("true or false");
        None
    }

    /// The whole number here, from `min` to `max`.
    #[must_use]
    pub fn integer(&self, min: i64, max: i64) -> Option<i64> {
        let number = match &self.node.content {
            Content::Number(digits) => digits.parse().ok(),
            _ => None,
        };
        let within = number.filter(|n| (min..=max).contains(n));
        if within.is_none() {
            self.fault(format!("this must be a whole number from {min} to {max}"));
        }
        within
    }

    /// The number here, as a finite double.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        if let Content::Number(digits) = &self.node.content
            && let Ok(number) = digits.parse::<f64>()
            && number.is_finite()
        {
            return Some(number);
        }
        self.unexpected("a number within the range of a double");
        None
    }

    /// The duration here; see [`super::duration`] for the forms.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        super::place_duration(self)
    }

    /// The word here, which must be one of those given; returns its index.
    #[must_use]
    pub fn one_of(&self, words: &[&str]) -> Option<usize> {
        let text = self.string()?;
        let index = words.iter().position(|word| *word == text);
        if index.is_none() {
            let hint = hint(text, words);
            self.add(format!("`{text}` is not one of the words known here"), hint);
        }
        index
    }

    /// The node as data.
    #[must_use]
    pub fn value(&self) -> Value {
        self.node.to_value()
    }
}

/// An object whose members are taken out by name.
#[derive(Debug)]
pub struct Object<'a> {
    place: Place<'a>,
    members: &'a [(Key, Node)],
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Object<'a> {
    /// The object's own place.
    #[must_use]
    pub const fn place(&self) -> &Place<'a> {
        &self.place
    }

    /// Whether it has the member; does not make the word known.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, _)| key.name == name)
    }

    /// The member, where there is one.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Option<Place<'a>> {
        self.known.borrow_mut().push(name);
        let (key, node) = self.members.iter().find(|(key, _)| key.name == name)?;
        Some(self.member(key, node))
    }

    /// The member; where there is none, a fault at the object.
    #[must_use]
    pub fn required(&self, name: &'static str) -> Option<Place<'a>> {
        let member = self.optional(name);
        if member.is_none() {
            self.place.fault(format!("`{name}` is missing here"));
        }
        member
    }

    /// A member that must be there and be a string.
    #[must_use]
    pub fn required_string(&self, name: &'static str) -> Option<&'a str> {
        self.required(name)?.string()
    }

    /// A member that is a string if it is there.
    #[must_use]
    pub fn optional_string(&self, name: &'static str) -> Option<&'a str> {
        self.optional(name)?.string()
    }

    /// A member that is true or false if it is there.
    #[must_use]
    pub fn optional_bool(&self, name: &'static str) -> Option<bool> {
        self.optional(name)?.bool()
    }

    /// A member that is a duration if it is there.
    #[must_use]
    pub fn optional_duration(&self, name: &'static str) -> Option<Duration> {
        self.optional(name)?.duration()
    }

    /// A member that is an object if it is there.
    #[must_use]
    pub fn optional_object(&self, name: &'static str) -> Option<Object<'a>> {
        self.optional(name)?.object()
    }

    /// All members, for objects whose keys are free; no [`Object::finish`] is needed then.
    pub fn members(&self) -> impl Iterator<Item = (&'a Key, Place<'a>)> + '_ {
        self.members
            .iter()
            .map(|(key, node)| (key, self.member(key, node)))
    }

    /// How many members it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Reports every key that was not asked for, with the nearest known word.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.members {
            if !known.contains(&key.name.as_str()) && !self.place.faults.is_full() {
                self.unknown(key, hint(&key.name, &known));
            }
        }
    }

    /// Says that a key has no meaning here.
    pub fn unknown(&self, key: &Key, hint: Option<String>) {
        self.at_key(key, format!("unknown key `{}`", key.name), hint);
    }

    /// Says that something is wrong with a key.
    pub fn at_key(&self, key: &Key, message: impl Into<String>, hint: Option<String>) {
        self.place.faults.push(Fault {
            pointer: join(&self.place.pointer, &key.name),
            line: key.line,
            column: key.column,
            message: message.into(),
            hint,
        });
    }

    fn member(&self, key: &Key, node: &'a Node) -> Place<'a> {
        let pointer = join(&self.place.pointer, &key.name);
        Place {
            node,
            pointer,
            faults: self.place.faults,
        }
    }
}

/// "did you mean", or all words where none is near and there are not too many.
fn hint(word: &str, known: &[&str]) -> Option<String> {
    const LISTED_MAX: usize = 16;
    if word == "<<" {
        return Some("YAML 1.2 has no merge keys: write the members out".to_owned());
    }
    if let Some(near) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut words = known.to_vec();
    words.dedup();
    let listed = !words.is_empty() && words.len() <= LISTED_MAX;
    listed.then(|| format!("known here: {}", words.join(", ")))
}

/// The known word nearest to `word`, if one is near: at most a third of its letters differ.
/// Only the first 200 known words are looked at.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const CHARS_MAX: usize = 64;
    const CANDIDATES_MAX: usize = 200;
    if word.chars().count() > CHARS_MAX {
        return None;
    }
    let best = known
        .into_iter()
        .take(CANDIDATES_MAX)
        .map(|candidate| (distance(word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    let (distance, candidate) = best;
    let allowed = (candidate.chars().count().max(3) / 3).max(1);
    (distance <= allowed).then_some(candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two words, case ignored.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut edits = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                edits = edits.min(before[j - 2] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
