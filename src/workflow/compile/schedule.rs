//! `schedule`: what starts runs: events, or time.

use super::components::Components;
use super::{Context, events, timetable};
use crate::expression::Value;
use crate::workflow::Documents;
use crate::workflow::definition::{Read, Schedule};
use crate::workflow::document::Place;

/// Reads `schedule`; `policy` is `document.metadata.schedule`.
pub fn schedule(place: &Place<'_>, policy: Option<&Place<'_>>) -> Option<Schedule> {
    let object = place.object()?;
    let timed = ["cron", "every", "after"];
    let timed = timed.iter().filter(|word| object.has(word)).count();
    let found = timed + usize::from(object.has("on"));
    if found != 1 {
        let message = format!("a schedule has one of cron, every, after and on, not {found}");
        place.fault(message);
    }
    if let Some(read) = object.optional("read")
        && timed > 0
    {
        read.fault("`read` is about the events of `on`");
    }
    if timed > 0 {
        let timetable = timetable::timetable(&object, policy);
        let _ = object.optional("on");
        object.finish();
        return timetable.map(|timetable| Schedule::Time(Box::new(timetable)));
    }
    if let Some(policy) = policy {
        not_timed(policy);
    }
    let read = object.optional("read");
    let on = object.optional("on");
    object.finish();
    let read = read.map_or(Some(Read::Envelope), |place| events::read(&place));
    // There is no run yet whose variables its filters could look at.
    let nothing = (Components::default(), Value::null(), Documents::default());
    let context = Context::new(&nothing.0, &nothing.1, &nothing.2);
    let events = on.and_then(|place| {
        let strategy = events::strategy(&place, &context)?;
        events::agree(&place, &strategy).then_some(strategy)
    });
    Some(Schedule::On {
        events: events?,
        read: read?,
    })
}

/// `document.metadata.schedule` of a workflow that time does not start.
pub fn not_timed(policy: &Place<'_>) {
    let hint = "remove it, or add a `schedule` with one of them";
    policy.fault_with("this is about `schedule.cron`, `every` and `after`", hint);
}
