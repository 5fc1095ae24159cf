//! The end of a run in the log and in the metrics.

use jiff::Timestamp;

use super::Metrics;
use super::execute::created_at;
use crate::id::Id;
use crate::run::End;
use crate::workflow::definition::Document;

/// Which run.
pub struct About<'a> {
    /// The run.
    pub run_id: Id,
    /// The event that started it.
    pub event_id: Id,
    /// Its workflow.
    pub document: &'a Document,
}

/// Counts the end of a run, and logs it.
pub fn ended(metrics: &Metrics, about: &About<'_>, end: &End, status: &'static str) {
    let document = about.document;
    let elapsed = Timestamp::now().duration_since(created_at(about.run_id));
    let seconds = elapsed.as_secs_f64().max(0.0);
    metrics.ended(status, seconds);
    let duration_ms = (seconds * 1000.0) as u64;
    match end {
        End::Faulted(problem) => {
            tracing::warn!(
                target: "hookwright::run",
                {
                    run.id = %about.run_id,
                    event.id = %about.event_id,
                    workflow.namespace = document.namespace,
                    workflow.name = document.name,
                    workflow.version = document.version,
                    task.reference = problem.instance.as_deref().unwrap_or("/"),
                    error.kind = %problem.kind,
                    error.status = problem.status,
                    error.title = problem.title.as_deref().unwrap_or(""),
                    duration_ms,
                },
                "run faulted"
            );
        }
        End::Completed(_) | End::Cancelled => {
            tracing::debug!(
                target: "hookwright::run",
                {
                    run.id = %about.run_id,
                    event.id = %about.event_id,
                    workflow.name = document.name,
                    duration_ms,
                },
                "run {status}"
            );
        }
    }
}
