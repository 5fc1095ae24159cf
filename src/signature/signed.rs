//! Leaves that check a signature: over which content, with which key, how old it may be.
//!
//! Called by `tree`. All live secrets are tried against all signatures offered, without stopping
//! at the first that matches; the comparison itself is aws-lc-rs's, in constant time.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};

use super::extract::Extraction;
use super::key::{Key, value_in_round};
use super::template::{Absent, Scope, Template};
use super::timestamp::Freshness;
use super::view::View;
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

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
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
#[derive(Clone, Copy, Debug)]
pub(super) enum Primitive {
    /// RFC 2104.
    Hmac(Hash),
    /// A plain hash over content that contains the secret.
    Digest(Hash),
    /// RFC 8032.
    Ed25519,
    /// FIPS 186-5 over P-256 with SHA-256; DER signature.
    EcdsaP256,
}

/// A leaf with one of the primitives.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub primitive: Primitive,
    pub key: Key,
    pub signature: Extraction,
    pub content: Template,
    pub timestamp: Option<Freshness>,
}

impl Signed {
    pub fn verify(&self, view: &View<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
        let live = self.key.live(keys)?;
        let offer = self.signature.offer(view);
        let candidates = self.signature.read(&offer)?;
        let fields = &candidates.fields;
        let time_ms = match &self.timestamp {
            None => None,
            Some(freshness) => {
                let secret = &|_: &str| None;
                Some(freshness.read(view, &Scope { fields, secret })?)
            }
        };
        let mut matched = None;
        for (index, key) in live {
            let secret = &|name: &str| value_in_round(keys, name, index);
            let scope = Scope { fields, secret };
            let matches = self.matches(&key, view, &scope, &candidates.signatures);
            if matches.map_err(|Absent| Cause::ContentMissing)? {
                matched = matched.or(Some(index));
            }
        }
        let secret_index = matched.ok_or(Cause::SignatureMismatch)?;
        if let (Some(freshness), Some(time_ms)) = (&self.timestamp, time_ms) {
            freshness.check(time_ms, view.delivery.now)?;
        }
        Ok(Verified {
            secret_name: Some(Arc::clone(&self.key.secret)),
            secret_index,
        })
    }

    /// Whether we can make such a signature with what verifies it.
    pub const fn can_sign(&self) -> bool {
        matches!(self.primitive, Primitive::Hmac(_) | Primitive::Digest(_))
    }

    /// The signature of the content, where the primitive is symmetric.
    pub fn mac(
        &self,
        key: &[u8],
        view: &View<'_>,
        scope: &Scope<'_>,
    ) -> Result<Option<Vec<u8>>, Absent> {
        match self.primitive {
            Primitive::Hmac(hash) => {
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
            Primitive::Ed25519 | Primitive::EcdsaP256 => Ok(None),
        }
    }

    fn matches(
        &self,
        key: &[u8],
        view: &View<'_>,
        scope: &Scope<'_>,
        candidates: &[Vec<u8>],
    ) -> Result<bool, Absent> {
        let algorithm: &dyn VerificationAlgorithm = match self.primitive {
            Primitive::Hmac(_) | Primitive::Digest(_) => {
                let mac = self.mac(key, view, scope)?.ok_or(Absent)?;
                return Ok(count(candidates, |one| {
                    verify_slices_are_equal(&mac, one).is_ok()
                }));
            }
            Primitive::Ed25519 => &signature::ED25519,
            Primitive::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
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
