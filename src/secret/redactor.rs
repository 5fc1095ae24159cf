//! Hides live secret values in anything that leaves the process: log lines, stored attempts,
//! error texts. `telemetry` and `call` run every text through it. It knows values only, not where
//! they come from; a value shorter than [`VALUE_BYTES_MIN`] cannot be hidden without mangling
//! ordinary text, so operators are told to use longer ones.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::redact_json;

/// What stands in the place of a secret value.
pub const REDACTED: &str = "***";

/// Values shorter than this, in bytes, are not looked for.
pub const VALUE_BYTES_MIN: usize = 8;

/// What `encodeURIComponent` and most URL writers leave alone (RFC 3986 §2.3, unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Replaces every live secret value (≥ 8 bytes; also base64, hex, URL-encoded) by `***`.
#[derive(Clone, Default)]
pub struct Redactor {
    /// `None` where there is nothing to hide.
    automaton: Option<Arc<AhoCorasick>>,
}

impl Redactor {
    /// A redactor for these values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = BTreeSet::new();
        for value in values {
            if value.len() >= VALUE_BYTES_MIN {
                forms(value, &mut patterns);
            }
        }
        if patterns.is_empty() {
            return Self::default();
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)
            .expect("`values` keeps the patterns under its limit, far below the automaton's");
        Self {
            automaton: Some(Arc::new(automaton)),
        }
    }

    /// The text with every secret value replaced; the text itself where nothing is to hide.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.automaton {
            Some(automaton) if automaton.is_match(text) => {
                let mut out = String::with_capacity(text.len());
                automaton.replace_all_with(text, &mut out, |_, _, out| {
                    out.push_str(REDACTED);
                    true
                });
                Cow::Owned(out)
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// Whether nothing is to be hidden in this text.
    #[must_use]
    pub fn is_clean(&self, text: &[u8]) -> bool {
        let automaton = self.automaton.as_ref();
        automaton.is_none_or(|automaton| !automaton.is_match(text))
    }

    /// JSON text with every secret value hidden, which stays JSON: a journal must be readable
    /// again, also where a secret consists of digits and stands in a number.
    #[must_use]
    pub fn redact_json(&self, text: Vec<u8>) -> Vec<u8> {
        match &self.automaton {
            Some(automaton) if automaton.is_match(&text) => {
                redact_json::redact(self, &String::from_utf8_lossy(&text)).into_bytes()
            }
            _ => text,
        }
    }
}

/// Shows no value.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

/// The ways one value is commonly written.
fn forms(value: &str, patterns: &mut BTreeSet<Vec<u8>>) {
    let bytes = value.as_bytes();
    patterns.insert(bytes.to_vec());
    patterns.insert(hex::encode(bytes).into_bytes());
    patterns.insert(hex::encode_upper(bytes).into_bytes());
    for set in [UNRESERVED, NON_ALPHANUMERIC] {
        let percent = percent_encode(bytes, set).to_string();
        patterns.insert(percent.replace("%20", "+").into_bytes());
        patterns.insert(percent.into_bytes());
    }
    for offset in 0..3 {
        patterns.insert(base64_core(bytes, offset, &STANDARD));
        patterns.insert(base64_core(bytes, offset, &URL_SAFE));
    }
    // Inside JSON text, where quotes, backslashes and line ends are escaped.
    let json = serde_json::Value::from(value).to_string();
    patterns.insert(json.as_bytes()[1..json.len() - 1].to_vec());
}

/// The characters of the base64 of `prefix ‖ value ‖ suffix` that depend on the value alone, for
/// a prefix of `offset` bytes (mod 3). So `user:password` hides in `Authorization: Basic` too.
fn base64_core(value: &[u8], offset: usize, engine: &impl Engine) -> Vec<u8> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(value);
    let encoded = engine.encode(&padded);
    let from = (offset * 8).div_ceil(6);
    let to = padded.len() * 8 / 6;
    encoded.as_bytes()[from..to].to_vec()
}
