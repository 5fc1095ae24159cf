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

    /// Makes a new id (UUID version 7) of a time that is not this node's clock's.
    #[must_use]
    pub fn at(time: jiff::Timestamp) -> Self {
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        let nanos = u32::try_from(time.subsec_nanosecond()).unwrap_or_default();
        let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
        Self(Uuid::new_v7(time))
    }

    /// The id with its last bit turned: that of the run an addressed event starts, and that of the
    /// event again. So one can be found by the other before the run is made.
    #[must_use]
    pub fn counterpart(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128() ^ 1))
    }

    /// The id that belongs to `name` under this one (UUID version 5, RFC 9562 section 5.5).
    #[must_use]
    pub fn derive(self, name: &str) -> Self {
        Self(Uuid::new_v5(&self.0, name.as_bytes()))
    }

    /// The id that belongs to `name` under this one, with the time it is of (milliseconds since
    /// the Unix epoch) as an id of version 7 has it: history is partitioned by that.
    #[must_use]
    pub fn derive_at(self, made_at_ms: u64, name: &str) -> Self {
        let hashed = self.derive(name).0.as_u128();
        let made_at = u128::from(made_at_ms & 0xffff_ffff_ffff) << 80;
        let version = 0x7_u128 << 76;
        let rest = hashed & 0x0fff_ffff_ffff_ffff_ffff;
        Self(Uuid::from_u128(made_at | version | rest))
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
