//! One attempt at an effect, from the request to what the engine is told.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::Instant;

use super::admission::Entry;
use super::circuit::Sign;
use super::egress;
use super::failure::Failure;
use super::limit::used_up;
use super::metrics::Ending;
use super::registry::{Destination, Destinations};
use super::request::{Material, Prepared, prepare};
use super::response::{self, Unread, is_redirect};
use super::retry::{Situation, between, retry_after};
use super::token::{Denial, Tokens};
use super::{Identity, Performed, Permit};
use crate::expression::Value;
use crate::id::Id;
use crate::run::{Action, Attempt, Effect, Outcome, Request, TokenRequest};
use crate::workflow::definition::HttpOutput;

/// Redirects followed at most.
const REDIRECTS_MAX: usize = 10;

/// How long after a deadline of the workflow a call ends by itself. The run interrupts its calls
/// at the deadline; this ends only what it could not, and never races with it.
const DEADLINE_GRACE: Duration = Duration::from_millis(200);

/// After how long a call comes back whose destination went down: to wait with the others.
const BACK_MAX: Duration = Duration::from_secs(1);

/// The time a call has.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// When it must be over.
    pub(super) deadline: Instant,
    /// From its start.
    pub(super) length: Duration,
    /// Whether the deadline is the workflow's rather than the destination's.
    of_workflow: bool,
}

impl Limit {
    pub(super) fn new(effect: &Effect, destination: &Destination, now: Timestamp) -> Self {
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

    /// That it is over.
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
        permit: &Permit,
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
                let carrier = &mut Network { limit };
                Box::pin(self.send(request, prepared, destination, carrier)).await
            }
            Err(failure) => Err(failure),
        };
        drop(in_flight);
        self.judge(
            self.noted(result, destination, (identity.idempotency_key, permit)),
            Attempted {
                effect,
                destination,
                identity,
                started_at,
                took: start.elapsed(),
                ended_at: Timestamp::now(),
                chance: rand::random(),
                url,
            },
        )
    }

    /// Has the destination's other calls know what came of this one. Where it is down, this one
    /// comes back when it may be up again, which then counts for no attempt.
    fn noted<T>(
        &self,
        mut result: Result<T, Failure>,
        destination: &Destination,
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
        let limited = matches!(failure.status, Some(429 | 503));
        if let Some(asked) = failure.retry_after.filter(|_| limited) {
            admission.hold(asked);
        }
        if failure.status == Some(429) && failure.retry_after.is_none() {
            admission.slow();
        }
        let back = left.map(|left| left.min(BACK_MAX));
        failure.retry_after = failure.retry_after.max(back);
        if admission.has_news() {
            self.news.notify_one();
        }
        result
    }

    /// What came of an attempt: the end of it, or another one under the destination's policy.
    pub(super) fn judge(
        &self,
        result: Result<(StatusCode, Value), Failure>,
        made: Attempted<'_>,
    ) -> Performed {
        let Attempted {
            effect,
            destination,
            ..
        } = made;
        let took = made.took;
        let mut attempt = Attempt {
            number: effect.attempt,
            started_at: made.started_at,
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
        self.report(&made, &failure);
        match next(&made, &failure) {
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

    pub(super) fn prepared(
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
    pub(super) async fn send(
        &self,
        request: &Request,
        mut prepared: Prepared,
        destination: &Destination,
        carrier: &mut impl Carrier,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut at_home = true;
        self.authorize(&mut prepared, destination, carrier).await?;
        for _ in 0..=REDIRECTS_MAX {
            let client = match at_home {
                true => destination.client.clone(),
                false => self.client_for(&prepared.url, destination),
            };
            let client = client.map_err(Failure::refused)?;
            let secretive = destination.document.is_none() && self.is_inner(&prepared);
            let carried = carrier.carry(&client, request, &mut prepared, secretive);
            let response = carried.await?;
            if at_home && let Some(pause) = used_up(response.headers(), carrier.now()) {
                destination.admission.used_up(pause);
                self.news.notify_one();
            }
            let mut again = false;
            if response.status() == StatusCode::UNAUTHORIZED && prepared.exchange.is_some() {
                let headers = response.headers().clone();
                let renewing = self.reauthorize(&mut prepared, headers, destination, carrier);
                again = renewing.await?;
            }
            if again {
                continue;
            }
            let location = match request.redirect && is_redirect(response.status()) {
                true => response.headers().get(LOCATION),
                false => None,
            };
            let Some(location) = location else {
                let by = (carrier.limit(), carrier.now());
                return self.conclude(request, response, &prepared, by).await;
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
        (limit, now): (Limit, Timestamp),
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
                .and_then(|text| retry_after(text, now));
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

    fn report(&self, made: &Attempted<'_>, failure: &Failure) {
        let redactor = self.secrets.redactor();
        tracing::event!(
            target: "hookwright::call",
            tracing::Level::WARN,
            run.id = %made.identity.run_id,
            task.reference = &*made.effect.key.reference,
            task.iteration = &*made.effect.key.iteration,
            destination.name = made.destination.name(),
            attempt = made.effect.attempt,
            outcome = failure.ending.name(),
            status = failure.status,
            duration_ms = u32::try_from(made.took.as_millis()).unwrap_or(u32::MAX),
            error = failure.cause,
            url = %redactor.redact(&made.url),
            "a call failed"
        );
    }
}

/// An attempt that has been made; what its judgement and its log line are made of.
pub(super) struct Attempted<'a> {
    pub(super) effect: &'a Effect,
    pub(super) destination: &'a Destination,
    pub(super) identity: Identity,
    pub(super) started_at: Timestamp,
    pub(super) took: Duration,
    pub(super) ended_at: Timestamp,
    /// Uniformly drawn from 0 to 1, for the delay before the next attempt.
    pub(super) chance: f64,
    pub(super) url: String,
}

/// What brings a prepared request to whoever answers it.
pub(super) trait Carrier: Send {
    /// Brings it there, and the head of the answer back.
    fn carry(
        &mut self,
        client: &reqwest::Client,
        request: &Request,
        prepared: &mut Prepared,
        secretive: bool,
    ) -> impl Future<Output = Result<reqwest::Response, Failure>> + Send;

    /// A token for this request with its version, which is not the one that was `rejected`;
    /// asked for through `client`.
    fn token(
        &mut self,
        tokens: &Arc<Tokens>,
        client: reqwest::Client,
        request: &TokenRequest,
        rejected: Option<i32>,
    ) -> impl Future<Output = Result<(SecretString, i32), Failure>> + Send;

    /// The time there is for all of it.
    fn limit(&self) -> Limit;

    /// The time by which a `Retry-After` is read.
    fn now(&self) -> Timestamp;
}

/// The network.
struct Network {
    limit: Limit,
}

impl Carrier for Network {
    async fn carry(
        &mut self,
        client: &reqwest::Client,
        request: &Request,
        prepared: &mut Prepared,
        secretive: bool,
    ) -> Result<reqwest::Response, Failure> {
        let sending = client.execute(wire(request, prepared));
        tokio::time::timeout_at(self.limit.deadline, sending)
            .await
            .map_err(|_| self.limit.passed())?
            .map_err(|error| Failure::transport(error, secretive))
    }

    async fn token(
        &mut self,
        tokens: &Arc<Tokens>,
        client: reqwest::Client,
        request: &TokenRequest,
        rejected: Option<i32>,
    ) -> Result<(SecretString, i32), Failure> {
        let getting = tokens.get(client, request, rejected);
        let token = tokio::time::timeout_at(self.limit.deadline, getting)
            .await
            .map_err(|_| self.limit.passed())?
            .map_err(Denial::into_failure)?;
        Ok((token.access, token.version))
    }

    fn limit(&self) -> Limit {
        self.limit
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// After which delay the destination's policy tries again, if it does.
fn next(made: &Attempted<'_>, failure: &Failure) -> Option<Duration> {
    let effect = made.effect;
    let document = made.destination.document.as_ref()?;
    let Action::Call(request) = &effect.action;
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
    let since_first = |first| between(first, made.ended_at);
    let situation = Situation {
        attempt: effect.attempt,
        spent: effect.spent,
        elapsed: effect.first_attempt_at.map_or(Duration::ZERO, since_first),
        retry_after: failure.retry_after,
        chance: made.chance,
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

/// What goes out. Headers and body are kept only where they may be needed again: for a redirect, a
/// renewed credential, or the output.
fn wire(request: &Request, prepared: &mut Prepared) -> reqwest::Request {
    let mut wired = reqwest::Request::new(prepared.method.clone(), prepared.url.clone());
    let again = request.redirect || prepared.exchange.is_some();
    if again || request.output == HttpOutput::Response {
        *wired.headers_mut() = prepared.headers.clone();
        *wired.body_mut() = prepared.body.clone().map(reqwest::Body::from);
    } else {
        *wired.headers_mut() = std::mem::take(&mut prepared.headers);
        *wired.body_mut() = prepared.body.take().map(reqwest::Body::from);
    }
    wired
}
