//! The filters of a template: what is made of a part before it takes its place.
//!
//! Plain functions of the value (`sha256hex`, `crc32`, `strip_query`, …), the keyed `hmac` for
//! answers to a sender's challenge, `default:` for what may be absent, and the named canonical
//! forms of `canonical`.

use aws_lc_rs::{digest, hmac};

use super::{Absent, Allowed, Names, Scope};
use crate::signature::canonical;
use crate::signature::extract::Encoding;
use crate::signature::key::Decode;
use crate::signature::signed::Hash;
use crate::signature::view::View;

#[derive(Clone, Debug)]
pub(super) enum Filter {
    Sha256Hex,
    /// CRC-32 (IEEE) in decimal digits.
    Crc32,
    StripQuery,
    PortVariants,
    HubspotUri,
    SortedConcat,
    Connect,
    Contentful,
    Sns,
    HeaderValues(String),
    /// What stands for an absent part.
    Default(String),
    Hmac(Keyed),
}

/// `hmac:sha256:secret:hex`, and how the secret is decoded where that is not its text.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    hash: Hash,
    secret: String,
    encoding: Encoding,
    decode: Decode,
}

impl Filter {
    pub fn parse(text: &str, allowed: Allowed, names: &mut Names) -> Result<Self, String> {
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        match (name, argument) {
            ("sha256hex", "") => Ok(Self::Sha256Hex),
            ("crc32", "") => Ok(Self::Crc32),
            ("strip_query", "") => Ok(Self::StripQuery),
            ("port_variants", "") => Ok(Self::PortVariants),
            ("hubspot_uri", "") => Ok(Self::HubspotUri),
            ("sorted_concat", "") => Ok(Self::SortedConcat),
            ("connect_canonical", "") => {
                names.parameter("base_url");
                Ok(Self::Connect)
            }
            ("contentful_canonical", "") => Ok(Self::Contentful),
            ("sns_string_to_sign", "") => Ok(Self::Sns),
            ("header_values", separator) => Ok(Self::HeaderValues(separator.to_owned())),
            ("default", text) => Ok(Self::Default(text.to_owned())),
            ("hmac", argument) if allowed == Allowed::Reply => {
                Keyed::parse(argument, names).map(Self::Hmac)
            }
            ("hmac", _) => Err("the filter `hmac` may be used in answers only".to_owned()),
            _ => Err(format!(
                "the filter `{text}` is not known; known: sha256hex, crc32, default:, hmac:, \
                 strip_query, port_variants, sorted_concat, header_values:, hubspot_uri, \
                 connect_canonical, contentful_canonical, sns_string_to_sign"
            )),
        }
    }

    pub const fn variants(&self) -> usize {
        match self {
            Self::PortVariants => 2,
            _ => 1,
        }
    }

    /// What the filter makes of a value, or of there being none.
    pub fn apply(
        &self,
        value: Result<Vec<u8>, Absent>,
        view: &View<'_>,
        scope: &Scope<'_>,
    ) -> Result<Vec<u8>, Absent> {
        if let Self::Default(text) = self {
            return Ok(value.unwrap_or_else(|Absent| text.clone().into_bytes()));
        }
        let value = value?;
        let text = || std::str::from_utf8(&value).ok();
        let made = match self {
            Self::Sha256Hex => {
                Some(hex::encode(digest::digest(&digest::SHA256, &value)).into_bytes())
            }
            Self::Crc32 => Some(crc32fast::hash(&value).to_string().into_bytes()),
            Self::StripQuery => text().map(|url| canonical::strip_query(url).into()),
            Self::PortVariants => text()
                .and_then(|url| canonical::port_variant(url, scope.variant))
                .map(String::into_bytes),
            Self::HubspotUri => text().map(|url| canonical::hubspot_uri(url).into_bytes()),
            Self::SortedConcat => canonical::sorted_concat(&value).map(String::into_bytes),
            Self::Connect => canonical::connect(view, scope).map(String::into_bytes),
            Self::Contentful => canonical::contentful(view),
            Self::Sns => canonical::sns(&value).map(String::into_bytes),
            Self::HeaderValues(separator) => {
                text().and_then(|names| canonical::header_values(names, separator, view))
            }
            Self::Hmac(keyed) => keyed.apply(&value, scope),
            Self::Default(_) => None,
        };
        made.ok_or(Absent)
    }
}

impl Keyed {
    fn parse(text: &str, names: &mut Names) -> Result<Self, String> {
        const FORM: &str = "write it as `hmac:sha256:secret:hex`, with `:sha1` after it where \
                            the key is the SHA-1 of the secret";
        let words: Vec<_> = text.split(':').collect();
        let (hash, secret, encoding, decode) = match words.as_slice() {
            [hash, secret, encoding] => (hash, secret, encoding, "utf8"),
            [hash, secret, encoding, decode] => (hash, secret, encoding, *decode),
            _ => return Err(FORM.to_owned()),
        };
        Ok(Self {
            hash: word(Hash::WORDS, hash).ok_or(FORM)?,
            secret: names.secret(secret),
            encoding: word(Encoding::WORDS, encoding).ok_or(FORM)?,
            decode: word(Decode::WORDS, decode).ok_or(FORM)?,
        })
    }

    fn apply(&self, value: &[u8], scope: &Scope<'_>) -> Option<Vec<u8>> {
        let key = self.decode.apply((scope.secret)(&self.secret)?)?;
        let key = hmac::Key::new(self.hash.hmac(), &key);
        let tag = hmac::sign(&key, value);
        Some(self.encoding.encode(tag.as_ref()).into_bytes())
    }
}

fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
}
