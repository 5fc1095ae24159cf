//! All tests, in one program: modules in the order of the journey, then the rules of the house.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]
//! All integration tests, one module per area, in one binary; in the order of the journey.

mod postgres;
mod store_append;
mod store_connect;
mod store_journey;
mod store_managed;
mod document;
mod config;
mod secrets;
mod store_partitions;
mod store_plans;
mod store_recovery;
//! All integration tests, one module per area, in one binary.

mod expression;
mod transcript;
mod run;
mod replay;
