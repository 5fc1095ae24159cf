//! Secret values as bytes: which secret a scheme wants and how its text is turned into a key.
//!
//! Called by leaves and by signing. Values come through `Keys` and are never kept.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;

use super::extract::BASE64_SECRET;
use super::{Cause, Keys};

/// How the text of a secret becomes a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decode {
    /// The text itself.
    Utf8,
    /// The bytes of which it is the hexadecimal form.
    Hex,
    /// Base64 after an optional mark that says what it is (Standard Webhooks `whsec_`, `whpk_`).
    Base64(&'static str),
    /// The SHA-1 of the text (Braintree).
    Sha1,
}

impl Decode {
    pub const WORDS: &[(&str, Self)] = &[
        ("utf8", Self::Utf8),
        ("hex", Self::Hex),
        ("base64", Self::Base64("")),
        ("whsec", Self::Base64("whsec_")),
        ("whpk", Self::Base64("whpk_")),
        ("sha1", Self::Sha1),
    ];

    /// The key, where the text is of this form and not blank.
    pub fn apply(self, value: Vec<u8>) -> Option<Vec<u8>> {
        let text = value.trim_ascii();
        let key = match self {
            Self::Utf8 => return Some(value),
            Self::Hex => hex::decode(text).ok(),
            Self::Base64(mark) => {
                let bare = text.strip_prefix(mark.as_bytes()).unwrap_or(text);
                BASE64_SECRET.decode(bare).ok()
            }
            Self::Sha1 => {
                let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &value);
                Some(hash.as_ref().to_vec())
            }
        };
        key.filter(|key| !key.is_empty())
    }
}

/// `key:` of a leaf.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub secret: Arc<str>,
    pub decode: Decode,
}

impl Key {
    /// The usable values with their places in the list (0 = newest).
    ///
    /// # Errors
    /// `SecretMissing` where there is none: no value, blank ones, or ones that do not decode.
    pub fn live(&self, keys: &dyn Keys) -> Result<Vec<(usize, Vec<u8>)>, Cause> {
        let values = keys.values(&self.secret).into_iter().enumerate();
        let values = values.filter(|(_, value)| !is_blank(value));
        let live: Vec<_> = values
            .filter_map(|(index, value)| Some((index, self.decode.apply(value)?)))
            .collect();
        if live.is_empty() {
            return Err(Cause::SecretMissing);
        }
        Ok(live)
    }
}

/// The value of a secret in one round of trying all; a shorter list repeats its last value.
pub(super) fn value_in_round(keys: &dyn Keys, name: &str, round: usize) -> Option<Vec<u8>> {
    let mut values = keys.values(name);
    let last = values.len().checked_sub(1)?;
    Some(values.swap_remove(round.min(last))).filter(|value| !is_blank(value))
}

/// Blank values verify nothing: an empty key would make every forgery valid.
pub(super) fn is_blank(value: &[u8]) -> bool {
    value.trim_ascii().is_empty()
}
