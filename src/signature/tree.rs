//! The verify tree: alternatives of leaves, and which cause speaks for a tree that refuses.
//!
//! Called by `Scheme`. Every branch fails closed; what a leaf checks is in `signed` and
//! `credential`.

use std::time::Duration;

use http::HeaderName;

use super::credential::{Basic, Token};
use super::jwt::{Claims, Jwt};
use super::key::value_in_round;
use super::pointer::Pointer;
use super::signed::{Material, Signed};
use super::template::Scope;
use super::view::View;
use super::{Cause, Keys, Verified};

/// A compiled `verify:`.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// One of them suffices.
    Any(Vec<Tree>),
    /// The first that the delivery offers decides, so that a sender's weaker form cannot be
    /// chosen by whoever forges a delivery.
    First(Vec<Tree>),
    /// All of them must agree.
    All(Vec<Tree>),
    Signed(Box<Signed>),
    Jwt(Box<Jwt>),
    Token(Token),
    Basic(Basic),
    /// Nothing is checked; cannot be written in a tree, see `Scheme::unverified`.
    Unverified,
}

/// What a delivery is looked at with.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub view: &'a View<'a>,
    pub keys: &'a dyn Keys,
    /// The `{item:}` pointers of the scheme.
    pub items: &'a [Pointer],
}

/// A verdict that is good.
#[derive(Debug)]
pub(super) struct Proof {
    pub verified: Verified,
    /// What the token claims, where it was one.
    pub claims: Option<Claims>,
}

impl From<Verified> for Proof {
    fn from(verified: Verified) -> Self {
        Self {
            verified,
            claims: None,
        }
    }
}

impl Tree {
    pub fn verify(&self, evidence: Evidence<'_>) -> Result<Proof, Cause> {
        let Evidence { view, keys, items } = evidence;
        match self {
            Self::Any(trees) => any(trees, evidence),
            Self::First(trees) => {
                let offered = trees.iter().find(|tree| tree.is_offered(evidence));
                offered.map_or(Err(Cause::SignatureMissing), |tree| tree.verify(evidence))
            }
            Self::All(trees) => all(trees, evidence),
            Self::Signed(signed) => signed.verify(view, keys, items).map(Proof::from),
            Self::Jwt(jwt) => {
                let (verified, claims) = jwt.verify(view, keys)?;
                Ok(Proof {
                    verified,
                    claims: Some(claims),
                })
            }
            Self::Token(token) => token.verify(view, keys, items).map(Proof::from),
            Self::Basic(basic) => basic.verify(view, keys).map(Proof::from),
            Self::Unverified => Ok(Proof::from(Verified {
                secret_name: None,
                secret_index: 0,
            })),
        }
    }

    /// The branches below.
    fn branches(&self) -> &[Tree] {
        match self {
            Self::Any(trees) | Self::First(trees) | Self::All(trees) => trees,
            _ => &[],
        }
    }

    /// The headers that carry plain credentials.
    pub fn credentials(&self, headers: &mut Vec<HeaderName>) {
        match self {
            Self::Token(token) => headers.extend(token.headers().cloned()),
            Self::Basic(_) => headers.push(http::header::AUTHORIZATION),
            Self::Jwt(jwt) => headers.extend(jwt.location.headers().iter().cloned()),
            _ => self
                .branches()
                .iter()
                .for_each(|tree| tree.credentials(headers)),
        }
    }

    /// The headers that carry signatures.
    pub fn signatures(&self, headers: &mut Vec<HeaderName>) {
        match self {
            Self::Signed(signed) => {
                headers.extend(signed.signature.location.headers().iter().cloned())
            }
            _ => self
                .branches()
                .iter()
                .for_each(|tree| tree.signatures(headers)),
        }
    }

    /// The widest tolerance of any leaf.
    pub fn tolerance(&self) -> Option<Duration> {
        match self {
            Self::Signed(signed) => signed.timestamp.as_ref().map(|stamp| stamp.tolerance),
            _ => self.branches().iter().filter_map(Self::tolerance).max(),
        }
    }

    /// Sets the tolerance of all timestamps.
    pub fn set_tolerance(&mut self, tolerance: Duration) {
        match self {
            Self::Any(trees) | Self::First(trees) | Self::All(trees) => {
                trees
                    .iter_mut()
                    .for_each(|tree| tree.set_tolerance(tolerance));
            }
            Self::Signed(signed) => {
                if let Some(stamp) = &mut signed.timestamp {
                    stamp.tolerance = tolerance;
                }
            }
            _ => {}
        }
    }

    /// The documents that a delivery is verified with: sets of keys, certificates.
    pub fn documents(&self, evidence: Evidence<'_>, urls: &mut Vec<String>) {
        let Evidence { view, keys, .. } = evidence;
        match self {
            Self::Jwt(jwt) => urls.extend(jwt.document(view)),
            Self::Signed(signed) => {
                if let Material::Certificate(certificate) = &signed.material
                    && signed.is_offered(view, keys)
                {
                    let secret = &|name: &str| value_in_round(keys, name, 0);
                    let scope = Scope {
                        secret,
                        ..Scope::NONE
                    };
                    urls.extend(certificate.url(view, &scope));
                }
            }
            _ => self
                .branches()
                .iter()
                .for_each(|tree| tree.documents(evidence, urls)),
        }
    }

    /// Whether any leaf needs a document.
    pub fn needs_documents(&self) -> bool {
        match self {
            Self::Jwt(jwt) => matches!(jwt.key, super::jwt::Material::Published(_)),
            Self::Signed(signed) => matches!(signed.material, Material::Certificate(_)),
            _ => self.branches().iter().any(Self::needs_documents),
        }
    }

    fn is_offered(&self, evidence: Evidence<'_>) -> bool {
        let Evidence { view, keys, items } = evidence;
        match self {
            Self::Any(trees) | Self::First(trees) => {
                trees.iter().any(|tree| tree.is_offered(evidence))
            }
            Self::All(trees) => trees.iter().all(|tree| tree.is_offered(evidence)),
            Self::Signed(signed) => signed.is_offered(view, keys),
            Self::Jwt(jwt) => jwt.is_offered(view),
            Self::Token(token) => token.is_offered(view, items),
            Self::Basic(_) => Basic::is_offered(view),
            Self::Unverified => true,
        }
    }
}

/// The cause of the alternative that came furthest: it is the one the sender meant.
fn any(trees: &[Tree], evidence: Evidence<'_>) -> Result<Proof, Cause> {
    let mut furthest = Cause::SecretMissing;
    for tree in trees {
        match tree.verify(evidence) {
            Ok(proof) => return Ok(proof),
            Err(cause) if cause > furthest => furthest = cause,
            Err(_) => {}
        }
    }
    Err(furthest)
}

fn all(trees: &[Tree], evidence: Evidence<'_>) -> Result<Proof, Cause> {
    let mut whole: Option<Proof> = None;
    for tree in trees {
        let proof = tree.verify(evidence)?;
        match &mut whole {
            None => whole = Some(proof),
            Some(whole) => whole.claims = whole.claims.take().or(proof.claims),
        }
    }
    whole.ok_or(Cause::CheckFailed)
}
