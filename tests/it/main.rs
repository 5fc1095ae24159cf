//! All integration tests in one binary: one module per area.

mod postgres;
mod store_managed;
