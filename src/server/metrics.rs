//! What the listener counts.

use prometheus::{IntCounter, IntGauge, Registry};

/// Metrics of the listener; names and meanings are in `docs/metrics.md`.
pub struct Metrics {
    pub(super) connections: IntGauge,
    pub(super) connections_refused: IntCounter,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is taken already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let connections = IntGauge::new("hookwright_connections", "Open connections.")?;
        let connections_refused = IntCounter::new(
            "hookwright_connections_refused_total",
            "Connections closed at once because too many were open.",
        )?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(connections_refused.clone()))?;
        Ok(Self {
            connections,
            connections_refused,
        })
    }
}
