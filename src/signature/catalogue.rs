//! The catalogue of senders: data, not code.
//!
//! `providers.yaml` is embedded and compiled at first use; users' own entries have the same form.

use std::sync::LazyLock;

use super::{Parts, Scheme, compile};
use crate::workflow::document::{self, Fault, Faults, Key, Place};

/// The embedded text.
const PROVIDERS: &str = include_str!("providers.yaml");

/// The embedded catalogue, compiled.
pub(super) fn embedded() -> &'static [Scheme] {
    static EMBEDDED: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
        read(PROVIDERS).expect("the embedded catalogue has no faults: tests/it/signatures.rs")
    });
    &EMBEDDED
}

/// Compiles all entries of a catalogue.
pub(super) fn read(text: &str) -> Result<Vec<Scheme>, Vec<Fault>> {
    let node = document::read(text).map_err(|fault| vec![fault])?;
    let faults = Faults::new();
    let schemes = entries(&Place::root(&node, &faults));
    faults.result(schemes)
}

fn entries(root: &Place<'_>) -> Option<Vec<Scheme>> {
    let object = root.object()?;
    let providers = object.required("providers");
    object.finish();
    let providers = providers?.object()?;
    let schemes = providers.members().map(|(key, place)| entry(key, &place));
    let schemes: Vec<_> = schemes.collect();
    schemes.into_iter().collect()
}

fn entry(key: &Key, place: &Place<'_>) -> Option<Scheme> {
    let object = place.object()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if key.name.is_empty() || !key.name.chars().all(plain) {
        place.fault(format!(
            "`{}` is no provider name: use a–z, 0–9 and `-`",
            key.name
        ));
    }
    let title = object.required("title").and_then(|place| place.string());
    let secrets = object.required("secrets").and_then(|place| secrets(&place));
    let sources = object
        .required("sources")
        .and_then(|place| compile::filled_texts(&place));
    let note = object.optional("note").map(|place| place.string());
    let verify = object.required("verify");
    let parts = verify.map(|verify| Parts {
        verify,
        event: object.optional("event"),
        handshake: object.optional("handshake"),
        acknowledge: object.optional("acknowledge"),
    });
    object.finish();
    let mut scheme = compile::scheme(&parts?, secrets?)?;
    scheme.name = Some(key.name.clone());
    // Read for their form only; they are for people.
    (title.is_some() && sources.is_some() && note != Some(None)).then_some(scheme)
}

/// The declared names, in the order that says which one a single `secret:` means.
fn secrets(place: &Place<'_>) -> Option<Vec<String>> {
    let object = place.object()?;
    let names = object.members().map(|(key, what)| {
        what.string()?;
        Some(key.name.clone())
    });
    let names: Vec<_> = names.collect();
    names.into_iter().collect()
}
