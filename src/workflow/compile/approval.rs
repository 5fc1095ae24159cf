//! `call: approval:1.0.0@default`: its arguments.

use super::{Context, data, field, task};
use crate::workflow::definition::{Approval, Form, Kind, OnTimeout};
use crate::workflow::document::{Content, Node, Object, Place};

/// The name of the function in the default catalog.
pub const NAME: &str = "approval:1.0.0@default";

/// The variable that `notify` sees.
const VARIABLE: &str = "approval";

/// Most people one approval asks.
const QUORUM_MAX: i64 = 100;

/// Most fields of a form.
const FIELDS_MAX: usize = 50;

/// Types a field of a form can have.
const FIELD_TYPES: [&str; 4] = ["string", "number", "integer", "boolean"];

/// An approval: `arguments` is `with`, `place` the task.
pub fn call(
    place: &Place<'_>,
    arguments: Option<&Place<'_>>,
    context: &Context<'_>,
) -> Option<Kind> {
    let Some(arguments) = arguments else {
        place.fault_with("`with` is missing here", "write `with: {title: …}`");
        return None;
    };
    let object = arguments.object()?;
    let template = |name| {
        let place = object.optional(name)?;
        field::template(&place, context)
    };
    let title = object.required("title");
    let title = title.and_then(|place| field::template(&place, context));
    let (message, requested_by) = (template("message"), template("requestedBy"));
    let approvers = object.optional("approvers");
    let asked = approvers.as_ref().and_then(names);
    let approvers = approvers.and_then(|place| field::template(&place, context));
    let quorum = object.optional("quorum");
    if let Some(place) = &quorum {
        check_quorum(place, asked);
    }
    let quorum = quorum.and_then(|place| field::template(&place, context));
    let self_approval = self_approval(&object);
    let form = object.optional("form").and_then(|place| form(&place));
    let timeout = object.optional("timeout");
    let timeout = timeout.and_then(|place| field::span(&place, context));
    let on_timeout = object.optional("onTimeout");
    let on_timeout = on_timeout.and_then(|place| place.one_of(&["fault", "rejected"]));
    let inner = context.with_variables(&[VARIABLE]);
    let notify = object.optional("notify");
    let notify = notify.and_then(|place| task::alone("notify", &place, &inner));
    object.finish();
    Some(Kind::Approval(Box::new(Approval {
        title: title?,
        message,
        approvers,
        quorum,
        requested_by,
        self_approval,
        form,
        timeout,
        on_timeout: match on_timeout {
            Some(1) => OnTimeout::Rejected,
            _ => OnTimeout::Fault,
        },
        notify,
    })))
}

/// How many are asked, where the definition says so. They are names that differ.
fn names(place: &Place<'_>) -> Option<usize> {
    if place.node().as_str().is_some_and(field::is_expression) {
        return None;
    }
    let items = place.array()?;
    let mut seen: Vec<String> = Vec::new();
    for item in &items {
        let Some(name) = item.string() else { continue };
        let name = name.trim().to_lowercase();
        if name.is_empty() {
            item.fault("an approver has a name");
        } else if seen.contains(&name) {
            item.fault("this approver is in the list already");
        }
        seen.push(name);
    }
    if i64::try_from(items.len()).is_ok_and(|count| count > QUORUM_MAX) {
        place.fault(format!("at most {QUORUM_MAX} approvers can be asked"));
    }
    Some(items.len())
}

fn check_quorum(place: &Place<'_>, asked: Option<usize>) {
    if place.node().as_str().is_some_and(field::is_expression) {
        return;
    }
    let quorum = place.integer(1, QUORUM_MAX);
    let quorum = quorum.and_then(|quorum| usize::try_from(quorum).ok());
    if let (Some(quorum), Some(asked)) = (quorum, asked)
        && asked > 0
        && quorum > asked
    {
        let message = format!("{quorum} must approve, but only {asked} are asked");
        place.fault_with(message, "lower `quorum` or name more `approvers`");
    }
}

fn self_approval(object: &Object<'_>) -> bool {
    let Some(place) = object.optional("selfApproval") else {
        return false;
    };
    let allowed = place.bool().unwrap_or(false);
    if !allowed && !object.has("requestedBy") {
        let hint = "add `requestedBy: ${ .user }`";
        place.fault_with("nobody knows who asks, so this forbids nothing", hint);
    }
    allowed
}

/// A form: a JSON Schema of a flat object, so that a page can show it.
fn form(place: &Place<'_>) -> Option<Form> {
    let object = place.object()?;
    let node = object.place().node();
    let kind = node.get("type").and_then(|kind| kind.as_str());
    if kind.is_some_and(|kind| kind != "object") {
        place.fault_with("a form is an object", "write `type: object`");
    }
    match node.get("properties") {
        None => place.fault_with(
            "a form has fields",
            "write `properties: {amount: {type: number}}`",
        ),
        Some(properties) => fields(place, properties),
    }
    let schema = data::compile(place)?;
    Some(Form {
        schema,
        document: place.value(),
    })
}

/// Each field has a type that a page can ask for.
fn fields(place: &Place<'_>, properties: &Node) {
    let Content::Object(members) = &properties.content else {
        return;
    };
    if members.len() > FIELDS_MAX {
        place.fault(format!("a form has at most {FIELDS_MAX} fields"));
    }
    for (key, schema) in members {
        let kind = schema.get("type").and_then(|kind| kind.as_str());
        if kind.is_none_or(|kind| !FIELD_TYPES.contains(&kind)) {
            let message = format!("the field `{}` has no type to fill in", key.name);
            let types = FIELD_TYPES.join(", ");
            place.fault_with(message, format!("its `type` is one of {types}"));
        }
    }
}
