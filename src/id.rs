//! Identifiers: UUIDs whose first 48 bits are the time they were made (version 7, RFC 9562).
//!
//! Tables of history are partitioned by ranges of these ids, so an id alone finds its partition
//! and ids sort in the order of their making. Derived ids (version 5) are stable names: the same
//! inputs give the same id on every node and after every crash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An identifier of an event, a run or a key; prints as a hyphenated lower-case UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Uuid);

impl Id {
    /// Makes a new id (UUID version 7) from the wall clock and randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that belongs to `name` under this one (UUID version 5, RFC 9562 section 5.5).
    #[must_use]
    pub fn derive(self, name: &str) -> Self {
        Self(Uuid::new_v5(&self.0, name.as_bytes()))
    }

    /// The same as an id of version 7 that says it was made at `at_ms`, in milliseconds since the
    /// Unix epoch: stable as a derived id, and at home in the tables of history of that day.
    #[must_use]
    pub fn derive_at(self, at_ms: u64, name: &str) -> Self {
        let hashed = self.derive(name).0.into_bytes();
        let mut rest = [0; 10];
        rest.copy_from_slice(&hashed[6..]);
        Self(uuid::Builder::from_unix_timestamp_millis(at_ms, &rest).into_uuid())
    }

    /// Milliseconds since the Unix epoch at which a version 7 id was made; 0 for other versions.
    #[must_use]
    pub fn made_at_ms(self) -> u64 {
        if self.0.get_version_num() == 7 {
            (self.0.as_u128() >> 80) as u64
        } else {
            0
        }
    }

    /// The UUID itself, for the database driver.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for Id {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for Id {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
