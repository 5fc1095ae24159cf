//! All tests, in one program: modules in the order of the journey, then the rules of the house.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod call;
mod document;
mod egress;
mod expression;
mod transcript;
mod run;
mod run_catch;
mod run_journal;
mod replay;
mod config;
mod secrets;
mod telemetry;
