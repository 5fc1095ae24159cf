//! `healing`: how a sender is asked for what it could not deliver.

use std::time::Duration;

use super::intake::expression;
use crate::expression::Expression;
use crate::signature::Elements;
use crate::workflow::document::Place;

/// Shortest time between two looks.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Longest time between two looks.
const EVERY_MAX: Duration = Duration::from_secs(86_400);

/// Time between two looks where the source does not say.
const EVERY_DEFAULT: Duration = Duration::from_secs(300);

/// How a sender is asked.
#[derive(Debug)]
pub struct Healing {
    /// What lists events, or deliveries; fetched with GET.
    pub list: String,
    /// Where they stand in the list.
    pub items: Elements,
    /// How often it is looked at.
    pub every: Duration,
    /// Of a delivery, the URI to post to so that it comes again, or null. Where there is no such
    /// expression, what is listed are the events.
    pub redeliver: Option<Expression>,
}

impl Healing {
    pub(super) fn read(place: &Place<'_>) -> Option<Self> {
        let object = place.object()?;
        let list = object.required("list").and_then(|place| uri(&place));
        let items = object.required("items").and_then(|place| {
            let items = Elements::parse(place.string()?);
            if items.is_none() {
                place.fault_with(
                    "this says not where elements stand",
                    "write `/*` or `/data/*`",
                );
            }
            items
        });
        let every = object
            .optional("every")
            .map_or(Some(EVERY_DEFAULT), |place| {
                let every = place.duration()?;
                if !(EVERY_MIN..=EVERY_MAX).contains(&every) {
                    place.fault("a list is looked at every PT1S to P1D");
                }
                Some(every)
            });
        let redeliver = object.optional("redeliver");
        let redeliver = redeliver.map(|place| expression(&place));
        object.finish();
        let redeliver = match redeliver {
            None => None,
            Some(read) => Some(read?),
        };
        Some(Self {
            list: list?,
            items: items?,
            every: every?,
            redeliver,
        })
    }
}

fn uri(place: &Place<'_>) -> Option<String> {
    let text = place.string()?;
    let known = ["destination://", "https://", "http://"];
    if !known.iter().any(|scheme| text.starts_with(scheme)) {
        let hint = "write destination://name/path, so that the destination's credentials are used";
        place.fault_with("this is no URI that can be called", hint);
        return None;
    }
    Some(text.to_owned())
}
