//! The authentications that sign a request: `awsSigV4`, `standardWebhooks` and `signature`.

use http::HeaderName;

use super::authentication::{Username, username};
use super::header_name;
use crate::call::reference::reference;
use crate::secret::Reference;
use crate::workflow::document::{Object, Place};

/// How requests are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// `awsSigV4 {region, service, accessKeyId, secretAccessKey, sessionToken}`: AWS Signature
    /// Version 4.
    Aws {
        /// The region.
        region: String,
        /// The service's signing name, such as `execute-api`.
        service: String,
        /// The access key id.
        key_id: Username,
        /// The secret access key.
        key: Reference,
        /// The token of temporary credentials.
        token: Option<Reference>,
    },
    /// `standardWebhooks {secret}`: the headers of standardwebhooks.com, version 1.0.0.
    StandardWebhooks {
        /// Base64, with or without `whsec_`.
        secret: Reference,
    },
    /// `signature {secret, header, algorithm, encoding, prefix, content, timestamp}`: an HMAC.
    Hmac(Box<Hmac>),
}

/// An HMAC in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// The key, as its bytes.
    pub secret: Reference,
    /// Where the signature goes.
    pub header: HeaderName,
    /// The hash.
    pub hash: Hash,
    /// Base64 rather than hexadecimal.
    pub base64: bool,
    /// What stands before the signature.
    pub prefix: String,
    /// What is signed.
    pub content: Vec<Part>,
    /// Where the time goes, in seconds since the epoch.
    pub timestamp: Option<HeaderName>,
}

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, for receivers that know no other.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As written.
    Text(String),
    /// `{method}`, upper case.
    Method,
    /// `{url}`, whole.
    Url,
    /// `{path}`.
    Path,
    /// `{query}`, without its question mark.
    Query,
    /// `{body}`, as it is sent.
    Body,
    /// `{timestamp}`, in seconds since the epoch.
    Timestamp,
    /// `{id}`: the idempotency key.
    Id,
}

pub(super) fn aws(place: &Place<'_>) -> Option<Signing> {
    let object = place.object()?;
    let word = |name| object.required_string(name).map(str::to_owned);
    let (region, service) = (word("region"), word("service"));
    let key_id = object.required("accessKeyId").and_then(|at| username(&at));
    let key = object
        .required("secretAccessKey")
        .and_then(|at| reference(&at));
    let token = object.optional("sessionToken").map(|at| reference(&at));
    object.finish();
    Some(Signing::Aws {
        region: region?,
        service: service?,
        key_id: key_id?,
        key: key?,
        token: match token {
            Some(token) => Some(token?),
            None => None,
        },
    })
}

pub(super) fn standard_webhooks(place: &Place<'_>) -> Option<Signing> {
    let object = place.object()?;
    let secret = object.required("secret").and_then(|at| reference(&at));
    object.finish();
    Some(Signing::StandardWebhooks { secret: secret? })
}

pub(super) fn hmac(place: &Place<'_>) -> Option<Signing> {
    let object = place.object()?;
    let secret = object.required("secret").and_then(|at| reference(&at));
    let signature = object.required("header").and_then(|at| header(&at));
    let hash = object.optional("algorithm").map_or(Some(1), |at| {
        at.one_of(&["sha1", "sha256", "sha384", "sha512"])
    });
    let encoding = object
        .optional("encoding")
        .map_or(Some(0), |at| at.one_of(&["hex", "base64"]));
    let prefix = object.optional_string("prefix").unwrap_or_default();
    let content = match object.optional("content") {
        Some(at) => content(&at),
        None => Some(vec![Part::Body]),
    };
    let timestamp = timestamp(&object);
    object.finish();
    Some(Signing::Hmac(Box::new(Hmac {
        secret: secret?,
        header: signature?,
        hash: [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512][hash?],
        base64: encoding? == 1,
        prefix: prefix.to_owned(),
        content: content?,
        timestamp: timestamp?,
    })))
}

/// `timestamp: {header}`.
fn timestamp(object: &Object<'_>) -> Option<Option<HeaderName>> {
    let Some(at) = object.optional("timestamp") else {
        return Some(None);
    };
    let members = at.object()?;
    let name = members.required("header").and_then(|at| header(&at));
    members.finish();
    name.map(Some)
}

fn header(place: &Place<'_>) -> Option<HeaderName> {
    let name = header_name(place.string()?);
    if name.is_none() {
        place.fault("this is no name of a header that may be set");
    }
    name
}

/// Text with `{method}`, `{url}`, `{path}`, `{query}`, `{body}`, `{timestamp}` and `{id}`.
fn content(place: &Place<'_>) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = place.string()?;
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        parts.push(match name {
            "method" => Part::Method,
            "url" => Part::Url,
            "path" => Part::Path,
            "query" => Part::Query,
            "body" => Part::Body,
            "timestamp" => Part::Timestamp,
            "id" => Part::Id,
            _ => {
                let hint = "write {method}, {url}, {path}, {query}, {body}, {timestamp} or {id}";
                place.fault_with("this names no part of a request", hint);
                return None;
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Some(parts)
}
