//! The gallery: sample deliveries of senders, to try a source without its sender.
//!
//! Data in `samples.yaml`. What makes a delivery new (ids, times) is filled in when it is sent;
//! what makes it genuine comes from [`super::Scheme::sign`], with the source's own secret. Pure:
//! chance and time come in.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The embedded gallery.
const GALLERY: &str = include_str!("samples.yaml");

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The provider whose it is.
    pub provider: String,
    /// Its name, which is about the event's type.
    pub name: String,
    headers: BTreeMap<String, String>,
    media: String,
    body: String,
}

/// A sample as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    media: Option<String>,
    json: Option<Value>,
    text: Option<String>,
}

/// Every sample there is, by provider and name.
#[must_use]
pub fn gallery() -> &'static [Sample] {
    static ALL: LazyLock<Vec<Sample>> = LazyLock::new(|| {
        read(GALLERY).expect("the embedded gallery has no faults: tests/it/samples.rs")
    });
    &ALL
}

/// The sample of this provider and name.
#[must_use]
pub fn find(provider: &str, name: &str) -> Option<&'static Sample> {
    let mut all = gallery().iter();
    all.find(|sample| sample.provider == provider && sample.name == name)
}

fn read(text: &str) -> Option<Vec<Sample>> {
    let providers: BTreeMap<String, BTreeMap<String, Written>> =
        serde_saphyr::from_str(text).ok()?;
    let mut samples = Vec::new();
    for (provider, named) in providers {
        for (name, written) in named {
            let body = match (written.json, written.text) {
                (Some(json), None) => json.to_string(),
                (None, Some(text)) => text,
                _ => return None,
            };
            samples.push(Sample {
                provider: provider.clone(),
                name,
                headers: written.headers,
                media: written
                    .media
                    .unwrap_or_else(|| "application/json".to_owned()),
                body,
            });
        }
    }
    Some(samples)
}

impl Sample {
    /// Headers and body of a delivery at this time; the same `chance` gives the same ids.
    #[must_use]
    pub fn make(&self, now: Timestamp, chance: u128) -> (HeaderMap, Bytes) {
        let id = format!("{chance:032x}");
        // Small enough for every reader of JSON numbers.
        let number = (chance % 1_000_000_000_000).to_string();
        let (seconds, milliseconds) = (now.as_second(), now.as_millisecond());
        let filled = |text: &str| {
            let numbers = text
                .replace("\"$number\"", &number)
                .replace("\"$now_ms\"", &milliseconds.to_string())
                .replace("\"$now_s\"", &seconds.to_string());
            numbers
                .replace("$number", &number)
                .replace("$now_ms", &milliseconds.to_string())
                .replace("$now_s", &seconds.to_string())
                .replace("$now", &now.to_string())
                .replace("$id", &id)
        };
        let mut headers = HeaderMap::new();
        let media = (header::CONTENT_TYPE, self.media.clone());
        let own = self.headers.iter().filter_map(|(name, value)| {
            let name: HeaderName = name.parse().ok()?;
            Some((name, filled(value)))
        });
        for (name, value) in own.chain([media]) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        (headers, filled(&self.body).into())
    }
}
