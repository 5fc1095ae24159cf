//! Who sent this? Verification of deliveries by declarative schemes; senders are data.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

/// A delivery as received, for verification and extraction.
pub struct Delivery<'a> {
    pub method: &'a Method,
    /// Path and query as received, such as `/hooks/shop?x=1`.
    pub path_and_query: &'a str,
    /// The registered public URL, where the source has one.
    pub url: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a Bytes,
    /// Seconds since the Unix epoch.
    pub now: i64,
}

/// Live secret values by name; several values while rotating, newest first.
pub trait Keys {
    fn values(&self, name: &str) -> Vec<Vec<u8>>;
}

/// Why a delivery was rejected; the label of the metric and of the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    SignatureMissing,
    SignatureMalformed,
    SignatureMismatch,
    TimestampMissing,
    TimestampOutsideTolerance,
    SecretMissing,
    CheckFailed,
}

impl Cause {
    pub const ALL: &'static [Cause] = &[];
    pub const fn label(self) -> &'static str {
        todo!()
    }
}

/// A delivery that is genuine.
pub struct Verified {
    /// Which value of the secret matched (0 = newest).
    pub secret_index: usize,
}

/// What a catalogue entry says about the events of a sender.
pub struct Facts {
    pub event_id: Option<String>,
    pub dedupe_id: Option<String>,
    pub kind: Option<String>,
}

/// A compiled scheme with its event locations.
pub struct Scheme;

impl Scheme {
    /// The catalogue's entry of this name.
    pub fn provider(_name: &str) -> Option<&'static Scheme> {
        todo!()
    }
    /// Names in the catalogue.
    pub fn providers() -> Vec<&'static str> {
        todo!()
    }
    /// Secret names this scheme uses (the first is the one a single `secret:` means).
    pub fn secret_names(&self) -> &[String] {
        todo!()
    }
    pub fn verify(&self, _delivery: &Delivery<'_>, _keys: &dyn Keys) -> Result<Verified, Cause> {
        todo!()
    }
    /// Event id, dedupe id and type as the catalogue locates them.
    pub fn facts(&self, _delivery: &Delivery<'_>) -> Facts {
        todo!()
    }
    pub fn tolerance(&self) -> Option<Duration> {
        todo!()
    }
}
