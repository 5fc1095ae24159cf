//! What an API announces about itself in its answers: `Deprecation` (RFC 9745), `Sunset` (RFC 8594)
//! and `Warning` (RFC 7234 section 5.5).
//!
//! Read from every answer, told once an hour at most for each task, so that an API that says it
//! with every answer costs nothing but the look.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use tokio::time::Instant;

use super::registry::{Destination, Destinations};
use crate::id::Id;
use crate::run::Effect;

/// How long an announcement is not told again.
const TOLD_FOR: Duration = Duration::from_secs(3_600);

/// Announcements remembered, and those that wait to be told; further ones are told later.
const KNOWN_MAX: usize = 10_000;
const WAITING_MAX: usize = 1_000;

/// Characters of what is announced that are kept.
const TEXT_CHARS_MAX: usize = 500;

/// The names, in the order of [`Kind`].
static NAMES: [HeaderName; 3] = [
    HeaderName::from_static("deprecation"),
    HeaderName::from_static("sunset"),
    http::header::WARNING,
];

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The operation should not be used any more.
    Deprecation,
    /// It will not answer any more.
    Sunset,
    /// Something is to be known.
    Warning,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deprecation => "deprecation",
            Self::Sunset => "sunset",
            Self::Warning => "warning",
        }
    }
}

/// One announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What it is about.
    pub kind: Kind,
    /// As it was said.
    pub text: String,
    /// Since when it is deprecated, or when it ends, where that is said.
    pub effective_at: Option<Timestamp>,
    /// Where more is said.
    pub link: Option<String>,
}

/// An announcement to be told, and to whom it matters.
#[derive(Clone, Debug)]
pub struct Change {
    /// The name of the destination; none where none is declared.
    pub destination: Option<String>,
    /// The host that said so.
    pub host: String,
    /// The run whose call was answered.
    pub run_id: Id,
    /// The task that calls.
    pub reference: String,
    /// What was said.
    pub announced: Announced,
}

/// Announcements that were told lately, and those that were not.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    told: HashMap<(String, String, Kind), (Instant, String)>,
    waiting: Vec<Change>,
}

/// What the headers of an answer announce.
#[must_use]
pub fn announced(headers: &HeaderMap) -> Vec<Announced> {
    let kinds = [Kind::Deprecation, Kind::Sunset, Kind::Warning];
    let given = kinds.into_iter().zip(&NAMES);
    let given = given.filter_map(|(kind, name)| {
        let text = headers.get(name)?.to_str().ok()?.trim();
        announcement(kind, text, headers)
    });
    // Without any of them nothing is allocated.
    given.collect()
}

fn announcement(kind: Kind, text: &str, headers: &HeaderMap) -> Option<Announced> {
    let told = match kind {
        Kind::Deprecation => text != "false" && text != "?0",
        Kind::Sunset => true,
        // The others are about caches.
        Kind::Warning => text.starts_with("299 ") || text.starts_with("199 "),
    };
    if !told || text.is_empty() {
        return None;
    }
    Some(Announced {
        kind,
        text: text.chars().take(TEXT_CHARS_MAX).collect(),
        effective_at: date(text),
        link: headers
            .get_all(http::header::LINK)
            .iter()
            .find_map(|value| link(value, kind)),
    })
}

/// `@1688169599` (RFC 9745) or an HTTP date.
fn date(text: &str) -> Option<Timestamp> {
    if let Some(seconds) = text.strip_prefix('@') {
        return Timestamp::from_second(seconds.parse().ok()?).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Timestamp::try_from(date).ok()
}

/// The target of `<https://…>; rel="deprecation"`.
fn link(value: &HeaderValue, kind: Kind) -> Option<String> {
    let relations = [
        format!("rel=\"{}\"", kind.word()),
        format!("rel={}", kind.word()),
    ];
    let links = value.to_str().ok()?.split(",<");
    let mut links = links.flat_map(|text| text.split(", <"));
    links.find_map(|text| {
        let (target, parameters) = text.trim_start_matches('<').split_once('>')?;
        let named = parameters
            .split(';')
            .any(|it| relations.iter().any(|relation| it.trim() == relation));
        named.then(|| target.chars().take(TEXT_CHARS_MAX).collect())
    })
}

impl Destinations {
    /// Keeps announcements that were not told lately.
    pub(super) fn announce(
        &self,
        all: Vec<Announced>,
        (effect, run_id): (&Effect, Id),
        destination: &Destination,
    ) {
        let host = destination.host();
        let now = Instant::now();
        let reference = effect.key.reference.to_string();
        let mut inner = self
            .changes
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for announced in all {
            let key = (host.to_owned(), reference.clone(), announced.kind);
            let told = inner.told.get(&key);
            let lately = told.is_some_and(|(at, text)| {
                now.saturating_duration_since(*at) < TOLD_FOR && *text == announced.text
            });
            if lately || inner.waiting.len() >= WAITING_MAX {
                continue;
            }
            if inner.told.len() >= KNOWN_MAX {
                inner.told.clear();
            }
            inner.told.insert(key, (now, announced.text.clone()));
            destination.series.announced();
            inner.waiting.push(Change {
                destination: destination
                    .document
                    .is_some()
                    .then(|| destination.name().to_owned()),
                host: host.to_owned(),
                run_id,
                reference: reference.clone(),
                announced,
            });
        }
    }

    /// Takes what is to be told.
    #[must_use]
    pub fn take_changes(&self) -> Vec<Change> {
        let mut inner = self
            .changes
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut inner.waiting)
    }
}
