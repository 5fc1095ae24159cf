//! Signs sample deliveries, so that a source can be tried without its sender.
//!
//! Called by `Scheme::sign`. The reverse of a `signed` leaf: adds what the sender would add, and
//! then signs with the same content template. Deterministic: an id it invents is derived from
//! the body and the time.

use aws_lc_rs::digest;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::event::Locations;
use super::extract::Location;
use super::pointer::Pointer;
use super::signed::{Material, Signed};
use super::template::Scope;
use super::view::View;
use super::{Delivery, Keys};

/// Why a sample cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Only HMACs and digests in headers can be made with what verifies them.
    #[error("this scheme cannot sign samples: it needs a shared secret and a signature header")]
    Unsupported,
    /// The secret is not set, blank, or not in the provider's form.
    #[error("the secret of the source is not set or not in the provider's form")]
    SecretMissing,
    /// A part of the content is absent.
    #[error("the sample lacks a part that this sender signs")]
    ContentMissing,
}

/// The headers to add to a delivery.
pub(super) fn headers(
    signed: &Signed,
    event: &Locations,
    pointers: &[Pointer],
    (delivery, keys): (&Delivery<'_>, &dyn Keys),
) -> Result<HeaderMap, SignError> {
    let Location::Header(names) = &signed.signature.location else {
        return Err(SignError::Unsupported);
    };
    let name = names.first().ok_or(SignError::Unsupported)?;
    let Material::Secret(key) = &signed.material else {
        return Err(SignError::Unsupported);
    };
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

    let mut all = delivery.headers.clone();
    all.extend(added.clone());
    let complete = Delivery {
        headers: &all,
        ..*delivery
    };
    let borrowed: Vec<_> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let secret = &|name: &str| super::key::value_in_round(keys, name, 0);
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
