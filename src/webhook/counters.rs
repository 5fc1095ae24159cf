//! The door's ledger: everything received is counted once more by what became of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use serde::Serialize;

use crate::signature::Cause;

/// Buckets of the time to acknowledge, in seconds.
const ACK_BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// Why a delivery was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No source of this name. The sender sees the same as for a bad signature.
    UnknownSource,
    /// The body is larger than `webhook.body_bytes_max`, or than the source takes.
    BodyTooLarge,
    /// The body did not arrive within `webhook.body_timeout_ms`.
    BodyTimeout,
    /// The connection ended before the body did.
    BodyIncomplete,
    /// The body is compressed.
    ContentEncoding,
    /// It does not come from where the source's deliveries come from. The sender sees the same as
    /// for a bad signature.
    Address,
    /// There were too many of this source.
    RateLimit {
        /// When there is room again, in seconds.
        retry_after_s: u32,
    },
    /// The path lacks the source's token. The sender sees the same as for a bad signature.
    PathToken,
    /// The source does not take this method.
    Method,
    /// The source does not take this media type.
    ContentType,
    /// The signature, timestamp or a check did not hold.
    Signature(Cause),
}

impl Rejection {
    /// Whether a stranger must not be able to tell it from a bad signature.
    #[must_use]
    pub const fn is_secretive(self) -> bool {
        matches!(self, Self::UnknownSource | Self::Address | Self::PathToken)
    }

    /// The cause as a metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnknownSource => "unknown_source",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyIncomplete => "body_incomplete",
            Self::ContentEncoding => "content_encoding",
            Self::Address => "address",
            Self::RateLimit { .. } => "rate_limit",
            Self::PathToken => "path_token",
            Self::Method => "method",
            Self::ContentType => "content_type",
            Self::Signature(cause) => cause.label(),
        }
    }
}

/// Counts deliveries. One lock-free total each for the ledger, labelled counters for Prometheus.
pub struct Counters {
    totals: Totals,
    received: IntCounterVec,
    rejected: IntCounterVec,
    answered: IntCounterVec,
    unavailable: IntCounterVec,
    ack_seconds: Histogram,
}

#[derive(Default)]
struct Totals {
    received: AtomicU64,
    rejected: AtomicU64,
    duplicates: AtomicU64,
    stored: AtomicU64,
    answered: AtomicU64,
    unavailable: AtomicU64,
}

/// What this node's door has done since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Deliveries whose head arrived.
    pub received: u64,
    /// Refused for a fault of theirs.
    pub rejected: u64,
    /// Refused, by cause.
    pub rejected_by_cause: BTreeMap<String, u64>,
    /// Known already.
    pub duplicates: u64,
    /// Stored.
    pub stored: u64,
    /// Handshakes answered.
    pub answered: u64,
    /// Told to come again.
    pub unavailable: u64,
    /// Not decided yet: received less all of the others.
    pub in_flight: u64,
}

impl Counters {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is taken already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let options = HistogramOpts::new(
            "hookwright_ack_seconds",
            "From the head of a delivery to its acknowledgement.",
        );
        let ack_seconds = Histogram::with_opts(options.buckets(ACK_BUCKETS.to_vec()))?;
        registry.register(Box::new(ack_seconds.clone()))?;
        let source = &["source"][..];
        Ok(Self {
            totals: Totals::default(),
            received: counter(
                "hookwright_deliveries_received_total",
                "Deliveries received.",
                source,
            )?,
            rejected: counter(
                "hookwright_deliveries_rejected_total",
                "Deliveries rejected, by cause.",
                &["source", "cause"],
            )?,
            answered: counter(
                "hookwright_deliveries_answered_total",
                "Handshakes answered.",
                source,
            )?,
            unavailable: counter(
                "hookwright_deliveries_unavailable_total",
                "Deliveries answered 503 because they could not be stored.",
                source,
            )?,
            ack_seconds,
        })
    }

    /// A delivery has arrived.
    pub fn received(&self, source: &str) {
        self.totals.received.fetch_add(1, Ordering::AcqRel);
        self.received.with_label_values(&[source]).inc();
    }

    /// It is in the log.
    pub fn stored(&self, _source: &str, duplicate: bool, after: Duration) {
        let total = if duplicate {
            &self.totals.duplicates
        } else {
            &self.totals.stored
        };
        total.fetch_add(1, Ordering::AcqRel);
        self.ack_seconds.observe(after.as_secs_f64());
    }

    /// It was a handshake.
    pub fn answered(&self, source: &str) {
        self.totals.answered.fetch_add(1, Ordering::AcqRel);
        self.answered.with_label_values(&[source]).inc();
    }

    /// It was bad.
    pub fn rejected(&self, source: &str, rejection: Rejection) {
        self.totals.rejected.fetch_add(1, Ordering::AcqRel);
        self.rejected
            .with_label_values(&[source, rejection.label()])
            .inc();
    }

    /// It could not be stored.
    pub fn unavailable(&self, source: &str) {
        self.totals.unavailable.fetch_add(1, Ordering::AcqRel);
        self.unavailable.with_label_values(&[source]).inc();
    }

    /// The counts as they are now. What became of deliveries is read before their number, so that
    /// one that is decided in between counts as in flight rather than as missing.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let read = |total: &AtomicU64| total.load(Ordering::Acquire);
        let totals = &self.totals;
        let [rejected, duplicates, stored, answered, unavailable] = [
            read(&totals.rejected),
            read(&totals.duplicates),
            read(&totals.stored),
            read(&totals.answered),
            read(&totals.unavailable),
        ];
        let received = read(&totals.received);
        let decided = rejected + duplicates + stored + answered + unavailable;
        Tally {
            received,
            rejected,
            rejected_by_cause: self.by_cause(),
            duplicates,
            stored,
            answered,
            unavailable,
            in_flight: received.saturating_sub(decided),
        }
    }

    fn by_cause(&self) -> BTreeMap<String, u64> {
        use prometheus::core::Collector;
        let mut causes = BTreeMap::new();
        let families = self.rejected.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        for metric in metrics {
            let cause = metric
                .get_label()
                .iter()
                .find(|label| label.name() == "cause");
            let cause = cause.map_or("", |label| label.value()).to_owned();
            *causes.entry(cause).or_insert(0) += metric.get_counter().get_value() as u64;
        }
        causes
    }
}
