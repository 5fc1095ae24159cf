//! Public keys of tokens: sets of them as senders publish them (RFC 7517), and single ones as PEM.
//!
//! Called by `jwt`. A key is used only for the algorithm it is for.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use serde::Deserialize;

use super::extract::BASE64_URL;
use super::jwt::Algorithm;

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 64;

/// A public key with the algorithm it is for.
pub(super) enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// RSA as DER.
    RsaDer(Vec<u8>),
    /// An uncompressed point of P-256, or DER.
    P256(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The key of this name for this algorithm. A token without a name may use the only key there is.
pub(super) fn find(set: &[u8], name: Option<&str>, algorithm: Algorithm) -> Option<PublicKey> {
    let set: Set = serde_json::from_slice(set).ok()?;
    let entries = set.keys.into_iter().take(KEYS_MAX);
    let entries = entries.filter_map(|entry| serde_json::from_value::<Entry>(entry).ok());
    let entries =
        entries.filter(|entry| name.is_none_or(|name| entry.kid.as_deref() == Some(name)));
    let mut usable = entries.filter_map(|entry| entry.key(algorithm));
    let first = usable.next()?;
    usable.next().is_none().then_some(first)
}

/// A public key in PEM.
pub(super) fn from_pem(text: &[u8], algorithm: Algorithm) -> Option<PublicKey> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(text).ok()?;
    let public = matches!(pem.label.as_str(), "PUBLIC KEY" | "RSA PUBLIC KEY");
    match algorithm {
        Algorithm::Rs256 if public => Some(PublicKey::RsaDer(pem.contents)),
        Algorithm::Es256 if public => Some(PublicKey::P256(pem.contents)),
        _ => None,
    }
}

impl Entry {
    fn key(self, algorithm: Algorithm) -> Option<PublicKey> {
        let named = Algorithm::WORDS
            .iter()
            .find(|(_, known)| *known == algorithm)?
            .0;
        let fits = self
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == named);
        let bytes = |text: Option<String>| BASE64_URL.decode(text?).ok();
        match (algorithm, self.kty.as_str(), self.crv.as_deref()) {
            (Algorithm::Rs256, "RSA", _) if fits => Some(PublicKey::Rsa {
                modulus: bytes(self.n)?,
                exponent: bytes(self.e)?,
            }),
            (Algorithm::Es256, "EC", Some("P-256")) if fits => {
                let (x, y) = (bytes(self.x)?, bytes(self.y)?);
                let whole = x.len() == 32 && y.len() == 32;
                whole.then(|| PublicKey::P256([&[4][..], &x, &y].concat()))
            }
            _ => None,
        }
    }
}

impl PublicKey {
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let rsa = &RSA_PKCS1_2048_8192_SHA256;
        match self {
            Self::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(rsa, message, signature).is_ok()
            }
            Self::RsaDer(der) => UnparsedPublicKey::new(rsa, der)
                .verify(message, signature)
                .is_ok(),
            Self::P256(point) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, signature).is_ok()
            }
        }
    }
}
