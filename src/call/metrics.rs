//! Metrics of calls, labelled by destinations of the configuration, never by what calls contain.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Destinations with a label of their own; later ones share [`OTHER`].
pub const LABELS_MAX: usize = 1_000;

/// The label of destinations beyond [`LABELS_MAX`].
pub const OTHER: &str = "other";

/// The label of all calls to addresses that no destination declares.
pub const UNDECLARED: &str = "undeclared";

/// Upper bounds in seconds, from a neighbour's fast answer to the longest default deadline.
const SECONDS: [f64; 14] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0,
];

/// How an attempt ended: the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer was accepted.
    Ok,
    /// A 3xx or 4xx status other than 429.
    ClientError,
    /// A 5xx status.
    ServerError,
    /// Status 429.
    RateLimited,
    /// No complete answer in time.
    Timeout,
    /// The connection could not be made, or broke.
    Connect,
    /// The egress policy refused.
    Blocked,
    /// The request could not be built, or the answer not be used.
    Invalid,
}

impl Ending {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::ClientError,
        Self::ServerError,
        Self::RateLimited,
        Self::Timeout,
        Self::Connect,
        Self::Blocked,
        Self::Invalid,
    ];

    /// The value of the label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Blocked => "blocked",
            Self::Invalid => "invalid",
        }
    }
}

/// The metrics of this module.
pub struct Metrics {
    attempts: IntCounterVec,
    seconds: HistogramVec,
    retries: IntCounterVec,
    in_flight: IntGaugeVec,
    sent_back: IntCounterVec,
    down: IntGaugeVec,
    outages: IntCounterVec,
    labels: Mutex<HashSet<String>>,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where the registry already holds one of these names.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let attempts = IntCounterVec::new(
            Opts::new(
                "hookwright_attempts_total",
                "Attempts of calls that ended, by destination and outcome.",
            ),
            &["destination", "outcome"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "hookwright_attempt_seconds",
                "Time from the start of an attempt to its whole answer or failure.",
            )
            .buckets(SECONDS.to_vec()),
            &["destination"],
        )?;
        let retries = IntCounterVec::new(
            Opts::new(
                "hookwright_retries_total",
                "Attempts after which the destination's policy asked for another.",
            ),
            &["destination"],
        )?;
        let in_flight = IntGaugeVec::new(
            Opts::new(
                "hookwright_calls_in_flight",
                "Calls that have been sent and not yet answered in whole.",
            ),
            &["destination"],
        )?;
        let sent_back = IntCounterVec::new(
            Opts::new(
                "hookwright_calls_sent_back_total",
                "Calls that went back to wait because their destination is down or limited.",
            ),
            &["destination"],
        )?;
        let down = IntGaugeVec::new(
            Opts::new(
                "hookwright_destination_down",
                "1 while a destination is down and its calls wait.",
            ),
            &["destination"],
        )?;
        let outages = IntCounterVec::new(
            Opts::new(
                "hookwright_outages_total",
                "Outages of a destination that this node was the first to find.",
            ),
            &["destination"],
        )?;
        registry.register(Box::new(sent_back.clone()))?;
        registry.register(Box::new(down.clone()))?;
        registry.register(Box::new(outages.clone()))?;
        registry.register(Box::new(attempts.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(retries.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        Ok(Self {
            attempts,
            seconds,
            retries,
            in_flight,
            sent_back,
            down,
            outages,
            labels: Mutex::new(HashSet::new()),
        })
    }

    /// The series of a declared destination.
    pub(super) fn declared(&self, name: &str) -> Series {
        let mut labels = match self.labels.lock() {
            Ok(labels) => labels,
            Err(poisoned) => poisoned.into_inner(),
        };
        if labels.contains(name) {
            return self.series(name);
        }
        if labels.len() >= LABELS_MAX {
            return self.series(OTHER);
        }
        labels.insert(name.to_owned());
        self.series(name)
    }

    /// The series all undeclared destinations share.
    pub(super) fn undeclared(&self) -> Series {
        self.series(UNDECLARED)
    }

    fn series(&self, label: &str) -> Series {
        Series {
            attempts: Ending::ALL
                .map(|ending| self.attempts.with_label_values(&[label, ending.name()])),
            seconds: self.seconds.with_label_values(&[label]),
            retries: self.retries.with_label_values(&[label]),
            in_flight: self.in_flight.with_label_values(&[label]),
            sent_back: self.sent_back.with_label_values(&[label]),
            down: self.down.with_label_values(&[label]),
            outages: self.outages.with_label_values(&[label]),
        }
    }
}

/// The series of one label, looked up once.
#[derive(Clone)]
pub(super) struct Series {
    attempts: [IntCounter; Ending::ALL.len()],
    seconds: Histogram,
    retries: IntCounter,
    in_flight: IntGauge,
    sent_back: IntCounter,
    down: IntGauge,
    outages: IntCounter,
}

impl Series {
    pub(super) fn sent_back(&self) {
        self.sent_back.inc();
    }

    pub(super) fn down(&self, down: bool) {
        self.down.set(down.into());
    }

    pub(super) fn outage(&self) {
        self.outages.inc();
    }

    pub(super) fn ended(&self, ending: Ending, took: Duration) {
        self.attempts[ending as usize].inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn retried(&self) {
        self.retries.inc();
    }

    pub(super) fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }
}

/// One call in flight; counted until dropped.
pub(super) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
