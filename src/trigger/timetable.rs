//! When schedules are due, and what becomes of the ticks that are. Pure: the time, which is the
//! database's, comes in as an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::workflow::definition::{CatchUp, Cron, Overlap, Timetable, When};

/// Most ticks of one schedule that are started at one look, and most that wait for their turn:
/// the newest; older ones count as missed.
pub const TICKS_MAX: usize = 100;

/// Most ticks of one schedule that are told apart at one look.
const COUNTED_MAX: usize = 1_000;

/// A tick that is no later than this is on time, whoever was there when it came due.
const ON_TIME: SignedDuration = SignedDuration::from_secs(1);

/// The first tick of a version that was activated at `since`.
///
/// `pending` is the tick of the version before that was due and not yet started, `last` the last
/// one that was: a change of the version neither loses nor repeats a tick of `cron`.
#[must_use]
pub fn first(
    timetable: &Timetable,
    since: Timestamp,
    (pending, last): (Option<Timestamp>, Option<Timestamp>),
) -> Option<Timestamp> {
    match &timetable.when {
        When::Cron(cron) => {
            let just_before = |due: Timestamp| due.checked_sub(SignedDuration::from_micros(1)).ok();
            let floor = pending
                .and_then(just_before)
                .map_or(since, |due| due.min(since));
            after(cron, last.map_or(floor, |last| last.max(floor)))
        }
        When::Every(span) => plus(since, *span),
        When::After(_) => Some(since),
    }
}

/// The first tick later than `now`, where `due` is one of the timetable. `after` has none: its
/// next tick follows from the end of a run.
#[must_use]
pub fn following(timetable: &Timetable, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
    match &timetable.when {
        When::Cron(cron) => after(cron, now.max(due)),
        When::Every(_) if due > now => Some(due),
        When::Every(span) => {
            let passed = micros(due, now) / every_us(*span) + 1;
            let offset = passed.checked_mul(every_us(*span))?;
            due.checked_add(SignedDuration::from_micros(offset)).ok()
        }
        When::After(_) => None,
    }
}

/// The next `count` ticks, of which `due` is the first.
#[must_use]
pub fn upcoming(timetable: &Timetable, due: Timestamp, count: usize) -> Vec<Timestamp> {
    let next = |due: &Timestamp| following(timetable, *due, *due);
    std::iter::successors(Some(due), next).take(count).collect()
}

/// A schedule at one look.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Its next tick, which is due.
    pub due_at: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// Since when it has been looked at without a gap; what came due before may have been missed.
    pub watched_since: Timestamp,
    /// Whether the run of the tick before is open.
    pub open: bool,
    /// Whether the tick has waited for the end of that run.
    pub held: bool,
}

/// What becomes of the ticks that are due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Those that start runs, in order.
    pub starts: Vec<Timestamp>,
    /// Those that start none because the run before is open.
    pub skipped: Vec<Timestamp>,
    /// Those that were missed and start none.
    pub missed: Missed,
    /// The tick to look at next.
    pub next: Option<Timestamp>,
    /// Whether that one waits for the end of the run before.
    pub held: bool,
    /// Whether the run before is cancelled.
    pub cancels: bool,
}

/// Ticks that were missed and start no runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// How many; at least this many where they are very many.
    pub count: u64,
    /// The last of them.
    pub last: Option<Timestamp>,
}

impl Missed {
    fn drop_oldest(&mut self, ticks: &mut Vec<Timestamp>, count: usize) {
        self.count = self.count.saturating_add(count as u64);
        self.last = ticks.drain(..count).next_back().or(self.last);
    }
}

/// Decides about the ticks that are due.
#[must_use]
pub fn decide(timetable: &Timetable, moment: Moment) -> Decision {
    if matches!(timetable.when, When::After(_)) {
        return Decision {
            starts: vec![moment.due_at],
            ..Decision::default()
        };
    }
    let mut decision = Decision::default();
    let mut ticks = due(timetable, &moment, &mut decision.missed);
    decision.next = following(timetable, moment.due_at, moment.now);
    if !moment.held {
        let is_missed = |due: &Timestamp| {
            *due < moment.watched_since && moment.now.duration_since(*due) > ON_TIME
        };
        let missed = ticks.iter().take_while(|due| is_missed(due)).count();
        let caught_up = match timetable.catch_up {
            CatchUp::Skip => 0,
            CatchUp::One => missed.min(1),
            CatchUp::All => missed,
        };
        decision.missed.drop_oldest(&mut ticks, missed - caught_up);
    }
    let too_many = ticks.len().saturating_sub(TICKS_MAX);
    decision.missed.drop_oldest(&mut ticks, too_many);
    match (timetable.overlap, moment.open) {
        (Overlap::Allow, _) => decision.starts = ticks,
        (Overlap::Skip, true) => decision.skipped = ticks,
        (Overlap::Skip, false) => {
            decision.skipped = ticks.split_off(ticks.len().min(1));
            decision.starts = ticks;
        }
        (Overlap::Queue, open) => queue(ticks, open, &mut decision),
        (Overlap::Cancel, open) => {
            // Of several each would end the one before.
            decision.starts = ticks.split_off(ticks.len().saturating_sub(1));
            decision.skipped = ticks;
            decision.cancels = open && !decision.starts.is_empty();
        }
    }
    decision
}

/// One tick starts where no run is open; the one after it waits.
fn queue(mut ticks: Vec<Timestamp>, open: bool, decision: &mut Decision) {
    if !open {
        let waiting = ticks.split_off(ticks.len().min(1));
        decision.starts = std::mem::replace(&mut ticks, waiting);
    }
    if let Some(first) = ticks.first() {
        decision.next = Some(*first);
        decision.held = true;
    }
}

/// The newest ticks up to now, in order; those left out are added to `missed`.
fn due(timetable: &Timetable, moment: &Moment, missed: &mut Missed) -> Vec<Timestamp> {
    let Moment { due_at, now, .. } = *moment;
    match &timetable.when {
        When::Every(span) => {
            let count = micros(due_at, now) / every_us(*span) + 1;
            let left_out = (count - COUNTED_MAX as i64).max(0);
            missed.count = u64::try_from(left_out).unwrap_or_default();
            let at = |index: i64| {
                let offset = SignedDuration::from_micros(index.saturating_mul(every_us(*span)));
                due_at.checked_add(offset).ok()
            };
            (left_out..count).filter_map(at).collect()
        }
        When::Cron(cron) => {
            let next = |due: &Timestamp| after(cron, *due);
            let forward = std::iter::successors(Some(due_at), next).take_while(|due| *due <= now);
            let ticks: Vec<_> = forward.take(COUNTED_MAX + 1).collect();
            if ticks.len() <= COUNTED_MAX {
                return ticks;
            }
            // So many that the newest are found sooner from the other end.
            let mut newest = before(cron, now, COUNTED_MAX);
            newest.retain(|due| *due >= due_at);
            missed.count = 1;
            newest
        }
        When::After(_) => Vec::new(),
    }
}

/// The first time of a cron expression after another.
fn after(cron: &Cron, time: Timestamp) -> Option<Timestamp> {
    let time = time.to_zoned(cron.zone.clone());
    let next = cron.pattern.find_next_occurrence(&time, false).ok()?;
    Some(next.timestamp())
}

/// The newest `count` times of a cron expression up to another, in order.
fn before(cron: &Cron, time: Timestamp, count: usize) -> Vec<Timestamp> {
    let previous = |time: &Timestamp| {
        let time = time.to_zoned(cron.zone.clone());
        let previous = cron.pattern.find_previous_occurrence(&time, false).ok()?;
        Some(previous.timestamp())
    };
    let just_after = time
        .checked_add(SignedDuration::from_secs(1))
        .unwrap_or(time);
    let backward = std::iter::successors(previous(&just_after), previous);
    let mut found: Vec<_> = backward.filter(|due| *due <= time).take(count).collect();
    found.reverse();
    found
}

fn plus(time: Timestamp, span: Duration) -> Option<Timestamp> {
    let span = SignedDuration::try_from(span).ok()?;
    time.checked_add(span).ok()
}

/// Microseconds from one time to a later one.
fn micros(from: Timestamp, to: Timestamp) -> i64 {
    to.as_microsecond()
        .saturating_sub(from.as_microsecond())
        .max(0)
}

/// Microseconds of an interval, which is a second at least.
fn every_us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX).max(1)
}
