//! jq expressions: compiled when a workflow is deployed, evaluated under limits.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A JSON value: cheap to clone, keeps the spelling of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Value(pub(crate) jaq_json::Val);

impl Value {
    pub fn null() -> Self {
        todo!()
    }
    pub fn bool(_b: bool) -> Self {
        todo!()
    }
    pub fn string(_s: impl Into<String>) -> Self {
        todo!()
    }
    pub fn int(_n: i64) -> Self {
        todo!()
    }
    pub fn array(_items: Vec<Value>) -> Self {
        todo!()
    }
    pub fn object(_members: impl IntoIterator<Item = (String, Value)>) -> Self {
        todo!()
    }
    /// Strict RFC 8259 text of at most `Limits::depth_max` levels; numbers keep their digits.
    pub fn from_json(_text: &[u8]) -> Result<Self, JsonError> {
        todo!()
    }
    pub fn from_serde(_v: &serde_json::Value) -> Self {
        todo!()
    }
    pub fn to_serde(&self) -> serde_json::Value {
        todo!()
    }
    pub fn to_json(&self) -> Vec<u8> {
        todo!()
    }
    pub fn write_json(&self, _out: &mut Vec<u8>) {
        todo!()
    }
    pub fn is_null(&self) -> bool {
        todo!()
    }
    pub fn is_object(&self) -> bool {
        todo!()
    }
    /// jq truth: only null and false are false.
    pub fn is_truthy(&self) -> bool {
        todo!()
    }
    pub fn as_bool(&self) -> Option<bool> {
        todo!()
    }
    pub fn as_str(&self) -> Option<&str> {
        todo!()
    }
    pub fn as_i64(&self) -> Option<i64> {
        todo!()
    }
    pub fn as_f64(&self) -> Option<f64> {
        todo!()
    }
    pub fn as_array(&self) -> Option<&[jaq_json::Val]> {
        todo!()
    }
    pub fn items(&self) -> Option<Vec<Value>> {
        todo!()
    }
    pub fn members(&self) -> Option<Vec<(String, Value)>> {
        todo!()
    }
    pub fn get(&self, _key: &str) -> Option<Value> {
        todo!()
    }
    /// The same object with a member set (a null becomes an object).
    pub fn with(self, _key: &str, _value: Value) -> Self {
        todo!()
    }
    /// RFC 6901 lookup.
    pub fn pointer(&self, _pointer: &str) -> Option<Value> {
        todo!()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub String);

#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    pub message: String,
    pub hint: Option<String>,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    pub message: String,
}

/// Where variables come from while an expression runs; only the ones it names are asked for.
pub trait Scope {
    /// The value of `$name` (without the dollar sign); null where it has none.
    fn variable(&self, name: &str) -> Value;
    /// What `now` means: frozen, so that evaluating again gives the same.
    fn now(&self) -> Timestamp;
}

/// A compiled expression; cheap to clone.
#[derive(Clone, Debug)]
pub struct Expression;

impl Expression {
    /// `source` may be wrapped in `${ }`. `variables` are the names (without `$`) it may use.
    pub fn compile(_source: &str, _variables: &[&str]) -> Result<Self, CompileError> {
        todo!()
    }
    pub fn source(&self) -> &str {
        todo!()
    }
    pub fn evaluate(&self, _input: &Value, _scope: &dyn Scope) -> Result<Value, EvaluationError> {
        todo!()
    }
}

/// A value of a definition whose whole-string `${ }` leaves are expressions.
#[derive(Clone, Debug)]
pub enum Template {
    Literal(Value),
    Expression(Expression),
    Object(Vec<(String, Template)>),
    Array(Vec<Template>),
}

impl Template {
    pub fn evaluate(&self, _input: &Value, _scope: &dyn Scope) -> Result<Value, EvaluationError> {
        todo!()
    }
}

pub type Variables = BTreeMap<String, Value>;
