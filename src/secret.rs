//! Secrets: references in definitions, values in memory, and the redactor for every output.
//!
//! A reference says where a value lives (`env`, `file`, or `secret` for one sealed in the
//! database); values are resolved when needed, never stored beside definitions. `signature` and
//! `call` resolve, `api` seals, `server` owns the one [`Secrets`] and hands its redactor to the
//! log. Nothing here talks to the database: `store::secrets` keeps the sealed rows.

mod keyring;
mod redact_json;
mod redactor;
mod reference;
mod values;

pub use keyring::{Keyring, SealContext, Sealed};
pub use redactor::{REDACTED, Redactor, VALUE_BYTES_MIN};
pub use reference::{NAME_CHARS_MAX, Reference};
pub use values::{FILE_BYTES_MAX, PASSING_MAX, Secrets, TRACKED_MAX};

use std::path::PathBuf;

use serde::Deserialize;

/// Where secrets may come from, and the keys that seal them. Section `[secret]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files with the keys that seal secrets in the database, oldest first; the last key of the
    /// last file seals. Empty: one key is made in the data directory at the first start.
    pub key_files: Vec<PathBuf>,
    /// Directories below which `{file: …}` may read. Empty: anywhere.
    pub files_under: Vec<PathBuf>,
    /// Environment variables `{env: …}` may not read; a trailing `*` means a prefix.
    pub env_refused: Vec<String>,
}

/// Why a secret has no value. Names places, never values.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference itself is not well formed.
    #[error("{0}")]
    Reference(String),
    /// The variable is not set, empty, or not text.
    #[error("the environment variable {0} is not set to a text; set it and start again")]
    Variable(String),
    /// The setting `secret.env_refused` covers the variable.
    #[error("the environment variable {0} is refused by secret.env_refused")]
    VariableRefused(String),
    /// The file cannot be read, is empty, too long or not text.
    #[error("the secret file {path} {reason}")]
    File {
        /// As the reference spells it.
        path: String,
        /// What is wrong with it, as the rest of the sentence.
        reason: String,
    },
    /// No sealed secret has this name.
    #[error("no secret named {0} is stored; put it with PUT /api/v1/secrets/{0}")]
    Unknown(String),
    /// The sealed secret is not a JSON object with this member, or the member is empty.
    #[error("the secret {name} is not an object with a member {member}")]
    Member {
        /// The sealed secret.
        name: String,
        /// The member asked for.
        member: String,
    },
    /// A key file cannot be used.
    #[error("the key file {path} {reason}")]
    KeyFile {
        /// Where it is.
        path: String,
        /// What is wrong with it, as the rest of the sentence.
        reason: String,
    },
    /// The key a secret was sealed with is not loaded.
    #[error(
        "the secret {name} was sealed with the key {kek_id}, which is not loaded; \
         add its file to secret.key_files"
    )]
    KeyUnknown {
        /// The sealed secret.
        name: String,
        /// The identifier of the key.
        kek_id: String,
    },
    /// The sealed bytes do not open: altered, or from another secret, version or environment.
    #[error(
        "the secret {0} does not open: its row was altered, or belongs to another secret, \
         version or environment; store the secret again"
    )]
    Unopened(String),
    /// The system's random source or cipher failed.
    #[error("the secret {0} could not be sealed: the cryptographic library refused")]
    Unsealed(String),
}
