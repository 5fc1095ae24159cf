//! Finds the signatures a delivery offers: where they stand, how a list is split, how one is
//! decoded.
//!
//! Called by the leaves of a scheme. What cannot be read is skipped, never fatal: one header may
//! carry signatures of several versions and keys.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderName;

use super::Cause;
use super::choice::Choice;
use super::template::{Scope, Template};
use super::view::View;

/// Candidates looked at in one delivery; senders with one header per key use up to 100.
const CANDIDATES_MAX: usize = 100;

/// Padding may be left out; stray bits in the last character may not be set.
const RELAXED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Base64 of RFC 4648 section 4.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, RELAXED);

/// Base64 for secrets, in which senders do set the stray bits (they cut random text to length).
pub(super) const BASE64_SECRET: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    RELAXED.with_decode_allow_trailing_bits(true),
);

/// Base64 of RFC 4648 section 5.
pub(super) const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, RELAXED);

/// How bytes are written as text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding {
    Hex,
    Base64,
    Base64Url,
}

impl Encoding {
    pub const WORDS: &[(&str, Self)] = &[
        ("hex", Self::Hex),
        ("base64", Self::Base64),
        ("base64url", Self::Base64Url),
    ];

    /// The bytes, where the text is of this encoding and not blank.
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        let bytes = match self {
            Self::Hex => hex::decode(text).ok(),
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Base64Url => BASE64_URL.decode(text).ok(),
        };
        bytes.filter(|bytes| !bytes.is_empty())
    }

    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64Url => base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

/// Where signatures stand.
#[derive(Clone, Debug)]
pub(super) enum Location {
    Header(Vec<HeaderName>),
    /// All headers whose names begin so.
    HeadersBeginning(String),
    Query(Vec<String>),
    Form(Vec<String>),
    Json(Vec<usize>),
    /// Within the element of a batch that is looked at.
    Item(Vec<usize>),
}

/// `signature:` of a leaf.
#[derive(Clone, Debug)]
pub(super) struct Extraction {
    pub location: Location,
    /// Separates several signatures within one value.
    pub split: Option<char>,
    /// Whether white space around each signature is dropped.
    pub trim: bool,
    /// Separates the key of a field from its value.
    pub pair: Option<char>,
    /// The keys whose values are signatures; empty where there is no `pair`.
    pub keys: Vec<Template>,
    pub prefix: Option<String>,
    pub prefix_required: bool,
    pub encoding: Choice<Encoding>,
}

/// What a delivery offers in one place, still as text.
pub(super) struct Offer<'v> {
    values: Vec<Cow<'v, str>>,
}

/// The fields and decoded candidates of an offer.
pub(super) struct Candidates<'o> {
    pub fields: Vec<(&'o str, &'o str)>,
    pub signatures: Vec<Vec<u8>>,
}

/// How an offer is read in one verification: what depends on secrets and settings, evaluated.
struct Reading<'r> {
    keys: Vec<String>,
    encoding: Encoding,
    extraction: &'r Extraction,
}

impl Location {
    /// The values in place; blank ones and ones that are no text are left out.
    pub fn offer<'v>(&self, view: &'v View<'_>, scope: &Scope<'v>) -> Offer<'v> {
        let texts = |values: Vec<&'v [u8]>| -> Vec<Cow<'v, str>> {
            let texts = values.into_iter();
            let texts = texts.filter_map(|bytes| std::str::from_utf8(bytes).ok());
            texts.map(Into::into).collect()
        };
        let mut values: Vec<Cow<'v, str>> = match self {
            Self::Header(names) => texts(view.headers(names)),
            Self::HeadersBeginning(start) => texts(view.headers_beginning(start)),
            Self::Query(names) => view.query(names).into_iter().collect(),
            Self::Form(names) => view.form(names).into_iter().collect(),
            Self::Json(indexes) => view.json(indexes).map(Into::into).into_iter().collect(),
            Self::Item(indexes) => {
                let text = scope.item.and_then(|item| item.text(indexes));
                text.map(Into::into).into_iter().collect()
            }
        };
        values.retain(|value| !value.trim().is_empty());
        Offer { values }
    }
}

impl Location {
    /// The headers it names.
    pub fn headers(&self) -> &[HeaderName] {
        match self {
            Self::Header(names) => names,
            _ => &[],
        }
    }
}

impl Offer<'_> {
    /// The one value; none where there are several that disagree.
    pub fn only(self) -> Option<String> {
        let values = self.values.into_iter().map(Cow::into_owned);
        super::view::only(values.collect())
    }
}

impl Extraction {
    /// The values in place.
    pub fn offer<'v>(&self, view: &'v View<'_>, scope: &Scope<'v>) -> Offer<'v> {
        self.location.offer(view, scope)
    }

    /// Splits and decodes an offer.
    ///
    /// # Errors
    /// `SignatureMissing` where nothing of this kind is offered, `SignatureMalformed` where
    /// something is but none of it can be read.
    pub fn read<'o>(
        &self,
        offer: &'o Offer<'_>,
        view: &View<'_>,
        scope: &Scope<'_>,
    ) -> Result<Candidates<'o>, Cause> {
        let keys = self.keys.iter().map(|key| key.text(view, scope));
        let reading = Reading {
            keys: keys.collect::<Option<_>>().ok_or(Cause::SecretMissing)?,
            encoding: self
                .encoding
                .pick(view, scope)
                .ok_or(Cause::SignatureMalformed)?,
            extraction: self,
        };
        let mut fields = Vec::new();
        let mut signatures = Vec::new();
        let mut unreadable = false;
        let values = offer.values.iter();
        let items = values.flat_map(|value| self.items(value));
        for item in items.take(CANDIDATES_MAX) {
            let Some(text) = reading.candidate(item, &mut fields, &mut unreadable) else {
                continue;
            };
            match reading.decode(text) {
                Some(signature) => signatures.push(signature),
                None => unreadable = true,
            }
        }
        match (signatures.is_empty(), unreadable) {
            (false, _) => Ok(Candidates { fields, signatures }),
            (true, true) => Err(Cause::SignatureMalformed),
            (true, false) => Err(Cause::SignatureMissing),
        }
    }

    /// Whether a signature of this kind is offered, readable or not.
    pub fn is_offered(&self, view: &View<'_>, scope: &Scope<'_>) -> bool {
        let offer = self.offer(view, scope);
        let read = self.read(&offer, view, scope);
        !matches!(read, Err(Cause::SignatureMissing))
    }

    /// The text of a signature as this place wants it, with the given further fields.
    pub fn write(
        &self,
        signature: &[u8],
        fields: &[(&str, String)],
        (view, scope): (&View<'_>, &Scope<'_>),
    ) -> Option<String> {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let text = format!("{prefix}{}", self.encoding.usual()?.encode(signature));
        let (Some(pair), Some(key)) = (self.pair, self.keys.first()) else {
            return Some(text);
        };
        let mut written: Vec<_> = fields
            .iter()
            .map(|(k, v)| format!("{k}{pair}{v}"))
            .collect();
        written.push(format!("{}{pair}{text}", key.text(view, scope)?));
        Some(written.join(&self.split.unwrap_or(',').to_string()))
    }

    fn items<'v>(&self, value: &'v str) -> impl Iterator<Item = &'v str> + use<'v> {
        let split = self.split;
        let trim = self.trim || split.is_some();
        let items = value.split(move |c| Some(c) == split);
        items.map(move |item| if trim { item.trim() } else { item })
    }
}

impl Reading<'_> {
    /// The text that should be a signature; fields are noted on the way.
    fn candidate<'o>(
        &self,
        item: &'o str,
        fields: &mut Vec<(&'o str, &'o str)>,
        unreadable: &mut bool,
    ) -> Option<&'o str> {
        let Some(pair) = self.extraction.pair else {
            return Some(item);
        };
        let Some((key, value)) = item.split_once(pair) else {
            *unreadable |= !item.is_empty();
            return None;
        };
        fields.push((key, value));
        self.keys.iter().any(|known| known == key).then_some(value)
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let bare = match &self.extraction.prefix {
            None => text,
            Some(prefix) => match text.strip_prefix(prefix.as_str()) {
                Some(bare) => bare,
                None if self.extraction.prefix_required => return None,
                None => text,
            },
        };
        self.encoding.decode(bare)
    }
}
