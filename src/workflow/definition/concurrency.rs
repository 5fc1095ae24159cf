//! `document.metadata.concurrency`, `singleton` and `priority`: how many runs of a workflow may be
//! open at once, and which come first.

use crate::expression::Expression;

/// A limit of the runs that are open at once.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// What the limit is for each value of, about the run's raw input; absent: all runs together.
    pub key: Option<Expression>,
    /// Most runs that are open at once.
    pub limit: u32,
    /// What becomes of a run that is too many.
    pub on_limit: OnLimit,
    /// Which of those that wait come first.
    pub priority: Option<Priority>,
}

/// What becomes of a run that is too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// It waits until another has ended; the default.
    Queue,
    /// It is cancelled before it begins.
    Skip,
    /// It takes the place of the oldest, which is cancelled.
    Cancel,
}

/// Which of the runs that wait come first: the highest number, then the oldest.
#[derive(Clone, Debug)]
pub enum Priority {
    /// The same for all runs of the version.
    Fixed(i16),
    /// About the run's raw input.
    Evaluated(Expression),
}

/// The highest priority, and with a minus the lowest.
pub const PRIORITY_MAX: i16 = 100;
