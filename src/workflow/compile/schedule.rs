//! `schedule`: what starts runs. This version starts them on events.

use super::components::Components;
use super::{Context, events, unsupported};
use crate::expression::Value;
use crate::workflow::definition::{Read, Schedule};
use crate::workflow::document::Place;

/// Reads `schedule`.
pub fn schedule(place: &Place<'_>) -> Option<Schedule> {
    let object = place.object()?;
    for word in ["cron", "every", "after"] {
        if let Some(place) = object.optional(word) {
            unsupported(&place, &format!("`schedule: {word}`"));
        }
    }
    let words = ["cron", "every", "after", "on"];
    let found = words.iter().filter(|word| object.has(word)).count();
    if found != 1 {
        let message = format!("a schedule has one of cron, every, after and on, not {found}");
        place.fault(message);
    }
    let read = object.optional("read");
    let on = object.optional("on");
    object.finish();
    let read = read.map_or(Some(Read::Envelope), |place| events::read(&place));
    // There is no run yet whose variables its filters could look at.
    let nothing = (Components::default(), Value::null());
    let context = Context::new(&nothing.0, &nothing.1);
    let events = on.and_then(|place| {
        let strategy = events::strategy(&place, &context)?;
        events::agree(&place, &strategy).then_some(strategy)
    });
    Some(Schedule::On {
        events: events?,
        read: read?,
    })
}
