//! The metrics registry, with what is true of every process. Modules register their own metrics
//! in it; `server` serves [`Registry::render`] at `/metrics`. `docs/metrics.md` lists them all.

use prometheus::{IntGaugeVec, Opts, TextEncoder};

/// Bounds of latency histograms, in seconds: 100 µs to 30 s.
pub const LATENCY_BUCKETS_S: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// All metrics of this server.
#[derive(Clone)]
pub struct Registry(prometheus::Registry);

impl Registry {
    /// A registry with the build and, on Linux, the process in it.
    ///
    /// # Errors
    /// Where a metric is registered twice: a mistake in this program.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = prometheus::Registry::new();
        let build = IntGaugeVec::new(
            Opts::new(
                "hookwright_build_info",
                "Always 1; the label tells the version.",
            ),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self(registry))
    }

    /// The content type and the text of all metrics, in Prometheus' text format 0.0.4. A family
    /// that cannot be written is left out and logged: the others are needed most just then.
    #[must_use]
    pub fn render(&self) -> (&'static str, String) {
        let mut text = String::new();
        for family in self.0.gather() {
            let length = text.len();
            if let Err(error) = TextEncoder::new().encode_utf8(&[family], &mut text) {
                text.truncate(length);
                tracing::error!(%error, "a metric cannot be written and is left out");
            }
        }
        (prometheus::TEXT_FORMAT, text)
    }
}

/// Modules register in it as in any registry of the `prometheus` crate.
impl std::ops::Deref for Registry {
    type Target = prometheus::Registry;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
