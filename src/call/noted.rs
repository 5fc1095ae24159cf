//! What one call tells about its destination, and what it leaves unknown about itself.

use std::time::Duration;

use super::Permit;
use super::admission::Entry;
use super::circuit::Sign;
use super::document::Document;
use super::failure::Failure;
use super::registry::{Destination, Destinations};
use super::retry::Unknown;
use crate::id::Id;
use crate::run::Request;

/// After how long a call comes back whose destination went down: to wait with the others.
const BACK_MAX: Duration = Duration::from_secs(1);

/// Methods that may be repeated without a key (RFC 9110 section 9.2.2).
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

impl Destinations {
    /// Has the destination's other calls know what came of this one. Where it is down, this one
    /// comes back to wait with the others, which then counts for no attempt.
    pub(super) fn noted<T>(
        &self,
        mut result: Result<T, Failure>,
        (request, destination): (&Request, &Destination),
        (call, permit): (Id, &Permit),
    ) -> Result<T, Failure> {
        let (admission, whose) = (&destination.admission, (call, permit.entry()));
        let Err(failure) = &mut result else {
            admission.record((Sign::Up, ""), whose);
            if permit.entry() == Entry::Probe {
                self.news.notify_one();
            }
            return result;
        };
        let redactor = self.secrets.redactor();
        let cause = redactor.redact(&failure.cause);
        let left = admission.record((failure.sign, &cause), whose);
        admission.failed();
        let limited = matches!(failure.status, Some(429 | 503));
        if let Some(asked) = failure.retry_after.filter(|_| limited) {
            admission.hold(asked);
        }
        if failure.status == Some(429) && failure.retry_after.is_none() {
            admission.slow();
        }
        let back = left.map(|left| left.min(BACK_MAX));
        failure.retry_after = failure.retry_after.max(back);
        let document = destination.document.as_deref();
        if document.is_some_and(|document| leaves_unknown(failure, request, document)) {
            let detail = failure.problem.detail.take().unwrap_or_default();
            let detail = format!("{detail}; whether it was done is not known");
            failure.problem.detail = Some(detail);
        }
        if admission.has_news() {
            self.news.notify_one();
        }
        result
    }
}

/// Whether nobody knows if a call was done, and doing it again could do it twice.
pub(super) fn leaves_unknown(failure: &Failure, request: &Request, document: &Document) -> bool {
    let unanswered = failure.sign == Sign::Failing && failure.status.is_none();
    unanswered
        && match document.retry.unknown_outcome {
            Some(Unknown::Retry) => false,
            Some(Unknown::Fail) => !IDEMPOTENT.contains(&request.method.as_str()),
            None => {
                let key = document.idempotency_key.is_some();
                !key && !IDEMPOTENT.contains(&request.method.as_str())
            }
        }
}
