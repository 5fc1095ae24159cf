//! What the log and the metrics say of a run that has ended.

use jiff::Timestamp;

use super::Shared;
use super::execute::created_at;
use crate::id::Id;
use crate::run::End;
use crate::workflow::definition::Document;

/// Counts and logs the end of a run that this event has started.
pub fn ended(shared: &Shared, (run_id, event_id): (Id, Id), document: &Document, end: &End) {
    let status = match end {
        End::Completed(_) => "completed",
        End::Faulted(_) => "faulted",
        End::Cancelled => "cancelled",
    };
    let elapsed = Timestamp::now().duration_since(created_at(run_id));
    let seconds = elapsed.as_secs_f64().max(0.0);
    shared.metrics.ended(status, seconds);
    let duration_ms = (seconds * 1000.0) as u64;
    match end {
        End::Faulted(problem) => {
            tracing::warn!(
                target: "hookwright::run",
                {
                    run.id = %run_id,
                    event.id = %event_id,
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
                    run.id = %run_id,
                    event.id = %event_id,
                    workflow.name = document.name,
                    duration_ms,
                },
                "run {status}"
            );
        }
    }
}
