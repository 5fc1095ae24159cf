//! All tests, in one program: modules in the order of the journey, then the rules of the house.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod api;
mod api_access;
mod api_definitions;
mod api_events;
mod api_runs;
mod api_secrets;
mod approvals;
mod batches;
mod call;
mod concurrency;
mod calls;
mod checkpoint;
mod config;
mod container;
mod dedupe;
mod definitions;
mod demo;
mod deployment;
mod document;
mod egress;
mod examples;
mod expression;
mod events;
mod faults;
mod journey;
mod leaks;
mod ledger;
mod limits;
mod long_runs;
mod postgres;
mod probes;
mod rejections;
mod replay;
mod run;
mod run_approval;
mod run_catch;
mod run_functions;
mod run_events;
mod run_journal;
mod schedule_runs;
mod schedules;
mod run_parallel;
mod secrets;
mod senders;
mod signatures;
mod simulate;
mod store_append;
mod store_connect;
mod store_journey;
mod store_mail;
mod store_managed;
mod store_partitions;
mod store_plans;
mod store_recovery;
mod telemetry;
mod tidy;
mod transcript;
mod trigger;
mod vectors;
mod workflow;
mod world;
