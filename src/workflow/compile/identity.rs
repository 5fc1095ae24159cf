//! `document`: version of the language, namespace, name, version, and what is only shown.

use crate::workflow::definition::Document;
use crate::workflow::document::{Content, Object, Place};

/// Most characters of a namespace or name (RFC 1123 label).
const LABEL_CHARS_MAX: usize = 63;
/// Most characters of a version.
const VERSION_CHARS_MAX: usize = 128;

/// Reads the `document` section.
pub fn document(place: &Place<'_>) -> Option<Document> {
    let object = place.object()?;
    let dsl = object.required("dsl").and_then(|place| dsl(&place));
    let namespace = object.required("namespace").and_then(|place| label(&place));
    let name = object.required("name").and_then(|place| label(&place));
    let version = object.required("version").and_then(|place| version(&place));
    let title = object.optional_string("title").map(str::to_owned);
    let summary = object.optional_string("summary").map(str::to_owned);
    let _ = object.optional_object("tags");
    let metadata = object.optional("metadata");
    let metadata = metadata.filter(|place| place.object().is_some());
    object.finish();
    Some(Document {
        dsl: dsl?,
        namespace: namespace?,
        name: name?,
        version: version?,
        title,
        summary,
        metadata: metadata.map(|place| place.value()).unwrap_or_default(),
    })
}

/// `document.metadata`, where it is an object: some of its members are extensions of this server,
/// all others are free.
pub fn metadata<'a>(document: &Place<'a>) -> Option<Object<'a>> {
    let is_object = |place: &Place<'a>| matches!(place.node().content, Content::Object(_));
    let document = is_object(document).then(|| document.object())??;
    let metadata = document.optional("metadata")?;
    is_object(&metadata).then(|| metadata.object())?
}

fn dsl(place: &Place<'_>) -> Option<String> {
    let text = place.string()?;
    if !is_semver(text) {
        place.fault_with(
            format!("`{text}` is no version of the language"),
            "write '1.0.3'",
        );
        return None;
    }
    if !text.starts_with("1.0.") {
        let message = format!("this server speaks version 1.0 of the language, not {text}");
        place.fault_with(message, "write '1.0.3' if the document needs nothing newer");
        return None;
    }
    Some(text.to_owned())
}

/// A namespace or a name.
pub fn label(place: &Place<'_>) -> Option<String> {
    let text = place.string()?;
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let valid = !text.is_empty()
        && text.len() <= LABEL_CHARS_MAX
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if !valid {
        let hint = "letters, digits and hyphens, at most 63, no hyphen at the ends";
        place.fault_with("this must be an RFC 1123 label", hint);
        return None;
    }
    Some(text.to_owned())
}

/// A version.
pub fn version(place: &Place<'_>) -> Option<String> {
    let text = place.string()?;
    if !is_semver(text) {
        place.fault_with("this must be a semantic version", "write it like '1.0.0'");
        return None;
    }
    Some(text.to_owned())
}

/// Semantic Versioning 2.0.0, section "Backus-Naur Form Grammar".
fn is_semver(text: &str) -> bool {
    if text.len() > VERSION_CHARS_MAX {
        return false;
    }
    let (rest, build) = text
        .split_once('+')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (core, pre) = rest
        .split_once('-')
        .map_or((rest, None), |(a, b)| (a, Some(b)));
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let plain = |part: &str| part == "0" || !part.starts_with('0');
    let core_holds = core.split('.').count() == 3
        && core
            .split('.')
            .all(|part| !part.is_empty() && digits(part) && plain(part));
    let pre_holds = pre.is_none_or(|pre| {
        pre.split('.')
            .all(|part| word(part) && (!digits(part) || plain(part)))
    });
    core_holds && pre_holds && build.is_none_or(|build| build.split('.').all(word))
}
