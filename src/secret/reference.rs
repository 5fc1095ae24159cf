//! Where a secret lives, as definitions spell it. Sources and destinations parse these; only
//! `secret::Secrets` follows them.

use std::fmt;

use super::Error;

/// The longest name or path of a reference, in characters.
pub const NAME_CHARS_MAX: usize = 1024;

/// `{env: NAME}`, `{file: PATH}` or `{secret: name}` / `{secret: name.member}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// An environment variable of the server.
    Env(String),
    /// A file on the server, read again when it changes.
    File(String),
    /// A secret sealed in the database, or one string member of it where it is a JSON object.
    Sealed {
        /// The name it is stored under.
        name: String,
        /// The member of the object.
        member: Option<String>,
    },
}

impl Reference {
    /// The words by which a definition says where a secret lives.
    pub const KINDS: [&'static str; 3] = ["env", "file", "secret"];

    /// The reference written as the one-member map `{kind: value}`.
    ///
    /// # Errors
    /// [`Error::Reference`] for another kind, and for a name that is empty, too long or holds
    /// characters no such name can have. The value is not repeated: people put the secret itself
    /// there by mistake.
    pub fn parse(kind: &str, value: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Reference(format!("a reference to {kind} {why}")));
        if value.is_empty() || value.chars().count() > NAME_CHARS_MAX {
            return refuse("needs a name of 1 to 1024 characters");
        }
        if value.chars().any(char::is_control) {
            return refuse("may not hold control characters");
        }
        match kind {
            "env" if value.contains(['=', ' ']) => {
                refuse("needs the name of a variable, such as SHOP_SECRET")
            }
            "env" => Ok(Self::Env(value.to_owned())),
            "file" => Ok(Self::File(value.to_owned())),
            "secret" => Self::sealed(value),
            _ => Err(Error::Reference(
                "a secret is referred to by env, file or secret, such as {env: SHOP_SECRET}"
                    .to_owned(),
            )),
        }
    }

    fn sealed(value: &str) -> Result<Self, Error> {
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let (name, member) = match value.split_once('.') {
            Some((name, member)) => (name, Some(member)),
            None => (value, None),
        };
        if !word(name) || !member.is_none_or(word) {
            return Err(Error::Reference(
                "a reference to secret needs name or name.member, \
                 of letters, digits, hyphens and underscores"
                    .to_owned(),
            ));
        }
        Ok(Self::Sealed {
            name: name.to_owned(),
            member: member.map(str::to_owned),
        })
    }
}

/// For messages: the place, never the value.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env {name}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Sealed { name, member: None } => write!(f, "secret {name}"),
            Self::Sealed {
                name,
                member: Some(member),
            } => write!(f, "secret {name}.{member}"),
        }
    }
}
