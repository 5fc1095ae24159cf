//! `rateLimit` of a destination: so many requests in a time, in one or several windows.

use std::time::Duration;

use super::positive;
use crate::call::limit::{Limit, window};
use crate::store::rates::RateWindow;
use crate::workflow::document::{Content, Place};

/// Windows of one limit at most.
const WINDOWS_MAX: usize = 8;

/// Requests in a window at most.
const REQUESTS_MAX: u32 = 10_000_000;

/// The longest window.
const PER_MAX: Duration = Duration::from_secs(32 * 24 * 3_600);

const HINT: &str =
    "write it like 10/s, {requests: 10, per: PT1S, burst: 20}, a list of such, or off";

/// The limit; none where it is `off`.
pub(super) fn read(place: &Place<'_>) -> Option<Limit> {
    if place.node().as_str() == Some("off") {
        return None;
    }
    let windows = match matches!(place.node().content, Content::Array(_)) {
        false => one(place).into_iter().collect(),
        true => {
            let list = place.array()?;
            if list.is_empty() || list.len() > WINDOWS_MAX {
                place.fault(format!("a limit has 1 to {WINDOWS_MAX} windows"));
            }
            list.iter().filter_map(one).collect()
        }
    };
    Some(Limit { windows })
}

fn one(place: &Place<'_>) -> Option<RateWindow> {
    let Some(text) = place.node().as_str() else {
        return spelled_out(place);
    };
    let parsed = short(text);
    if parsed.is_none() {
        place.fault_with("this is no rate", HINT);
    }
    let (requests, per) = parsed?;
    Some(window(requests, per, None))
}

/// `10/s`, `100/min`, `5000/h`, `100000/d`.
fn short(text: &str) -> Option<(u32, Duration)> {
    let (requests, unit) = text.split_once('/')?;
    let requests = requests.trim().parse().ok()?;
    let seconds = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return None,
    };
    let usable = (1..=REQUESTS_MAX).contains(&requests);
    usable.then_some((requests, Duration::from_secs(seconds)))
}

fn spelled_out(place: &Place<'_>) -> Option<RateWindow> {
    let object = place.object()?;
    let count = |at: Place<'_>| {
        let count = at.integer(1, i64::from(REQUESTS_MAX))?;
        u32::try_from(count).ok()
    };
    let requests = object.required("requests").and_then(count);
    let burst = object.optional("burst").and_then(count);
    let per = match object.has("per") {
        true => positive(&object, "per"),
        false => Some(Duration::from_secs(1)),
    };
    object.finish();
    let per = per?;
    if per > PER_MAX {
        place.fault("a window is 32 days long at most");
        return None;
    }
    Some(window(requests?, per, burst))
}
