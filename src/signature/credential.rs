//! Leaves that compare plain credentials: shared tokens and HTTP basic authentication.
//!
//! Called by `tree`. They prove who sends, not what: nothing covers the body.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use http::HeaderName;
use http::header::AUTHORIZATION;

use super::extract::BASE64;
use super::key::{Key, value_in_round};
use super::template::{Scope, Template};
use super::view::View;
use super::{Cause, Keys, Verified};

/// `scheme: token`: every check must hold with the same round of secrets.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The first secret the checks name; its values are the rounds.
    pub key: Key,
    pub checks: Vec<Check>,
}

/// A value of the delivery that must equal a text with a secret in it.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub value: Template,
    pub equals: Template,
}

/// `scheme: basic` (RFC 7617).
#[derive(Clone, Debug)]
pub(super) struct Basic {
    pub username: Key,
    pub password: Key,
}

impl Token {
    pub fn verify(&self, view: &View<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
        let live = self.key.live(keys)?;
        let values = self
            .checks
            .iter()
            .map(|check| check.value.bytes(view, &Scope::NONE));
        let values: Result<Vec<_>, _> = values.collect();
        let values = values.map_err(|_| Cause::SignatureMissing)?;
        let mut matched = None;
        for (index, _) in live {
            let secret = &|name: &str| value_in_round(keys, name, index);
            let scope = Scope {
                fields: &[],
                secret,
            };
            let pairs = self.checks.iter().zip(&values);
            let failed = pairs.filter(|(check, value)| !check.holds(value, view, &scope));
            if failed.count() == 0 {
                matched = matched.or(Some(index));
            }
        }
        Ok(Verified {
            secret_name: Some(Arc::clone(&self.key.secret)),
            secret_index: matched.ok_or(Cause::CheckFailed)?,
        })
    }

    pub fn is_offered(&self, view: &View<'_>) -> bool {
        let mut checks = self.checks.iter();
        checks.all(|check| check.value.bytes(view, &Scope::NONE).is_ok())
    }

    /// The headers whose values are compared.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.checks.iter().flat_map(|check| check.value.headers())
    }
}

impl Check {
    fn holds(&self, value: &[u8], view: &View<'_>, scope: &Scope<'_>) -> bool {
        let expected = self.equals.bytes(view, scope);
        expected.is_ok_and(|expected| verify_slices_are_equal(&expected, value).is_ok())
    }
}

impl Basic {
    pub fn verify(&self, view: &View<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
        let passwords = self.password.live(keys)?;
        let header = view
            .header(&[AUTHORIZATION])
            .ok_or(Cause::SignatureMissing)?;
        let given = credentials(header).ok_or(Cause::SignatureMalformed)?;
        let colon = given.iter().position(|byte| *byte == b':');
        let (username, password) = given.split_at(colon.ok_or(Cause::SignatureMalformed)?);
        let mut matched = None;
        for (index, expected) in passwords {
            let name = value_in_round(keys, &self.username.secret, index);
            let name = name.ok_or(Cause::SecretMissing)?;
            let named = verify_slices_are_equal(&name, username).is_ok();
            let passed = verify_slices_are_equal(&expected, &password[1..]).is_ok();
            if named & passed {
                matched = matched.or(Some(index));
            }
        }
        Ok(Verified {
            secret_name: Some(Arc::clone(&self.password.secret)),
            secret_index: matched.ok_or(Cause::CheckFailed)?,
        })
    }

    pub fn is_offered(view: &View<'_>) -> bool {
        view.header(&[AUTHORIZATION])
            .is_some_and(|header| credentials(header).is_some())
    }
}

fn credentials(header: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let basic = scheme.eq_ignore_ascii_case("basic");
    basic.then(|| BASE64.decode(encoded.trim()).ok()).flatten()
}
