//! Configuration in layers, loaded into any type; knows no key of its own.
//!
//! `cli` and `server` build [`Layers`] and load each module's own `Config` from its section. The
//! default text is the reference: it names every key, and its values say which type a key has.
//! Checking ranges is the business of the type that is loaded.

pub mod embedded;
mod error;
mod layers;
mod value;

pub use error::Error;
pub use layers::{Layers, VARIABLE_PREFIX};
