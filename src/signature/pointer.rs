//! JSON pointers into a body, all of them in one pass that keeps nothing else.
//!
//! Called by `view`. No tree is built: what no pointer asks for is skipped by the scanner, so a
//! hostile body costs neither memory nor stack. Deciding what a value means is the caller's.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Tokens a pointer may have; deeper ones are refused when they are compiled.
const TOKENS_MAX: usize = 16;

/// An RFC 6901 pointer, split and unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// None where the text is no pointer (it is empty or starts with `/`) or is too deep.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let tokens = text.strip_prefix('/')?.split('/');
        let tokens: Vec<_> = tokens
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        (tokens.len() <= TOKENS_MAX).then_some(Self(tokens))
    }

    /// The members and places on the way.
    pub fn tokens(&self) -> &[String] {
        &self.0
    }
}

/// What a pointer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A scalar: strings unescaped, numbers and booleans as spelled.
    Text(String),
    /// An object or array without members.
    Empty,
    /// An object or array with members.
    Filled,
}

/// What the pointers lead to. None for null, for what is not there, and for everything where the
/// body is not JSON. Of a repeated member the last one counts, as everywhere else in this server.
pub(super) fn select(body: &[u8], pointers: &[Pointer]) -> Vec<Option<Found>> {
    let mut found = vec![None; pointers.len()];
    if let Ok(root) = serde_json::from_slice::<&RawValue>(body) {
        let all = (0..pointers.len()).collect();
        let mut selection = Selection {
            pointers,
            found: &mut found,
        };
        if selection.descend(root.get(), all, 0).is_err() {
            found.fill(None);
        }
    }
    found.into_iter().map(|raw| tell(raw?)).collect()
}

fn tell(raw: &str) -> Option<Found> {
    match raw.as_bytes().first()? {
        b'n' => None,
        b'{' | b'[' => {
            let inside = raw[1..raw.len() - 1].trim_ascii();
            Some(if inside.is_empty() {
                Found::Empty
            } else {
                Found::Filled
            })
        }
        b'"' => serde_json::from_str(raw).ok().map(Found::Text),
        _ => Some(Found::Text(raw.to_owned())),
    }
}

struct Selection<'p, 'a, 'o> {
    pointers: &'p [Pointer],
    found: &'o mut Vec<Option<&'a str>>,
}

impl<'a> Selection<'_, 'a, '_> {
    /// Notes `raw` for the wanted pointers that end at `depth` and follows the others into it.
    fn descend(
        &mut self,
        raw: &'a str,
        wanted: Vec<usize>,
        depth: usize,
    ) -> Result<(), serde_json::Error> {
        let mut deeper = Vec::new();
        for index in wanted {
            // A later member of the same name replaces the earlier one with all it held.
            self.found[index] = None;
            if self.pointers[index].0.len() == depth {
                self.found[index] = Some(raw);
            } else {
                deeper.push(index);
            }
        }
        if deeper.is_empty() || !raw.starts_with(['{', '[']) {
            return Ok(());
        }
        let level = Level {
            selection: self,
            wanted: deeper,
            depth,
        };
        serde_json::Deserializer::from_str(raw).deserialize_any(level)
    }
}

/// One object or array on the way of some pointers.
struct Level<'s, 'p, 'a, 'o> {
    selection: &'s mut Selection<'p, 'a, 'o>,
    wanted: Vec<usize>,
    depth: usize,
}

impl Level<'_, '_, '_, '_> {
    fn through(&self, token: &str) -> Vec<usize> {
        let wanted = self.wanted.iter().copied();
        wanted.filter(|index| self.token(*index) == token).collect()
    }

    /// The elements wanted of an array, each with the pointer that wants it.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let wanted = self.wanted.iter();
        wanted.filter_map(|index| Some((self.token(*index).parse().ok()?, *index)))
    }

    fn token(&self, index: usize) -> &str {
        &self.selection.pointers[index].0[self.depth]
    }
}

impl<'a> Visitor<'a> for Level<'_, '_, 'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'a, str>>()? {
            let wanted = self.through(&key);
            if wanted.is_empty() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let raw = map.next_value::<&'a RawValue>()?;
            let down = self.selection.descend(raw.get(), wanted, self.depth + 1);
            down.map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let wanted: Vec<_> = self.places().collect();
        for place in 0_usize.. {
            let here: Vec<_> = of_place(&wanted, place).collect();
            if here.is_empty() {
                match seq.next_element::<IgnoredAny>()? {
                    Some(IgnoredAny) => continue,
                    None => break,
                }
            }
            let Some(raw) = seq.next_element::<&'a RawValue>()? else {
                break;
            };
            let down = self.selection.descend(raw.get(), here, self.depth + 1);
            down.map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}

fn of_place(wanted: &[(usize, usize)], place: usize) -> impl Iterator<Item = usize> {
    let here = wanted.iter().filter(move |(wanted, _)| *wanted == place);
    here.map(|(_, pointer)| *pointer)
}
