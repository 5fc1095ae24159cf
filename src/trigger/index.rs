//! Texts in which a dot may stand for any character, found without trying them one by one.
//!
//! A literal of an event filter is also an anchored regular expression, so `shop.created` means
//! `shopXcreated` too. Almost every type has dots; if that made each of them a pattern to try,
//! the cost of an event would grow with the number of workflows. Here texts are grouped by where
//! their dots are: one lookup for each group of the same length, and groups are few.

use std::collections::HashMap;

use crate::event::{Event, LIFECYCLE};
use crate::workflow::definition::{AttributeFilter, EventFilter, PATTERN_CHARACTERS};

/// Stands where any character may stand.
const ANY: char = '\u{0}';

/// Texts with the positions at which they were inserted.
#[derive(Default)]
struct Index {
    /// By length in characters.
    groups: HashMap<usize, Vec<Group>>,
}

/// Texts whose dots are at the same places.
struct Group {
    dots: Vec<usize>,
    texts: HashMap<Vec<char>, Vec<usize>>,
}

impl Group {
    /// The text with its wild places blanked.
    fn masked(&self, text: &[char]) -> Option<Vec<char>> {
        let mut masked = text.to_vec();
        for dot in &self.dots {
            let place = masked.get_mut(*dot)?;
            // A dot of a regular expression matches anything but a line feed.
            if *place == '\n' {
                return None;
            }
            *place = ANY;
        }
        Some(masked)
    }
}

impl Index {
    /// Adds a text for which [`only_dots`] holds, or one that is no pattern.
    fn insert(&mut self, text: &str, at: usize) {
        let text: Vec<char> = text.chars().collect();
        let dots: Vec<usize> = text
            .iter()
            .enumerate()
            .filter(|(_, c)| **c == '.')
            .map(|(place, _)| place)
            .collect();
        let groups = self.groups.entry(text.len()).or_default();
        let known = groups.iter().position(|group| group.dots == dots);
        let group = known.unwrap_or_else(|| {
            groups.push(Group {
                dots,
                texts: HashMap::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[group];
        if let Some(masked) = group.masked(&text) {
            group.texts.entry(masked).or_default().push(at);
        }
    }

    /// Adds to `found` what was inserted under a text that this one matches.
    fn find(&self, text: &str, found: &mut Vec<usize>) {
        if self.groups.is_empty() {
            return;
        }
        let text: Vec<char> = text.chars().collect();
        for group in self.groups.get(&text.len()).into_iter().flatten() {
            let masked = group.masked(&text);
            if let Some(at) = masked.and_then(|masked| group.texts.get(&masked)) {
                found.extend_from_slice(at);
            }
        }
    }
}

/// Whether a dot is the only character with a meaning of its own in a pattern.
fn only_dots(pattern: &str) -> bool {
    !pattern.contains(|c| c != '.' && PATTERN_CHARACTERS.contains(&c))
}

/// Filters, each found by what it says of type and source.
#[derive(Default)]
pub struct Filters {
    /// By `type` and `source`, where a filter names both.
    by_both: Index,
    /// By `type` alone, where a filter names no source.
    by_type: Index,
    /// By `source` alone, where a filter names no type.
    by_source: Index,
    /// Filters that name neither in a way that can be looked up.
    others: Vec<usize>,
    /// Whether a filter may let events of the lifecycle of runs through.
    lifecycle: bool,
    /// All filters that name a type, to explain why none of them matched.
    near: Index,
}

impl Filters {
    /// Adds a filter.
    pub fn insert(&mut self, filter: &EventFilter, at: usize) {
        let (kind, source) = (indexed(filter, "type"), indexed(filter, "source"));
        self.lifecycle |= may_be_lifecycle(filter);
        match (kind, source) {
            (Some(kind), Some(source)) => self.by_both.insert(&both(kind, source), at),
            (Some(kind), None) => self.by_type.insert(kind, at),
            (None, Some(source)) => self.by_source.insert(source, at),
            (None, None) => self.others.push(at),
        }
        if let Some(kind) = kind {
            self.near.insert(kind, at);
        }
    }

    /// Those that may let the event through, in the order in which they were inserted.
    pub fn find(&self, event: &Event) -> Vec<usize> {
        let mut found = self.others.clone();
        self.by_both
            .find(&both(&event.kind, &event.source), &mut found);
        self.by_type.find(&event.kind, &mut found);
        self.by_source.find(&event.source, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether one of them may let events of the lifecycle of runs through.
    pub const fn hear_lifecycle(&self) -> bool {
        self.lifecycle
    }

    /// One that names the event's type, whatever it says of the source.
    pub fn near(&self, event: &Event) -> Option<usize> {
        let mut near = Vec::new();
        self.near.find(&event.kind, &mut near);
        near.first().copied()
    }
}

/// Whether a filter may let events of the lifecycle of runs through; one that says nothing never
/// does.
fn may_be_lifecycle(filter: &EventFilter) -> bool {
    const WORDS: [&str; 8] = [
        "started",
        "suspended",
        "resumed",
        "correlation-started",
        "correlation-completed",
        "cancelled",
        "faulted",
        "completed",
    ];
    let kinds = WORDS.map(|word| format!("{LIFECYCLE}workflow.{word}.v1"));
    let texts = filter
        .with
        .iter()
        .filter_map(|(name, wanted)| match wanted {
            AttributeFilter::Text { literal, pattern } if name == "type" => {
                Some((literal, pattern))
            }
            _ => None,
        });
    !filter.with.is_empty()
        && texts.into_iter().all(|(literal, pattern)| {
            kinds
                .iter()
                .any(|kind| kind == literal || pattern.as_ref().is_some_and(|it| it.is_match(kind)))
        })
}

/// What an attribute must be, where an index can look it up.
fn indexed<'a>(filter: &'a EventFilter, name: &str) -> Option<&'a str> {
    filter
        .with
        .iter()
        .find_map(|(attribute, wanted)| match wanted {
            AttributeFilter::Text { literal, pattern } if attribute == name => {
                let simple = pattern.is_none() || only_dots(literal);
                simple.then_some(literal.as_str())
            }
            _ => None,
        })
}

/// Two attributes as one key; no dot stands for a line feed, and what is found is judged again.
fn both(kind: &str, source: &str) -> String {
    format!("{kind}\n{source}")
}
