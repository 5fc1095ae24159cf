//! The door for approvers: `/approvals/{token}`, and what a decision must fulfil, wherever it is
//! made.
//!
//! A decision is an event that is addressed to the run that asks, under a key made of the approval
//! and the voter: so a voter is heard once, whatever node or door it comes through, and the run
//! hears of it whether it waits already or not. This door looks at approvals and changes none.

mod form;
mod page;

use std::sync::Arc;

use aws_lc_rs::hmac;
use bytes::Bytes;
use jiff::Timestamp;
use prometheus::{IntCounterVec, IntGauge, Opts};
use serde::{Deserialize, Serialize};

use crate::event::{DECIDED, DedupeKey, Event};
use crate::id::Id;
use crate::run::Links;
use crate::run::approval::{Ask, Standing, voter};
use crate::secret::Keyring;
use crate::store::approvals::StoredApproval;
use crate::store::{self, NewEvent, Store, Target};
use crate::worker::{Appender, Unavailable};

pub use form::Wrong;
pub use page::{origin, router};

/// What takes decisions, as its doors share it.
pub type Shared = Arc<Decisions>;

/// How far back a second decision of the same voter is looked for, in days; the run itself never
/// counts one.
const WINDOW_DAYS: u16 = 30;

/// Longest comment, in bytes.
pub const COMMENT_BYTES_MAX: usize = 4_096;

/// Longest name of a voter, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Most pending approvals that are counted.
const COUNTED_MAX: i64 = 100_000;

/// Where approvers reach this server. Section `[approval]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The URL below which links are made; empty: the address this node listens on.
    pub public_url: String,
}

/// Makes links of approvals below `public_url`. Tokens have 256 bits that follow from the server's
/// key, the approval and the approver; without the key nobody can make or guess one.
#[must_use]
pub fn links(public_url: &str, keyring: &Keyring, environment: &str) -> Links {
    let key = keyring.derived("approval links");
    let environment = environment.to_owned();
    Links::new(public_url, move |approval: Id, approver: usize| {
        use base64::Engine;
        let message = format!("{environment}\0{approval}\0{approver}");
        let tag = hmac::sign(&key, message.as_bytes());
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(tag.as_ref())
    })
}

/// What is counted of approvals.
pub struct Metrics {
    pending: IntGauge,
    decisions: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where a name is taken already.
    pub fn new(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let pending = IntGauge::new(
            "hookwright_approvals_pending",
            "Approvals that wait for a decision, in the whole cluster; at most 100000.",
        )?;
        let options = Opts::new(
            "hookwright_approval_decisions_total",
            "Decisions taken by this node, by what they say and how they came.",
        );
        let decisions = IntCounterVec::new(options, &["decision", "via"])?;
        for decision in [Standing::Approved, Standing::Rejected] {
            for via in [Via::Link, Via::Api] {
                decisions.with_label_values(&[decision.word(), via.word()]);
            }
        }
        registry.register(Box::new(pending.clone()))?;
        registry.register(Box::new(decisions.clone()))?;
        Ok(Self { pending, decisions })
    }
}

/// How a decision came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the link an approver was sent.
    Link,
    /// Through the API.
    Api,
}

impl Via {
    const fn word(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Api => "api",
        }
    }
}

/// A decision as it comes in.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Approved, or rejected.
    pub approves: bool,
    /// Who decides.
    pub by: String,
    /// Why.
    pub comment: Option<String>,
    /// The form, filled in.
    pub form: Option<serde_json::Value>,
    /// How it came.
    pub via: Via,
    /// Name of the API key, where one was used.
    pub key: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a decision came from.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The address of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What a proxy says in `X-Forwarded-For`; anybody can claim it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<String>,
}

/// The data of the event that is a decision.
#[derive(Serialize)]
struct Decided<'a> {
    approval: Id,
    reference: &'a str,
    iteration: &'a str,
    decision: &'static str,
    by: &'a str,
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<&'a serde_json::Value>,
    at: Timestamp,
    via: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    from: &'a Origin,
}

/// Why a decision was not taken.
#[derive(Debug)]
pub enum Refused {
    /// It is decided already, or this voter has decided.
    Decided(String),
    /// Its time has passed, or its run does not wait for it any more.
    Over(String),
    /// This voter may not decide.
    NotAllowed(String),
    /// Something that was filled in is wrong.
    Wrong(Vec<Wrong>),
    /// The database is away.
    Store(store::Error),
    /// The log does not take it now.
    Unavailable(Unavailable),
}

impl From<store::Error> for Refused {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// Takes decisions.
pub struct Decisions {
    /// Where approvals are looked up.
    pub store: Store,
    appender: Appender,
    metrics: Metrics,
}

impl Decisions {
    /// Decisions go through `appender`.
    #[must_use]
    pub const fn new(store: Store, appender: Appender, metrics: Metrics) -> Self {
        Self {
            store,
            appender,
            metrics,
        }
    }

    /// Notes how many approvals wait now.
    pub async fn count(&self) {
        if let Ok(pending) = self.store.approvals_pending(COUNTED_MAX).await {
            self.metrics.pending.set(pending);
        }
    }

    /// Takes a decision: returns the id of its event once that is durable.
    ///
    /// # Errors
    /// Why it was not taken; then nothing has changed.
    pub async fn decide(&self, stored: &StoredApproval, choice: &Choice) -> Result<Id, Refused> {
        let ask = ask(stored)?;
        let now = Timestamp::now();
        check_open(stored, now)?;
        check_voter(stored, &ask, choice)?;
        let mut wrong = Vec::new();
        let comment = choice.comment.as_deref().map(str::trim);
        let comment = comment.filter(|comment| !comment.is_empty());
        if comment.is_some_and(|comment| comment.len() > COMMENT_BYTES_MAX) {
            let message = format!("must have at most {COMMENT_BYTES_MAX} bytes");
            wrong.push(Wrong::new("comment", message));
        }
        // Whoever rejects need not fill in the form.
        if choice.approves {
            wrong.extend(form::check(ask.form.as_ref(), choice.form.as_ref()));
        }
        if !wrong.is_empty() {
            return Err(Refused::Wrong(wrong));
        }
        let decision = if choice.approves {
            Standing::Approved.word()
        } else {
            Standing::Rejected.word()
        };
        let data = Decided {
            approval: stored.id.into(),
            reference: &stored.reference,
            iteration: &stored.iteration,
            decision,
            by: choice.by.trim(),
            comment,
            form: choice.form.as_ref().filter(|_| ask.form.is_some()),
            at: now,
            via: choice.via.word(),
            key: choice.key.as_deref(),
            from: &choice.origin,
        };
        let body = serde_json::to_vec(&data).unwrap_or_default();
        // Where one decision is enough only one is taken.
        let whose = if ask.quorum == 1 { "" } else { &choice.by };
        let appended = self.appender.append(event(stored, whose, now, body));
        let receipt = appended.await.map_err(Refused::Unavailable)?;
        if receipt.duplicate {
            let why = match ask.quorum {
                1 => "it is decided already".to_owned(),
                _ => heard(choice.by.trim()),
            };
            return Err(Refused::Decided(why));
        }
        let labels = [decision, choice.via.word()];
        self.metrics.decisions.with_label_values(&labels).inc();
        Ok(receipt.id)
    }
}

/// What an approval asks.
///
/// # Errors
/// Where its row cannot be read.
pub fn ask(stored: &StoredApproval) -> Result<Ask, store::Error> {
    serde_json::from_slice(&stored.ask)
        .map_err(|error| store::Error::Unfit(format!("an approval cannot be read: {error}")))
}

/// How an approval stands, its time considered.
#[must_use]
pub fn standing(stored: &StoredApproval, now: Timestamp) -> Standing {
    match Standing::of(&stored.status) {
        Some(Standing::Pending) if stored.expires_at <= now => Standing::Expired,
        Some(standing) => standing,
        None => Standing::Cancelled,
    }
}

fn heard(by: &str) -> String {
    format!("{by} has decided already")
}

fn check_open(stored: &StoredApproval, now: Timestamp) -> Result<(), Refused> {
    let standing = standing(stored, now);
    match standing {
        Standing::Pending => Ok(()),
        Standing::Approved | Standing::Rejected => {
            let word = standing.word();
            Err(Refused::Decided(format!("it is {word} already")))
        }
        Standing::Expired => {
            let until = stored.expires_at;
            Err(Refused::Over(format!(
                "the time to decide ended at {until}"
            )))
        }
        Standing::Cancelled => {
            let why = "the run no longer waits for this decision";
            Err(Refused::Over(why.to_owned()))
        }
    }
}

fn check_voter(stored: &StoredApproval, ask: &Ask, choice: &Choice) -> Result<(), Refused> {
    let by = choice.by.trim();
    if by.is_empty() || by.len() > NAME_BYTES_MAX || by.contains(char::is_control) {
        let message = format!("must be a name of 1 to {NAME_BYTES_MAX} bytes");
        return Err(Refused::Wrong(vec![Wrong::new("by", message)]));
    }
    if ask.is_own(by) {
        let why = format!("{by} asks for this and may not decide it");
        return Err(Refused::NotAllowed(why));
    }
    let decisions: Vec<serde_json::Value> =
        serde_json::from_slice(&stored.decisions).unwrap_or_default();
    let voters = decisions.iter().filter_map(|one| one["by"].as_str());
    if voters.map(voter).any(|other| other == voter(by)) {
        return Err(Refused::Decided(heard(by)));
    }
    Ok(())
}

fn event(stored: &StoredApproval, by: &str, now: Timestamp, body: Vec<u8>) -> NewEvent {
    let approval = Id::from(stored.id);
    let run_id = Id::from(stored.run_id);
    let source = format!("/approvals/{approval}");
    let event_id = format!("{approval}/{}", voter(by));
    let key = DedupeKey::new(&source, &event_id);
    let attributes = [("subject", run_id.to_string()), ("time", now.to_string())];
    NewEvent {
        event: Event {
            id: Id::generate(),
            event_id,
            source,
            kind: DECIDED.to_owned(),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            content_type: Some("application/json".to_owned()),
            headers: Vec::new(),
            body: Bytes::from(body),
        },
        key,
        window_days: WINDOW_DAYS,
        target: Some(Target::Run { run_id }),
    }
}
