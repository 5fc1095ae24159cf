//! All settings, composed from the modules' own; `config/default.toml` is their reference.

use std::net::SocketAddr;

use serde::Deserialize;

/// Everything `config/default.toml` names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the environment; the database remembers it.
    pub environment: String,
    /// The listener.
    pub http: Http,
    /// Stopping.
    pub drain: Drain,
    /// The receiving door.
    pub webhook: crate::webhook::Config,
    /// Approvals.
    pub approval: crate::approval::Config,
    /// The management API.
    pub api: crate::api::Config,
    /// The loops.
    pub worker: crate::worker::Config,
    /// Runs.
    pub run: crate::run::Config,
    /// Calls downstream.
    pub call: crate::call::Config,
    /// The database.
    pub store: crate::store::Config,
    /// Expressions.
    pub expression: crate::expression::Config,
    /// Secrets.
    pub secret: crate::secret::Config,
    /// Logs.
    pub telemetry: crate::telemetry::Config,
}

/// The listener and its limits. Section `[http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Open connections in all.
    pub connections_max: usize,
    /// Open connections from one address.
    pub connections_per_address_max: usize,
    /// How long the head of a request may take, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long a connection may stay without a request, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Bytes of a request's head.
    pub header_bytes_max: usize,
    /// Concurrent streams of an HTTP/2 connection.
    pub http2_streams_max: u32,
}

/// How the server stops. Section `[drain]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// After SIGTERM: how long connections are still taken while `/readyz` says no, in
    /// milliseconds.
    pub accept_ms: u64,
    /// How long open connections may take to end, in milliseconds.
    pub connections_ms: u64,
    /// How long runs in flight may take to end, in milliseconds; then they are given back.
    pub runs_ms: u64,
}
