//! What went wrong with an attempt: for the workflow, for the metrics, and for the log.
//!
//! The problem is what the run sees and stores; the cause is for operators and may say more.
//! Neither ever holds a credential or the body of a request.

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;

use super::circuit::Sign;
use super::egress::{Refusal, Unreachable};
use super::metrics::Ending;
use super::response::is_redirect;
use crate::problem::{Kind, Problem};

/// The status of a problem where no answer came.
const NO_ANSWER: u16 = 503;

/// Characters of a cause at most.
const CAUSE_CHARS_MAX: usize = 500;

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The label of the metrics.
    pub(super) ending: Ending,
    /// The status of the answer, where there was one.
    pub(super) status: Option<u16>,
    /// What the run sees.
    pub(super) problem: Box<Problem>,
    /// What `Retry-After` asked for.
    pub(super) retry_after: Option<Duration>,
    /// What the operator sees.
    pub(super) cause: String,
    /// What it says about the destination.
    pub(super) sign: Sign,
}

impl Failure {
    /// The request cannot be built: the definition or its data is wrong.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::of(Ending::Invalid, Problem::new(Kind::Configuration, detail))
    }

    /// A credential is missing.
    pub(super) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::of(Ending::Invalid, Problem::new(Kind::Authentication, detail))
    }

    /// No token could be got. Where asking again may help the destination's policy does so, as for
    /// a connection that could not be made.
    pub(super) fn without_token(detail: String, transient: bool) -> Self {
        let ending = if transient {
            Ending::Connect
        } else {
            Ending::Invalid
        };
        Self::of(ending, Problem::new(Kind::Authentication, detail))
    }

    /// The policy forbids the target. The problem is the same for every cause, so that it tells
    /// nothing about what exists in the network.
    pub(super) fn blocked(cause: &str) -> Self {
        let problem = Problem::new(Kind::Authorization, "blocked by egress policy");
        Self {
            cause: format!("blocked by egress policy: {cause}"),
            ..Self::of(Ending::Blocked, problem)
        }
    }

    /// The guard refused.
    pub(super) fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(_) => Self::invalid(refusal.to_string()),
            Refusal::Blocked(cause) => Self::blocked(cause),
        }
    }

    /// The destination's deadline has passed.
    pub(super) fn late(limit: Duration) -> Self {
        let detail = format!("no complete answer within {limit:?}");
        let problem = Problem::new(Kind::Communication, detail).status(NO_ANSWER);
        Self {
            sign: Sign::Failing,
            ..Self::of(Ending::Timeout, problem)
        }
    }

    /// A deadline of the workflow has passed.
    pub(super) fn expired() -> Self {
        let detail =
            "the timeout of the task or of what is around it passed before the answer came";
        Self::of(Ending::Timeout, Problem::new(Kind::Timeout, detail))
    }

    /// The answer cannot be used.
    pub(super) fn unusable(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status: Some(status.as_u16()),
            ..Self::of(Ending::Invalid, Problem::new(Kind::Communication, detail))
        }
    }

    /// The answer says no; `detail` is the begin of its body.
    pub(super) fn answered(status: StatusCode, detail: String) -> Self {
        let ending = match status.as_u16() {
            429 => Ending::RateLimited,
            500.. => Ending::ServerError,
            _ => Ending::ClientError,
        };
        let reason = status.canonical_reason().unwrap_or("no reason phrase");
        let mut cause = format!("the answer was {} {reason}", status.as_u16());
        if is_redirect(status) {
            cause.push_str(", which is followed only with `redirect: true`");
        }
        let detail = match detail.is_empty() {
            true => format!("{cause}; it had no body"),
            false => detail,
        };
        let problem = Problem::new(Kind::Communication, detail)
            .status(status.as_u16())
            .title(reason);
        let sign = match status.as_u16() {
            502..=504 => Sign::Failing,
            _ => Sign::Up,
        };
        Self {
            status: Some(status.as_u16()),
            cause,
            sign,
            ..Self::of(ending, problem)
        }
    }

    /// No answer, or none in whole. `secretive` where a failed name must not be told from a
    /// forbidden one.
    pub(super) fn transport(error: reqwest::Error, secretive: bool) -> Self {
        let error = error.without_url();
        let (innermost, unreachable, framed) = trace(&error);
        match unreachable {
            Some(Unreachable::Blocked) => {
                return Self::blocked("the name leads to an address that is not allowed");
            }
            Some(Unreachable::Unknown) if secretive => {
                return Self::blocked("the name of an inner network cannot be resolved");
            }
            _ => {}
        }
        let innermost: String = innermost.chars().take(CAUSE_CHARS_MAX).collect();
        if error.is_decode() && !framed {
            let detail = format!("the answer cannot be decompressed: {innermost}");
            return Self::of(Ending::Invalid, Problem::new(Kind::Communication, detail));
        }
        let (ending, what, sign) = if error.is_timeout() {
            let what = "no connection in time";
            (Ending::Timeout, what, Sign::Unreachable)
        } else if error.is_connect() {
            (Ending::Connect, "no connection", Sign::Unreachable)
        } else {
            (Ending::Connect, "the connection broke", Sign::Failing)
        };
        let problem = Problem::new(Kind::Communication, format!("{what}: {innermost}"));
        Self {
            sign,
            ..Self::of(ending, problem.status(NO_ANSWER))
        }
    }

    /// No connection, or one that broke, in the words of [`Failure::transport`].
    pub(super) fn unconnected(detail: &str) -> Self {
        let problem = Problem::new(Kind::Communication, detail).status(NO_ANSWER);
        Self::of(Ending::Connect, problem)
    }

    fn of(ending: Ending, problem: Problem) -> Self {
        Self {
            ending,
            status: None,
            cause: problem.detail.clone().unwrap_or_default(),
            problem: Box::new(problem),
            retry_after: None,
            sign: Sign::Up,
        }
    }
}

/// Walks to the root of an error: its text, what the guard's resolver said, and whether the
/// HTTP connection itself is to blame.
fn trace(error: &reqwest::Error) -> (String, Option<Unreachable>, bool) {
    let mut innermost = error.to_string();
    let mut unreachable = None;
    let mut framed = false;
    let mut source = error.source();
    while let Some(error) = source {
        innermost = error.to_string();
        unreachable = unreachable.or_else(|| error.downcast_ref().copied());
        framed |= error.is::<hyper::Error>();
        source = error.source();
    }
    (innermost, unreachable, framed)
}
