//! `document.metadata.concurrency`, `singleton` and `priority`.

use std::rc::Rc;

use super::{Context, field};
use crate::expression::Expression;
use crate::workflow::definition::{Concurrency, OnLimit, PRIORITY_MAX, Priority};
use crate::workflow::document::{Content, Object, Place};

/// Largest limit.
const LIMIT_MAX: i64 = 10_000;

/// Reads what `document.metadata` says about how many runs may be open.
pub fn concurrency(metadata: &Object<'_>, context: &Context<'_>) -> Option<Concurrency> {
    let limited = metadata.optional("concurrency");
    let singleton = metadata.optional("singleton");
    let priority = metadata.optional("priority");
    if let (Some(_), Some(place)) = (&limited, &singleton) {
        place.fault_with(
            "`singleton` is a `concurrency` of its own",
            "write one of the two",
        );
        return None;
    }
    if let (None, None, Some(place)) = (&limited, &singleton, &priority) {
        place.fault("a priority is one among runs that wait for `concurrency`");
    }
    let priority = priority.map(|place| priority_of(&place, context));
    let mut concurrency = match (limited, singleton) {
        (Some(place), _) => limit_of(&place, context),
        (None, Some(place)) => singleton_of(&place, context),
        (None, None) => None,
    }?;
    if let Some(priority) = priority {
        concurrency.priority = Some(priority?);
    }
    Some(concurrency)
}

fn limit_of(place: &Place<'_>, context: &Context<'_>) -> Option<Concurrency> {
    let object = place.object()?;
    let key = object
        .optional("key")
        .map(|place| about_input(&place, context));
    let limit = object
        .required("limit")
        .and_then(|place| place.integer(1, LIMIT_MAX));
    let on_limit = object.optional("onLimit");
    object.finish();
    let on_limit = match on_limit {
        None => OnLimit::Queue,
        Some(place) => match place.one_of(&["queue", "skip", "cancel"])? {
            0 => OnLimit::Queue,
            1 => OnLimit::Skip,
            _ => OnLimit::Cancel,
        },
    };
    Some(Concurrency {
        key: key.map_or(Some(None), |key| key.map(Some))?,
        limit: u32::try_from(limit?).ok()?,
        on_limit,
        priority: None,
    })
}

/// `true`, or `{key: …}`: one run at a time, and none waits.
fn singleton_of(place: &Place<'_>, context: &Context<'_>) -> Option<Concurrency> {
    let key = match place.node().content {
        Content::Bool(true) => None,
        Content::Object(_) => {
            let object = place.object()?;
            let key = object.required("key");
            object.finish();
            Some(about_input(&key?, context)?)
        }
        _ => {
            place.unexpected("true or {key: …}");
            return None;
        }
    };
    Some(Concurrency {
        key,
        limit: 1,
        on_limit: OnLimit::Skip,
        priority: None,
    })
}

fn priority_of(place: &Place<'_>, context: &Context<'_>) -> Option<Priority> {
    if let Content::String(_) = place.node().content {
        return about_input(place, context).map(Priority::Evaluated);
    }
    let priority = place.integer(-i64::from(PRIORITY_MAX), PRIORITY_MAX.into())?;
    i16::try_from(priority).ok().map(Priority::Fixed)
}

/// An expression about the raw input, when there is no run yet: it has no variables.
pub(super) fn about_input(place: &Place<'_>, context: &Context<'_>) -> Option<Expression> {
    let context = Context {
        variables: Rc::default(),
        ..context.clone()
    };
    field::expression(place, &context)
}
