//! A rehearsal of an attempt: everything of it but the network, at a time that is given.
//!
//! `simulate` calls it, so that a test of a workflow meets the same requests, limits, readings of
//! answers and retries as the real run. Nothing is sent, and no clock is read.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::failure::Failure;
use super::perform::{Attempted, Carrier, Limit};
use super::registry::{Destination, Destinations};
use super::request::Prepared;
use super::{Identity, Performed};
use crate::run::{Action, Effect, Request};

/// How long reading an answer that is there already may take; it only has to end.
const READING_MAX: Duration = Duration::from_secs(60);

/// A request as it would go out.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Upper case.
    pub method: String,
    /// With its query.
    pub url: String,
    /// Names in lower case, and values; credentials included.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub body: Option<Bytes>,
}

/// What a destination does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It answers.
    Answer(http::Response<Bytes>),
    /// It never answers.
    Silence,
    /// There is no connection, or it breaks; in a few words.
    Broken(&'static str),
}

/// What surrounds an attempt that is rehearsed.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Whose call it is.
    pub identity: Identity,
    /// When it begins.
    pub now: Timestamp,
    /// Uniformly drawn from 0 to 1: how much of the random part of a delay there is.
    pub chance: f64,
}

/// Answers requests from a script, and adds up how long that takes.
struct Script<'a> {
    answer: &'a mut (dyn FnMut(&Sent) -> (Duration, Reply) + Send),
    limit: Limit,
    now: Timestamp,
    took: Duration,
}

impl Carrier for Script<'_> {
    async fn carry(
        &mut self,
        _client: &reqwest::Client,
        _request: &Request,
        prepared: &mut Prepared,
        _secretive: bool,
    ) -> Result<reqwest::Response, Failure> {
        let limit = self.limit;
        let (after, reply) = (self.answer)(&sent(prepared));
        self.took = self.took.saturating_add(after);
        if self.took >= limit.length || matches!(reply, Reply::Silence) {
            self.took = limit.length;
            return Err(limit.passed());
        }
        match reply {
            Reply::Answer(response) => Ok(response.into()),
            Reply::Broken(how) => Err(Failure::unconnected(how)),
            Reply::Silence => Err(limit.passed()),
        }
    }

    fn limit(&self) -> Limit {
        self.limit
    }

    fn now(&self) -> Timestamp {
        later(self.now, self.took)
    }

    fn is_live(&self) -> bool {
        false
    }
}

impl Destinations {
    /// As [`Destinations::perform`], with `answer` in place of the network: it is asked for each
    /// request that would go out, and says after which time what comes back. Also gives how long
    /// the attempt took.
    pub async fn rehearse(
        &self,
        effect: &Effect,
        destination: &Destination,
        situation: Situation,
        answer: &mut (dyn FnMut(&Sent) -> (Duration, Reply) + Send),
    ) -> (Performed, Duration) {
        let Action::Call(request) = &effect.action;
        let Situation {
            identity,
            now,
            chance,
        } = situation;
        let mut limit = Limit::new(effect, destination, now);
        limit.deadline = Instant::now() + READING_MAX;
        let mut script = Script {
            answer,
            limit,
            now,
            took: Duration::ZERO,
        };
        let result = match self.prepared(request, destination, &identity) {
            Ok(prepared) => Box::pin(self.send(request, prepared, destination, &mut script)).await,
            Err(failure) => Err(failure),
        };
        let took = script.took;
        let made = Attempted {
            effect,
            destination,
            identity,
            started_at: now,
            took,
            ended_at: later(now, took),
            chance,
            url: String::new(),
        };
        (self.judge(result, made), took)
    }
}

/// The time that is `duration` later; the last one there is where it would be beyond.
fn later(time: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration)
        .ok()
        .and_then(|duration| time.checked_add(duration).ok())
        .unwrap_or(Timestamp::MAX)
}

fn sent(prepared: &Prepared) -> Sent {
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = prepared.headers.iter();
    Sent {
        method: prepared.method.as_str().to_owned(),
        url: prepared.url.to_string(),
        headers: headers
            .map(|(name, text)| (name.as_str().to_owned(), value(text)))
            .collect(),
        body: prepared.body.clone(),
    }
}
