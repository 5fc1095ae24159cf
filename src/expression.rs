//! jq expressions: compiled when a workflow is deployed, evaluated under limits.
//!
//! `workflow` compiles [`Expression`]s and [`Template`]s, `run` evaluates them, everyone carries
//! [`Value`]s. Nothing here does I/O; the clock is the caller's ([`Scope::now`]). No expression
//! and no value may end, stall or bloat the process, and no message holds data.

mod budget;
mod compile;
mod direct;
mod functions;
mod json;
mod metered;
mod prelude;
mod regex_cost;
mod syntax;
mod template;
mod value;

use std::fmt;
use std::sync::{Arc, OnceLock};

use jaq_core::{Ctx, Vars};
use jaq_json::Val;
use jiff::Timestamp;
use serde::Deserialize;

use budget::{Limit, Stop};
use compile::Compiled;
use metered::{Data, Metered};
pub use template::{Mode, Template};
pub use value::Value;

/// Bounds of one evaluation, for the whole process; the section `[expression]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Time one evaluation may take, in milliseconds.
    pub timeout_ms: u64,
    /// Small pieces of work (a value cloned, 64 bytes scanned) one evaluation may do.
    pub fuel_max: u64,
    /// Memory one evaluation may allocate in total, in bytes, freed or not.
    pub memory_bytes_max: u64,
    /// Size of a result, in bytes of JSON text (about).
    pub result_bytes_max: usize,
    /// Levels of nesting of a JSON body and of a result; at most 1,000.
    pub depth_max: usize,
}

use Config as Limits;

static LIMITS: OnceLock<Limits> = OnceLock::new();

/// What holds until [`configure`] is called; `config/default.toml` says the same.
pub const BUILT_IN: Limits = Limits {
    timeout_ms: 250,
    fuel_max: 5_000_000,
    memory_bytes_max: 16 * 1024 * 1024,
    result_bytes_max: 8 * 1024 * 1024,
    depth_max: 64,
};

/// Sets the limits for the process. The first call counts: limits do not change while runs are
/// evaluated. Returns false where they had been set before.
pub fn configure(config: Config) -> bool {
    LIMITS.set(config).is_ok()
}

fn limits() -> &'static Limits {
    LIMITS.get().unwrap_or(&BUILT_IN)
}

/// Why a text is not a JSON value we take: what and where, never a part of the text.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub String);

/// Why an expression cannot be used, found when its definition is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What is wrong and where in the expression.
    pub message: String,
    /// What to write instead, where that can be said.
    pub hint: Option<String>,
}

/// Why an expression has no result: the expression and jq's message, never the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    /// For the `detail` of the DSL's expression error.
    pub message: String,
}

/// Where variables come from while an expression runs; only the ones it names are asked for.
pub trait Scope {
    /// The value of `$name` (without the dollar sign); null where it has none.
    fn variable(&self, name: &str) -> Value;
    /// What `now` means: frozen, so that evaluating again gives the same.
    fn now(&self) -> Timestamp;
}

/// A compiled expression; cheap to clone, usable from every thread.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// How an evaluation went, apart from limits.
enum Outcome {
    Value(Val),
    Error(String),
    Several,
}

impl Expression {
    /// Compiles jq; `source` may be wrapped in `${ }`, and space around either is ignored.
    /// `variables` are the names (without the dollar sign) it may use.
    ///
    /// # Errors
    /// What jq does not understand and where, a variable or function it does not know, or an
    /// expression too long or too deep; with a hint where one helps.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let code = template::unwrapped(source);
        let compiled = Arc::new(compile::compile(code, variables)?);
        Ok(Self {
            source: code.into(),
            compiled,
        })
    }

    /// The jq text, without `${ }` around it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates on `input` under the process's limits. No result is null.
    ///
    /// Callable from any thread: where less than 40 MiB of stack are left, and the expression is
    /// not one of the plain ones that need none, it gets a stack of its own for the time.
    ///
    /// # Errors
    /// jq's error, an exceeded limit, several results, or a result too large or too deep.
    pub fn evaluate(&self, input: &Value, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        let variable = |name: &String| scope.variable(name).0;
        let variables: Vec<Val> = self.compiled.variables.iter().map(variable).collect();
        if let Some(program) = &self.compiled.direct
            && let Some(value) = program.run(&input.0, &variables)
        {
            return Ok(Value(value));
        }
        let now_seconds = match self.compiled.uses_now {
            true => scope.now().as_microsecond() as f64 / 1e6,
            false => 0.0,
        };
        self.interpret(input.0.clone(), variables, now_seconds)
    }

    fn interpret(
        &self,
        input: Val,
        variables: Vec<Val>,
        now_seconds: f64,
    ) -> Result<Value, EvaluationError> {
        let result = budget::on_large_stack(|| {
            functions::prepare(now_seconds);
            let result = budget::within(limits(), || self.results(input, variables));
            functions::forget_raised();
            result
        });
        match result {
            Ok(Outcome::Value(value)) => Ok(Value(value)),
            Ok(Outcome::Error(message)) => Err(self.error(&message)),
            Ok(Outcome::Several) => {
                Err(self.error("it has several results where one is needed; wrap it in [ ]"))
            }
            Err(Stop::Limit(limit)) => Err(self.error(&exceeded(limit))),
            Err(Stop::Defect) => {
                Err(self.error("a function of it was called with a value beyond its range"))
            }
        }
    }

    fn results(&self, input: Val, variables: Vec<Val>) -> Outcome {
        let variables = Vars::new(variables.into_iter().map(Metered));
        let context = Ctx::<Data>::new(&self.compiled.filter.lut, variables);
        let mut results = self.compiled.filter.id.run((context, Metered(input)));
        let value = match results.next() {
            None => return Outcome::Value(Val::Null),
            Some(Ok(Metered(value))) => value,
            Some(Err(error)) => return Outcome::Error(self.message(error.get_err().ok())),
        };
        match results.next() {
            Some(Ok(_)) => return Outcome::Several,
            Some(Err(error)) => return Outcome::Error(self.message(error.get_err().ok())),
            None => {}
        }
        match too_large(&value) {
            Some(message) => Outcome::Error(message),
            None => Outcome::Value(value),
        }
    }

    /// jq's message without data: ours are free of it, and of what the expression raises itself
    /// only what stands in its own text is repeated.
    fn message(&self, error: Option<jaq_core::Error<Metered>>) -> String {
        let Some(error) = error else {
            return "`break` without its label".to_owned();
        };
        let Metered(value) = error.into_val();
        let Val::TStr(bytes) = &value else {
            return format!("error raised with {}", article(value::kind(&value)));
        };
        let text = String::from_utf8_lossy(bytes);
        if !functions::raised_by_expression(&value) {
            return text.into_owned();
        }
        let texts = || self.compiled.texts.iter();
        if texts().any(|(literal, whole)| *whole && *literal == text) {
            return text.into_owned();
        }
        let start = texts().filter(|(start, whole)| !whole && text.starts_with(&**start));
        match start.max_by_key(|(start, _)| start.len()) {
            Some((start, _)) => format!("{start}…"),
            None => "error raised with a text that is not shown, as it may hold data".to_owned(),
        }
    }

    fn error(&self, message: &str) -> EvaluationError {
        /// Of the expression this much is repeated, in characters.
        const SOURCE_CHARACTERS_MAX: usize = 200;
        let mut source: String = self.source.chars().take(SOURCE_CHARACTERS_MAX).collect();
        if source.len() < self.source.len() {
            source.push('…');
        }
        EvaluationError {
            message: format!("`{source}`: {message}"),
        }
    }
}

fn article(kind: &str) -> String {
    match kind {
        "null" => "null".to_owned(),
        "array" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

fn exceeded(limit: Limit) -> String {
    let limits = limits();
    match limit {
        Limit::Fuel => format!(
            "it did more than {} pieces of work (fuel_max)",
            limits.fuel_max
        ),
        Limit::Bytes => {
            format!(
                "it used more than {} bytes of memory (memory_bytes_max)",
                limits.memory_bytes_max
            )
        }
        Limit::Stack => "it called itself too deeply (stack)".to_owned(),
        Limit::Deadline => format!("it took longer than {} ms (timeout_ms)", limits.timeout_ms),
    }
}

/// What is wrong with the size or depth of a result, if anything.
fn too_large(value: &Val) -> Option<String> {
    let limits = limits();
    let mut bytes_left = limits.result_bytes_max;
    match measure(value, limits.depth_max, &mut bytes_left) {
        Ok(()) => None,
        Err(Excess::Depth) => Some(format!(
            "the result is nested deeper than {} levels (depth_max)",
            limits.depth_max
        )),
        Err(Excess::Bytes) => Some(format!(
            "the result is larger than {} bytes (result_bytes_max)",
            limits.result_bytes_max
        )),
    }
}

enum Excess {
    Depth,
    Bytes,
}

/// Counts a value as it would be written out: parts it shares count each time.
fn measure(value: &Val, levels: usize, bytes_left: &mut usize) -> Result<(), Excess> {
    let own = match value {
        Val::TStr(text) | Val::BStr(text) => text.len() + 2,
        _ => 4,
    };
    *bytes_left = bytes_left.checked_sub(own).ok_or(Excess::Bytes)?;
    match value {
        Val::Arr(_) | Val::Obj(_) if levels == 0 => Err(Excess::Depth),
        Val::Arr(items) => items
            .iter()
            .try_for_each(|item| measure(item, levels - 1, bytes_left)),
        Val::Obj(members) => members.iter().try_for_each(|(key, value)| {
            measure(key, levels - 1, bytes_left)?;
            measure(value, levels - 1, bytes_left)
        }),
        _ => Ok(()),
    }
}
