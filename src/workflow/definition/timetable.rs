//! `schedule.cron`, `every` and `after`, with what `document.metadata.schedule` says about them.

use std::time::Duration;

use jiff::tz::TimeZone;

/// When time starts runs, and what becomes of a tick that cannot start one.
#[derive(Clone, Debug)]
pub struct Timetable {
    /// When ticks are due.
    pub when: When,
    /// `metadata.schedule.catchUp`.
    pub catch_up: CatchUp,
    /// `metadata.schedule.overlap`.
    pub overlap: Overlap,
}

/// When ticks are due.
#[derive(Clone, Debug)]
pub enum When {
    /// `cron`.
    Cron(Box<Cron>),
    /// `every`: this long after the deployment, and again each time it has passed; whole
    /// microseconds, a second at least.
    Every(Duration),
    /// `after`: at the deployment, then this long after the end of the run before; whole
    /// microseconds.
    After(Duration),
}

/// A cron expression of five fields, in a time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    /// As written.
    pub text: String,
    /// Compiled.
    pub pattern: croner::Cron,
    /// The zone whose clocks it is about.
    pub zone: TimeZone,
    /// The zone's IANA name.
    pub zone_name: String,
}

/// What becomes of ticks that came due while no node was there to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Nothing.
    Skip,
    /// All of them together start one run; the default.
    One,
    /// Each starts a run, as far as they are not too many.
    All,
}

/// What becomes of a tick that comes due while the run of the one before is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Its run starts all the same; the default.
    Allow,
    /// It starts no run.
    Skip,
    /// It waits until that run has ended.
    Queue,
    /// It starts its run, and that one is cancelled.
    Cancel,
}
