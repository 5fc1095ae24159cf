//! `call: openapi`: an operation of an API document, which is read when the workflow is deployed.

use super::{Context, authentication, call, field, unsupported};
use crate::workflow::definition::{Endpoint, Kind, OpenApiCall};
use crate::workflow::document::{Content, Place};
use crate::workflow::openapi::{Lookup, Operation};

/// Operations named in a hint at most.
const NAMED_MAX: usize = 20;

/// A `call: openapi`; `arguments` is `with`.
pub fn call(arguments: &Place<'_>, context: &Context<'_>) -> Option<Kind> {
    let object = arguments.object()?;
    let document = object.required("document");
    let uri = document.as_ref().and_then(|place| address(place, context));
    let id = object.required("operationId");
    let id = id.and_then(|place| Some((place.string()?, place)));
    let parameters = object.optional("parameters").filter(call::is_object);
    let values = parameters
        .as_ref()
        .map(|place| field::template(place, context));
    let authentication = object
        .optional("authentication")
        .map(|place| authentication::reference(&place, context));
    let output = call::output(&object);
    let redirect = object.optional_bool("redirect").unwrap_or(false);
    object.finish();
    let (uri, (id, id_place)) = (uri?, id?);
    let operation = match context.documents.find(&uri, id) {
        Lookup::Found(operation) => Some(operation),
        Lookup::Unknown => None,
        Lookup::Unusable(reason) => {
            let place = document.as_ref().unwrap_or(arguments);
            place.fault(format!("`{id}` of {uri} cannot be called: {reason}"));
            return None;
        }
        Lookup::Missing(names) => {
            let known = names.iter().map(String::as_str);
            let hint = id_place.meant(id, known).unwrap_or_else(|| {
                let first: Vec<_> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
                format!("it has {}", first.join(", "))
            });
            id_place.fault_with(format!("the document has no operation `{id}`"), hint);
            return None;
        }
    };
    if let Some(operation) = &operation {
        let pin = (uri, id.to_owned());
        let pinned = std::sync::Arc::clone(operation);
        context.components.pins.borrow_mut().insert(pin, pinned);
        if let Some(place) = &parameters {
            check(place, operation);
        }
    }
    Some(Kind::OpenApi(Box::new(OpenApiCall {
        operation_id: id.to_owned(),
        operation,
        parameters: values.map_or(Some(None), |values| values.map(Some))?,
        authentication: authentication.map_or(Some(None), |policy| policy.map(Some))?,
        output,
        redirect,
        retried: context.retried,
    })))
}

/// The address of the document: it is read at deployment, so nothing in it can wait for a run.
fn address(place: &Place<'_>, context: &Context<'_>) -> Option<String> {
    let object = place.object()?;
    let _ = object.optional_string("name");
    let endpoint = object.required("endpoint");
    object.finish();
    let mut endpoint = endpoint?;
    if matches!(endpoint.node().content, Content::Object(_)) {
        let object = endpoint.object()?;
        let uri = object.required("uri");
        if let Some(place) = object.optional("authentication") {
            unsupported(&place, "authentication for an API document");
        }
        object.finish();
        endpoint = uri?;
    }
    const HINT: &str = "it is read when the workflow is deployed: write https://host/path";
    match call::address(&endpoint, context)? {
        Endpoint::Uri(uri) if !uri.contains('{') && uri.starts_with("http") => Some(uri),
        _ => {
            endpoint.fault_with("an API document has a fixed address", HINT);
            None
        }
    }
}

/// Parameters that are written out must be ones the operation has.
fn check(place: &Place<'_>, operation: &Operation) {
    if operation.body || !matches!(place.node().content, Content::Object(_)) {
        return;
    }
    let Some(object) = place.object() else {
        return;
    };
    let names = || operation.parameters.iter().map(|it| it.name.as_str());
    for (key, _) in object.members() {
        if !names().any(|name| name == key.name) {
            let hint = place.meant(&key.name, names()).unwrap_or_else(|| {
                let known: Vec<_> = names().collect();
                format!("it has {}", known.join(", "))
            });
            let message = format!("the operation has no parameter `{}`", key.name);
            object.at_key(key, message, Some(hint));
        }
    }
}
