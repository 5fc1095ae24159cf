//! What goes wrong inside a run, on its way from the task that failed to the one that catches it.
//!
//! Made by the tasks and the data flow; becomes the `error` of a record, of `$error` and of the
//! run. It never holds data or secrets, only what the definition says and where it went wrong.

use crate::expression::Value;
use crate::problem::{Kind, Problem, normalise};
use crate::workflow::definition::Try;

use super::frame::{ATTEMPT, RETRY, TIMEOUT};

/// An error on its way outward.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The error as the language sees it.
    pub problem: Problem,
    /// `Retry-After` of the answer that caused it, in seconds.
    pub retry_after_seconds: Option<u32>,
}

impl Fault {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self::from(Problem::new(kind, detail))
    }

    /// The same, located at `reference` where it says no other place.
    pub(super) fn at(mut self, reference: &str) -> Self {
        if self.problem.instance.is_none() {
            self.problem.instance = Some(reference.to_owned());
        }
        self
    }

    /// A deadline of the scope at `reference` has passed.
    pub(super) fn timeout(reference: &str) -> Self {
        let what = if reference == "/" { "workflow" } else { "task" };
        let detail = format!("the {what} did not finish within its timeout");
        Self::new(Kind::Timeout, detail).at(reference)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            retry_after_seconds: None,
        }
    }
}

/// The problem of a run whose journal does not belong to its definition.
pub(super) fn misfit(reference: &str, what: &str) -> Problem {
    let detail = format!(
        "the journal does not fit the definition: {what} at `{reference}`; \
         replay the run on the version it was started with"
    );
    Problem::new(Kind::Runtime, detail)
        .title("The journal does not fit")
        .at(task_reference(reference))
}

/// The reference of the task a key belongs to, without the mark of a deadline or a delay.
pub(super) fn task_reference(reference: &str) -> &str {
    [TIMEOUT, ATTEMPT, RETRY]
        .iter()
        .find_map(|mark| reference.strip_suffix(mark))
        .unwrap_or(reference)
}

/// An error as data: `$error` and the `.` of filters.
pub(super) fn to_value(problem: &Problem) -> Value {
    let optional = |name: &str, text: &Option<String>| {
        text.as_ref()
            .map(|text| (name.to_owned(), Value::string(text.as_str())))
    };
    Value::object(
        [
            Some(("type".to_owned(), Value::string(problem.kind.as_ref()))),
            Some(("status".to_owned(), Value::int(i64::from(problem.status)))),
            optional("title", &problem.title),
            optional("detail", &problem.detail),
            optional("instance", &problem.instance),
        ]
        .into_iter()
        .flatten(),
    )
}

/// Whether `catch.errors.with` lets an error in: all its members equal (SEMANTICS of `try`).
pub(super) fn filter_matches(task: &Try, problem: &Problem) -> bool {
    let text = |value: &Value, text: &Option<String>| value.as_str() == text.as_deref();
    task.with.iter().all(|(name, value)| match name.as_str() {
        "type" => value
            .as_str()
            .is_some_and(|kind| normalise(kind) == normalise(&problem.kind)),
        "status" => value.as_f64() == Some(f64::from(problem.status)),
        "title" => text(value, &problem.title),
        "detail" | "details" => text(value, &problem.detail),
        "instance" => text(value, &problem.instance),
        _ => false,
    })
}
