//! `authentication` of a destination: which credential goes where. Values stay references.

use http::HeaderName;

use super::is_reserved;
use super::oauth2::{self, OAuth2};
use super::signing::{self, Signing};
use crate::call::reference::reference;
use crate::secret::Reference;
use crate::workflow::document::Place;

/// Schemes that have their place in the language and come later.
const LATER: [&str; 1] = ["oidc"];

const SCHEMES: &str = "write apiKey, basic, bearer, digest, oauth2, awsSigV4, standardWebhooks or \
                       signature";

/// How calls authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `apiKey {in, name, value}`.
    ApiKey {
        /// Where the key goes.
        carrier: Carrier,
        /// The key.
        value: Reference,
    },
    /// `basic {username, password}` (RFC 7617).
    Basic {
        /// The user name.
        username: Username,
        /// The password.
        password: Reference,
    },
    /// `bearer {token}` (RFC 6750).
    Bearer {
        /// The token.
        token: Reference,
    },
    /// `digest {username, password}` (RFC 7616).
    Digest {
        /// The user name.
        username: Username,
        /// The password.
        password: Reference,
    },
    /// `oauth2 {…}` (RFC 6749).
    OAuth2(Box<OAuth2>),
    /// `awsSigV4 {…}`, `standardWebhooks {…}` or `signature {…}`: the request is signed.
    Signed(Signing),
}

impl Authentication {
    /// Whether it goes into this header.
    #[must_use]
    pub fn is_in(&self, header: &HeaderName) -> bool {
        match self {
            Self::ApiKey {
                carrier: Carrier::Header(name),
                ..
            } => name == header,
            Self::ApiKey { .. } | Self::Signed(_) => false,
            _ => header == http::header::AUTHORIZATION,
        }
    }
}

/// Where an API key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// This header.
    Header(HeaderName),
    /// This query parameter.
    Query(String),
}

/// A user name, which is not always a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Username {
    /// As written.
    Plain(String),
    /// Kept with the secrets.
    Secret(Reference),
}

pub(super) fn read(place: &Place<'_>) -> Option<Authentication> {
    let object = place.object()?;
    if let Some(at) = object.optional("mtls") {
        at.fault_with(
            "a client certificate is no `authentication` here",
            "write `tls: { certificate: …, key: … }` beside it",
        );
        return None;
    }
    if let Some(later) = LATER.iter().find(|scheme| object.has(scheme)) {
        place.fault_with(
            format!("`{later}` is not supported by this version yet"),
            SCHEMES,
        );
        return None;
    }
    let schemes = [
        (object.optional("apiKey"), api_key as fn(&Place<'_>) -> _),
        (object.optional("basic"), basic),
        (object.optional("bearer"), bearer),
        (object.optional("digest"), digest),
        (object.optional("oauth2"), oauth2::read),
        (object.optional("awsSigV4"), |at| {
            signing::aws(at).map(Authentication::Signed)
        }),
        (object.optional("standardWebhooks"), |at| {
            signing::standard_webhooks(at).map(Authentication::Signed)
        }),
        (object.optional("signature"), |at| {
            signing::hmac(at).map(Authentication::Signed)
        }),
    ];
    object.finish();
    let mut given = schemes
        .into_iter()
        .filter_map(|(at, read)| Some((at?, read)));
    let (Some((at, read)), None) = (given.next(), given.next()) else {
        place.fault_with("`authentication` has exactly one scheme", SCHEMES);
        return None;
    };
    read(&at)
}

fn api_key(place: &Place<'_>) -> Option<Authentication> {
    let object = place.object()?;
    let carriers = object
        .optional("in")
        .map_or(Some(0), |at| at.one_of(&["header", "query"]));
    let name = object
        .required("name")
        .and_then(|at| Some((at.string()?, at)));
    let value = object.required("value").and_then(|at| reference(&at));
    object.finish();
    let (text, at) = name?;
    let carrier = match carriers? {
        0 => HeaderName::from_bytes(text.as_bytes())
            .ok()
            .filter(|name| !is_reserved(name))
            .map(Carrier::Header),
        _ => Some(text)
            .filter(|text| !text.is_empty())
            .map(|text| Carrier::Query(text.to_owned())),
    };
    if carrier.is_none() {
        at.fault("this name cannot carry an API key");
    }
    Some(Authentication::ApiKey {
        carrier: carrier?,
        value: value?,
    })
}

fn login(place: &Place<'_>) -> Option<(Username, Reference)> {
    let object = place.object()?;
    let username = object.required("username").and_then(|at| username(&at));
    let password = object.required("password").and_then(|at| reference(&at));
    object.finish();
    username.zip(password)
}

fn basic(place: &Place<'_>) -> Option<Authentication> {
    let (username, password) = login(place)?;
    Some(Authentication::Basic { username, password })
}

fn digest(place: &Place<'_>) -> Option<Authentication> {
    let (username, password) = login(place)?;
    Some(Authentication::Digest { username, password })
}

pub(super) fn username(place: &Place<'_>) -> Option<Username> {
    match place.node().as_str() {
        Some(text) if text.contains(':') => {
            place.fault("a user name cannot contain a colon (RFC 7617)");
            None
        }
        Some(text) => Some(Username::Plain(text.to_owned())),
        None => reference(place).map(Username::Secret),
    }
}

fn bearer(place: &Place<'_>) -> Option<Authentication> {
    let object = place.object()?;
    let token = object.required("token").and_then(|at| reference(&at));
    object.finish();
    Some(Authentication::Bearer { token: token? })
}
