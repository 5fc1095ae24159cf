//! Reads a reference to a secret from a document: `{env: …}`, `{file: …}` or `{secret: …}`.
//!
//! Used by destinations here and by sources above. It resolves nothing.

use crate::secret::Reference;
use crate::workflow::document::Place;

const FORMS: &str = "write { env: NAME }, { file: /run/secrets/name } or { secret: name }";

/// The reference at a place; a fault there where it is none.
#[must_use]
pub fn reference(place: &Place<'_>) -> Option<Reference> {
    if place.node().as_str().is_some() {
        place.fault_with("a secret's value is never written into a definition", FORMS);
        return None;
    }
    let object = place.object()?;
    if object.has("vault") {
        place.fault_with("`vault` is not supported by this version yet", FORMS);
        return None;
    }
    let found = Reference::KINDS.map(|kind| (kind, object.optional(kind)));
    object.finish();
    let mut given = found.into_iter().filter_map(|(kind, at)| Some((kind, at?)));
    let (Some((kind, at)), None) = (given.next(), given.next()) else {
        place.fault_with("a reference to a secret has exactly one member", FORMS);
        return None;
    };
    match Reference::parse(kind, at.string()?) {
        Ok(reference) => Some(reference),
        Err(error) => {
            at.fault_with(error.to_string(), FORMS);
            None
        }
    }
}
