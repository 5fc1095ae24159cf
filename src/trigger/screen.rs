//! What a source says of its events before any workflow or run is asked: held, or left out.
//!
//! The worker keeps one [`Screen`] for each source that says anything; the others cost one look
//! into an empty table. Pure.

use super::envelope::{envelope, received_at};
use super::filter::ReceivedAt;
use crate::event::Event;
use crate::expression::Expression;

/// The extension attribute of an event that repeats another one because somebody asked for it.
pub const REPLAY_OF: &str = "replayof";

/// What one source says of its events.
#[derive(Clone, Debug)]
pub struct Screen {
    /// The `source` of its events.
    pub source: String,
    /// They are held.
    pub paused: bool,
    /// Those for which it is not true start nothing.
    pub filter: Option<Expression>,
}

impl Screen {
    /// Why this event is left out, if it is. What was asked for by a person passes.
    #[must_use]
    pub fn refuses(&self, event: &Event) -> Option<String> {
        let filter = self.filter.as_ref()?;
        if is_asked_for(event) {
            return None;
        }
        let verdict = filter.evaluate(&envelope(event), &ReceivedAt(received_at(event)));
        let source = &self.source;
        match verdict {
            Ok(value) if value.is_truthy() => None,
            Ok(_) => Some(format!("the filter of source {source} said no")),
            Err(_) => Some(format!("the filter of source {source} cannot be evaluated")),
        }
    }
}

/// Whether a person asked for this event: it is neither held nor left out.
#[must_use]
pub fn is_asked_for(event: &Event) -> bool {
    event.attributes.contains_key(REPLAY_OF)
}
