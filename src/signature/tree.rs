//! The verify tree: alternatives of leaves, and which cause speaks for a tree that refuses.
//!
//! Called by `Scheme`. Every branch fails closed; what a leaf checks is in `signed` and
//! `credential`.

use std::time::Duration;

use http::HeaderName;

use super::credential::{Basic, Token};
use super::signed::Signed;
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
    Token(Token),
    Basic(Basic),
    /// Nothing is checked; cannot be written in a tree, see `Scheme::unverified`.
    Unverified,
}

impl Tree {
    pub fn verify(&self, view: &View<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
        match self {
            Self::Any(trees) => any(trees, view, keys),
            Self::First(trees) => {
                let offered = trees.iter().find(|tree| tree.is_offered(view));
                offered.map_or(Err(Cause::SignatureMissing), |tree| tree.verify(view, keys))
            }
            Self::All(trees) => all(trees, view, keys),
            Self::Signed(signed) => signed.verify(view, keys),
            Self::Token(token) => token.verify(view, keys),
            Self::Basic(basic) => basic.verify(view, keys),
            Self::Unverified => Ok(Verified {
                secret_name: None,
                secret_index: 0,
            }),
        }
    }

    /// The leaf that signs sample deliveries: the first that can be.
    pub fn signing(&self) -> Option<&Signed> {
        match self {
            Self::Any(trees) | Self::First(trees) | Self::All(trees) => {
                trees.iter().find_map(Self::signing)
            }
            Self::Signed(signed) => signed.can_sign().then_some(signed),
            Self::Token(_) | Self::Basic(_) | Self::Unverified => None,
        }
    }

    /// The headers that carry plain credentials.
    pub fn credentials(&self, headers: &mut Vec<HeaderName>) {
        match self {
            Self::Any(trees) | Self::First(trees) | Self::All(trees) => {
                trees.iter().for_each(|tree| tree.credentials(headers));
            }
            Self::Token(token) => headers.extend(token.headers().cloned()),
            Self::Basic(_) => headers.push(http::header::AUTHORIZATION),
            Self::Signed(_) | Self::Unverified => {}
        }
    }

    /// The widest tolerance of any leaf.
    pub fn tolerance(&self) -> Option<Duration> {
        match self {
            Self::Any(trees) | Self::First(trees) | Self::All(trees) => {
                trees.iter().filter_map(Self::tolerance).max()
            }
            Self::Signed(signed) => signed.timestamp.as_ref().map(|stamp| stamp.tolerance),
            Self::Token(_) | Self::Basic(_) | Self::Unverified => None,
        }
    }

    fn is_offered(&self, view: &View<'_>) -> bool {
        match self {
            Self::Any(trees) | Self::First(trees) => trees.iter().any(|tree| tree.is_offered(view)),
            Self::All(trees) => trees.iter().all(|tree| tree.is_offered(view)),
            Self::Signed(signed) => signed.signature.is_offered(view),
            Self::Token(token) => token.is_offered(view),
            Self::Basic(_) => Basic::is_offered(view),
            Self::Unverified => true,
        }
    }
}

/// The cause of the alternative that came furthest: it is the one the sender meant.
fn any(trees: &[Tree], view: &View<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
    let mut furthest = Cause::SecretMissing;
    for tree in trees {
        match tree.verify(view, keys) {
            Ok(verified) => return Ok(verified),
            Err(cause) if cause > furthest => furthest = cause,
            Err(_) => {}
        }
    }
    Err(furthest)
}

fn all(trees: &[Tree], view: &View<'_>, keys: &dyn Keys) -> Result<Verified, Cause> {
    let mut first = None;
    for tree in trees {
        let verified = tree.verify(view, keys)?;
        first.get_or_insert(verified);
    }
    first.ok_or(Cause::CheckFailed)
}
