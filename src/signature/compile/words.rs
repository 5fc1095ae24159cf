//! Words of the grammar that occur everywhere: texts, lists, choices, patterns, templates.
//!
//! Called by the other readers of schemes. Each notes what is wrong at its place.

use regex::Regex;

use crate::signature::choice::Choice;
use crate::signature::template::{Allowed, Names, Template};
use crate::workflow::document::{Content, Object, Place};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 500;

/// The template here; what is wrong with it is noted.
pub fn template(place: &Place<'_>, allowed: Allowed, names: &mut Names) -> Option<Template> {
    let text = filled_text(place)?;
    let parsed = Template::parse(text, allowed, names);
    parsed.map_err(|message| place.fault(message)).ok()
}

/// One template, or a list of alternatives of which the first that is complete counts.
pub fn templates(place: &Place<'_>, names: &mut Names) -> Option<Vec<Template>> {
    let places = match place.node().content {
        Content::Array(_) => filled(place)?,
        _ => vec![place.clone()],
    };
    all(places
        .iter()
        .map(|place| template(place, Allowed::Delivery, names)))
}

/// The text here, which may be blank (a separator can be a space) but not empty.
pub fn filled_text<'a>(place: &Place<'a>) -> Option<&'a str> {
    let text = place.string()?;
    if text.is_empty() {
        place.fault("this must not be empty");
        return None;
    }
    Some(text)
}

/// The text here, or the texts of the list here.
pub fn filled_texts<'a>(place: &Place<'a>) -> Option<Vec<&'a str>> {
    match place.node().content {
        Content::Array(_) => all(filled(place)?.iter().map(filled_text)),
        _ => Some(vec![filled_text(place)?]),
    }
}

/// The entries of a list that has some.
pub fn filled<'a>(place: &Place<'a>) -> Option<Vec<Place<'a>>> {
    let items = place.array()?;
    if items.is_empty() {
        place.fault("this list needs at least one entry");
        return None;
    }
    Some(items)
}

/// A regular expression; `whole` where all of a text must be of its form.
pub fn pattern(place: &Place<'_>, whole: bool) -> Option<Regex> {
    let text = filled_text(place)?;
    let anchored = if whole {
        format!("^(?:{text})$")
    } else {
        text.to_owned()
    };
    let compiled = Regex::new(&anchored);
    if compiled.is_err() || text.len() > PATTERN_BYTES_MAX {
        place.fault("this is no regular expression that can be used here");
        return None;
    }
    compiled.ok()
}

/// One character.
pub fn separator(object: &Object<'_>, name: &'static str) -> Option<Option<char>> {
    let Some(place) = object.optional(name) else {
        return Some(None);
    };
    let mut chars = filled_text(&place)?.chars();
    let first = chars.next();
    if chars.next().is_some() {
        place.fault("a separator is one character");
        return None;
    }
    Some(first)
}

/// A word that must be there.
pub fn required_choice<T: Copy>(
    object: &Object<'_>,
    name: &'static str,
    words: &[(&str, T)],
) -> Option<T> {
    choice(&object.required(name)?, words)
}

/// A word that may be left out.
pub fn optional_choice<T: Copy>(
    object: &Object<'_>,
    name: &'static str,
    words: &[(&str, T)],
) -> Option<Option<T>> {
    match object.optional(name) {
        None => Some(None),
        Some(place) => choice(&place, words).map(Some),
    }
}

/// A word, or `{from, map, default}`: a value that picks one of those the document lists.
pub fn mapped_choice<T: Copy>(
    object: &Object<'_>,
    name: &'static str,
    words: &[(&str, T)],
    names: &mut Names,
) -> Option<Choice<T>> {
    let place = object.required(name)?;
    if !matches!(place.node().content, Content::Object(_)) {
        return choice(&place, words).map(Choice::Fixed);
    }
    let object = place.object()?;
    let from = object.required("from");
    let from = from.and_then(|place| template(&place, Allowed::Delivery, names));
    let map = object.required("map").and_then(|place| {
        let members = place.object()?;
        all(members
            .members()
            .map(|(key, place)| Some((key.name.clone(), choice(&place, words)?))))
    });
    let default = optional_choice(&object, "default", words);
    object.finish();
    Some(Choice::Mapped {
        from: from?,
        map: map?,
        default: default?,
    })
}

/// The value of the word here.
pub fn choice<T: Copy>(place: &Place<'_>, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    place.one_of(&names).map(|index| words[index].1)
}

/// All values where none is missing; all are read, so that every fault is found.
pub fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let read: Vec<_> = values.collect();
    read.into_iter().collect()
}
