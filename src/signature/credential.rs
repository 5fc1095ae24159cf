//! Leaves that compare plain credentials: shared tokens and HTTP basic authentication.
//!
//! Called by `tree`. They prove who sends, not what: nothing covers the body.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use http::HeaderName;
use http::header::AUTHORIZATION;

use super::check::{Check, When};
use super::elements::{Item, Path};
use super::extract::BASE64;
use super::key::{Key, value_in_round};
use super::pointer::Pointer;
use super::template::Scope;
use super::view::View;
use super::{Cause, Keys, Verified};

/// `scheme: token`: every check must hold with the same round of secrets.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The first secret the checks name; its values are the rounds.
    pub key: Key,
    pub checks: Vec<Check>,
    /// Every one of these elements must pass.
    pub foreach: Option<Path>,
}

/// `scheme: basic` (RFC 7617).
#[derive(Clone, Debug)]
pub(super) struct Basic {
    pub username: Key,
    pub password: Key,
}

impl Token {
    /// `items` are the `{item:}` pointers of the scheme.
    pub fn verify(
        &self,
        view: &View<'_>,
        keys: &dyn Keys,
        items: &[Pointer],
    ) -> Result<Verified, Cause> {
        let live = self.key.live(keys)?;
        let elements = self.elements(view, items).ok_or(Cause::SignatureMissing)?;
        let mut matched = None;
        let mut missing = false;
        for (index, _) in live {
            let secret = &|name: &str| value_in_round(keys, name, index);
            let mut failed = 0_usize;
            // All of them, whatever the first ones say, so that the time tells nothing.
            let each = elements
                .iter()
                .flat_map(|item| self.checks.iter().map(move |check| (item, check)));
            for (item, check) in each {
                let scope = Scope {
                    item: item.as_ref(),
                    secret,
                    ..Scope::NONE
                };
                let holds = check.holds(view, &scope, keys);
                missing |= holds.is_err();
                failed += usize::from(holds != Ok(true));
            }
            if failed == 0 {
                matched = matched.or(Some(index));
            }
        }
        let cause = if missing {
            Cause::SignatureMissing
        } else {
            Cause::CheckFailed
        };
        Ok(Verified {
            secret_name: Some(Arc::clone(&self.key.secret)),
            secret_index: matched.ok_or(cause)?,
        })
    }

    /// What is checked: the elements of the batch, or once the delivery as a whole.
    fn elements<'v>(&self, view: &View<'v>, items: &[Pointer]) -> Option<Vec<Option<Item<'v>>>> {
        let Some(path) = &self.foreach else {
            return Some(vec![None]);
        };
        let elements = path.find(view.delivery.body)?.into_iter();
        let elements: Vec<_> = elements.map(|raw| Some(Item::json(raw, items))).collect();
        (!elements.is_empty()).then_some(elements)
    }

    pub fn is_offered(&self, view: &View<'_>, items: &[Pointer]) -> bool {
        let Some(elements) = self.elements(view, items) else {
            return false;
        };
        let always = self
            .checks
            .iter()
            .filter(|check| check.when == When::Always);
        let mut values = always.flat_map(|check| elements.iter().map(move |item| (check, item)));
        values.all(|(check, item)| {
            let scope = Scope {
                item: item.as_ref(),
                ..Scope::NONE
            };
            check.value.bytes(view, &scope).is_ok()
        })
    }

    /// The headers whose values are compared.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.checks.iter().flat_map(|check| check.value.headers())
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
