//! What expressions see: the variables of the language, built only when an expression asks.
//!
//! Which variables exist at which moment is the table of the specification's data flow; one that
//! is outside its moment is null. Errors of evaluation become faults here, and a secret that the
//! workflow does not list, or that nobody knows, is refused here.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::expression::{EvaluationError, Expression, Scope, Template, Value};
use crate::problem::Kind;
use crate::workflow::definition::Span;
use crate::workflow::document::duration_of;

use super::Run;
use super::fault::Fault;
use super::frame::{Binding, Frame};

/// The moment in which an expression is evaluated; each sees what the one before sees.
#[derive(Clone, Copy)]
pub(super) enum Moment<'a> {
    /// Before the input is transformed.
    Entry,
    /// While the task runs.
    Task,
    /// `output.as`: the raw output is known.
    Output(&'a Value),
    /// `export.as`: the raw and the transformed output are known.
    Export(&'a Value, &'a Value),
}

/// The scope of one evaluation.
pub(super) struct View<'a> {
    run: &'a Run,
    /// The task; none for the expressions of the workflow itself.
    frame: Option<&'a Frame>,
    moment: Moment<'a>,
    variables: Option<&'a Arc<Binding>>,
    secrets_seen: Cell<bool>,
    /// Whether what is evaluated leaves with a request, so that nothing of it stays in the run.
    leaves: bool,
}

impl<'a> View<'a> {
    /// The scope of a task.
    pub(super) fn of(run: &'a Run, frame: &'a Frame, moment: Moment<'a>) -> Self {
        Self {
            run,
            frame: Some(frame),
            moment,
            variables: frame.variables.as_ref(),
            secrets_seen: Cell::new(false),
            leaves: false,
        }
    }

    /// The scope of the workflow's own input and output.
    pub(super) fn workflow(run: &'a Run, moment: Moment<'a>) -> Self {
        Self {
            run,
            frame: None,
            moment,
            variables: None,
            secrets_seen: Cell::new(false),
            leaves: false,
        }
    }

    /// The same with other variables of loops and errors.
    pub(super) const fn binding(mut self, variables: Option<&'a Arc<Binding>>) -> Self {
        self.variables = variables;
        self
    }

    /// The same for what becomes a request and is not kept.
    pub(super) const fn leaving(mut self) -> Self {
        self.leaves = true;
        self
    }

    /// Evaluates an expression.
    pub(super) fn expression(&self, what: &Expression, input: &Value) -> Result<Value, Fault> {
        let result = what.evaluate(input, self);
        self.check_secrets(|check| check(what))?;
        result.map_err(|error| self.fault(&error))
    }

    /// Evaluates a condition: only null and false are false.
    pub(super) fn condition(&self, what: &Expression, input: &Value) -> Result<bool, Fault> {
        self.expression(what, input).map(|value| value.is_truthy())
    }

    /// Evaluates a template.
    pub(super) fn template(&self, what: &Template, input: &Value) -> Result<Value, Fault> {
        if let Template::Literal(value) = what {
            return Ok(value.clone());
        }
        let result = what.evaluate(input, self);
        self.check_secrets(|check| each_expression(what, check))?;
        result.map_err(|error| self.fault(&error))
    }

    /// Evaluates a duration.
    pub(super) fn span(&self, what: &Span, input: &Value) -> Result<Duration, Fault> {
        match what {
            Span::Fixed(duration) => Ok(*duration),
            Span::Evaluated(expression) => {
                let value = self.expression(expression, input)?;
                duration_of(&value).map_err(|error| self.wrong(error))
            }
        }
    }

    /// The fault of an expression whose result cannot be used.
    pub(super) fn wrong(&self, detail: impl Into<String>) -> Fault {
        Fault::new(Kind::Expression, detail).at(self.instance())
    }

    /// A secret the workflow lists and the server knows.
    pub(super) fn secret(&self, name: &str) -> Result<Value, Fault> {
        let listed = self
            .run
            .definition
            .secrets
            .iter()
            .any(|known| known == name);
        let fault = |what: &str| {
            Fault::new(Kind::Authorization, format!("secret `{name}` {what}")).at(self.instance())
        };
        if !listed {
            return Err(fault("is not listed in `use.secrets`; list it there"));
        }
        (self.run.surroundings.secrets)(name)
            .ok_or_else(|| fault("is not known to this server; set it before the run"))
    }

    fn fault(&self, error: &EvaluationError) -> Fault {
        Fault::new(Kind::Expression, error.to_string()).at(self.instance())
    }

    fn instance(&self) -> &str {
        self.frame.map_or("/", |frame| &frame.task.reference)
    }

    /// Refuses what names a secret that is not there; costs nothing where no secret was asked for.
    fn check_secrets(&self, each: impl FnOnce(&mut dyn FnMut(&Expression))) -> Result<(), Fault> {
        if !self.secrets_seen.get() {
            return Ok(());
        }
        let mut names = Vec::new();
        each(&mut |expression| names.extend(secret_names(expression.source())));
        names
            .iter()
            .try_for_each(|name| self.secret(name).map(drop))
    }

    fn secrets(&self) -> Value {
        self.secrets_seen.set(true);
        if !self.leaves {
            self.run.note_secrets();
        }
        let known = self.run.definition.secrets.iter().filter_map(|name| {
            let value = (self.run.surroundings.secrets)(name)?;
            Some((name.clone(), value))
        });
        Value::object(known)
    }

    fn context(&self) -> Value {
        match (self.frame, self.moment) {
            (Some(frame), _) => frame
                .context
                .as_ref()
                .unwrap_or_else(|| self.run.context_at(frame.home))
                .clone(),
            (None, Moment::Entry | Moment::Task) => Value::null(),
            (None, _) => self.run.context().clone(),
        }
    }

    fn task(&self) -> Value {
        let Some(frame) = self.frame else {
            return Value::null();
        };
        let output = match self.moment {
            Moment::Entry | Moment::Task => Value::null(),
            Moment::Output(raw) | Moment::Export(raw, _) => raw.clone(),
        };
        Value::object([
            ("name".to_owned(), Value::string(frame.task.name.as_str())),
            (
                "reference".to_owned(),
                Value::string(frame.task.reference.as_ref()),
            ),
            ("definition".to_owned(), frame.task.value.clone()),
            ("input".to_owned(), frame.raw_input.clone()),
            ("output".to_owned(), output),
            ("startedAt".to_owned(), time(frame.started_at)),
        ])
    }

    fn input(&self) -> Value {
        match (self.frame, self.moment) {
            (None, _) | (_, Moment::Entry) => Value::null(),
            (Some(frame), _) => frame.input.clone(),
        }
    }
}

impl Scope for View<'_> {
    fn variable(&self, name: &str) -> Value {
        let mut binding = self.variables;
        while let Some(bound) = binding {
            if bound.name == name {
                return bound.value.clone();
            }
            binding = bound.outer.as_ref();
        }
        match (name, self.moment) {
            ("context", _) => self.context(),
            ("input", _) => self.input(),
            ("output", Moment::Export(_, output)) => output.clone(),
            ("secrets", _) => self.secrets(),
            ("task", _) => self.task(),
            ("workflow", _) => self.run.workflow_descriptor(),
            ("runtime", _) => self.run.runtime_descriptor(),
            // `authorization` has no value yet, and the parser let no unknown name through.
            _ => Value::null(),
        }
    }

    fn now(&self) -> Timestamp {
        self.run.now
    }
}

/// A time as the language's descriptors show it.
pub(super) fn time(at: Timestamp) -> Value {
    let epoch = Value::object([
        ("seconds".to_owned(), Value::int(at.as_second())),
        ("milliseconds".to_owned(), Value::int(at.as_millisecond())),
    ]);
    Value::object([
        ("iso8601".to_owned(), Value::string(at.to_string())),
        ("epoch".to_owned(), epoch),
    ])
}

fn each_expression(template: &Template, check: &mut dyn FnMut(&Expression)) {
    match template {
        Template::Literal(_) => {}
        Template::Expression(expression) => check(expression),
        Template::Object(members) => members
            .iter()
            .for_each(|(_, member)| each_expression(member, check)),
        Template::Array(items) => items.iter().for_each(|item| each_expression(item, check)),
    }
}

/// The secrets an expression names as `$secrets.name` or `$secrets["name"]`.
fn secret_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for after in source.split("$secrets").skip(1) {
        let after = after.trim_start();
        let after = after.strip_prefix('?').unwrap_or(after);
        let quoted = after
            .strip_prefix("[\"")
            .or_else(|| after.strip_prefix(".[\""))
            .or_else(|| after.strip_prefix(".\""));
        let name = match (quoted, after.strip_prefix('.')) {
            (Some(rest), _) => rest.split('"').next().unwrap_or_default(),
            (None, Some(rest)) => rest
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .next()
                .unwrap_or_default(),
            (None, None) => "",
        };
        if !name.is_empty() {
            names.push(name.to_owned());
        }
    }
    names
}

impl Run {
    /// `$workflow`.
    fn workflow_descriptor(&self) -> Value {
        let make = || {
            let id = self.surroundings.id.to_string();
            Value::object([
                ("id".to_owned(), Value::string(id)),
                ("definition".to_owned(), self.definition.value.clone()),
                ("input".to_owned(), self.input.clone()),
                (
                    "startedAt".to_owned(),
                    time(self.started_at.unwrap_or(self.now)),
                ),
            ])
        };
        self.workflow.get_or_init(make).clone()
    }

    /// `$runtime`.
    fn runtime_descriptor(&self) -> Value {
        let make = || {
            let environment = Value::string(self.surroundings.environment.as_ref());
            Value::object([
                ("name".to_owned(), Value::string("hookwright")),
                (
                    "version".to_owned(),
                    Value::string(env!("CARGO_PKG_VERSION")),
                ),
                (
                    "metadata".to_owned(),
                    Value::object([("environment".to_owned(), environment)]),
                ),
            ])
        };
        self.runtime.get_or_init(make).clone()
    }
}
