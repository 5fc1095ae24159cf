//! JSON Web Tokens (RFC 7519) in compact form: leaves that trust what a signed token claims.
//!
//! Only algorithms the document lists are taken; `none` cannot be listed. A key that is published
//! as a set (RFC 7517) was fetched by the caller and comes in through `Keys`. The token says who
//! sends; what it says of the body is compared by claims and checks.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use serde_json::{Map, Value};

use super::check::Check;
use super::extract::{BASE64_URL, Location};
use super::jwks;
use super::key::{Key, value_in_round};
use super::template::{Absent, Scope, Template};
use super::view::View;
use super::{Cause, Keys, Verified};

/// Longest token looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// `scheme: jwt`.
#[derive(Clone, Debug)]
pub(super) struct Jwt {
    pub location: Location,
    /// Before the token, such as `Bearer `; a scheme of HTTP authentication in any case.
    pub prefix: Option<String>,
    pub prefix_required: bool,
    pub algorithms: Vec<Algorithm>,
    pub key: Material,
    /// Claims that must be there.
    pub required: Vec<String>,
    /// How far clocks may differ, in seconds.
    pub leeway_s: i64,
    pub claims: Vec<(String, Expected)>,
    pub checks: Vec<Check>,
}

/// Where the key comes from.
#[derive(Clone, Debug)]
pub(super) enum Material {
    Secret(Key),
    /// URL of a published set of keys.
    Published(String),
}

/// What a claim must be.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// One of these texts.
    Texts(Vec<String>),
    /// A truth value.
    Truth(bool),
    /// One of the values in force of this secret or parameter.
    Configured(String),
    Template(Template),
}

/// An algorithm of RFC 7518 that may be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Es256,
}

impl Algorithm {
    pub const WORDS: &[(&str, Self)] = &[
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("RS256", Self::Rs256),
        ("ES256", Self::Es256),
    ];

    /// The HMAC it is; none for those with public keys.
    pub const fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Hs256 => Some(hmac::HMAC_SHA256),
            Self::Hs384 => Some(hmac::HMAC_SHA384),
            Self::Hs512 => Some(hmac::HMAC_SHA512),
            Self::Rs256 | Self::Es256 => None,
        }
    }
}

/// The claims of a token.
#[derive(Clone, Debug)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// A claim that is a text or a number.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// A token taken apart; nothing of it is trusted yet.
struct Token<'t> {
    signed: &'t str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Claims,
}

impl Jwt {
    pub fn verify(&self, view: &View<'_>, keys: &dyn Keys) -> Result<(Verified, Claims), Cause> {
        let live = match &self.key {
            Material::Secret(key) => key.live(keys)?,
            Material::Published(_) => Vec::new(),
        };
        let text = self.token(view)?;
        let token = self.parse(&text).ok_or(Cause::SignatureMalformed)?;
        let (secret_name, secret_index) = match &self.key {
            Material::Secret(key) => {
                let passed = live.iter().filter(|(_, key)| token.is_signed_by(key));
                let matched = passed.map(|(index, _)| *index).min();
                let index = matched.ok_or(Cause::SignatureMismatch)?;
                (Some(Arc::clone(&key.secret)), index)
            }
            Material::Published(url) => {
                let set = keys.document(url).ok_or(Cause::KeyUnavailable)?;
                let key_id = token.key_id.as_deref();
                let key = jwks::find(&set, key_id, token.algorithm).ok_or(Cause::KeyUnknown)?;
                if !key.verifies(token.signed.as_bytes(), &token.signature) {
                    return Err(Cause::SignatureMismatch);
                }
                (None, 0)
            }
        };
        let claims = token.claims;
        self.check_times(&claims.0, view.delivery.now)?;
        let secret = &|name: &str| value_in_round(keys, name, secret_index);
        let scope = Scope {
            secret,
            claims: Some(&claims),
            ..Scope::NONE
        };
        if !self.claims_hold(&claims.0, view, &scope, keys) {
            return Err(Cause::CheckFailed);
        }
        for check in &self.checks {
            let holds = check.holds(view, &scope, keys);
            if !holds.map_err(|Absent| Cause::CheckFailed)? {
                return Err(Cause::CheckFailed);
            }
        }
        let verified = Verified {
            secret_name,
            secret_index,
        };
        Ok((verified, claims))
    }

    pub fn is_offered(&self, view: &View<'_>) -> bool {
        self.token(view).is_ok()
    }

    /// The set of keys this delivery is verified with, where it has a token for it.
    pub fn document(&self, view: &View<'_>) -> Option<String> {
        let Material::Published(url) = &self.key else {
            return None;
        };
        let text = self.token(view).ok()?;
        self.parse(&text).map(|_| url.clone())
    }

    fn token(&self, view: &View<'_>) -> Result<String, Cause> {
        let offer = self.location.offer(view, &Scope::NONE);
        let text = offer.only().ok_or(Cause::SignatureMissing)?;
        let bare = match &self.prefix {
            None => text.as_str(),
            Some(prefix) => match text.split_at_checked(prefix.len()) {
                Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest,
                _ if self.prefix_required => return Err(Cause::SignatureMalformed),
                _ => text.as_str(),
            },
        };
        Ok(bare.trim().to_owned())
    }

    fn parse<'t>(&self, text: &'t str) -> Option<Token<'t>> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (head, body) = signed.split_once('.')?;
        let head = object(head)?;
        // An extension we do not know must not be ignored (RFC 7515 section 4.1.11).
        if head.contains_key("crit") {
            return None;
        }
        let named = head.get("alg")?.as_str()?;
        let known = Algorithm::WORDS.iter().find(|(word, _)| *word == named);
        let algorithm = known.map(|(_, algorithm)| *algorithm)?;
        let listed = self.algorithms.contains(&algorithm);
        let signature = BASE64_URL.decode(signature).ok()?;
        listed.then_some(Token {
            signed,
            signature,
            algorithm,
            key_id: head.get("kid").and_then(Value::as_str).map(str::to_owned),
            claims: Claims(object(body)?),
        })
    }

    /// Times are numbers; a token is good until its `exp`, not at it.
    fn check_times(&self, claims: &Map<String, Value>, now: i64) -> Result<(), Cause> {
        let missing = self
            .required
            .iter()
            .any(|name| claims.get(name).is_none_or(Value::is_null));
        if missing {
            return Err(Cause::ContentMissing);
        }
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(time) => time.as_f64().map(Some).ok_or(Cause::TimestampMissing),
        };
        // Seconds of this era are exact in a double.
        let (now, leeway) = (now as f64, self.leeway_s as f64);
        let expired = time("exp")?.is_some_and(|end| end <= now - leeway);
        let early = [time("nbf")?, time("iat")?];
        let early = early
            .into_iter()
            .flatten()
            .any(|begin| begin > now + leeway);
        if expired || early {
            return Err(Cause::TimestampOutsideTolerance);
        }
        Ok(())
    }

    fn claims_hold(
        &self,
        claims: &Map<String, Value>,
        view: &View<'_>,
        scope: &Scope<'_>,
        keys: &dyn Keys,
    ) -> bool {
        let failed = self.claims.iter().filter(|(name, expected)| {
            let claim = claims.get(name);
            !claim.is_some_and(|claim| expected.is_met(claim, view, scope, keys))
        });
        failed.count() == 0
    }
}

impl Token<'_> {
    /// A public key must never be taken as a shared secret: whoever has it could sign.
    fn is_signed_by(&self, key: &[u8]) -> bool {
        let public = key.trim_ascii_start().starts_with(b"-----BEGIN");
        match self.algorithm.hmac() {
            Some(algorithm) if !public => {
                let key = hmac::Key::new(algorithm, key);
                hmac::verify(&key, self.signed.as_bytes(), &self.signature).is_ok()
            }
            None if public => jwks::from_pem(key, self.algorithm)
                .is_some_and(|key| key.verifies(self.signed.as_bytes(), &self.signature)),
            _ => false,
        }
    }
}

impl Expected {
    fn is_met(&self, claim: &Value, view: &View<'_>, scope: &Scope<'_>, keys: &dyn Keys) -> bool {
        match self {
            Self::Truth(truth) => claim.as_bool() == Some(*truth),
            Self::Texts(texts) => texts.iter().any(|text| has(claim, text.as_bytes())),
            Self::Configured(name) => {
                let values = keys.values(name).into_iter();
                let mut values = values.filter(|value| !super::key::is_blank(value));
                values.any(|value| has(claim, &value))
            }
            Self::Template(template) => template
                .bytes(view, scope)
                .is_ok_and(|text| has(claim, &text)),
        }
    }
}

/// Whether a claim is this text, or a list with it (as `aud` may be).
fn has(claim: &Value, text: &[u8]) -> bool {
    match claim {
        Value::String(claim) => verify_slices_are_equal(claim.as_bytes(), text).is_ok(),
        Value::Array(claims) => claims
            .iter()
            .any(|claim| claim.is_string() && has(claim, text)),
        _ => false,
    }
}

fn object(encoded: &str) -> Option<Map<String, Value>> {
    let text = BASE64_URL.decode(encoded).ok()?;
    match serde_json::from_slice(&text).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}
