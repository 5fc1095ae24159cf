//! `tls` of a destination: other certificate authorities, and a certificate to show.

use crate::call::reference::reference;
use crate::secret::Reference;
use crate::workflow::document::Place;

/// References to PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The authorities to trust in place of the system's.
    pub ca: Option<Reference>,
    /// The certificate to show, with those between it and an authority, and its key.
    pub identity: Option<(Reference, Reference)>,
}

pub(super) fn read(place: &Place<'_>) -> Option<Tls> {
    let object = place.object()?;
    let [ca, certificate, key] = ["ca", "certificate", "key"].map(|name| object.optional(name));
    object.finish();
    let ca = match ca {
        Some(at) => Some(reference(&at)?),
        None => None,
    };
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => reference(&certificate).zip(reference(&key)),
        (None, None) if ca.is_some() => return Some(Tls { ca, identity: None }),
        _ => {
            place.fault_with(
                "a certificate to show has a key",
                "write `ca`, or `certificate` and `key`, or all three",
            );
            None
        }
    };
    Some(Tls {
        ca,
        identity: Some(identity?),
    })
}
