//! A rehearsal of an attempt: everything of it but the network, at a time that is given.
//!
//! `simulate` calls it, so that a test of a workflow meets the same requests, limits, readings of
//! answers and retries as the real run. Nothing is sent, and no clock is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::time::Instant;

use super::failure::Failure;
use super::perform::{Attempted, Carrier, Limit};
use super::registry::{Destination, Destinations};
use super::request::Prepared;
use super::token::{self, Denial, Tokens, endpoint};
use super::{Identity, Performed};
use crate::run::{Action, Effect, Request, TokenRequest};
use crate::secret::Secrets;

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
    /// Whether it asks for an access token, so that the call itself can be made.
    pub for_token: bool,
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

/// The access tokens of a rehearsal: as a server keeps them, by the time of the rehearsal.
#[derive(Default)]
pub struct Granted {
    tokens: HashMap<token::Key, Token>,
}

struct Token {
    access: SecretString,
    version: i32,
    fresh_until: Timestamp,
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
    granted: &'a mut Granted,
    secrets: &'a Secrets,
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
        let sent = sent(prepared);
        match self.ask(&sent)? {
            Reply::Answer(response) => Ok(response.into()),
            Reply::Broken(how) => Err(Failure::unconnected(how)),
            Reply::Silence => {
                self.took = self.limit.length;
                Err(self.limit.passed())
            }
        }
    }

    async fn token(
        &mut self,
        _tokens: &Arc<Tokens>,
        _client: reqwest::Client,
        request: &TokenRequest,
        rejected: Option<i32>,
    ) -> Result<(SecretString, i32), Failure> {
        let key = token::key_of(request);
        let now = self.now();
        let known = self.granted.tokens.get(&key);
        if let Some(known) = known
            && Some(known.version) != rejected
            && known.fresh_until > now
        {
            return Ok((known.access.clone(), known.version));
        }
        let version = known.map_or(1, |known| known.version + 1);
        let wire = endpoint::wire(request, None).map_err(Denial::into_failure)?;
        let refused = |what: String| Denial::of(what, true).into_failure();
        let response = match self.ask(&wired(&wire))? {
            Reply::Answer(response) => response.into(),
            Reply::Broken(how) => return Err(refused(format!("the token endpoint: {how}"))),
            Reply::Silence => {
                self.took = self.took.saturating_add(endpoint::ASK_MAX);
                self.took = self.took.min(self.limit.length);
                return Err(refused("the token endpoint did not answer in time".into()));
            }
        };
        let reading = endpoint::read(response, request, self.limit.deadline);
        let granted = reading.await.map_err(Denial::into_failure)?;
        self.secrets.hide(&granted.access);
        let token = Token {
            access: granted.access.clone(),
            version,
            fresh_until: later(self.now(), granted.fresh),
        };
        self.granted.tokens.insert(key, token);
        Ok((granted.access, version))
    }

    fn limit(&self) -> Limit {
        self.limit
    }

    fn now(&self) -> Timestamp {
        later(self.now, self.took)
    }
}

impl Script<'_> {
    /// What comes back, and the time that takes; the failure where that is too long.
    fn ask(&mut self, sent: &Sent) -> Result<Reply, Failure> {
        let (after, reply) = (self.answer)(sent);
        self.took = self.took.saturating_add(after);
        if self.took < self.limit.length {
            return Ok(reply);
        }
        self.took = self.limit.length;
        Err(self.limit.passed())
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
        (situation, granted): (Situation, &mut Granted),
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
            granted,
            secrets: &self.secrets,
            limit,
            now,
            took: Duration::ZERO,
        };
        let result = match self.prepared(request, destination, (&identity, now)) {
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
    Sent {
        method: prepared.method.as_str().to_owned(),
        url: prepared.url.to_string(),
        headers: texts(&prepared.headers),
        body: prepared.body.clone(),
        for_token: false,
    }
}

/// A request for a token as it would go out.
fn wired(wire: &reqwest::Request) -> Sent {
    let body = wire.body().and_then(reqwest::Body::as_bytes);
    Sent {
        method: wire.method().as_str().to_owned(),
        url: wire.url().to_string(),
        headers: texts(wire.headers()),
        body: body.map(Bytes::copy_from_slice),
        for_token: true,
    }
}

fn texts(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}
