//! The grammar of leaves: `scheme:` and what belongs to each.
//!
//! Called by `compile`. A leaf that could be passed without a secret, a public key or a published
//! one is refused here, so that none exists later.

use std::sync::Arc;
use std::time::Duration;

use super::words::{
    all, filled, filled_text, filled_texts, mapped_choice, optional_choice, pattern,
    required_choice, separator, template,
};
use crate::signature::check::{Check, Rule, When};
use crate::signature::credential::{Basic, Token};
use crate::signature::elements::Path;
use crate::signature::extract::{Encoding, Extraction, Location};
use crate::signature::key::{Decode, Key};
use crate::signature::signed::{Hash, Material, Primitive, Signed};
use crate::signature::template::{Allowed, Names, Template};
use crate::signature::timestamp::{Freshness, Unit};
use crate::signature::tree::Tree;
use crate::signature::x509::{Certificate, Name};
use crate::workflow::document::{Object, Place};

/// How far a timestamp may be from now where a leaf does not say, in seconds.
const TOLERANCE_S_DEFAULT: u64 = 300;

/// The widest tolerance: beyond a day a timestamp no longer guards against replays.
pub const TOLERANCE_S_MAX: i64 = 86_400;

pub fn leaf(object: &Object<'_>, names: &mut Names) -> Option<Tree> {
    let scheme = object.required("scheme")?;
    let words = [
        "hmac",
        "digest",
        "ed25519",
        "ecdsa-p256",
        "x509-rsa",
        "jwt",
        "token",
        "basic",
    ];
    match words[scheme.one_of(&words)?] {
        "token" => token(object, names).map(Tree::Token),
        "basic" => basic(object, names).map(Tree::Basic),
        "jwt" => super::jwt::jwt(object, names).map(|leaf| Tree::Jwt(Box::new(leaf))),
        word => signed(object, word, names).map(|leaf| Tree::Signed(Box::new(leaf))),
    }
}

fn signed(object: &Object<'_>, word: &str, names: &mut Names) -> Option<Signed> {
    let primitive = primitive(object, word, names);
    let content = object
        .required("content")
        .and_then(|place| template(&place, Allowed::Secret, names));
    let material = match word {
        "x509-rsa" => object
            .required("certificate")
            .and_then(|place| certificate(&place, names))
            .map(|certificate| Material::Certificate(Box::new(certificate))),
        "digest" => content
            .as_ref()
            .and_then(|content| inner_key(object, content))
            .map(Material::Secret),
        _ => object
            .required("key")
            .and_then(|place| key(&place, names))
            .map(Material::Secret),
    };
    let signature = object
        .required("signature")
        .and_then(|place| extraction(&place, names));
    let timestamp = match object.optional("timestamp") {
        None => Some(None),
        Some(place) => freshness(&place, names).map(Some),
    };
    let only_if_absent = match object.optional("onlyIfAbsent") {
        None => Some(None),
        Some(place) => template(&place, Allowed::Delivery, names).map(Some),
    };
    let checks = match object.optional("checks") {
        None => Some(Vec::new()),
        Some(place) => checks(&place, names),
    };
    let foreach = foreach(object);
    Some(Signed {
        primitive: primitive?,
        material: material?,
        signature: signature?,
        content: content?,
        timestamp: timestamp?,
        checks: checks?,
        foreach: foreach?,
        only_if_absent: only_if_absent?,
    })
}

fn primitive(object: &Object<'_>, word: &str, names: &mut Names) -> Option<Primitive> {
    match word {
        "hmac" => mapped_choice(object, "algorithm", Hash::WORDS, names).map(Primitive::Hmac),
        "digest" => required_choice(object, "algorithm", Hash::WORDS).map(Primitive::Digest),
        "x509-rsa" => mapped_choice(object, "algorithm", Hash::WORDS, names).map(Primitive::Rsa),
        "ed25519" => Some(Primitive::Ed25519),
        _ => Some(Primitive::EcdsaP256),
    }
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

/// `{secret, decode}`.
pub fn key(place: &Place<'_>, names: &mut Names) -> Option<Key> {
    let object = place.object()?;
    let key = key_parts(&object, names);
    object.finish();
    key
}

/// The members of a key.
pub fn key_parts(object: &Object<'_>, names: &mut Names) -> Option<Key> {
    let secret = object
        .required("secret")
        .and_then(|place| filled_text(&place));
    let decode = optional_choice(object, "decode", Decode::WORDS);
    Some(Key {
        secret: Arc::from(names.secret(secret?)),
        decode: decode?.unwrap_or(Decode::Utf8),
    })
}

fn certificate(place: &Place<'_>, names: &mut Names) -> Option<Certificate> {
    let object = place.object()?;
    let url = object
        .required("url")
        .and_then(|place| template(&place, Allowed::Delivery, names));
    let host = object
        .required("host")
        .and_then(|place| pattern(&place, true));
    let path = object
        .required("path")
        .and_then(|place| pattern(&place, false));
    let is = object.optional_string("commonName").map(str::to_owned);
    let ends = object.optional_string("commonNameEnds").map(str::to_owned);
    object.finish();
    let name = match (is, ends) {
        (Some(name), None) => Name::Is(name),
        (None, Some(end)) => Name::EndsWith(end),
        _ => {
            place.fault("a certificate needs either `commonName` or `commonNameEnds`");
            return None;
        }
    };
    Some(Certificate {
        url: url?,
        host: host?,
        path: path?,
        name,
    })
}

fn extraction(place: &Place<'_>, names: &mut Names) -> Option<Extraction> {
    let object = place.object()?;
    let location = location(&object, names);
    let split = separator(&object, "split");
    let pair = separator(&object, "kv");
    let keys = match object.optional("keys") {
        None => Some(Vec::new()),
        Some(place) => super::words::templates(&place, names),
    };
    let prefix = match object.optional("prefix") {
        None => Some(None),
        Some(place) => filled_text(&place).map(Some),
    };
    let encoding = mapped_choice(&object, "encoding", Encoding::WORDS, names);
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
        keys,
        prefix: prefix?.map(str::to_owned),
        prefix_required,
        encoding: encoding?,
    })
}

/// `in` and `name` of a signature or token.
pub fn location(object: &Object<'_>, names: &mut Names) -> Option<Location> {
    let kind = object.required("in");
    let name = object.required("name")?;
    let texts = filled_texts(&name)?;
    let owned = || texts.iter().map(|text| (*text).to_owned()).collect();
    let words = ["header", "query", "form", "json", "item"];
    let word = words[kind?.one_of(&words)?];
    match word {
        "header" => {
            if let [text] = texts.as_slice()
                && let Some(start) = text.strip_suffix('*')
            {
                return Some(Location::HeadersBeginning(start.to_ascii_lowercase()));
            }
            let headers: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
            let headers = headers.map_err(|_| name.fault("this is no header name"));
            headers.ok().map(Location::Header)
        }
        "query" => Some(Location::Query(owned())),
        "form" => Some(Location::Form(owned())),
        _ => {
            let pointers = texts.iter().map(|text| match word {
                "json" => names.pointer(text),
                _ => names.item(text),
            });
            let pointers: Option<Vec<_>> = pointers.collect();
            if pointers.is_none() {
                name.fault_with("this is no JSON pointer", "write it as `/member/0`");
            }
            pointers.map(if word == "json" {
                Location::Json
            } else {
                Location::Item
            })
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

fn foreach(object: &Object<'_>) -> Option<Option<Path>> {
    let Some(place) = object.optional("foreach") else {
        return Some(None);
    };
    let path = Path::parse(filled_text(&place)?);
    if path.is_none() {
        place.fault_with("this names no elements", "write it as `/items/*`");
    }
    path.map(Some)
}

fn token(object: &Object<'_>, names: &mut Names) -> Option<Token> {
    let foreach = foreach(object);
    let place = object.required("checks")?;
    let checks = checks(&place, names)?;
    let always = checks.iter().filter(|check| check.when == When::Always);
    let mut secrets = always.flat_map(Check::secrets);
    let secret = secrets.find(|name| names.secrets.iter().any(|known| known == name));
    let secret = secret.map(Arc::from);
    let Some(secret) = secret else {
        let message = "none of these checks always compares with a `{secret:…}`";
        place.fault_with(message, "without one anyone can pass them");
        return None;
    };
    Some(Token {
        key: Key {
            secret,
            decode: Decode::Utf8,
        },
        checks,
        foreach: foreach?,
    })
}

/// A list of checks.
pub fn checks(place: &Place<'_>, names: &mut Names) -> Option<Vec<Check>> {
    let items = filled(place)?;
    all(items.iter().map(|item| check(item, names)))
}

fn check(place: &Place<'_>, names: &mut Names) -> Option<Check> {
    let object = place.object()?;
    let value = object.required("value");
    let value = value.and_then(|place| template(&place, Allowed::Signature, names));
    let equals = object.optional("equals");
    let among = object.optional("in");
    let matches = object.optional("matches");
    let when = optional_choice(&object, "when", When::WORDS);
    object.finish();
    let rule = match (equals, among, matches) {
        (Some(place), None, None) => Some(Rule::Equals(template(&place, Allowed::Secret, names)?)),
        (None, Some(place), None) => {
            let template = template(&place, Allowed::Secret, names)?;
            let name = template.sole_secret().map(str::to_owned);
            if name.is_none() {
                place.fault("`in` is a `{secret:…}` or a `{parameter:…}` and nothing else");
            }
            name.map(Rule::In)
        }
        (None, None, Some(place)) => pattern(&place, true).map(Rule::Matches),
        _ => {
            place.fault("a check has one of `equals`, `in` and `matches`");
            None
        }
    };
    Some(Check {
        value: value?,
        rule: rule?,
        when: when?.unwrap_or(When::Always),
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
