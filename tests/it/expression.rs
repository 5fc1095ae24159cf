//! Expressions: jq's results, our limits, and messages without data.

mod limits;
mod results;
mod templates;
mod values;

use hookwright::expression::{CompileError, EvaluationError, Expression, Scope, Value};
use jiff::Timestamp;

const VARIABLES: [&str; 4] = ["context", "input", "secrets", "workflow"];

/// `$context` is `{"source":"shop"}`, `$secrets` one canary, all else null.
struct Fixed;

impl Scope for Fixed {
    fn variable(&self, name: &str) -> Value {
        match name {
            "context" => value(r#"{"source":"shop"}"#),
            "secrets" => value(r#"{"key":"CANARY"}"#),
            _ => Value::null(),
        }
    }
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("the fixed values are right")
    }
}

/// Fails if anything is asked of it.
struct Untouchable;

impl Scope for Untouchable {
    fn variable(&self, name: &str) -> Value {
        panic!("asked for ${name}")
    }
    fn now(&self) -> Timestamp {
        panic!("asked for now")
    }
}

fn value(json: &str) -> Value {
    Value::from_json(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"))
}

fn json(value: &Value) -> String {
    String::from_utf8(value.to_json()).expect("the fixed values are right")
}

fn evaluate(code: &str, input: &str) -> Result<Value, EvaluationError> {
    let compiled = Expression::compile(code, &VARIABLES);
    let compiled = compiled.unwrap_or_else(|e| panic!("{code}: {} {:?}", e.message, e.hint));
    compiled.evaluate(&value(input), &Fixed)
}

#[track_caller]
fn gives(code: &str, input: &str, expected: &str) {
    let result = evaluate(code, input).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json(&result), expected, "{code} on {input}");
}

#[track_caller]
fn fails(code: &str, input: &str, expected: &str) {
    match evaluate(code, input) {
        Ok(result) => panic!("{code} gave {}", json(&result)),
        Err(e) => assert!(e.message.contains(expected), "{code}: {}", e.message),
    }
}

#[track_caller]
fn refused(code: &str) -> CompileError {
    Expression::compile(code, &VARIABLES)
        .map(|_| ())
        .expect_err(code)
}
