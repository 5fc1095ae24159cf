//! Leaves that check a signature: over which content, with which key, how old it may be.
//!
//! Called by `tree`. All live secrets are tried against all signatures offered, without stopping
//! at the first that matches; the comparison itself is aws-lc-rs's, in constant time.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};

use super::check::Check;
use super::choice::Choice;
use super::elements::{Item, Path};
use super::extract::Extraction;
use super::key::{Key, value_in_round};
use super::pointer::Pointer;
use super::template::{Absent, Scope, Template};
use super::timestamp::Freshness;
use super::view::View;
use super::x509::Certificate;
use super::{Cause, Keys, Verified};

/// Public-key signatures looked at in one delivery: each costs some 100 µs, and rotation
/// needs two.
const PUBLIC_KEY_CANDIDATES_MAX: usize = 8;

/// A hash that an HMAC or digest is made with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub const WORDS: &[(&str, Self)] = &[
        ("sha1", Self::Sha1),
        ("sha256", Self::Sha256),
        ("sha384", Self::Sha384),
        ("sha512", Self::Sha512),
    ];

    pub const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn rsa(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Sha1 => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        }
    }

    const fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// How content and key become a signature.
#[derive(Clone, Debug)]
pub(super) enum Primitive {
    /// RFC 2104.
    Hmac(Choice<Hash>),
    /// A plain hash over content that contains the secret.
    Digest(Hash),
    /// RFC 8032.
    Ed25519,
    /// FIPS 186-5 over P-256 with SHA-256; DER signature.
    EcdsaP256,
    /// RSASSA-PKCS1-v1_5 (RFC 8017).
    Rsa(Choice<Hash>),
}

/// Where the key comes from.
#[derive(Clone, Debug)]
pub(super) enum Material {
    Secret(Key),
    Certificate(Box<Certificate>),
}

/// A leaf with one of the primitives.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub primitive: Primitive,
    pub material: Material,
    pub signature: Extraction,
    pub content: Template,
    pub timestamp: Option<Freshness>,
    pub checks: Vec<Check>,
    /// Every one of these elements must be signed.
    pub foreach: Option<Path>,
    /// The leaf counts only where this part is not there.
    pub only_if_absent: Option<Template>,
}

/// One signature that was looked at in one delivery.
struct Attempt<'a> {
    view: &'a View<'a>,
    keys: &'a dyn Keys,
    item: Option<&'a Item<'a>>,
}

impl Signed {
    /// `items` are the `{item:}` pointers of the scheme.
    pub fn verify(
        &self,
        view: &View<'_>,
        keys: &dyn Keys,
        items: &[Pointer],
    ) -> Result<Verified, Cause> {
        if !self.applies(view) {
            return Err(Cause::SignatureMissing);
        }
        let Some(path) = &self.foreach else {
            return self.verify_one(&Attempt {
                view,
                keys,
                item: None,
            });
        };
        let elements = path.find(view.delivery.body).ok_or(Cause::ContentMissing)?;
        let mut first = None;
        for raw in elements {
            let item = Item::json(raw, items);
            let item = Some(&item);
            let verified = self.verify_one(&Attempt { view, keys, item })?;
            first.get_or_insert(verified);
        }
        first.ok_or(Cause::SignatureMissing)
    }

    /// Whether a signature of this leaf is offered.
    pub fn is_offered(&self, view: &View<'_>, keys: &dyn Keys) -> bool {
        let secret = &|name: &str| value_in_round(keys, name, 0);
        let scope = Scope {
            secret,
            ..Scope::NONE
        };
        self.applies(view) && self.signature.is_offered(view, &scope)
    }

    fn applies(&self, view: &View<'_>) -> bool {
        let absent = self.only_if_absent.as_ref();
        absent.is_none_or(|part| part.bytes(view, &Scope::NONE).is_err())
    }

    fn verify_one(&self, attempt: &Attempt<'_>) -> Result<Verified, Cause> {
        let Attempt { view, keys, item } = *attempt;
        // Before anything of the delivery is read: no secret, no verdict.
        let live = match &self.material {
            Material::Secret(key) => key.live(keys)?,
            Material::Certificate(_) => Vec::new(),
        };
        let secret = &|name: &str| value_in_round(keys, name, 0);
        let scope = Scope {
            item,
            secret,
            ..Scope::NONE
        };
        let offer = self.signature.offer(view, &scope);
        let candidates = self.signature.read(&offer, view, &scope)?;
        let scope = Scope {
            fields: &candidates.fields,
            ..scope
        };
        let freshness = self.timestamp.as_ref();
        let time_ms = freshness
            .map(|freshness| freshness.read(view, &scope))
            .transpose()?;
        let live = match &self.material {
            Material::Secret(_) => live,
            Material::Certificate(certificate) => vec![(0, certificate.key(view, &scope, keys)?)],
        };
        let mut matched = None;
        for (index, key) in live {
            let secret = &|name: &str| value_in_round(keys, name, index);
            let scope = Scope { secret, ..scope };
            let matches = self.matches(&key, view, &scope, &candidates.signatures)?;
            if matches {
                matched = matched.or(Some(index));
            }
        }
        let secret_index = matched.ok_or(Cause::SignatureMismatch)?;
        if let (Some(freshness), Some(time_ms)) = (freshness, time_ms) {
            freshness.check(time_ms, view.delivery.now)?;
        }
        for check in &self.checks {
            let holds = check.holds(view, &scope, keys);
            if !holds.map_err(|Absent| Cause::CheckFailed)? {
                return Err(Cause::CheckFailed);
            }
        }
        Ok(Verified {
            secret_name: self.secret_name(),
            secret_index,
        })
    }

    fn secret_name(&self) -> Option<Arc<str>> {
        match &self.material {
            Material::Secret(key) => Some(Arc::clone(&key.secret)),
            Material::Certificate(_) => None,
        }
    }

    /// Whether we can make such a signature with what verifies it.
    pub const fn can_sign(&self) -> bool {
        matches!(self.primitive, Primitive::Hmac(_) | Primitive::Digest(_))
            && self.foreach.is_none()
    }

    /// The signature of the content, where the primitive is symmetric and this its hash.
    pub fn mac(
        &self,
        key: &[u8],
        view: &View<'_>,
        scope: &Scope<'_>,
    ) -> Result<Option<Vec<u8>>, Absent> {
        match &self.primitive {
            Primitive::Hmac(hash) => {
                let hash = hash.pick(view, scope).ok_or(Absent)?;
                let key = hmac::Key::new(hash.hmac(), key);
                let mut context = hmac::Context::with_key(&key);
                self.content
                    .feed(view, scope, &mut |piece| context.update(piece))?;
                Ok(Some(context.sign().as_ref().to_vec()))
            }
            Primitive::Digest(hash) => {
                let mut context = digest::Context::new(hash.digest());
                self.content
                    .feed(view, scope, &mut |piece| context.update(piece))?;
                Ok(Some(context.finish().as_ref().to_vec()))
            }
            Primitive::Ed25519 | Primitive::EcdsaP256 | Primitive::Rsa(_) => Ok(None),
        }
    }

    fn matches(
        &self,
        key: &[u8],
        view: &View<'_>,
        scope: &Scope<'_>,
        candidates: &[Vec<u8>],
    ) -> Result<bool, Cause> {
        let mut matched = false;
        for variant in 0..self.content.variants() {
            let scope = Scope { variant, ..*scope };
            let matches = self.matches_variant(key, view, &scope, candidates);
            matched |= matches.map_err(|Absent| Cause::ContentMissing)?;
        }
        Ok(matched)
    }

    fn matches_variant(
        &self,
        key: &[u8],
        view: &View<'_>,
        scope: &Scope<'_>,
        candidates: &[Vec<u8>],
    ) -> Result<bool, Absent> {
        let algorithm: &dyn VerificationAlgorithm = match &self.primitive {
            Primitive::Hmac(_) | Primitive::Digest(_) => {
                let mac = self.mac(key, view, scope)?.ok_or(Absent)?;
                return Ok(count(candidates, |one| {
                    verify_slices_are_equal(&mac, one).is_ok()
                }));
            }
            Primitive::Ed25519 => &signature::ED25519,
            Primitive::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            Primitive::Rsa(hash) => hash.pick(view, scope).ok_or(Absent)?.rsa(),
        };
        let content = self.content.bytes(view, scope)?;
        let public = UnparsedPublicKey::new(algorithm, key);
        let looked_at = &candidates[..candidates.len().min(PUBLIC_KEY_CANDIDATES_MAX)];
        Ok(count(looked_at, |one| public.verify(&content, one).is_ok()))
    }
}

/// Whether any candidate passes; all are tried.
fn count(candidates: &[Vec<u8>], passes: impl Fn(&[u8]) -> bool) -> bool {
    let passed = candidates.iter().filter(|one| passes(one));
    passed.count() > 0
}
