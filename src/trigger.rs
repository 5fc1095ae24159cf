//! Which workflows an event starts, and why not the others. Pure.

use std::sync::Arc;

use crate::event::Event;
use crate::expression::Value;
use crate::workflow::Definition;

/// The deployed triggers, indexed so that matching does not grow with the number of workflows.
#[derive(Default)]
pub struct Triggers;

/// What an event leads to.
pub struct Matched {
    /// Ids of the workflows (`workflows.id`) to start, with their definitions.
    pub starts: Vec<(i32, Arc<Definition>)>,
    /// Where nothing matched: a sentence that says why.
    pub ignored: Option<String>,
}

impl Triggers {
    /// Indexes the active deployments.
    pub fn new(_deployments: impl IntoIterator<Item = (i32, Arc<Definition>)>) -> Self {
        todo!()
    }
    /// `envelope` is asked for only where a filter looks into attributes or data.
    pub fn route(&self, _event: &Event, _envelope: &dyn Fn() -> Value) -> Matched {
        todo!()
    }
}

/// The event as data: the JSON format of CloudEvents 1.0, `data` parsed by its media type.
pub fn envelope(_event: &Event) -> Value {
    todo!()
}

/// Input.
pub fn input(_definition: &Definition, envelope: Value) -> Value { Value::array(vec![envelope]) }
