//! All tests, in one program: modules in the order of the journey, then the rules of the house.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]
//! All integration tests, one module per area, in one binary; in the order of the journey.

mod call;
mod document;
mod egress;
mod expression;
mod config;
mod secrets;
mod telemetry;
mod expression;
mod transcript;
mod run;
mod run_catch;
mod run_journal;
mod replay;
