//! Housekeeping of the cluster: work of dead sessions goes back to `ready`, day partitions are
//! made ahead of time and dropped when old. Any node does it; two at once do no harm.

use std::sync::Arc;
use std::time::Duration;

use super::append::chain;
use super::{Config, Shared};
use crate::fault_point;
use crate::store::{self, Link, Store};

/// Pause between two looks for dead sessions; each node adds up to a quarter of its own.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// Pause between two looks at the partitions.
const PARTITION_PERIOD: Duration = Duration::from_secs(600);

/// Sweeps for ever.
pub async fn run(shared: Arc<Shared>, mut link: Link, config: Arc<Config>) {
    let dead_after = Duration::from_millis(config.session_timeout_ms);
    loop {
        let jitter = rand::random_range(0.0..0.25);
        tokio::time::sleep(SWEEP_PERIOD.mul_f64(1.0 + jitter)).await;
        match link.sweep(dead_after).await {
            Ok(swept) => {
                shared.metrics.swept.inc_by(swept.returned + swept.poisoned);
                if swept.sessions > 0 || swept.returned > 0 {
                    fault_point::pass("swept");
                    tracing::warn!(
                        sessions = swept.sessions,
                        runs.returned = swept.returned,
                        runs.faulted = swept.poisoned,
                        "work of dead sessions was taken back"
                    );
                    shared.wake_claims.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "dead sessions could not be swept")
            }
        }
    }
}

/// Keeps partitions ahead and drops old ones, for ever.
pub async fn partitions(store: Store) {
    loop {
        tokio::time::sleep(PARTITION_PERIOD).await;
        if let Err(error) = store::partitions::keep(&store).await {
            tracing::error!(error = %chain(&error), "day partitions could not be kept");
        }
    }
}
