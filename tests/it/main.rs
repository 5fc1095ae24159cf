//! All integration tests in one binary: one module per area.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod postgres;
mod store_append;
mod store_connect;
mod store_journey;
mod store_managed;
mod store_partitions;
mod store_plans;
mod store_recovery;
