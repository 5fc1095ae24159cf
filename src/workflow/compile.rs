//! From a tree to a [`Definition`]: the top of a document, its identity, and what its tasks share.
//!
//! Called by `workflow::parse` only. Functions return nothing where they have reported a fault;
//! a `None` is never the only sign that something is wrong. Features of the language that this
//! version does not run yet are refused here, so that nothing is accepted and then ignored.

mod approval;
mod authentication;
mod call;
mod catch;
mod components;
mod concurrency;
mod data;
mod events;
mod field;
mod function;
mod gathering;
mod identity;
mod openapi;
mod run;
mod schedule;
mod task;
mod timetable;

use std::rc::Rc;

use super::definition::Definition;
use super::document::{Object, Place};
use super::openapi::{Documents, pins_json};
use crate::expression::Value;

pub use data::validator;

use components::Components;

/// The variables every expression may name; one that has no value where it stands is null.
const STANDARD_VARIABLES: [&str; 8] = [
    "context",
    "input",
    "output",
    "secrets",
    "authorization",
    "task",
    "workflow",
    "runtime",
];

/// What a place in a document can refer to.
#[derive(Clone)]
struct Context<'a> {
    components: &'a Components<'a>,
    /// What is known of API documents.
    documents: &'a Documents,
    /// The whole document, from which tasks share their part.
    value: &'a Value,
    /// Names, without `$`, that expressions may use here.
    variables: Rc<Vec<String>>,
    /// Whether a `try` around this place retries.
    retried: bool,
}

impl<'a> Context<'a> {
    fn new(components: &'a Components<'a>, value: &'a Value, documents: &'a Documents) -> Self {
        let variables = STANDARD_VARIABLES.map(str::to_owned).to_vec();
        Self {
            components,
            documents,
            value,
            variables: Rc::new(variables),
            retried: false,
        }
    }

    /// The same place with more variables.
    fn with_variables(&self, names: &[&str]) -> Self {
        let mut variables = (*self.variables).clone();
        for name in names {
            if !variables.iter().any(|known| known == name) {
                variables.push((*name).to_owned());
            }
        }
        Self {
            variables: Rc::new(variables),
            ..self.clone()
        }
    }

    fn variables(&self) -> Vec<&str> {
        self.variables.iter().map(String::as_str).collect()
    }
}

/// Compiles a whole document.
pub fn definition(root: &Place<'_>, documents: &Documents) -> Option<Definition> {
    let value = root.value();
    let object = root.object()?;
    if let Some(version) = old_version(&object) {
        let hint = "documents of version 0 must be rewritten: they have states, not tasks";
        let message = format!("this server speaks version 1.0 of the language, not {version}");
        root.fault_with(message, hint);
        return None;
    }
    let document = object.required("document");
    let metadata = document.as_ref().and_then(identity::metadata);
    let document = document.and_then(|place| identity::document(&place));
    let components = Components::of(object.optional("use").as_ref());
    let context = Context::new(&components, &value, documents);
    let input = data::input(&object, &context);
    let output = data::output(&object, &context);
    let timeout = field::timeout(object.optional("timeout").as_ref(), &context);
    let concurrency = metadata
        .as_ref()
        .and_then(|metadata| concurrency::concurrency(metadata, &context));
    let events = object
        .place()
        .node()
        .get("schedule")
        .and_then(|schedule| schedule.get("on"));
    let gathering = metadata
        .as_ref()
        .and_then(|metadata| gathering::gathering(metadata, events, &context));
    let policy = metadata.and_then(|metadata| metadata.optional("schedule"));
    let schedule = match (object.optional("schedule"), policy) {
        (Some(place), policy) => schedule::schedule(&place, policy.as_ref()),
        (None, Some(policy)) => {
            schedule::not_timed(&policy);
            None
        }
        (None, None) => None,
    };
    if let Some(place) = object.optional("evaluate") {
        evaluate(&place);
    }
    let tasks = object
        .required("do")
        .and_then(|place| task::list(&place, &context));
    let functions = function::all(&context);
    components.check_unused(&context);
    object.finish();
    Some(Definition {
        document: document?,
        input,
        output,
        timeout,
        schedule,
        concurrency,
        gathering,
        secrets: components.secrets.clone(),
        pins: pins_json(components.pins.take()),
        functions: functions?,
        tasks: tasks?,
        value,
    })
}

/// The version a document of the language's time before `document` states.
fn old_version<'a>(object: &Object<'a>) -> Option<&'a str> {
    let stated = object.place().node().get("specVersion")?;
    (!object.has("document")).then(|| stated.as_str().unwrap_or("0.x"))
}

/// `evaluate`: only jq in strict mode.
fn evaluate(place: &Place<'_>) {
    let Some(object) = place.object() else {
        return;
    };
    if let Some(place) = object.optional("language")
        && let Some(language) = place.string()
        && language != "jq"
    {
        let hint = "remove `evaluate` and write the expressions in jq";
        place.fault_with(
            format!("expressions in `{language}` are not supported"),
            hint,
        );
    }
    if let Some(place) = object.optional("mode")
        && place.one_of(&["strict", "loose"]) == Some(1)
    {
        let hint = "remove `mode`, and wrap what is to be evaluated in ${ }";
        place.fault_with(
            "mode `loose` is not supported: it would hide typing errors",
            hint,
        );
    }
    object.finish();
}

/// Says that the language has this and this version does not run it.
fn unsupported(place: &Place<'_>, what: &str) {
    place.fault(format!("{what} is not supported by this version yet"));
}
