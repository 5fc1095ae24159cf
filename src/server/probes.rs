//! `/livez`, `/readyz`, `/metrics`.
//!
//! Live means the process serves; it never looks at the database, for a restart would not mend
//! that. Ready means a delivery would be stored: the database answered a moment ago, the session
//! is held, and the server is not draining.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Metrics, World};
use crate::problem::Problem;
use crate::telemetry::Registry;

/// Pause between two looks at the database.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Open approvals are counted at every so many looks.
const COUNT_EVERY: u32 = 10;

/// An answer older than this no longer counts, in milliseconds.
const FRESH_MS: u64 = 3_000;

/// What is known of readiness.
pub struct Probes {
    started_at: Instant,
    /// Milliseconds from the start to the last good answer, plus one; 0 = none yet.
    answered_at: AtomicU64,
    draining: AtomicBool,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            started_at: Instant::now(),
            answered_at: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        }
    }
}

impl Probes {
    /// From now on not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why a delivery would not be stored now; `None` = it would.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            return Some("the server is draining");
        }
        let answered_at = self.answered_at.load(Ordering::Acquire);
        if answered_at == 0 || self.elapsed_ms().saturating_sub(answered_at) > FRESH_MS {
            return Some("the database does not answer");
        }
        None
    }

    /// Returns when ready, at the latest after `at_most`.
    pub async fn wait_until_ready(&self, at_most: Duration) {
        let end = Instant::now() + at_most;
        while self.unready().is_some() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

/// Looks at the database once a second until cancelled.
pub fn watch(
    probes: Arc<Probes>,
    world: Arc<World>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    tokio::spawn(async move {
        let mut looks = 0_u32;
        while !stop.is_cancelled() {
            metrics.look_at(&world.store);
            if looks.is_multiple_of(COUNT_EVERY) {
                world.decisions.count().await;
            }
            looks = looks.wrapping_add(1);
            let good = world.worker.session.is_live() && world.store.ping().await.is_ok();
            if good {
                probes
                    .answered_at
                    .store(probes.elapsed_ms(), Ordering::Release);
            }
            let pause = if good { LOOK_PERIOD } else { LOOK_PERIOD / 20 };
            let _stopped = tokio::time::timeout(pause, stop.cancelled()).await;
        }
    });
}

/// The routes of the probes.
pub fn router(probes: Arc<Probes>, registry: Registry) -> Router {
    let metrics = move || async move {
        let (content_type, text) = registry.render();
        ([(header::CONTENT_TYPE, content_type)], text)
    };
    Router::new()
        .route("/livez", get(|| async { "live\n" }))
        .route("/readyz", get(ready).with_state(probes))
        .route("/metrics", get(metrics))
}

async fn ready(State(probes): State<Arc<Probes>>) -> Response {
    match probes.unready() {
        None => "ready\n".into_response(),
        Some(reason) => Problem::http(StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}
