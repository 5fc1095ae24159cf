//! What the listener counts.

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::store::Store;

/// Metrics of the listener; names and meanings are in `docs/metrics.md`.
pub struct Metrics {
    pub(super) connections: IntGauge,
    pub(super) connections_refused: IntCounter,
    pool: IntGaugeVec,
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
        let options = Opts::new(
            "hookwright_pool_connections",
            "Database connections of the API's pool, by state.",
        );
        let pool = IntGaugeVec::new(options, &["state"])?;
        registry.register(Box::new(pool.clone()))?;
        Ok(Self {
            connections,
            connections_refused,
            pool,
        })
    }

    /// Notes how the pool stands now.
    pub(super) fn look_at(&self, store: &Store) {
        let idle = i64::try_from(store.pool().num_idle()).unwrap_or(i64::MAX);
        self.pool.with_label_values(&["idle"]).set(idle);
        let used = i64::from(store.pool().size()).saturating_sub(idle);
        self.pool.with_label_values(&["used"]).set(used);
    }
}
