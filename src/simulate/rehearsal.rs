//! Scripted hands: answers from a test, and a clock that jumps to whatever comes next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::answers::{Asked, Rule};
use super::arrivals::event;
use super::children::Apart;
use super::decisions::Script;
use super::document::{Case, Start};
use super::drive::{self, Hands, Happening};
use super::stage::Stage;
use super::verdict::{self, Mismatch, Verdict};
use crate::call::rehearse::{Granted, Reply, Sent, Situation};
use crate::call::{self, Destinations};
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::run::approval::Approval;
use crate::run::{Action, Change, Child, Effect, Key, Outcome, Run, Surroundings};
use crate::secret::Secrets;
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
pub(super) struct Scripted<'a> {
    run_id: Id,
    pub(super) stage: &'a Stage,
    case: &'a Case,
    secrets: &'a Arc<Secrets>,
    destinations: &'a Destinations,
    now: Timestamp,
    /// How many runs are around this one.
    pub(super) depth: u32,
    pub(super) rules: Vec<Rule>,
    pub(super) calls: Vec<Call>,
    /// Sub-workflows that were played.
    pub(super) apart: Vec<Apart>,
    pub(super) granted: Granted,
    pub(super) decisions: Script,
    /// Why there is no going on.
    pub(super) unanswered: Option<String>,
    starting: Vec<Effect>,
    /// By the time at which it comes, and the order in which the calls were begun.
    outcomes: BTreeMap<(Timestamp, u64), (Key, Change)>,
    begun: u64,
    /// Events to come in the order of their times, each with the sub-workflow it is of.
    arrivals: VecDeque<(Timestamp, Option<Id>, Event)>,
    /// The ends of sub-workflows.
    ends: BTreeMap<(Timestamp, Id), Outcome>,
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
    let mut hands = Scripted {
        run_id,
        stage,
        case,
        secrets: &secrets,
        destinations: &destinations,
        now: case.at,
        depth: 0,
        rules: case.answers.clone(),
        calls: Vec::new(),
        apart: Vec::new(),
        granted: Granted::default(),
        decisions: Script::new(&case.decisions),
        unanswered: None,
        starting: Vec::new(),
        outcomes: BTreeMap::new(),
        begun: 0,
        arrivals: arrivals(case),
        ends: BTreeMap::new(),
    };
    let run = Run::new(Arc::clone(definition), hands.surroundings(run_id)).recorded();
    let played = drive::drive(run, Change::Started { input }, &mut hands).await;
    let played = drive::redacted(played, &secrets);
    let calls = Scripted::all_calls(hands.calls, hands.apart);
    let (rules, unanswered) = (hands.rules, hands.unanswered);
    let left = (rules.as_slice(), hands.decisions.left());
    Ok(verdict::judge(case, played, calls, left, unanswered))
}

/// The events that come while the run runs.
fn arrivals(case: &Case) -> VecDeque<(Timestamp, Option<Id>, Event)> {
    let arrival = |(number, coming): (usize, &super::arrivals::Coming)| {
        let after = SignedDuration::try_from(coming.after).unwrap_or(SignedDuration::MAX);
        let at = case.at.saturating_add(after).unwrap_or(Timestamp::MAX);
        let id = id(at, &format!("{} event {number}", case.name));
        (at, None, event(&coming.arrival, at, id))
    };
    case.events.iter().enumerate().map(arrival).collect()
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
        self.outcomes.is_empty()
            && self.starting.is_empty()
            && self.arrivals.is_empty()
            && self.ends.is_empty()
    }

    async fn begin(&mut self, child: &Child) -> Change {
        self.play(child).await
    }

    fn cancel(&mut self, child: Id) {
        self.interrupt(child, self.now);
    }

    fn publish(&mut self, event: &Event) {
        self.comes(self.now, None, event.clone());
    }

    async fn next(&mut self, until: Option<Timestamp>) -> Result<Option<Happening>, ()> {
        for effect in std::mem::take(&mut self.starting) {
            self.perform(effect).await;
            if self.unanswered.is_some() {
                return Err(());
            }
        }
        let outcome = self.outcomes.first_key_value().map(|((at, _), _)| *at);
        let end = self.ends.first_key_value().map(|((at, _), _)| *at);
        let arrival = self.arrivals.front().map(|(at, ..)| *at);
        // At the same time an event counts before a deadline, and a deadline before an outcome, as
        // in `worker::execute`.
        let is_first = |at: &Timestamp| {
            until.is_none_or(|until| *at < until || (*at == until && arrival == Some(*at)))
        };
        let soonest = [arrival, outcome, end].into_iter().flatten().min();
        let sooner = |at: &Timestamp| [soonest, until].iter().flatten().all(|it| at < it);
        if let Some(at) = self.decisions.next_at().filter(sooner) {
            self.now = self.now.max(at);
            return Ok(self.decisions.give(self.now).map(Happening::Change));
        }
        let Some(at) = soonest.filter(is_first) else {
            self.now = until.ok_or(())?;
            return Ok(None);
        };
        self.now = self.now.max(at);
        Ok(self.take(at))
    }
}

impl<'a> Scripted<'a> {
    /// What surrounds a run of this case.
    pub(super) fn surroundings(&self, id: Id) -> Arc<Surroundings> {
        let environment = &self.case.environment;
        drive::surroundings(id, environment, self.secrets, self.stage.tasks_max)
    }

    /// The hands of a sub-workflow that begins now, with the script as far as it is left.
    pub(super) fn apart(&mut self, run_id: Id) -> Scripted<'a> {
        Scripted {
            run_id,
            stage: self.stage,
            case: self.case,
            secrets: self.secrets,
            destinations: self.destinations,
            now: self.now,
            depth: self.depth + 1,
            rules: std::mem::take(&mut self.rules),
            calls: Vec::new(),
            apart: Vec::new(),
            granted: std::mem::take(&mut self.granted),
            decisions: std::mem::take(&mut self.decisions),
            unanswered: None,
            starting: Vec::new(),
            outcomes: BTreeMap::new(),
            begun: 0,
            arrivals: self.arrivals.clone(),
            ends: BTreeMap::new(),
        }
    }

    /// An event comes at that time, from a sub-workflow perhaps.
    pub(super) fn comes(&mut self, at: Timestamp, from: Option<Id>, event: Event) {
        let place = self.arrivals.partition_point(|(other, ..)| *other <= at);
        self.arrivals.insert(place, (at, from, event));
    }

    /// A sub-workflow ends at that time.
    pub(super) fn ends(&mut self, at: Timestamp, child: Id, outcome: Outcome) {
        self.ends.insert((at, child), outcome);
    }

    /// Nothing more comes of a sub-workflow.
    pub(super) fn forget(&mut self, child: Id) {
        self.ends.retain(|(_, other), _| *other != child);
        self.arrivals.retain(|(_, from, _)| *from != Some(child));
    }

    /// What comes at that time: an event, else an outcome, else the end of a sub-workflow.
    fn take(&mut self, at: Timestamp) -> Option<Happening> {
        if self
            .arrivals
            .front()
            .is_some_and(|(first, ..)| *first == at)
        {
            let (.., event) = self.arrivals.pop_front()?;
            return Some(Happening::Event(event));
        }
        if let Some(first) = self.outcomes.first_entry()
            && first.key().0 == at
        {
            let (_, change) = first.remove();
            return Some(Happening::Change(change));
        }
        let ((_, child), outcome) = self.ends.pop_first()?;
        Some(Happening::Change(Change::ChildEnded { child, outcome }))
    }

    async fn perform(&mut self, effect: Effect) {
        let Action::Call(request) = &effect.action;
        let destination = self.destinations.of(&effect);
        let situation = Situation {
            identity: drive::identity(self.run_id, &effect),
            now: self.now,
            chance: self.case.chance,
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
