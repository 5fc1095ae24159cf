//! Performing one effect downstream: destinations, credentials, limits, retries, the egress guard.
//!
//! The worker asks [`Destinations::of`] where an effect goes, waits for a [`Permit`] there, which
//! it keeps until the outcome is durable, and has [`Destinations::perform`] send one request and
//! say whether that was the end of it. Waiting between attempts is the engine's, through the
//! journal.

mod admission;
mod api_document;
mod budget;
pub mod circuit;
mod conditions;
pub mod document;
pub mod egress;
mod exchange;
mod failure;
mod fetch;
pub mod limit;
pub mod metrics;
mod perform;
mod permit;
mod ramp;
pub mod reference;
mod registry;
pub mod rehearse;
mod request;
mod response;
pub mod retry;
mod token;

use std::time::Duration;

use serde::Deserialize;

use crate::id::Id;
use crate::run::{Attempt, Outcome};

pub use admission::News;
pub use budget::Demand;
pub use document::{Document, parse};
pub use fetch::Unfetched;
pub use metrics::Metrics;
pub use permit::Permit;
pub use registry::{Declared, Destination, Destinations};
pub use token::Sharing;

/// Section `[call]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name resolution, TCP and TLS together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// A whole call where its destination does not say, in milliseconds.
    pub timeout_ms: u64,
    /// The body of a request, in bytes.
    pub request_bytes_max: usize,
    /// The body of an answer after decompression, in bytes.
    pub response_bytes_max: usize,
    /// Calls in flight per destination or undeclared origin on this node.
    pub concurrency: usize,
    /// Undeclared origins that are remembered; beyond it idle ones are forgotten.
    pub origins_max: usize,
    /// Idle connections kept per origin.
    pub idle_connections_max: usize,
    /// How long an idle connection is kept, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Ports of public addresses that may be called.
    pub egress_ports: Vec<u16>,
    /// Networks (CIDR or CIDR:port) that may be called although they are not public.
    pub egress_allow: Vec<String>,
}

/// Why destinations cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A network of the configuration.
    #[error("call.egress_allow: {0}; {hint}", hint = egress::addresses::NotANetwork::HINT)]
    Allowance(#[from] egress::addresses::NotANetwork),
    /// The HTTP client; mostly missing root certificates.
    #[error("the HTTP client cannot be set up; is the package ca-certificates installed?")]
    Client(#[source] egress::ClientError),
    /// A metric that is registered twice.
    #[error("the metrics of calls cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// What identifies a call to the outside.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The run, for the log.
    pub run_id: Id,
    /// The value of `Idempotency-Key`: the same for all attempts at one effect.
    pub idempotency_key: Id,
}

/// What came of performing an effect once.
#[derive(Debug)]
pub enum Performed {
    /// Final.
    Done {
        /// This attempt.
        attempt: Attempt,
        /// The task's raw output or error.
        outcome: Outcome,
    },
    /// The destination's policy tries again after this delay.
    Retry {
        /// This attempt.
        attempt: Attempt,
        /// From now.
        after: Duration,
    },
}
