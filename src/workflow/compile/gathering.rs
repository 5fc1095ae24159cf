//! `document.metadata.batch` and `debounce`.

use std::time::Duration;

use super::Context;
use super::concurrency::about_input;
use crate::workflow::definition::{Gather, Gathering};
use crate::workflow::document::{Node, Object, Place};

/// Most events of a batch.
const EVENTS_MAX: i64 = 1_000;

/// Longest and shortest wait.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const WAIT_MIN: Duration = Duration::from_millis(10);

/// How long a debounced run is put off at most, where nothing else is said.
const PUT_OFF: Duration = Duration::from_secs(60 * 60);

/// Reads what `document.metadata` says about gathering events; `events` = those that start runs.
pub fn gathering(
    metadata: &Object<'_>,
    events: Option<&Node>,
    context: &Context<'_>,
) -> Option<Gathering> {
    let batch = metadata.optional("batch");
    let debounce = metadata.optional("debounce");
    let place = match (batch, &debounce) {
        (Some(_), Some(place)) => {
            place.fault_with("`batch` gathers events already", "write one of the two");
            return None;
        }
        (Some(place), None) => place,
        (None, Some(place)) => place.clone(),
        (None, None) => return None,
    };
    let Some(events) = events else {
        place.fault_with(
            "this gathers the events that start runs",
            "remove it, or write `schedule: {on: …}`",
        );
        return None;
    };
    // Such a strategy gathers by itself: each of its matches is several events already.
    if let Some(word) = ["all", "until"]
        .into_iter()
        .find(|word| events.get(word).is_some())
    {
        let message = format!("this gathers single events, and `schedule.on` has `{word}`");
        place.fault_with(
            message,
            "remove it, or write `one` or `any` without `until`",
        );
        return None;
    }
    let object = place.object()?;
    let key = object
        .optional("key")
        .map(|place| about_input(&place, context));
    let rule = if debounce.is_some() {
        let quiet = object.required("period").and_then(|place| wait(&place));
        let wait_max = object.optional("maxWait").map(|place| wait(&place));
        object.finish();
        let quiet = quiet?;
        Gather::Debounce {
            quiet,
            wait_max: wait_max.unwrap_or_else(|| Some(PUT_OFF.max(quiet)))?,
        }
    } else {
        let size = object.required("maxSize");
        let size = size.and_then(|place| place.integer(1, EVENTS_MAX));
        let wait_max = object.required("maxWait").and_then(|place| wait(&place));
        object.finish();
        Gather::Batch {
            events_max: u32::try_from(size?).ok()?,
            wait_max: wait_max?,
        }
    };
    Some(Gathering {
        key: key.map_or(Some(None), |key| key.map(Some))?,
        rule,
    })
}

fn wait(place: &Place<'_>) -> Option<Duration> {
    let wait = place.duration()?;
    if !(WAIT_MIN..=WAIT_MAX).contains(&wait) {
        place.fault("events are gathered for 10 milliseconds at least and a day at most");
        return None;
    }
    Some(wait)
}
