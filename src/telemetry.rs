//! Logs and the metrics registry: what a running server says about itself.
//!
//! `server` calls [`init`] once and owns the [`Registry`]; each module builds its own metrics in
//! it. A log line is a sentence and dotted fields (`event.id`, `run.id`, `task.reference`,
//! `destination.name`, `duration_ms`). Writing never waits: a reader that does not read costs
//! lines, which are counted, not time. Traces over OTLP are not here yet.

mod fields;
mod layer;
mod queue;
mod redaction;
mod registry;

pub use queue::{Guard, LINES_MAX};
pub use redaction::{Redaction, set_redactor};
pub use registry::{LATENCY_BUCKETS_S, Registry};

use std::io::Write;

use prometheus::IntCounter;
use serde::Deserialize;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged and how. Section `[telemetry]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How a line is written.
    pub format: Format,
    /// Levels by module, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// Bytes of lines that wait for a slow reader, beyond which lines are dropped and counted.
    pub queue_bytes_max: usize,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object on a line, with the fields at its top level.
    Json,
    /// Time, level, sentence, fields: for people.
    Text,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting `telemetry.filter` is not a filter.
    #[error("telemetry.filter is not a filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A metric could not be registered, because it already is.
    #[error("the metrics of the log cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The writer's thread could not be started.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    /// Logging has started before in this process.
    #[error("the log is already open")]
    AlreadyOpen,
}

/// Starts logging for the whole process to `output`, and sends panics there too. Lines are
/// written until the guard is dropped.
///
/// # Errors
/// [`Error`], before anything has changed.
pub fn init(
    config: &Config,
    output: impl Write + Send + 'static,
    registry: &Registry,
) -> Result<Guard, Error> {
    let lost = IntCounter::new(
        "hookwright_log_lines_lost_total",
        "Log lines dropped because the reader of the log was too slow or gone.",
    )?;
    let (subscriber, guard) = subscriber(config, output, lost.clone(), Redaction::of_process())?;
    subscriber.try_init().map_err(|_| Error::AlreadyOpen)?;
    registry.register(Box::new(lost))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(panic.location = place, "a thread panicked: {message}");
    }));
    Ok(guard)
}

/// What [`init`] installs, for a test that must not change the process.
///
/// # Errors
/// [`Error::Filter`] and [`Error::Thread`].
pub fn subscriber(
    config: &Config,
    output: impl Write + Send + 'static,
    lost: IntCounter,
    redaction: Redaction,
) -> Result<(impl Subscriber + Send + Sync, Guard), Error> {
    let filter = EnvFilter::builder().parse(&config.filter)?;
    let (lines, guard) = queue::start(output, config.queue_bytes_max, lost)?;
    let layer = layer::LineLayer::new(config.format, lines, redaction);
    Ok((
        tracing_subscriber::registry().with(filter).with(layer),
        guard,
    ))
}
