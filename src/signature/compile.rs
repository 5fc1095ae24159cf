//! From a marked document to a scheme: the grammar of `verify:`, `event:`, `handshake:` and
//! `acknowledge:`.
//!
//! Called for the catalogue's entries and for sources that bring a tree of their own; both use
//! the same words. Every fault is noted with its place, and reading goes on to find the next.

use std::sync::Arc;
use std::time::Duration;

use super::credential::{Basic, Check, Token};
use super::event::Locations;
use super::extract::{Encoding, Extraction, Location};
use super::handshake::Handshake;
use super::key::{Decode, Key};
use super::signed::{Hash, Primitive, Signed};
use super::template::{Allowed, Names, Template};
use super::timestamp::{Freshness, Unit};
use super::tree::Tree;
use super::{Acknowledgement, Parts, Scheme};
use crate::workflow::document::{Content, Object, Place};

/// How deep trees may nest.
const DEPTH_MAX: usize = 8;

/// How far a timestamp may be from now where a leaf does not say, in seconds.
const TOLERANCE_S_DEFAULT: u64 = 300;

/// The widest tolerance: beyond a day a timestamp no longer guards against replays.
const TOLERANCE_S_MAX: i64 = 86_400;

/// Reads the parts of a scheme; None where a fault was noted.
pub(super) fn scheme(parts: &Parts<'_>, secrets: Vec<String>) -> Option<Scheme> {
    let mut names = Names {
        secrets,
        ..Names::default()
    };
    let tree = tree(&parts.verify, &mut names, 0);
    let event = optional(parts.event.as_ref(), |place| {
        Locations::read(place, &mut names)
    });
    let handshakes = optional(parts.handshake.as_ref(), |place| {
        handshakes(place, &mut names)
    });
    let acknowledgement = match &parts.acknowledge {
        None => Some(None),
        Some(place) => Acknowledgement::read(place).map(Some),
    };
    let declared = names.secrets;
    Some(Scheme {
        name: None,
        tree: tree?,
        event: event?,
        handshakes: handshakes?,
        acknowledgement: acknowledgement?,
        secrets: declared,
        pointers: names.pointers,
    })
}

fn optional<T: Default>(
    place: Option<&Place<'_>>,
    read: impl FnOnce(&Place<'_>) -> Option<T>,
) -> Option<T> {
    place.map_or_else(|| Some(T::default()), read)
}

fn handshakes(place: &Place<'_>, names: &mut Names) -> Option<Vec<Handshake>> {
    let items = place.array()?;
    let read = items.iter().map(|item| Handshake::read(item, names));
    all(read)
}

fn tree(place: &Place<'_>, names: &mut Names, depth: usize) -> Option<Tree> {
    if depth == DEPTH_MAX {
        place.fault(format!("trees may not nest deeper than {DEPTH_MAX} levels"));
        return None;
    }
    let object = place.object()?;
    for (word, make) in [
        ("any", Tree::Any as fn(Vec<Tree>) -> Tree),
        ("first", Tree::First),
        ("all", Tree::All),
    ] {
        if let Some(branches) = object.optional(word) {
            object.finish();
            let branches = filled(&branches)?;
            let trees = branches.iter().map(|branch| tree(branch, names, depth + 1));
            return all(trees).map(make);
        }
    }
    let leaf = leaf(&object, names);
    object.finish();
    leaf
}

fn leaf(object: &Object<'_>, names: &mut Names) -> Option<Tree> {
    let scheme = object.required("scheme")?;
    let words = ["hmac", "digest", "ed25519", "ecdsa-p256", "token", "basic"];
    match words[scheme.one_of(&words)?] {
        "token" => token(object, names).map(Tree::Token),
        "basic" => basic(object, names).map(Tree::Basic),
        word => signed(object, word, names).map(|leaf| Tree::Signed(Box::new(leaf))),
    }
}

fn signed(object: &Object<'_>, word: &str, names: &mut Names) -> Option<Signed> {
    let primitive = match word {
        "hmac" => required_choice(object, "algorithm", Hash::WORDS).map(Primitive::Hmac),
        "digest" => required_choice(object, "algorithm", Hash::WORDS).map(Primitive::Digest),
        "ed25519" => Some(Primitive::Ed25519),
        _ => Some(Primitive::EcdsaP256),
    };
    let content = object
        .required("content")
        .and_then(|place| template(&place, Allowed::Secret, names));
    let key = if word == "digest" {
        content
            .as_ref()
            .and_then(|content| inner_key(object, content))
    } else {
        object.required("key").and_then(|place| key(&place, names))
    };
    let signature = object
        .required("signature")
        .and_then(|place| extraction(&place, names));
    let timestamp = match object.optional("timestamp") {
        None => Some(None),
        Some(place) => freshness(&place, names).map(Some),
    };
    Some(Signed {
        primitive: primitive?,
        key: key?,
        signature: signature?,
        content: content?,
        timestamp: timestamp?,
    })
}

/// The key of a digest is the secret within its content.
fn inner_key(object: &Object<'_>, content: &Template) -> Option<Key> {
    let Some(secret) = content.secrets().next() else {
        let message = "the content of a digest must contain a `{secret:…}`";
        object
            .place()
            .fault_with(message, "without it anyone can make the digest");
        return None;
    };
    Some(Key {
        secret: secret.into(),
        decode: Decode::Utf8,
    })
}

fn key(place: &Place<'_>, names: &mut Names) -> Option<Key> {
    let object = place.object()?;
    let secret = object
        .required("secret")
        .and_then(|place| filled_text(&place));
    let decode = optional_choice(&object, "decode", Decode::WORDS);
    object.finish();
    Some(Key {
        secret: Arc::from(names.secret(secret?)),
        decode: decode?.unwrap_or(Decode::Utf8),
    })
}

fn extraction(place: &Place<'_>, names: &mut Names) -> Option<Extraction> {
    let object = place.object()?;
    let location = location(&object, names);
    let split = separator(&object, "split");
    let pair = separator(&object, "kv");
    let keys = match object.optional("keys") {
        None => Some(Vec::new()),
        Some(place) => filled_texts(&place),
    };
    let prefix = match object.optional("prefix") {
        None => Some(None),
        Some(place) => filled_text(&place).map(Some),
    };
    let encoding = required_choice(&object, "encoding", Encoding::WORDS);
    let trim = object.optional_bool("trim").unwrap_or(false);
    let prefix_required = !object.optional_bool("prefixOptional").unwrap_or(false);
    let (pair, keys) = (pair?, keys?);
    if pair.is_some() == keys.is_empty() {
        place.fault("`kv` and `keys` belong together: the separator, and whose values count");
        return None;
    }
    object.finish();
    Some(Extraction {
        location: location?,
        split: split?,
        trim,
        pair,
        keys: keys.into_iter().map(str::to_owned).collect(),
        prefix: prefix?.map(str::to_owned),
        prefix_required,
        encoding: encoding?,
    })
}

fn location(object: &Object<'_>, names: &mut Names) -> Option<Location> {
    let kind = object.required("in");
    let name = object.required("name")?;
    let texts = filled_texts(&name)?;
    let owned = || texts.iter().map(|text| (*text).to_owned()).collect();
    let words = ["header", "query", "form", "json"];
    match words[kind?.one_of(&words)?] {
        "header" => {
            let headers: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
            let headers = headers.map_err(|_| name.fault("this is no header name"));
            headers.ok().map(Location::Header)
        }
        "query" => Some(Location::Query(owned())),
        "form" => Some(Location::Form(owned())),
        _ => {
            let pointers = texts.iter().map(|text| names.pointer(text));
            let pointers: Option<Vec<_>> = pointers.collect();
            if pointers.is_none() {
                name.fault_with("this is no JSON pointer", "write it as `/member/0`");
            }
            pointers.map(Location::Json)
        }
    }
}

fn freshness(place: &Place<'_>, names: &mut Names) -> Option<Freshness> {
    let object = place.object()?;
    let value = object
        .required("value")
        .and_then(|place| template(&place, Allowed::Signature, names));
    let unit = required_choice(&object, "unit", Unit::WORDS);
    let tolerance_s = match object.optional("tolerance") {
        None => Some(TOLERANCE_S_DEFAULT),
        Some(place) => place.integer(1, TOLERANCE_S_MAX).map(i64::unsigned_abs),
    };
    object.finish();
    Some(Freshness {
        value: value?,
        unit: unit?,
        tolerance: Duration::from_secs(tolerance_s?),
    })
}

fn token(object: &Object<'_>, names: &mut Names) -> Option<Token> {
    let place = object.required("checks")?;
    let items = filled(&place)?;
    let checks = all(items.iter().map(|item| check(item, names)))?;
    let secret = checks
        .iter()
        .find_map(|check| check.equals.secrets().next());
    let Some(secret) = secret.map(Arc::from) else {
        let message = "none of these checks compares with a `{secret:…}`";
        place.fault_with(message, "without one anyone can pass them");
        return None;
    };
    Some(Token {
        key: Key {
            secret,
            decode: Decode::Utf8,
        },
        checks,
    })
}

fn check(place: &Place<'_>, names: &mut Names) -> Option<Check> {
    let object = place.object()?;
    let value = object.required("value");
    let value = value.and_then(|place| template(&place, Allowed::Delivery, names));
    let equals = object.required("equals");
    let equals = equals.and_then(|place| template(&place, Allowed::Secret, names));
    object.finish();
    Some(Check {
        value: value?,
        equals: equals?,
    })
}

fn basic(object: &Object<'_>, names: &mut Names) -> Option<Basic> {
    let username = object
        .required("username")
        .and_then(|place| key(&place, names));
    let password = object
        .required("password")
        .and_then(|place| key(&place, names));
    Some(Basic {
        username: username?,
        password: password?,
    })
}

/// The template here; what is wrong with it is noted.
pub(super) fn template(place: &Place<'_>, allowed: Allowed, names: &mut Names) -> Option<Template> {
    let text = filled_text(place)?;
    let parsed = Template::parse(text, allowed, names);
    parsed.map_err(|message| place.fault(message)).ok()
}

/// One template, or a list of alternatives of which the first that is complete counts.
pub(super) fn templates(place: &Place<'_>, names: &mut Names) -> Option<Vec<Template>> {
    let places = match place.node().content {
        Content::Array(_) => filled(place)?,
        _ => vec![place.clone()],
    };
    all(places
        .iter()
        .map(|place| template(place, Allowed::Delivery, names)))
}

/// The text here, which may be blank (a separator can be a space) but not empty.
pub(super) fn filled_text<'a>(place: &Place<'a>) -> Option<&'a str> {
    let text = place.string()?;
    if text.is_empty() {
        place.fault("this must not be empty");
        return None;
    }
    Some(text)
}

/// The text here, or the texts of the list here.
pub(super) fn filled_texts<'a>(place: &Place<'a>) -> Option<Vec<&'a str>> {
    match place.node().content {
        Content::Array(_) => all(filled(place)?.iter().map(filled_text)),
        _ => Some(vec![filled_text(place)?]),
    }
}

fn filled<'a>(place: &Place<'a>) -> Option<Vec<Place<'a>>> {
    let items = place.array()?;
    if items.is_empty() {
        place.fault("this list needs at least one entry");
        return None;
    }
    Some(items)
}

fn separator(object: &Object<'_>, name: &'static str) -> Option<Option<char>> {
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

fn required_choice<T: Copy>(
    object: &Object<'_>,
    name: &'static str,
    words: &[(&str, T)],
) -> Option<T> {
    choice(&object.required(name)?, words)
}

fn optional_choice<T: Copy>(
    object: &Object<'_>,
    name: &'static str,
    words: &[(&str, T)],
) -> Option<Option<T>> {
    match object.optional(name) {
        None => Some(None),
        Some(place) => choice(&place, words).map(Some),
    }
}

fn choice<T: Copy>(place: &Place<'_>, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    place.one_of(&names).map(|index| words[index].1)
}

/// All values where none is missing; all are read, so that every fault is found.
fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let read: Vec<_> = values.collect();
    read.into_iter().collect()
}
