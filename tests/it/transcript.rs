//! Lives a run with scripted outcomes on a virtual clock and writes down what happens.
//!
//! Used by the tests of the engine. After every entry it replays the journal so far and insists on
//! the same `pending()`, so every transcript is also a test of replay. Beside the run lives a twin
//! that goes through a checkpoint after every entry, so it is one of checkpoints too.

mod children;

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

use hookwright::expression::Value;
use hookwright::id::Id;
use hookwright::problem::{Kind, Problem};
use hookwright::run::entry::{decode, encode};
use hookwright::run::{
    Action, Attempt, Change, Effect, End, Entry, Key, Links, Outcome, Pending, Received, Run,
    Surroundings,
};
use hookwright::workflow::{self, Definition};
use jiff::{SignedDuration, Timestamp};

/// Enough for every script, and soon met by a loop without end.
const TASKS_MAX: u32 = 10_000;

/// Entries after which a scripted run must have ended.
const ENTRIES_MAX: usize = 500;

/// What a scripted destination answers.
#[derive(Clone, Debug)]
pub struct Reply {
    pub after_ms: i64,
    pub outcome: Outcome,
    pub retry_after_seconds: Option<u32>,
}

/// A JSON answer after 10 ms.
pub fn ok(body: &str) -> Reply {
    Reply {
        after_ms: 10,
        outcome: Outcome::Completed(json(body)),
        retry_after_seconds: None,
    }
}

/// An answer with this status after 10 ms.
pub fn status(status: u16) -> Reply {
    let problem = Problem::new(Kind::Communication, "refused").status(status);
    Reply {
        after_ms: 10,
        outcome: Outcome::Faulted(problem),
        retry_after_seconds: None,
    }
}

impl Reply {
    /// The same after another time.
    pub fn after_ms(mut self, after_ms: i64) -> Self {
        self.after_ms = after_ms;
        self
    }

    /// The same with `Retry-After`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

pub fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes()).expect("JSON")
}

pub fn text(value: &Value) -> String {
    String::from_utf8(value.to_json()).expect("UTF-8")
}

/// Checks and compiles the body of a workflow: everything below `document`.
pub fn definition(body: &str) -> Arc<Definition> {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}}\n{body}"
    );
    let parsed = workflow::parse(&text);
    Arc::new(parsed.unwrap_or_else(|faults| panic!("{faults:#?}\n{text}")))
}

/// Surroundings that know the secret `token`.
pub fn surroundings(tasks_max: u32) -> Arc<Surroundings> {
    Arc::new(Surroundings {
        id: "01920000-0000-7000-8000-000000000001"
            .parse::<Id>()
            .expect("an id"),
        environment: Arc::from("test"),
        secrets: Arc::new(|name| (name == "token").then(|| Value::string("s3cret-token"))),
        tasks_max,
        links: Arc::new(Links::new("http://links.test/", |_, approver| {
            format!("token-{approver}")
        })),
    })
}

pub fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

/// A run that is being lived.
pub struct Life {
    pub definition: Arc<Definition>,
    pub surroundings: Arc<Surroundings>,
    pub run: Run,
    twin: Run,
    pub journal: Vec<Entry>,
    replies: HashMap<String, Vec<Reply>>,
    /// Events to come: when, and what.
    events: VecDeque<(i64, Received)>,
    /// When an open call will have its outcome.
    due: HashMap<(Key, u32), (Timestamp, Reply)>,
    /// When a sub-workflow will end, in the order of their starts.
    children: Vec<(Timestamp, Id, Reply)>,
    out: String,
}

impl Life {
    pub fn new(body: &str, replies: &[(&str, Reply)]) -> Self {
        let definition = definition(body);
        let surroundings = surroundings(TASKS_MAX);
        let mut scripted: HashMap<String, Vec<Reply>> = HashMap::new();
        for (path, reply) in replies {
            let path = (*path).to_owned();
            scripted.entry(path).or_default().push(reply.clone());
        }
        Self {
            run: Run::new(Arc::clone(&definition), Arc::clone(&surroundings)).recorded(),
            twin: Run::new(Arc::clone(&definition), Arc::clone(&surroundings)),
            definition,
            surroundings,
            journal: Vec::new(),
            replies: scripted,
            events: VecDeque::new(),
            due: HashMap::new(),
            children: Vec::new(),
            out: String::new(),
        }
    }

    /// Applies an entry, and checks that replaying all of them leaves the same.
    pub fn apply(&mut self, entry: Entry) {
        self.journal.push(entry.clone());
        self.twin.apply(entry.clone());
        self.run.apply(entry);
        let stored = decode(&encode(&self.journal)).expect("what was encoded");
        assert_eq!(stored, self.journal);
        let replayed = Run::replay(
            Arc::clone(&self.definition),
            Arc::clone(&self.surroundings),
            stored.clone(),
        );
        let lived = shown(&self.run.pending());
        assert_eq!(lived, shown(&replayed.pending()));
        let (definition, surroundings) = (&self.definition, &self.surroundings);
        if let Some(restored) = through_checkpoint(&self.twin, definition, surroundings, &stored) {
            self.twin = restored;
        }
        assert_eq!(lived, shown(&self.twin.pending()), "with checkpoints");
        let approvals = self.run.open_approvals();
        assert_eq!(approvals, replayed.open_approvals());
        assert_eq!(approvals, self.twin.open_approvals());
        for approval in self.run.take_approvals() {
            let (standing, title) = (approval.standing.word(), &approval.ask.title);
            self.say(&format!("  {standing}: {title}"));
        }
        assert_eq!(self.run.starts(), replayed.starts());
        assert_eq!(self.run.children(), replayed.children());
        assert_eq!(self.run.children(), self.twin.children());
        assert_eq!(self.run.is_suspended(), replayed.is_suspended());
        let listens = format!("{:?}", self.run.listens());
        assert_eq!(listens, format!("{:?}", replayed.listens()));
        assert_eq!(listens, format!("{:?}", self.twin.listens()));
        for event in self.run.take_outgoing() {
            let data = String::from_utf8_lossy(&event.body).into_owned();
            self.say(&format!("  emits {} {data}", event.kind));
        }
        for errand in self.run.take_errands() {
            self.carry_out(&errand);
        }
    }

    fn reply(&mut self, path: &str) -> Reply {
        let scripted = self
            .replies
            .get_mut(path)
            .unwrap_or_else(|| panic!("no reply is scripted for {path}"));
        match scripted.len() {
            1 => scripted[0].clone(),
            _ => scripted.remove(0),
        }
    }

    pub fn start(&mut self, input: &str) {
        let input = json(input);
        self.apply(Entry {
            at: start(),
            change: Change::Started { input },
        });
    }

    /// Lives until the run has ended.
    pub fn finish(&mut self) {
        while self.journal.len() < ENTRIES_MAX {
            if !self.go_on() {
                return;
            }
        }
        panic!("the run does not end:\n{}", self.out);
    }

    /// One entry more; false where the run has ended.
    pub fn go_on(&mut self) -> bool {
        let (effects, waits) = match self.run.pending() {
            Pending::Open { effects, waits } => (effects, waits),
            Pending::Ended(end) => {
                self.say(&ended(&end));
                return false;
            }
        };
        if self.start_children() {
            return true;
        }
        for effect in &effects {
            self.expect(effect);
        }
        if let Some((after_ms, _)) = self.events.front() {
            let at = start() + SignedDuration::from_millis(*after_ms);
            let sooner = |other: Timestamp| other <= at;
            if !waits.iter().any(|wait| sooner(wait.until))
                && !effects.iter().any(|effect| sooner(self.due_at(effect)))
            {
                self.hear(at);
                return true;
            }
        }
        let wait = waits.first();
        let times = waits.iter().map(|wait| wait.until);
        let soonest = times.chain(effects.iter().map(|effect| self.due_at(effect)));
        let soonest = soonest.min().unwrap_or(Timestamp::MAX);
        let ends = self.children.iter().map(|(at, ..)| *at);
        if let Some((place, _)) = ends
            .enumerate()
            .min_by_key(|(_, at)| *at)
            .filter(|(_, at)| *at < soonest)
        {
            self.end_child(place);
            return true;
        }
        let call = effects
            .iter()
            .min_by_key(|effect| self.due_at(effect))
            .map(|effect| (self.due_at(effect), effect));
        match (wait, call) {
            (Some(wait), None) => self.fire(wait.until, &wait.key),
            (Some(wait), Some((at, _))) if wait.until <= at => self.fire(wait.until, &wait.key),
            (_, Some((_, effect))) => self.answer(effect),
            (None, None) => panic!("nothing to wait for:\n{}", self.out),
        }
        true
    }

    pub fn transcript(&self) -> &str {
        self.out.trim_end()
    }

    /// Reference, iteration, attempt and status of every record.
    pub fn records(&self) -> String {
        let mut out = String::new();
        for record in self.run.records() {
            let _ = write!(out, "{} {}", record.reference, record.status);
            if !record.iteration.is_empty() {
                let _ = write!(out, " [{}]", record.iteration);
            }
            if record.attempt > 1 {
                let _ = write!(out, " attempt {}", record.attempt);
            }
            out.push('\n');
        }
        out.trim_end().to_owned()
    }

    fn due_at(&self, effect: &Effect) -> Timestamp {
        let (at, _) = &self.due[&(effect.key.clone(), effect.attempt)];
        *at
    }

    /// Notes a call that is new, with the time of its answer.
    fn expect(&mut self, effect: &Effect) {
        let slot = (effect.key.clone(), effect.attempt);
        if self.due.contains_key(&slot) {
            return;
        }
        let Action::Call(request) = &effect.action;
        let path = request.uri.replace("http://api.test", "");
        let reply = self.reply(&path);
        let mut line = format!("  {} {path}", request.method);
        if let Some(body) = &request.body {
            let _ = write!(line, " {}", text(body));
        }
        let at = self.now() + SignedDuration::from_millis(reply.after_ms);
        self.due.insert(slot, (at, reply));
        self.say(&line);
    }

    fn now(&self) -> Timestamp {
        self.journal.last().map_or_else(start, |entry| entry.at)
    }

    /// The next event comes; one that the run does not want is not journaled.
    fn hear(&mut self, at: Timestamp) {
        let (_, mut event) = self.events.pop_front().expect("an event");
        if let Some(open) = self.run.open_approvals().first() {
            let (reference, iteration) = (&open.key.reference, &open.key.iteration);
            let asked = format!(r#""reference":"{reference}","iteration":"{iteration}""#);
            let envelope = text(&event.envelope).replace(r#""asked":"?""#, &asked);
            event.envelope = json(&envelope);
        }
        let kind = event.envelope.get("type").unwrap_or_default();
        let wanted = self.run.hears(&event).is_some() || event.addressed;
        if wanted {
            self.apply(Entry {
                at: at.max(self.now()),
                change: Change::Received { event },
            });
        }
        let word = if wanted { "hears" } else { "does not hear" };
        self.say(&format!("{word} {}", kind.as_str().unwrap_or_default()));
    }

    fn fire(&mut self, at: Timestamp, key: &Key) {
        let at = at.max(self.now());
        let change = Change::Fired { key: key.clone() };
        self.apply(Entry { at, change });
        self.say(&format!("fired {}", name(key)));
    }

    fn answer(&mut self, effect: &Effect) {
        let slot = (effect.key.clone(), effect.attempt);
        let (at, reply) = self.due.remove(&slot).expect("it was noted");
        let word = match &reply.outcome {
            Outcome::Completed(_) => "completed".to_owned(),
            Outcome::Faulted(problem) => format!("faulted {}", problem.status),
        };
        let attempt = Attempt {
            number: effect.attempt,
            started_at: at - SignedDuration::from_millis(reply.after_ms),
            duration_ms: u32::try_from(reply.after_ms).expect("not negative"),
            status: None,
            error: None,
            retry_after_seconds: reply.retry_after_seconds,
        };
        let change = Change::Performed {
            key: effect.key.clone(),
            attempt,
            outcome: reply.outcome,
        };
        self.apply(Entry { at, change });
        self.say(&format!("{word} {}", name(&effect.key)));
    }

    fn say(&mut self, what: &str) {
        let ms = self.now().duration_since(start()).as_millis();
        let _ = writeln!(self.out, "{ms:<5} {what}");
    }
}

/// The run as it is after its checkpoint was stored and read again; none where it has none.
pub fn through_checkpoint(
    run: &Run,
    definition: &Arc<Definition>,
    surroundings: &Arc<Surroundings>,
    journal: &[Entry],
) -> Option<Run> {
    let checkpoint = run.checkpoint()?;
    let Change::Started { input } = &journal[0].change else {
        panic!("it does not begin with its start");
    };
    let (definition, surroundings) = (Arc::clone(definition), Arc::clone(surroundings));
    let restored = Run::restore(definition, surroundings, input.clone(), &checkpoint);
    Some(
        restored
            .unwrap_or_else(|unfit| panic!("{unfit}: {}", String::from_utf8_lossy(&checkpoint))),
    )
}

/// All that a run wants, with the payloads of its calls, for comparison.
pub fn shown(pending: &Pending) -> String {
    let mut out = format!("{pending:#?}");
    if let Pending::Open { effects, .. } = pending {
        for effect in effects {
            let Action::Call(request) = &effect.action;
            let (headers, query) = (&request.headers, &request.query);
            let body = request.body.as_ref().map(text);
            let _ = write!(out, "\n{} {headers:?} {query:?} {body:?}", request.uri);
        }
    }
    if let Pending::Ended(End::Completed(output)) = pending {
        out.push_str(&text(output));
    }
    out
}

fn name(key: &Key) -> String {
    match key.iteration.as_ref() {
        "" => key.reference.to_string(),
        iteration => format!("{} [{iteration}]", key.reference),
    }
}

fn ended(end: &End) -> String {
    match end {
        End::Completed(output) => format!("= completed {}", text(output)),
        End::Cancelled => "= cancelled".to_owned(),
        End::Faulted(problem) => format!("= {}", error(problem)),
    }
}

/// An error on lines of its own, standard types by their last part.
fn error(problem: &Problem) -> String {
    let standard = "https://serverlessworkflow.io/spec/1.0.0/errors/";
    let kind = problem.kind.strip_prefix(standard);
    let kind = kind.unwrap_or(&problem.kind);
    let place = problem.instance.as_deref().unwrap_or("nowhere");
    let mut out = format!("faulted {} {kind} at {place}", problem.status);
    for text in [&problem.title, &problem.detail].into_iter().flatten() {
        let _ = write!(out, "\n      | {text}");
    }
    out
}

/// Lives a workflow to its end and gives the transcript.
pub fn live(body: &str, input: &str, replies: &[(&str, Reply)]) -> String {
    let mut life = Life::new(body, replies);
    life.start(input);
    life.finish();
    life.transcript().to_owned()
}

/// The same with the records behind the transcript.
pub fn live_with_records(body: &str, input: &str, replies: &[(&str, Reply)]) -> String {
    let mut life = Life::new(body, replies);
    life.start(input);
    life.finish();
    format!("{}\n--\n{}", life.transcript(), life.records())
}

/// An event: milliseconds after the start, its type, its data; a type that begins with `@` is that
/// of an event addressed to the run.
pub type Told<'a> = (i64, &'a str, &'a str);

/// The same with events that come; a run that then still listens is left as it is.
pub fn live_with_events(
    body: &str,
    input: &str,
    replies: &[(&str, Reply)],
    events: &[Told<'_>],
) -> String {
    heard(body, input, replies, events).transcript().to_owned()
}

pub fn heard(body: &str, input: &str, replies: &[(&str, Reply)], events: &[Told<'_>]) -> Life {
    let mut life = Life::new(body, replies);
    for (number, (after_ms, kind, data)) in events.iter().enumerate() {
        let addressed = kind.starts_with('@');
        let kind = kind.trim_start_matches('@');
        let attributes = format!(r#""specversion":"1.0","id":"e-{number}","source":"/s""#);
        let envelope = format!(r#"{{{attributes},"type":"{kind}","data":{data}}}"#);
        let event = Received {
            id: Id::generate(),
            addressed,
            envelope: json(&envelope),
            raw: Some(Value::string(*data)),
        };
        life.events.push_back((*after_ms, event));
    }
    life.start(input);
    loop {
        let idle = match life.run.pending() {
            Pending::Open { effects, waits } => effects.is_empty() && waits.is_empty(),
            Pending::Ended(_) => false,
        };
        if idle && life.events.is_empty() {
            let listens = life.run.listens();
            assert!(!listens.is_empty(), "nothing to wait for");
            life.say(&format!("listens with {} filters", listens.len()));
            break;
        }
        if !life.go_on() {
            break;
        }
    }
    life
}
