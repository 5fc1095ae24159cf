//! Functions: `use.functions`, and `call` of one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Context, approval, field, task, unsupported};
use crate::workflow::definition::{FunctionCall, Kind, Task};
use crate::workflow::document::{Object, Place};

/// Compiles every function, whether it is called or not.
pub fn all(context: &Context<'_>) -> Option<BTreeMap<String, Arc<Task>>> {
    let compiled: Vec<_> = context
        .components
        .functions
        .members()
        .map(|(name, place)| Some((name.to_owned(), task::alone(name, place, context)?)))
        .collect();
    compiled.into_iter().collect()
}

/// A `call` of a function: `place` holds its name, `arguments` is `with`.
pub fn call(
    place: &Place<'_>,
    arguments: Option<&Place<'_>>,
    context: &Context<'_>,
) -> Option<Kind> {
    let name = place.string()?;
    let arguments = arguments.map(|place| {
        let _: Option<Object<'_>> = match place.node().as_str() {
            Some(text) if field::is_expression(text) => None,
            _ => place.object(),
        };
        field::template(place, context)
    });
    if context.components.functions.find(name).is_none() {
        unknown(place, name, context);
        return None;
    }
    Some(Kind::Function(Box::new(FunctionCall {
        name: name.to_owned(),
        arguments: arguments.map_or(Some(None), |arguments| arguments.map(Some))?,
        site: format!("f{}", digest(place.pointer())),
        retried: context.retried,
    })))
}

fn unknown(place: &Place<'_>, name: &str, context: &Context<'_>) {
    if name.contains("://") {
        unsupported(place, "a function from an address");
        return;
    }
    if let Some((function, catalog)) = name.split_once('@') {
        if catalog == "default" {
            let message = format!("the server has no function `{function}`");
            let hint = format!(
                "it has `{}`; define others in `use.functions`",
                approval::NAME
            );
            place.fault_with(message, hint);
        } else {
            unsupported(place, &format!("the catalog `{catalog}`"));
        }
        return;
    }
    let known = context.components.functions.names();
    let known = known.chain(["http", "openapi"]);
    let hint = place
        .meant(name, known)
        .unwrap_or_else(|| format!("define `{name}` in `use.functions`"));
    place.fault_with(format!("there is no function `{name}`"), hint);
}

/// FNV-1a: short, and the same in every version, since journals hold it.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
