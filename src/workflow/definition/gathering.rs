//! `document.metadata.batch` and `debounce`: one run for many events.

use std::time::Duration;

use crate::expression::Expression;

/// Events that match are gathered, and a run is started for them together.
#[derive(Clone, Debug)]
pub struct Gathering {
    /// Events are gathered apart for each value of it, which is about the input that a run of the
    /// event alone would have; absent: all together.
    pub key: Option<Expression>,
    /// When the run starts, and on what.
    pub rule: Gather,
}

/// When a run starts for gathered events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// `batch`: on all of them, once there are `events_max` or the first is `wait_max` old.
    Batch {
        /// Most events of a run.
        events_max: u32,
        /// Longest wait of an event.
        wait_max: Duration,
    },
    /// `debounce`: on the last of them, once none has come for `quiet`, or the first is `wait_max`
    /// old.
    Debounce {
        /// How long none must come.
        quiet: Duration,
        /// Longest wait.
        wait_max: Duration,
    },
}
