//! Hookwright: a self-hosted webhook automation server.
//!
//! Modules stand from the doors down to the vocabulary, and a module names only modules listed
//! below it (`tests/it/tidy.rs` holds that). `ARCHITECTURE.md` walks through them.

pub mod cli;
pub mod server;
pub mod api;
pub mod approval;
pub mod webhook;
pub mod worker;
pub mod simulate;
pub mod call;
pub mod store;
pub mod run;
pub mod trigger;
pub mod signature;
pub mod workflow;
pub mod expression;
pub mod event;
pub mod secret;
pub mod problem;
pub mod id;
pub mod config;
pub mod telemetry;
pub mod fault_point;
