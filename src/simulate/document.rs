//! Test documents: read and checked, all faults at once.
//!
//! `docs/test.schema.json` says the same to editors; a test holds the two together.

use std::time::Duration;

use jiff::Timestamp;

use super::answers::{self, Rule};
use super::arrivals::{Arrival, Coming, arrival, coming};
use super::decisions::{self, Decision};
use super::expected::Expected;
use crate::expression::Value;
use crate::problem;
use crate::workflow::document::{self, Fault, Faults, Object, Place};

/// When a case begins where it does not say: a Thursday, far from any change of clocks.
const BEGINS_AT: &str = "2026-01-01T00:00:00Z";

/// Cases of one document at most.
const CASES_MAX: usize = 1_000;

/// Events that start one run at most.
const EVENTS_MAX: usize = 10_000;

/// How much of the random part of a delay there is where a case does not say: all of it, so that
/// times are the latest possible ones, and plain to read.
const CHANCE: f64 = 1.0;

/// A test document.
#[derive(Debug)]
pub struct Suite {
    /// The file of the workflow, as written: relative to the document.
    pub workflow: String,
    /// Where that is written.
    pub place: (u32, u32),
    /// The directory of the other definitions, as written; the document's own where absent.
    pub definitions: Option<String>,
    /// In the order written; at least one.
    pub cases: Vec<Case>,
}

/// One case: what is given, and what is expected.
#[derive(Debug)]
pub struct Case {
    /// Its name, unique in the document.
    pub name: String,
    /// The line it begins on.
    pub line: u32,
    pub(super) environment: String,
    pub(super) at: Timestamp,
    pub(super) chance: f64,
    /// Texts of secrets by name; an object as JSON.
    pub(super) secrets: Vec<(String, String)>,
    pub(super) start: Start,
    /// Events that come while the run runs, in order.
    pub(super) events: Vec<Coming>,
    /// The case's own, then those of the document.
    pub(super) answers: Vec<Rule>,
    /// What people say where they are asked.
    pub(super) decisions: Vec<Decision>,
    pub(super) expect: Expect,
}

/// What starts the run.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// Somebody, with this input.
    Input(Value),
    /// Events, if the workflow's filters take them; several where it gathers them.
    Events(Vec<(Arrival, (u32, u32))>),
}

/// What a case expects; what is absent is not looked at.
#[derive(Debug)]
pub(super) struct Expect {
    pub place: (u32, u32),
    /// The status, and where it is written.
    pub status: (&'static str, (u32, u32)),
    pub output: Option<Expected>,
    pub error: Option<Expected>,
    pub calls: Option<Calls>,
    pub elapsed: Option<Elapsed>,
    /// The events the run emits, in order, and where that is written.
    pub emits: Option<(Vec<Expected>, (u32, u32))>,
    /// The event starts no run; with a part of the reason.
    pub ignored: Option<(Option<String>, (u32, u32))>,
}

/// The calls a case expects, in order.
#[derive(Debug)]
pub(super) struct Calls {
    pub place: (u32, u32),
    pub calls: Vec<ExpectedCall>,
}

/// One request that is expected, as often as it says.
#[derive(Debug)]
pub(super) struct ExpectedCall {
    pub place: (u32, u32),
    pub times: u32,
    pub task: Option<(String, (u32, u32))>,
    pub method: Option<(String, (u32, u32))>,
    pub uri: Option<(answers::Pattern, (u32, u32))>,
    pub headers: Vec<(String, Expected)>,
    pub body: Option<Expected>,
}

/// How long the run takes, by its own clock.
#[derive(Debug)]
pub(super) struct Elapsed {
    pub place: (u32, u32),
    pub min: Option<Duration>,
    pub max: Option<Duration>,
}

/// What a document says for all its cases.
struct Shared<'a> {
    environment: Option<&'a str>,
    at: Option<Timestamp>,
    chance: Option<f64>,
    secrets: Vec<(String, String)>,
    answers: Option<Place<'a>>,
}

/// The words for the end of a run.
pub(super) const STATUSES: [&str; 4] = ["completed", "faulted", "cancelled", "waiting"];

/// Reads a test document (YAML or JSON).
///
/// # Errors
/// Every fault found, each with line, column, JSON pointer, and a hint where there is one.
pub fn parse(text: &str) -> Result<Suite, Vec<Fault>> {
    let root = document::read(text).map_err(|fault| vec![fault])?;
    let faults = Faults::new();
    let suite = suite(&Place::root(&root, &faults));
    faults.result(suite)
}

fn suite(root: &Place<'_>) -> Option<Suite> {
    let object = root.object()?;
    let workflow = object.required("workflow");
    let definitions = object.optional_string("definitions").map(str::to_owned);
    let shared = shared(&object);
    let cases = object.required("cases").and_then(|at| cases(&at, &shared));
    object.finish();
    let workflow = workflow?;
    Some(Suite {
        place: place(&workflow),
        workflow: workflow.string()?.to_owned(),
        definitions,
        cases: cases?,
    })
}

fn shared<'a>(object: &Object<'a>) -> Shared<'a> {
    let answers = object.optional("answers");
    if let Some(place) = &answers {
        // Read once for its faults; each case gets rules of its own.
        let _ = answers::read(place, false);
    }
    Shared {
        environment: object.optional_string("environment"),
        at: object.optional("at").and_then(|at| time(&at)),
        chance: object.optional("chance").and_then(|at| chance(&at)),
        secrets: secrets(object),
        answers,
    }
}

fn cases(place: &Place<'_>, shared: &Shared<'_>) -> Option<Vec<Case>> {
    let places = place.array()?;
    if places.is_empty() || places.len() > CASES_MAX {
        place.fault(format!("there must be 1 to {CASES_MAX} cases"));
    }
    let mut cases: Vec<Case> = Vec::new();
    for place in places {
        let Some(case) = case(&place, shared) else {
            continue;
        };
        if cases.iter().any(|other| other.name == case.name) {
            place.fault(format!("a case is named {:?} already", case.name));
        }
        cases.push(case);
    }
    Some(cases)
}

fn case(place: &Place<'_>, shared: &Shared<'_>) -> Option<Case> {
    let object = place.object()?;
    let name = object.required_string("name");
    let environment = object.optional_string("environment");
    let at = object.optional("at").and_then(|at| time(&at));
    let chance = object.optional("chance").and_then(|at| chance(&at));
    let mut secrets = secrets(&object);
    secrets.extend(shared.secrets.iter().cloned());
    let start = start(&object);
    let mut events = object
        .optional("events")
        .map_or(Some(Vec::new()), |at| coming(&at));
    if let Some(events) = &mut events {
        events.sort_by_key(|coming| coming.after);
    }
    let own = object.optional("answers");
    let mut answers = own.map_or_else(Vec::new, |at| answers::read(&at, true));
    if let Some(place) = &shared.answers {
        // Its faults are known already.
        let faults = Faults::new();
        let place = Place::root(place.node(), &faults);
        answers.extend(answers::read(&place, false));
    }
    let decisions = object.optional("decisions");
    let decisions = decisions.map_or_else(Vec::new, |at| decisions::read(&at));
    let expect = object.required("expect").and_then(|at| expect(&at));
    object.finish();
    let begins_at = at.or(shared.at).or_else(|| BEGINS_AT.parse().ok());
    Some(Case {
        name: name?.to_owned(),
        line: place.node().line,
        environment: environment
            .or(shared.environment)
            .unwrap_or("development")
            .to_owned(),
        at: begins_at?,
        chance: chance.or(shared.chance).unwrap_or(CHANCE),
        secrets,
        start: start?,
        events: events?,
        answers,
        decisions,
        expect: expect?,
    })
}

fn start(object: &Object<'_>) -> Option<Start> {
    let input = object.optional("input");
    let event = object.optional("event");
    match (input, event) {
        (Some(_), Some(event)) => {
            event.fault_with(
                "a case has an `input` or an `event`, not both",
                "remove one: an input starts the run by hand, an event through the schedule",
            );
            None
        }
        (Some(input), None) => Some(Start::Input(input.value())),
        (None, Some(event)) => {
            let list = matches!(event.node().content, document::Content::Array(_));
            let places = match list {
                true => event.array()?,
                false => vec![event.clone()],
            };
            if places.is_empty() || places.len() > EVENTS_MAX {
                event.fault(format!("there must be 1 to {EVENTS_MAX} events"));
            }
            let events = places.iter().map(|at| Some((arrival(at)?, place(at))));
            Some(Start::Events(events.collect::<Option<_>>()?))
        }
        // As when a run is started without a body.
        (None, None) => Some(Start::Input(Value::object([]))),
    }
}

fn expect(at: &Place<'_>) -> Option<Expect> {
    let object = at.object()?;
    let status = object.optional("status");
    let status = match &status {
        Some(at) => (STATUSES[at.one_of(&STATUSES)?], place(at)),
        None => (STATUSES[usize::from(object.has("error"))], place(at)),
    };
    let calls = object.optional("calls").and_then(|at| calls(&at));
    let elapsed = object.optional("elapsed").and_then(|at| elapsed(&at));
    let ignored = object.optional("ignored").and_then(|at| ignored(&at));
    let emits = object.optional("emits").and_then(|at| {
        let events = at.array()?;
        Some((
            events.iter().filter_map(Expected::read).collect(),
            place(&at),
        ))
    });
    let output = object.optional("output").and_then(|at| Expected::read(&at));
    let error = object.optional("error").and_then(|at| {
        problem_type(&at);
        Expected::read(&at)
    });
    object.finish();
    Some(Expect {
        place: place(at),
        status,
        output,
        error,
        calls,
        elapsed,
        emits,
        ignored,
    })
}

/// `error.type` is a whole URI, or the last word of a standard one.
fn problem_type(place: &Place<'_>) {
    let Some(object) = place.object() else { return };
    let Some(at) = object.optional("type") else {
        return;
    };
    let word = at.string().filter(|text| !text.contains([':', '{']));
    if let Some(word) = word
        && problem::STANDARD_NAMES.iter().all(|name| *name != word)
    {
        let hint = at.meant(word, problem::STANDARD_NAMES).unwrap_or_else(|| {
            format!(
                "standard types: {}; any other is a whole URI",
                problem::STANDARD_NAMES.join(", ")
            )
        });
        at.fault_with(format!("`{word}` is no type of error"), hint);
    }
}

fn ignored(at: &Place<'_>) -> Option<(Option<String>, (u32, u32))> {
    match at.node().as_str() {
        Some(reason) => Some((Some(reason.to_owned()), place(at))),
        None => at.bool()?.then(|| (None, place(at))),
    }
}

fn elapsed(at: &Place<'_>) -> Option<Elapsed> {
    let object = match at.node().content {
        document::Content::Object(_) => at.object()?,
        _ => {
            let exactly = at.duration()?;
            return Some(Elapsed {
                place: place(at),
                min: Some(exactly),
                max: Some(exactly),
            });
        }
    };
    let bounds = Elapsed {
        place: place(at),
        min: object.optional_duration("min"),
        max: object.optional_duration("max"),
    };
    object.finish();
    Some(bounds)
}

fn calls(at: &Place<'_>) -> Option<Calls> {
    let calls = at.array()?.iter().filter_map(call).collect();
    Some(Calls {
        place: place(at),
        calls,
    })
}

fn call(at: &Place<'_>) -> Option<ExpectedCall> {
    let object = at.object()?;
    let text = |name| {
        let at = object.optional(name)?;
        Some((at.string()?.to_owned(), place(&at)))
    };
    let task = text("task");
    let method = text("method").map(|(method, at)| (method.to_ascii_uppercase(), at));
    let uri = text("uri").map(|(uri, at)| (answers::Pattern::new(&uri), at));
    let times = object.optional("times").and_then(|at| answers::times(&at));
    let mut headers = Vec::new();
    if let Some(given) = object.optional_object("headers") {
        for (key, at) in given.members() {
            headers.extend(Expected::read(&at).map(|value| (key.name.clone(), value)));
        }
    }
    let body = object.optional("body").and_then(|at| Expected::read(&at));
    object.finish();
    Some(ExpectedCall {
        place: place(at),
        times: times.unwrap_or(1),
        task,
        method,
        uri,
        headers,
        body,
    })
}

fn secrets(object: &Object<'_>) -> Vec<(String, String)> {
    let Some(secrets) = object.optional_object("secrets") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, at) in secrets.members() {
        let value = at.value();
        let text = match value.as_str() {
            Some(text) => text.to_owned(),
            None if value.is_object() => String::from_utf8_lossy(&value.to_json()).into_owned(),
            None => {
                at.unexpected("a string or an object");
                continue;
            }
        };
        found.push((key.name.clone(), text));
    }
    found
}

fn time(at: &Place<'_>) -> Option<Timestamp> {
    let time = at.string()?.parse().ok();
    if time.is_none() {
        at.fault_with("this is no time", "write it like 2026-03-01T09:00:00Z");
    }
    time
}

fn chance(at: &Place<'_>) -> Option<f64> {
    let chance = at.number()?;
    if !(0.0..=1.0).contains(&chance) {
        at.fault("this must be a number from 0 to 1");
        return None;
    }
    Some(chance)
}

/// Line and column.
pub(super) fn place(place: &Place<'_>) -> (u32, u32) {
    (place.node().line, place.node().column)
}
