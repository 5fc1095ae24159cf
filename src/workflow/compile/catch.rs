//! `try` and `catch`: filters of errors, retry policies.

use super::task::{self, Names};
use super::{Context, field};
use crate::expression::Value;
use crate::workflow::definition::{Backoff, Kind, Retry, Span, Try};
use crate::workflow::document::{Object, Place};

/// Most retries a policy may ask for.
const ATTEMPTS_MAX: i64 = 100_000;
/// Largest factor of an exponential backoff.
const FACTOR_MAX: f64 = 1000.0;

/// The standard kinds of error, whose short names are a common slip.
const STANDARD_ERRORS: [&str; 8] = [
    "configuration",
    "validation",
    "expression",
    "authentication",
    "authorization",
    "timeout",
    "communication",
    "runtime",
];

/// A `try` task.
pub fn try_catch(
    place: &Place<'_>,
    task: &Object<'_>,
    names: &Names<'_>,
    context: &Context<'_>,
) -> Option<Kind> {
    let catch = task.required("catch").and_then(|place| place.object());
    let retries = catch.as_ref().is_some_and(|catch| catch.has("retry"));
    let tried = Context {
        retried: context.retried || retries,
        ..context.clone()
    };
    let body = task::list(place, &tried);
    let catch = catch?;
    let with = catch
        .optional("errors")
        .map_or_else(|| Some(Vec::new()), |place| filter(&place));
    let variable = match catch.optional("as") {
        Some(place) => field::variable(&place),
        None => Some("error"),
    };
    let caught = context.with_variables(&[variable.unwrap_or("error")]);
    let when = field::condition(catch.optional("when").as_ref(), &caught);
    let except_when = field::condition(catch.optional("exceptWhen").as_ref(), &caught);
    let retry = catch.optional("retry").map(|place| retry(&place, &caught));
    let recovery = catch
        .optional("do")
        .map(|place| task::list(&place, &caught));
    let then = catch
        .optional("then")
        .map(|place| task::then(&place, names));
    catch.finish();
    Some(Kind::Try(Box::new(Try {
        body: body?,
        with: with?,
        variable: variable?.to_owned(),
        when,
        except_when,
        retry: retry.map_or(Some(None), |retry| retry.map(Some))?,
        recovery: recovery.map_or(Some(None), |list| list.map(Some))?,
        then: then.map_or(Some(None), |then| then.map(Some))?,
    })))
}

/// `errors.with`: members an error must have, never evaluated.
fn filter(place: &Place<'_>) -> Option<Vec<(String, Value)>> {
    let errors = place.object()?;
    let with = errors.optional_object("with");
    errors.finish();
    let with = with?;
    if with.is_empty() {
        with.place()
            .fault("a filter of errors has at least one member");
    }
    let mut members = Vec::new();
    for name in ["type", "status", "instance", "title", "detail", "details"] {
        let Some(place) = with.optional(name) else {
            continue;
        };
        let fits = match name {
            "status" => place.integer(0, i64::from(u16::MAX)).is_some(),
            "type" => is_error_type(&place),
            _ => place.string().is_some(),
        };
        // The language's first version said `details` and meant `detail`.
        let name = if name == "details" { "detail" } else { name };
        if fits {
            members.push((name.to_owned(), place.value()));
        }
    }
    with.finish();
    Some(members)
}

/// A type of errors is a URI, not the short name of a standard error.
pub fn is_error_type(place: &Place<'_>) -> bool {
    let Some(text) = place.string() else {
        return false;
    };
    if field::is_expression(text) {
        return true;
    }
    if STANDARD_ERRORS.contains(&text) {
        place.fault_with(
            "the type of an error is a URI",
            format!("write https://serverlessworkflow.io/spec/1.0.0/errors/{text}"),
        );
        return false;
    }
    let valid = !text.is_empty() && !text.contains(char::is_whitespace);
    if !valid {
        place.fault("the type of an error is a URI without spaces");
    }
    valid
}

/// `retry`: a policy, or a name of `use.retries`.
fn retry(place: &Place<'_>, context: &Context<'_>) -> Option<Retry> {
    let Some(name) = place.node().as_str() else {
        return retry_policy(place, context);
    };
    let retries = &context.components.retries;
    if let Some(component) = retries.find(name) {
        return retry_policy(component, context);
    }
    let hint = place
        .meant(name, retries.names())
        .unwrap_or_else(|| "write {delay, backoff, limit}, or name it there".to_owned());
    place.fault_with(format!("`use.retries` has no `{name}`"), hint);
    None
}

/// A retry policy, inline or in `use.retries`.
pub fn retry_policy(place: &Place<'_>, context: &Context<'_>) -> Option<Retry> {
    let object = place.object()?;
    let when = field::condition(object.optional("when").as_ref(), context);
    let except_when = field::condition(object.optional("exceptWhen").as_ref(), context);
    let delay = span(&object, "delay", context);
    let backoff = object.optional("backoff");
    let backoff = backoff.map_or(Some(Backoff::Constant), |place| backoff_of(&place));
    let jitter = object
        .optional("jitter")
        .map(|place| jitter(&place, context));
    let mut policy = Retry {
        when,
        except_when,
        delay,
        backoff: backoff.unwrap_or(Backoff::Constant),
        jitter: jitter.flatten(),
        attempts_max: None,
        attempt_duration: None,
        duration: None,
    };
    if let Some(limit) = object.optional_object("limit") {
        policy.duration = span(&limit, "duration", context);
        if let Some(attempt) = limit.optional_object("attempt") {
            let count = attempt
                .optional("count")
                .and_then(|place| place.integer(0, ATTEMPTS_MAX));
            policy.attempts_max = count.and_then(|count| u32::try_from(count).ok());
            policy.attempt_duration = span(&attempt, "duration", context);
            attempt.finish();
        }
        limit.finish();
    }
    object.finish();
    Some(policy)
}

fn span(object: &Object<'_>, name: &'static str, context: &Context<'_>) -> Option<Span> {
    object
        .optional(name)
        .and_then(|place| field::span(&place, context))
}

fn jitter(place: &Place<'_>, context: &Context<'_>) -> Option<(Span, Span)> {
    let object = place.object()?;
    let from = object
        .required("from")
        .and_then(|place| field::span(&place, context));
    let to = object
        .required("to")
        .and_then(|place| field::span(&place, context));
    object.finish();
    let (from, to) = (from?, to?);
    if let (Span::Fixed(from), Span::Fixed(to)) = (&from, &to)
        && from > to
    {
        place.fault("`from` is longer than `to`");
    }
    Some((from, to))
}

fn backoff_of(place: &Place<'_>) -> Option<Backoff> {
    const KINDS: [&str; 3] = ["constant", "linear", "exponential"];
    let object = place.object()?;
    let found: Vec<&'static str> = KINDS.into_iter().filter(|kind| object.has(kind)).collect();
    let kinds: Vec<_> = found
        .iter()
        .filter_map(|kind| Some((*kind, object.optional_object(kind)?)))
        .collect();
    let known: Vec<_> = KINDS
        .into_iter()
        .filter_map(|kind| object.optional(kind))
        .collect();
    if found.len() != 1 {
        place.fault_with(
            format!("a backoff has one kind, this one has {}", known.len()),
            "write one of {constant: {}}, {linear: {}}, {exponential: {}}",
        );
    }
    object.finish();
    let (kind, object) = kinds.into_iter().next()?;
    let backoff = match kind {
        "linear" => Backoff::Linear {
            increment: object.optional_duration("increment"),
        },
        "exponential" => Backoff::Exponential {
            factor: object.optional("factor").and_then(|place| factor(&place)),
            max_delay: object.optional_duration("maxDelay"),
        },
        _ => Backoff::Constant,
    };
    object.finish();
    Some(backoff)
}

fn factor(place: &Place<'_>) -> Option<f64> {
    let factor = place.number()?;
    if !(1.0..=FACTOR_MAX).contains(&factor) {
        place.fault("a factor is from 1 to 1000");
        return None;
    }
    Some(factor)
}
