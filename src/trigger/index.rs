//! Texts in which a dot may stand for any character, found without trying them one by one.
//!
//! A literal of an event filter is also an anchored regular expression, so `shop.created` means
//! `shopXcreated` too. Almost every type has dots; if that made each of them a pattern to try,
//! the cost of an event would grow with the number of workflows. Here texts are grouped by where
//! their dots are: one lookup for each group of the same length, and groups are few.

use std::collections::HashMap;

use crate::workflow::definition::PATTERN_CHARACTERS;

/// Stands where any character may stand.
const ANY: char = '\u{0}';

/// Texts with the positions at which they were inserted.
#[derive(Default)]
pub struct Index {
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
    pub fn insert(&mut self, text: &str, at: usize) {
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
    pub fn find(&self, text: &str, found: &mut Vec<usize>) {
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
pub fn only_dots(pattern: &str) -> bool {
    !pattern.contains(|c| c != '.' && PATTERN_CHARACTERS.contains(&c))
}
