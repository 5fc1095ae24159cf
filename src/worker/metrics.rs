//! What the loops count.

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry,
};

use crate::store::gates::Place;

/// Buckets for how many items a transaction carries.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Buckets for durations, in seconds.
const SECONDS_BUCKETS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Buckets for how late a tick is, in seconds: up to the missed ones of a day.
const LATENESS_BUCKETS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3_600.0, 86_400.0,
];

/// Metrics of the loops; names and meanings are in `docs/metrics.md`.
pub struct Metrics {
    pub(super) appended: IntCounter,
    pub(super) duplicates: IntCounter,
    pub(super) append_seconds: Histogram,
    pub(super) append_batch_events: Histogram,
    pub(super) handoffs_skipped: IntCounter,
    pub(super) routed: IntCounter,
    pub(super) ignored: IntCounter,
    pub(super) runs_in_flight: IntGauge,
    pub(super) parked: IntCounter,
    pub(super) settle_batch_runs: Histogram,
    pub(super) fenced: IntCounter,
    pub(super) swept: IntCounter,
    pub(super) ready_age_seconds: Gauge,
    pub(super) schedules: ScheduleMetrics,
    gates: IntCounterVec,
    ended: IntCounterVec,
    run_seconds: HistogramVec,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Where a name is taken already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let (in_flight, age, ended, seconds) = gauges(registry)?;
        Ok(Self {
            appended: counter("hookwright_events_appended_total", "Events stored.")?,
            duplicates: counter(
                "hookwright_events_duplicate_total",
                "Events that were there already.",
            )?,
            append_seconds: histogram(
                "hookwright_append_seconds",
                "From handing an event in to its commit.",
                &SECONDS_BUCKETS,
            )?,
            append_batch_events: histogram(
                "hookwright_append_batch_events",
                "Events in one commit.",
                &BATCH_BUCKETS,
            )?,
            handoffs_skipped: counter(
                "hookwright_handoffs_skipped_total",
                "Stored events the router reads back because its queue was full.",
            )?,
            routed: counter("hookwright_events_routed_total", "Events routed.")?,
            ignored: counter(
                "hookwright_events_ignored_total",
                "Events no workflow was started for.",
            )?,
            runs_in_flight: in_flight,
            parked: counter(
                "hookwright_runs_parked_total",
                "Runs that left memory to wait for a busy destination.",
            )?,
            settle_batch_runs: histogram(
                "hookwright_settle_batch_runs",
                "Runs in one settlement.",
                &BATCH_BUCKETS,
            )?,
            fenced: counter(
                "hookwright_results_fenced_total",
                "Results dropped because the claim was lost.",
            )?,
            swept: counter(
                "hookwright_claims_swept_total",
                "Claims taken back from dead sessions.",
            )?,
            ready_age_seconds: age,
            schedules: ScheduleMetrics::new(registry)?,
            gates: gates(registry)?,
            ended,
            run_seconds: seconds,
        })
    }

    /// Counts what a gate said to a run.
    pub(super) fn gates(&self, place: Place) {
        let outcome = match place {
            Place::In => "entered",
            Place::Waits => "queued",
            Place::TurnedAway => "skipped",
        };
        self.gates.with_label_values(&[outcome]).inc();
    }

    /// Counts a run that has ended.
    pub(super) fn ended(&self, status: &'static str, seconds: f64) {
        self.ended.with_label_values(&[status]).inc();
        self.run_seconds
            .with_label_values(&[status])
            .observe(seconds);
    }
}

fn gates(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let options = Opts::new(
        "hookwright_gate_decisions_total",
        "Claims of runs whose number is limited, by what came of them.",
    );
    let gates = IntCounterVec::new(options, &["outcome"])?;
    for outcome in ["entered", "queued", "skipped"] {
        gates.with_label_values(&[outcome]);
    }
    registry.register(Box::new(gates.clone()))?;
    Ok(gates)
}

/// What the schedule loop counts.
pub(super) struct ScheduleMetrics {
    ticks: IntCounterVec,
    lateness: Histogram,
}

impl ScheduleMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new(
            "hookwright_schedule_ticks_total",
            "Ticks of schedules, by what they came to.",
        );
        let ticks = IntCounterVec::new(options, &["outcome"])?;
        for outcome in ["started", "skipped", "missed"] {
            ticks.with_label_values(&[outcome]);
        }
        let options = HistogramOpts::new(
            "hookwright_schedule_lateness_seconds",
            "From when a tick was due to the start of its run.",
        );
        let lateness = Histogram::with_opts(options.buckets(LATENESS_BUCKETS.to_vec()))?;
        registry.register(Box::new(ticks.clone()))?;
        registry.register(Box::new(lateness.clone()))?;
        Ok(Self { ticks, lateness })
    }

    /// A tick that started a run, so many seconds late.
    pub(super) fn started(&self, late_seconds: f64) {
        self.ticks.with_label_values(&["started"]).inc();
        self.lateness.observe(late_seconds);
    }

    /// Ticks that started none because a run was open.
    pub(super) fn skipped(&self, count: u64) {
        self.ticks.with_label_values(&["skipped"]).inc_by(count);
    }

    /// Ticks that were missed.
    pub(super) fn missed(&self, count: u64) {
        self.ticks.with_label_values(&["missed"]).inc_by(count);
    }
}

type Gauges = (IntGauge, Gauge, IntCounterVec, HistogramVec);

fn gauges(registry: &Registry) -> Result<Gauges, prometheus::Error> {
    let in_flight = IntGauge::new("hookwright_runs_in_flight", "Runs this node has in memory.")?;
    let age = Gauge::new(
        "hookwright_ready_age_seconds",
        "Age of the oldest ready run.",
    )?;
    let ended = IntCounterVec::new(
        Opts::new(
            "hookwright_runs_ended_total",
            "Runs that have ended, by status.",
        ),
        &["status"],
    )?;
    let options = HistogramOpts::new(
        "hookwright_run_seconds",
        "From the start of a run to its end, by status.",
    );
    let seconds = HistogramVec::new(options.buckets(SECONDS_BUCKETS.to_vec()), &["status"])?;
    for status in ["completed", "faulted", "cancelled"] {
        ended.with_label_values(&[status]);
        seconds.with_label_values(&[status]);
    }
    registry.register(Box::new(in_flight.clone()))?;
    registry.register(Box::new(age.clone()))?;
    registry.register(Box::new(ended.clone()))?;
    registry.register(Box::new(seconds.clone()))?;
    Ok((in_flight, age, ended, seconds))
}
