//! Signs sample deliveries, so that a source can be tried without its sender.
//!
//! Called by `Scheme::sign`. The reverse of the leaves, from the same catalogue entry: adds what
//! the sender would add, and then signs with the same content template. Deterministic: an id it
//! invents is derived from the body and the time.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::check::{Check, Rule};
use super::credential::Basic;
use super::event::Locations;
use super::extract::Location;
use super::key::{Key, value_in_round};
use super::pointer::Pointer;
use super::signed::{Material, Signed};
use super::template::Scope;
use super::tree::Tree;
use super::view::View;
use super::{Delivery, Keys};

/// Why a sample cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Only what is made with a shared secret, and stands in headers, can be made here.
    #[error("this scheme cannot sign samples: it needs a shared secret and a signature header")]
    Unsupported,
    /// The secret is not set, blank, or not in the provider's form.
    #[error("the secret of the source is not set or not in the provider's form")]
    SecretMissing,
    /// A part of the content is absent, such as the public URL.
    #[error("a part is missing that this sender signs, such as the source's `url`")]
    ContentMissing,
}

/// What is signed, and with what.
#[derive(Clone, Copy)]
pub(super) struct Signing<'a> {
    pub delivery: &'a Delivery<'a>,
    pub keys: &'a dyn Keys,
    pub event: &'a Locations,
    pub pointers: &'a [Pointer],
}

impl Signing<'_> {
    /// The headers to add to the delivery, so that a tree takes it: of alternatives the first that
    /// can be signed with the secrets there are.
    pub fn tree(&self, tree: &Tree) -> Result<HeaderMap, SignError> {
        match tree {
            Tree::Any(trees) | Tree::First(trees) => self.first(trees),
            Tree::All(trees) => trees.iter().try_fold(HeaderMap::new(), |mut all, tree| {
                all.extend(self.tree(tree)?);
                Ok(all)
            }),
            Tree::Signed(signed) => self.signed(signed),
            Tree::Token(token) => {
                let mut added = HeaderMap::new();
                token
                    .key
                    .live(self.keys)
                    .map_err(|_| SignError::SecretMissing)?;
                self.fill(&token.checks, &mut added)?;
                Ok(added)
            }
            Tree::Basic(basic) => self.basic(basic),
            Tree::Jwt(_) => Err(SignError::Unsupported),
            Tree::Unverified => Ok(HeaderMap::new()),
        }
    }

    fn first(&self, trees: &[Tree]) -> Result<HeaderMap, SignError> {
        let mut failed = SignError::Unsupported;
        for tree in trees {
            match self.tree(tree) {
                Err(SignError::Unsupported) => {}
                Err(error) => failed = error,
                signed => return signed,
            }
        }
        Err(failed)
    }

    fn signed(&self, signed: &Signed) -> Result<HeaderMap, SignError> {
        let Self {
            delivery,
            keys,
            event,
            pointers,
        } = *self;
        let Location::Header(names) = &signed.signature.location else {
            return Err(SignError::Unsupported);
        };
        let name = names.first().ok_or(SignError::Unsupported)?;
        let Material::Secret(key) = &signed.material else {
            return Err(SignError::Unsupported);
        };
        if !signed.can_sign() {
            return Err(SignError::Unsupported);
        }
        let live = key.live(keys).map_err(|_| SignError::SecretMissing)?;
        let (_, key) = live.first().ok_or(SignError::SecretMissing)?;

        let mut added = HeaderMap::new();
        let mut fields = Vec::new();
        if let Some(freshness) = &signed.timestamp {
            let now = freshness.unit.write(delivery.now);
            if let Some(names) = freshness.value.sole_header() {
                add(&mut added, delivery, &names[0], now);
            } else if let Some(field) = freshness.value.sole_field() {
                fields.push((field, now));
            }
        }
        if let Some(id) = event.id_header() {
            add(&mut added, delivery, id, invented_id(delivery));
        }
        self.fill(&signed.checks, &mut added)?;

        let all = self.with(&added);
        let complete = Delivery {
            headers: &all,
            ..*delivery
        };
        let borrowed: Vec<_> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let secret = &|name: &str| value_in_round(keys, name, 0);
        let scope = Scope {
            fields: &borrowed,
            secret,
            ..Scope::NONE
        };
        let view = View::new(&complete, pointers);
        let mac = signed.mac(key, &view, &scope);
        let mac = mac.map_err(|_| SignError::ContentMissing)?;
        let mac = mac.ok_or(SignError::Unsupported)?;
        let text = signed.signature.write(&mac, &fields, (&view, &scope));
        let text = text.ok_or(SignError::Unsupported)?;
        let value = HeaderValue::try_from(text).map_err(|_| SignError::Unsupported)?;
        added.insert(name.clone(), value);
        Ok(added)
    }

    /// Adds the headers that checks compare, where they are not there; a check that then does not
    /// hold is one of something else, which cannot be added.
    fn fill(&self, checks: &[Check], added: &mut HeaderMap) -> Result<(), SignError> {
        let secret = &|name: &str| value_in_round(self.keys, name, 0);
        let scope = Scope {
            secret,
            ..Scope::NONE
        };
        for check in checks {
            let all = self.with(added);
            let complete = Delivery {
                headers: &all,
                ..*self.delivery
            };
            let view = View::new(&complete, self.pointers);
            if check.holds(&view, &scope, self.keys) == Ok(true) {
                continue;
            }
            let names = check.value.sole_header().ok_or(SignError::Unsupported)?;
            let expected = match &check.rule {
                Rule::Equals(template) => template.bytes(&view, &scope).ok(),
                Rule::In(name) => value_in_round(self.keys, name, 0),
                Rule::Matches(_) => None,
            };
            let expected = expected.ok_or(SignError::ContentMissing)?;
            let value = HeaderValue::from_bytes(&expected);
            let value = value.map_err(|_| SignError::SecretMissing)?;
            added.insert(names[0].clone(), value);
        }
        Ok(())
    }

    fn basic(&self, basic: &Basic) -> Result<HeaderMap, SignError> {
        let value = |key: &Key| {
            let live = key.live(self.keys).map_err(|_| SignError::SecretMissing)?;
            let first = live.into_iter().next().map(|(_, value)| value);
            first.ok_or(SignError::SecretMissing)
        };
        let mut text = value(&basic.username)?;
        text.push(b':');
        text.extend(value(&basic.password)?);
        let text = format!("Basic {}", BASE64_STANDARD.encode(text));
        let value = HeaderValue::try_from(text).map_err(|_| SignError::SecretMissing)?;
        Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    fn with(&self, added: &HeaderMap) -> HeaderMap {
        let mut all = self.delivery.headers.clone();
        all.extend(added.clone());
        all
    }
}

/// Adds a header the delivery does not have yet.
fn add(added: &mut HeaderMap, delivery: &Delivery<'_>, name: &HeaderName, text: String) {
    if !delivery.headers.contains_key(name)
        && let Ok(value) = HeaderValue::try_from(text)
    {
        added.insert(name.clone(), value);
    }
}

fn invented_id(delivery: &Delivery<'_>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&delivery.now.to_be_bytes());
    context.update(delivery.body);
    format!("sample-{}", hex::encode(&context.finish().as_ref()[..12]))
}
