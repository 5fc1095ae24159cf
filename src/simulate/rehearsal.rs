//! Scripted hands: answers from a test, and a clock that jumps to whatever comes next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::answers::{Asked, Rule};
use super::decisions::Script;
use super::document::{Arrival, Case, Start};
use super::drive::{self, Hands};
use super::stage::Stage;
use super::verdict::{self, Mismatch, Verdict};
use crate::call::rehearse::{Granted, Reply, Sent, Situation};
use crate::call::{self, Destinations};
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::run::approval::Approval;
use crate::run::{Action, Change, Effect, Key, Run};
use crate::trigger::{self, Triggers};
use crate::workflow::Definition;

/// A request a run made in a rehearsal.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it was made.
    pub at: Timestamp,
    /// The task's name.
    pub task: String,
    /// The URI as the workflow has it, such as `destination://crm/orders`.
    pub uri: String,
    /// What would have been sent.
    pub sent: Sent,
}

/// What performs calls from a script.
struct Scripted<'a> {
    run_id: Id,
    destinations: &'a Destinations,
    now: Timestamp,
    chance: f64,
    rules: Vec<Rule>,
    calls: Vec<Call>,
    granted: Granted,
    decisions: Script,
    /// Why there is no going on.
    unanswered: Option<String>,
    starting: Vec<Effect>,
    /// By the time at which it comes, and the order in which the calls were begun.
    outcomes: BTreeMap<(Timestamp, u64), (Key, Change)>,
    begun: u64,
}

/// Plays one case.
///
/// # Errors
/// Where destinations cannot be set up at all.
pub async fn rehearse(
    definition: &Arc<Definition>,
    case: &Case,
    stage: &Stage,
) -> Result<Verdict, call::Error> {
    let (destinations, secrets) = stage.rehearsed(&case.secrets)?;
    let run_id = id(case.at, &case.name);
    let input = match &case.start {
        Start::Input(input) => input.clone(),
        Start::Events(events) => {
            let mut input = Vec::new();
            for (arrival, place) in events {
                let id = id(case.at, &format!("{} {}", case.name, input.len()));
                match start(definition, &event(arrival, case.at, id)) {
                    Ok(item) => input.extend(item.items().unwrap_or_default()),
                    Err(reason) => return Ok(verdict::ignored(case, &reason, *place)),
                }
            }
            Value::array(input)
        }
    };
    if let Some((_, place)) = &case.expect.ignored {
        let message = "expected that the event is ignored\n     was a run".to_owned();
        return Ok(Verdict::failed(case, Mismatch::at(*place, message)));
    }
    let surroundings = drive::surroundings(run_id, &case.environment, &secrets, stage.tasks_max);
    let mut hands = Scripted {
        run_id,
        destinations: &destinations,
        now: case.at,
        chance: case.chance,
        rules: case.answers.clone(),
        calls: Vec::new(),
        granted: Granted::default(),
        decisions: Script::new(&case.decisions),
        unanswered: None,
        starting: Vec::new(),
        outcomes: BTreeMap::new(),
        begun: 0,
    };
    let run = Run::new(Arc::clone(definition), surroundings).recorded();
    let played = drive::drive(run, Change::Started { input }, &mut hands).await;
    let played = drive::redacted(played, &secrets);
    let Scripted {
        rules,
        calls,
        unanswered,
        decisions,
        ..
    } = hands;
    let left = (rules.as_slice(), decisions.left());
    Ok(verdict::judge(case, played, calls, left, unanswered))
}

/// The input of the run that an event starts.
///
/// # Errors
/// Why it starts none.
fn start(definition: &Arc<Definition>, event: &Event) -> Result<Value, String> {
    let triggers = Triggers::new([(1, Arc::clone(definition))]);
    if triggers.is_empty() {
        return Err("the workflow has no `schedule.on`; give the case an `input`".to_owned());
    }
    let envelope = trigger::envelope(event);
    let matched = triggers.route(event, &|| envelope.clone());
    match matched.ignored {
        Some(reason) => Err(reason),
        None => Ok(trigger::input(definition, event)),
    }
}

fn event(arrival: &Arrival, at: Timestamp, id: Id) -> Event {
    let mut attributes: BTreeMap<_, _> = arrival.attributes.iter().cloned().collect();
    let content_type = attributes.remove("datacontenttype");
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    attributes
        .entry("time".to_owned())
        .or_insert_with(|| at.to_string());
    let body = match &arrival.data {
        None => Vec::new(),
        Some(data) => match data.as_str() {
            Some(text) if !content_type.contains("json") => text.as_bytes().to_vec(),
            _ => data.to_json(),
        },
    };
    Event {
        id,
        event_id: arrival.id.clone().unwrap_or_else(|| id.to_string()),
        source: arrival.source.clone(),
        kind: arrival.kind.clone(),
        attributes,
        content_type: Some(content_type),
        headers: Vec::new(),
        body: body.into(),
    }
}

/// An id that is the same whenever the case is played.
fn id(at: Timestamp, name: &str) -> Id {
    let digest = Id::from(uuid::Uuid::nil()).derive(name);
    let mut random = [0; 10];
    random.copy_from_slice(&digest.uuid().as_bytes()[..10]);
    let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &random)
        .into_uuid()
        .into()
}

impl Hands for Scripted<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn keep_only(&mut self, effects: &[Effect]) {
        let wanted = |key: &Key| effects.iter().any(|effect| effect.key == *key);
        self.outcomes.retain(|_, (key, _)| wanted(key));
    }

    fn performs(&self, key: &Key) -> bool {
        self.outcomes.values().any(|(other, _)| other == key)
    }

    fn asks(&mut self, open: Vec<Approval>) {
        self.decisions.asks(open);
    }

    fn start(&mut self, effect: &Effect) {
        self.starting.push(effect.clone());
    }

    fn is_idle(&self) -> bool {
        self.outcomes.is_empty() && self.starting.is_empty()
    }

    async fn next(&mut self, until: Option<Timestamp>) -> Result<Option<Change>, ()> {
        for effect in std::mem::take(&mut self.starting) {
            self.perform(effect).await;
            if self.unanswered.is_some() {
                return Err(());
            }
        }
        // At the same time a deadline counts before an outcome, as it does in `worker::execute`.
        let outcome_at = self.outcomes.first_key_value().map(|((at, _), _)| *at);
        let sooner = |at: &Timestamp| {
            let limits = [until, outcome_at];
            limits.into_iter().flatten().all(|limit| *at < limit)
        };
        if let Some(at) = self.decisions.next_at().filter(sooner) {
            self.now = self.now.max(at);
            return Ok(self.decisions.give(self.now));
        }
        let first = self.outcomes.first_entry();
        let first = first.filter(|first| until.is_none_or(|until| first.key().0 < until));
        match (first, until) {
            (Some(first), _) => {
                let ((at, _), (_, change)) = first.remove_entry();
                self.now = self.now.max(at);
                Ok(Some(change))
            }
            (None, Some(until)) => {
                self.now = until;
                Ok(None)
            }
            (None, None) => Err(()),
        }
    }
}

impl Scripted<'_> {
    async fn perform(&mut self, effect: Effect) {
        let Action::Call(request) = &effect.action;
        let destination = self.destinations.of(&effect);
        let situation = Situation {
            identity: drive::identity(self.run_id, &effect),
            now: self.now,
            chance: self.chance,
        };
        let reference = &*effect.key.reference;
        let task = name(reference);
        let (rules, calls) = (&mut self.rules, &mut self.calls);
        let (unanswered, now) = (&mut self.unanswered, self.now);
        let mut written = Some(request.uri.as_str());
        let mut answer = |sent: &Sent| {
            let own = !sent.for_token;
            // A redirect leads to what the workflow has not written.
            let uri = written.take_if(|_| own).unwrap_or(&sent.url);
            let asked = Asked {
                task: if own { &task } else { "" },
                reference: if own { reference } else { "" },
                uri,
                sent,
            };
            let found = rules.iter_mut().find_map(|rule| rule.answer(&asked));
            if found.is_none() && sent.for_token {
                return token(sent);
            }
            calls.push(Call {
                at: now,
                task: asked.task.to_owned(),
                uri: uri.to_owned(),
                sent: sent.clone(),
            });
            match found {
                Some(Ok(answer)) => answer,
                Some(Err(reason)) => refuse(unanswered, &asked, &reason),
                None => refuse(unanswered, &asked, "nothing under `answers` fits"),
            }
        };
        let rehearsed = self.destinations.rehearse(
            &effect,
            &destination,
            (situation, &mut self.granted),
            &mut answer,
        );
        let (performed, took) = rehearsed.await;
        let took = SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX);
        let ends_at = self.now.saturating_add(took).unwrap_or(Timestamp::MAX);
        let key = effect.key;
        let change = drive::change(key.clone(), performed, ends_at);
        self.begun += 1;
        self.outcomes.insert((ends_at, self.begun), (key, change));
    }
}

/// The token that an endpoint grants of which a test says nothing.
fn token(sent: &Sent) -> (Duration, Reply) {
    let token = serde_json::json!({
        "access_token": format!("token of {}", sent.url),
        "token_type": "Bearer",
        "expires_in": 3600,
    });
    let response = http::Response::new(token.to_string().into());
    (Duration::ZERO, Reply::Answer(response))
}

fn refuse(told: &mut Option<String>, asked: &Asked<'_>, why: &str) -> (Duration, Reply) {
    let Asked {
        task,
        reference,
        sent,
        ..
    } = asked;
    told.get_or_insert_with(|| {
        let (method, url) = (&sent.method, &sent.url);
        format!("no answer for {method} {url} of task `{task}` ({reference}): {why}")
    });
    (Duration::ZERO, Reply::Broken("no answer"))
}

/// The task's name: the last word of its reference.
pub(super) fn name(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or_default();
    last.replace("~1", "/").replace("~0", "~")
}
