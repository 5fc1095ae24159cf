//! One attempt at an effect, from the request to what the engine is told.

use std::time::Duration;

use http::StatusCode;
use http::header::{LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use tokio::time::Instant;

use super::egress;
use super::failure::Failure;
use super::metrics::Ending;
use super::registry::{Destination, Destinations};
use super::request::{Material, Prepared, prepare};
use super::response::{self, Unread, is_redirect};
use super::retry::{Situation, between, retry_after};
use super::{Identity, Performed, Permit};
use crate::expression::Value;
use crate::run::{Action, Attempt, Effect, Outcome, Request};
use crate::workflow::definition::HttpOutput;

/// Redirects followed at most.
const REDIRECTS_MAX: usize = 10;

/// How long after a deadline of the workflow a call ends by itself. The run interrupts its calls
/// at the deadline; this ends only what it could not, and never races with it.
const DEADLINE_GRACE: Duration = Duration::from_millis(200);

/// The time a call has.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// When it must be over.
    pub(super) deadline: Instant,
    /// From its start.
    length: Duration,
    /// Whether the deadline is the workflow's rather than the destination's.
    of_workflow: bool,
}

impl Limit {
    fn new(effect: &Effect, destination: &Destination, now: Timestamp) -> Self {
        let grace = |left: Duration| match left.is_zero() {
            true => left,
            false => left.saturating_add(DEADLINE_GRACE),
        };
        let left = effect.deadline.map(|at| grace(between(now, at)));
        let of_workflow = left.is_some_and(|left| left < destination.timeout);
        let length = left.map_or(destination.timeout, |left| left.min(destination.timeout));
        Self {
            deadline: Instant::now() + length,
            length,
            of_workflow,
        }
    }

    pub(super) fn passed(self) -> Failure {
        if self.of_workflow {
            Failure::expired()
        } else {
            Failure::late(self.length)
        }
    }
}

impl Destinations {
    /// Performs an effect once, under its destination's policy.
    ///
    /// The permit is the caller's evidence of a place; it should outlive the call until what came
    /// of it is durable. Dropping the future drops the request. The answer is
    /// [`Performed::Retry`] only for a declared destination, and never where the workflow retries
    /// the call itself: one layer retries.
    pub async fn perform(
        &self,
        effect: &Effect,
        destination: &Destination,
        identity: Identity,
        _permit: &Permit,
    ) -> Performed {
        let Action::Call(request) = &effect.action;
        let started_at = Timestamp::now();
        let start = Instant::now();
        let limit = Limit::new(effect, destination, started_at);
        let in_flight = destination.series.in_flight();
        let mut url = String::new();
        let result = match self.prepared(request, destination, &identity) {
            Ok(prepared) => {
                url = plain(&prepared.url);
                Box::pin(self.send(request, prepared, destination, limit)).await
            }
            Err(failure) => Err(failure),
        };
        drop(in_flight);
        let took = start.elapsed();
        let mut attempt = Attempt {
            number: effect.attempt,
            started_at,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status: None,
            error: None,
            retry_after_seconds: None,
        };
        let failure = match result {
            Ok((status, value)) => {
                destination.series.ended(Ending::Ok, took);
                attempt.status = Some(status.as_u16());
                let outcome = Outcome::Completed(value);
                return Performed::Done { attempt, outcome };
            }
            Err(failure) => self.redacted(failure, effect),
        };
        destination.series.ended(failure.ending, took);
        attempt.status = failure.status;
        attempt.error = Some((*failure.problem).clone());
        attempt.retry_after_seconds = failure.retry_after.map(seconds);
        self.report(&Report {
            effect,
            destination,
            identity,
            failure: &failure,
            duration_ms: attempt.duration_ms,
            url,
        });
        match next(effect, request, destination, &failure) {
            Some(after) => {
                destination.series.retried();
                Performed::Retry { attempt, after }
            }
            None => Performed::Done {
                attempt,
                outcome: Outcome::Faulted(*failure.problem),
            },
        }
    }

    fn prepared(
        &self,
        request: &Request,
        destination: &Destination,
        identity: &Identity,
    ) -> Result<Prepared, Failure> {
        let material = Material {
            destination,
            identity,
            secrets: &self.secrets,
            config: &self.config,
        };
        prepare(request, &material)
    }

    /// Sends the request and follows its redirects, where the workflow wants that.
    async fn send(
        &self,
        request: &Request,
        mut prepared: Prepared,
        destination: &Destination,
        limit: Limit,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut at_home = true;
        self.authorize(&mut prepared, destination, limit).await?;
        for _ in 0..=REDIRECTS_MAX {
            let client = match at_home {
                true => destination.client.clone(),
                false => self.client_for(&prepared.url, destination),
            };
            let client = client.map_err(Failure::refused)?;
            let secretive = destination.document.is_none() && self.is_inner(&prepared);
            let sending = client.execute(wire(request, &mut prepared));
            let response = tokio::time::timeout_at(limit.deadline, sending)
                .await
                .map_err(|_| limit.passed())?
                .map_err(|error| Failure::transport(error, secretive))?;
            if response.status() == StatusCode::UNAUTHORIZED && prepared.exchange.is_some() {
                let headers = response.headers().clone();
                let renewing = self.reauthorize(&mut prepared, headers, destination, limit);
                if renewing.await? {
                    continue;
                }
            }
            let location = match request.redirect && is_redirect(response.status()) {
                true => response.headers().get(LOCATION),
                false => None,
            };
            let Some(location) = location else {
                return self.conclude(request, response, &prepared, limit).await;
            };
            let location = location.to_str().map_err(|_| {
                Failure::unusable(response.status(), "the redirect leads to no URI")
            })?;
            let url = egress::join(&prepared.url, location).map_err(Failure::refused)?;
            // Once away from its origin, a request has lost its credentials for good.
            let stays = destination.origin.as_ref().is_some_and(|o| o.is_of(&url));
            if !stays {
                at_home = false;
                prepared.strip();
            }
            prepared.redirect(response.status().as_u16(), url);
        }
        let detail = format!("more than {REDIRECTS_MAX} redirects");
        Err(Failure::unusable(StatusCode::LOOP_DETECTED, detail))
    }

    /// Turns the final response into the task's output or its error.
    async fn conclude(
        &self,
        request: &Request,
        response: reqwest::Response,
        sent: &Prepared,
        limit: Limit,
    ) -> Result<(StatusCode, Value), Failure> {
        let status = response.status();
        let followed_out = request.redirect && status.is_redirection();
        if !status.is_success() && !followed_out {
            let asked = response.headers().get(RETRY_AFTER).cloned();
            let detail = response::detail(response, limit.deadline).await;
            let mut failure = Failure::answered(status, detail);
            failure.retry_after = asked
                .as_ref()
                .and_then(|value| value.to_str().ok())
                .and_then(|text| retry_after(text, Timestamp::now()));
            return Err(failure);
        }
        let bytes_max = self.config.response_bytes_max;
        let answer = match response::read(response, bytes_max, limit.deadline).await {
            Ok(answer) => answer,
            Err(unread) => {
                return Err(Failure {
                    status: Some(status.as_u16()),
                    ..match unread {
                        Unread::Late => limit.passed(),
                        Unread::Broken(error) => Failure::transport(error, false),
                        Unread::Long => Failure::unusable(
                            status,
                            format!(
                                "the answer is longer than {bytes_max} bytes \
                                 (call.response_bytes_max)"
                            ),
                        ),
                    }
                });
            }
        };
        let value = response::output(answer, request.output, sent).await?;
        Ok((status, value))
    }

    fn is_inner(&self, prepared: &Prepared) -> bool {
        self.guard
            .admit(&prepared.url, &[])
            .is_ok_and(|reach| reach.is_listed_only())
    }

    /// Hides secret values that an answer or an error text may repeat, and says where it failed.
    fn redacted(&self, mut failure: Failure, effect: &Effect) -> Failure {
        let redactor = self.secrets.redactor();
        let detail = failure.problem.detail.take().unwrap_or_default();
        failure.cause = redactor.redact(&failure.cause).into_owned();
        failure.problem.detail = Some(redactor.redact(&detail).into_owned());
        failure.problem.instance = Some(effect.key.reference.to_string());
        failure
    }

    fn report(&self, report: &Report<'_>) {
        let redactor = self.secrets.redactor();
        tracing::event!(
            target: "hookwright::call",
            tracing::Level::WARN,
            run.id = %report.identity.run_id,
            task.reference = &*report.effect.key.reference,
            task.iteration = &*report.effect.key.iteration,
            destination.name = report.destination.name(),
            attempt = report.effect.attempt,
            outcome = report.failure.ending.name(),
            status = report.failure.status,
            duration_ms = report.duration_ms,
            error = report.failure.cause,
            url = %redactor.redact(&report.url),
            "a call failed"
        );
    }
}

/// What the log line of a failed call is made of.
struct Report<'a> {
    effect: &'a Effect,
    destination: &'a Destination,
    identity: Identity,
    failure: &'a Failure,
    duration_ms: u32,
    url: String,
}

/// After which delay the destination's policy tries again, if it does.
fn next(
    effect: &Effect,
    request: &Request,
    destination: &Destination,
    failure: &Failure,
) -> Option<Duration> {
    let document = destination.document.as_ref()?;
    if request.retried || failure.problem.is(crate::problem::Kind::Timeout) {
        return None;
    }
    let policy = &document.retry;
    let passing = match failure.ending {
        Ending::Timeout | Ending::Connect => true,
        Ending::ClientError | Ending::ServerError | Ending::RateLimited => {
            failure.status.is_some_and(|status| policy.covers(status))
        }
        Ending::Ok | Ending::Blocked | Ending::Invalid => false,
    };
    let now = Timestamp::now();
    let since_first = |first| between(first, now);
    let situation = Situation {
        attempt: effect.attempt,
        spent: effect.spent,
        elapsed: effect.first_attempt_at.map_or(Duration::ZERO, since_first),
        retry_after: failure.retry_after,
        chance: rand::random(),
    };
    passing.then(|| policy.next(situation)).flatten()
}

/// Whole seconds, rounded up: coming back early would be refused again.
fn seconds(after: Duration) -> u32 {
    let whole = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// The URL for logs: without its query, which may hold keys and personal data.
fn plain(url: &url::Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// What goes out. Headers and body are kept only where a redirect or the output may need them.
fn wire(request: &Request, prepared: &mut Prepared) -> reqwest::Request {
    let mut wired = reqwest::Request::new(prepared.method.clone(), prepared.url.clone());
    if request.redirect || request.output == HttpOutput::Response {
        *wired.headers_mut() = prepared.headers.clone();
        *wired.body_mut() = prepared.body.clone().map(reqwest::Body::from);
    } else {
        *wired.headers_mut() = std::mem::take(&mut prepared.headers);
        *wired.body_mut() = prepared.body.take().map(reqwest::Body::from);
    }
    wired
}
