//! All tests, in one program: modules in the order of the journey, then the rules of the house.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod postgres;
mod store_append;
mod store_connect;
mod store_journey;
mod store_managed;
mod store_partitions;
mod store_plans;
mod store_recovery;
mod document;
mod workflow;
mod expression;
mod transcript;
mod run;
mod replay;
mod config;
mod secrets;
mod api;
mod api_access;
mod api_definitions;
mod api_events;
mod api_runs;
