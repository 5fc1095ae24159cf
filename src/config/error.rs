//! What can be wrong with the configuration: which layer, which key, what to do.

/// Every variant is one line for the person who starts the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read the configuration file {layer}")]
    Unreadable {
        /// The file.
        layer: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A layer is not TOML. The message has line and column.
    #[error("{layer} is not valid TOML: {message}")]
    Syntax {
        /// The file or text.
        layer: String,
        /// What the parser says, without the text around it: that may hold a password.
        message: String,
    },
    /// No such key.
    #[error("{layer}: there is no key {key}{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The layer that has it.
        layer: String,
        /// Its dotted path.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// The value has another type than the default.
    #[error("{layer}: {key} must be {expected}, not {found}")]
    Type {
        /// The layer that has it.
        layer: String,
        /// Its dotted path.
        key: String,
        /// The type of the default, with its article.
        expected: &'static str,
        /// The type found, with its article.
        found: &'static str,
    },
    /// The value has the right type but the section's type refuses it.
    #[error("{layer}: {key} is refused: {message}")]
    Refused {
        /// The layer the value came from.
        layer: String,
        /// The dotted path, or the section where no key can be named.
        key: String,
        /// What the section's type says.
        message: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}
