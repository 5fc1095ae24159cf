//! Which gate a run of a workflow with `concurrency` has to pass, and with what priority. Pure.

use jiff::Timestamp;

use crate::expression::{EvaluationError, Expression, Scope, Value};
use crate::id::Id;
use crate::workflow::definition::{Concurrency, PRIORITY_MAX, Priority};

/// The gate's key, which stands for the value of `key`, and the run's priority there.
///
/// # Errors
/// Where an expression cannot be evaluated. A priority that is no number counts as 0.
pub fn entrance(
    concurrency: &Concurrency,
    input: &Value,
    created_at: Timestamp,
) -> Result<(Id, i16), EvaluationError> {
    let evaluate = |expression: &Expression| evaluate(expression, input, created_at);
    let key = match &concurrency.key {
        Some(key) => key_of(&evaluate(key)?),
        None => key_of(&Value::null()),
    };
    let priority = match &concurrency.priority {
        None => 0,
        Some(Priority::Fixed(priority)) => *priority,
        Some(Priority::Evaluated(expression)) => {
            let most = f64::from(PRIORITY_MAX);
            let number = evaluate(expression)?.as_f64().unwrap_or_default();
            number.clamp(-most, most) as i16
        }
    };
    Ok((key, priority))
}

/// An expression about the input of a run that does not exist yet: there are no variables, and
/// `now` is when the run was asked for.
///
/// # Errors
/// Where it cannot be evaluated.
pub fn evaluate(
    expression: &Expression,
    input: &Value,
    created_at: Timestamp,
) -> Result<Value, EvaluationError> {
    expression.evaluate(input, &CreatedAt(created_at))
}

/// What stands for a value: equal texts of JSON are equal values.
pub fn key_of(value: &Value) -> Id {
    let text = value.to_json();
    Id::from(uuid::Uuid::nil()).derive(&String::from_utf8_lossy(&text))
}

struct CreatedAt(Timestamp);

impl Scope for CreatedAt {
    fn variable(&self, _name: &str) -> Value {
        Value::null()
    }

    fn now(&self) -> Timestamp {
        self.0
    }
}
