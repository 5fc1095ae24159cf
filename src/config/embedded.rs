//! The configuration files compiled into the program, so that one binary is enough.

/// `config/default.toml`: every key with its unit, meaning and default.
pub const DEFAULT: &str = include_str!("../../config/default.toml");

/// The environments that come with a file of their own.
pub const ENVIRONMENTS: [&str; 3] = ["development", "staging", "production"];

/// What differs from [`DEFAULT`] in an environment; `None` for one we ship no file for.
#[must_use]
pub fn environment(name: &str) -> Option<&'static str> {
    match name {
        "development" => Some(include_str!("../../config/development.toml")),
        "staging" => Some(include_str!("../../config/staging.toml")),
        "production" => Some(include_str!("../../config/production.toml")),
        _ => None,
    }
}
