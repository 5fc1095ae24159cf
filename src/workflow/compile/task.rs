//! Lists of tasks and the tasks in them: recognised by their one kind key, checked, compiled.
//!
//! The kinds with much inside have files of their own (`call`, `catch`); the small ones are here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Context, call, catch, data, events, field, run, unsupported};
use crate::expression::Value;
use crate::workflow::definition::{
    Case, Flow, For, Fork, Kind, Parallel, Raise, Task, TaskList, Then,
};
use crate::workflow::document::{Content, Object, Place};

/// The keys that make a task what it is.
const KINDS: [&str; 12] = [
    "call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait",
];

/// Iterations of one loop that may be open at once, whatever its `metadata.parallel` asks for.
const PARALLEL_MAX: i64 = 1_000;

/// The names of a list and where they stand, for `then`.
pub struct Names<'a> {
    index: BTreeMap<&'a str, usize>,
    /// Branches of a fork stand side by side: none can be jumped to.
    branches: bool,
}

/// A list of tasks: `do`, `try`, `catch.do`.
pub fn list(place: &Place<'_>, context: &Context<'_>) -> Option<TaskList> {
    let tasks = items(place, context, false)?;
    Some(TaskList { tasks })
}

fn items(place: &Place<'_>, context: &Context<'_>, branches: bool) -> Option<Vec<Arc<Task>>> {
    let items = place.array()?;
    let mut index = BTreeMap::new();
    let mut named = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let Some(object) = item.object() else {
            continue;
        };
        if object.len() != 1 {
            let hint = "write each task as an item of its own: `- name: …`";
            item.fault_with("an item of a list of tasks has exactly one name", hint);
        }
        for (key, place) in object.members() {
            if index.insert(key.name.as_str(), at).is_some() {
                let message = format!("a task `{}` is in this list already", key.name);
                object.at_key(
                    key,
                    message,
                    Some("give each task a name of its own".to_owned()),
                );
            }
            named.push((key.name.as_str(), place));
        }
    }
    let names = Names { index, branches };
    let tasks: Vec<Option<Arc<Task>>> = named
        .iter()
        .map(|(name, place)| task(name, place, &names, context))
        .collect();
    tasks.into_iter().collect()
}

/// A task that stands alone: a function.
pub fn alone(name: &str, place: &Place<'_>, context: &Context<'_>) -> Option<Arc<Task>> {
    let names = Names {
        index: BTreeMap::new(),
        branches: false,
    };
    task(name, place, &names, context)
}

fn task(
    name: &str,
    place: &Place<'_>,
    names: &Names<'_>,
    context: &Context<'_>,
) -> Option<Arc<Task>> {
    let object = place.object()?;
    let condition = field::condition(object.optional("if").as_ref(), context);
    let input = data::input(&object, context);
    let output = data::output(&object, context);
    let export = data::export(&object, context);
    let timeout = field::timeout(object.optional("timeout").as_ref(), context);
    let then = object.optional("then").map(|place| then(&place, names));
    let metadata = object.optional("metadata");
    let metadata = metadata.filter(|place| place.object().is_some());
    let kind = kind(&object, names, context);
    object.finish();
    let value = context.value.pointer(place.pointer()).unwrap_or_default();
    Some(Arc::new(Task {
        name: name.to_owned(),
        reference: place.pointer().into(),
        condition,
        input,
        output,
        export,
        timeout,
        then: then.unwrap_or(Some(Then::Continue))?,
        metadata: metadata.map(|place| place.value()).unwrap_or_default(),
        value,
        kind: kind?,
    }))
}

/// Where control goes: a word of the language or a name of the same list.
pub fn then(place: &Place<'_>, names: &Names<'_>) -> Option<Then> {
    let text = place.string()?;
    match text {
        "continue" => return Some(Then::Continue),
        "exit" => return Some(Then::Exit),
        "end" => return Some(Then::End),
        _ => {}
    }
    if names.branches {
        let hint = "a branch may say `continue`, `exit` or `end`";
        place.fault_with(
            "branches of a fork run side by side; none leads to another",
            hint,
        );
        return None;
    }
    if let Some(index) = names.index.get(text) {
        return Some(Then::Task(*index));
    }
    let words = ["continue", "exit", "end"].into_iter();
    let known = words.chain(names.index.keys().copied());
    let hint = place
        .meant(text, known)
        .unwrap_or_else(|| "`then` names a task of its own list, not outside or inside".to_owned());
    place.fault_with(format!("no task `{text}` is in this list"), hint);
    None
}

fn kind(object: &Object<'_>, names: &Names<'_>, context: &Context<'_>) -> Option<Kind> {
    let mut found: Vec<&'static str> = KINDS.into_iter().filter(|word| object.has(word)).collect();
    if found.contains(&"for") {
        // `for` keeps its body under `do`.
        found.retain(|word| *word != "do");
    }
    match found.as_slice() {
        [word] => of_kind(word, object, names, context),
        [] => {
            for word in KINDS {
                let _ = object.optional(word);
            }
            let hint = near_kind(object)
                .unwrap_or_else(|| format!("a task has one of: {}", KINDS.join(", ")));
            object
                .place()
                .fault_with("nothing here says what kind of task this is", hint);
            None
        }
        words => {
            for word in words {
                let _ = object.optional(word);
            }
            let message = format!("a task has one kind, this one has {}", words.join(" and "));
            object.place().fault_with(message, "make them two tasks");
            None
        }
    }
}

fn near_kind(object: &Object<'_>) -> Option<String> {
    object
        .members()
        .find_map(|(key, _)| object.place().meant(&key.name, KINDS))
}

fn of_kind(
    word: &'static str,
    object: &Object<'_>,
    names: &Names<'_>,
    context: &Context<'_>,
) -> Option<Kind> {
    let place = object.required(word)?;
    match word {
        "call" => call::call(&place, object, context),
        "do" => list(&place, context).map(Kind::Do),
        "for" => for_each(&place, object, context),
        "fork" => fork(&place, context),
        "raise" => raise(&place, context),
        "set" => set(&place, context),
        "switch" => switch(&place, names, context),
        "try" => catch::try_catch(&place, object, names, context),
        "wait" => field::span(&place, context).map(Kind::Wait),
        "emit" => events::emit(&place, context),
        "listen" => events::listen(&place, object, context),
        "run" => run::run(&place, context).map(Kind::Run),
        _ => {
            unsupported(&place, &format!("`{word}`"));
            None
        }
    }
}

fn set(place: &Place<'_>, context: &Context<'_>) -> Option<Kind> {
    match &place.node().content {
        Content::String(_) => {}
        Content::Object(members) if !members.is_empty() => {}
        Content::Object(_) => {
            place.fault_with(
                "`set` sets at least one member",
                "write '{}' in quotes for {}",
            );
            return None;
        }
        _ => {
            place.unexpected("an object or a string with an expression");
            return None;
        }
    }
    field::shape(place, context).map(Kind::Set)
}

fn for_each(place: &Place<'_>, task: &Object<'_>, context: &Context<'_>) -> Option<Kind> {
    let condition = task.optional("while");
    let body = task.required("do");
    let object = place.object()?;
    let variable = |name: &'static str, default: &'static str| match object.optional(name) {
        Some(place) => field::variable(&place),
        None => Some(default),
    };
    let (each, at) = (variable("each", "item"), variable("at", "index"));
    if each.is_some() && each == at {
        place.fault_with(
            "`each` and `at` have the same name",
            "the one would hide the other",
        );
    }
    let items = object
        .required("in")
        .and_then(|place| field::shape(&place, context));
    object.finish();
    let inner = context.with_variables(&[each.unwrap_or("item"), at.unwrap_or("index")]);
    let condition = field::condition(condition.as_ref(), &inner);
    let body = body.and_then(|place| list(&place, &inner))?;
    let parallel = width(task).map(|width| Parallel {
        width,
        iteration: iteration(task.place(), body.clone()),
    });
    Some(Kind::For(Box::new(For {
        each: each?.to_owned(),
        at: at?.to_owned(),
        items: items?,
        condition,
        body,
        parallel,
    })))
}

/// `metadata.parallel`: how many iterations may be open at once.
fn width(task: &Object<'_>) -> Option<usize> {
    let metadata = task.optional("metadata")?;
    metadata.node().get("parallel")?;
    let width = metadata.object()?.optional("parallel")?;
    let width = width.integer(1, PARALLEL_MAX)?;
    usize::try_from(width).ok()
}

/// The body of a `for` as a task: what an iteration beside others is.
fn iteration(place: &Place<'_>, body: TaskList) -> Arc<Task> {
    Arc::new(Task {
        name: String::new(),
        reference: place.pointer().into(),
        condition: None,
        input: Flow::default(),
        output: Flow::default(),
        export: Flow::default(),
        timeout: None,
        then: Then::Continue,
        metadata: Value::null(),
        value: Value::null(),
        kind: Kind::Do(body),
    })
}

fn fork(place: &Place<'_>, context: &Context<'_>) -> Option<Kind> {
    let object = place.object()?;
    let compete = object.optional_bool("compete").unwrap_or(false);
    let branches = object
        .required("branches")
        .and_then(|place| items(&place, context, true));
    object.finish();
    Some(Kind::Fork(Fork {
        branches: branches?,
        compete,
    }))
}

fn switch(place: &Place<'_>, names: &Names<'_>, context: &Context<'_>) -> Option<Kind> {
    let items = place.array()?;
    if items.is_empty() {
        place.fault("a switch has at least one case");
    }
    let mut cases = Vec::with_capacity(items.len());
    let mut default: Option<&str> = None;
    for item in &items {
        let Some(object) = item.object() else {
            continue;
        };
        if object.len() != 1 {
            let hint = "write each case as an item of its own: `- name: {when, then}`";
            item.fault_with("an item of a switch has exactly one name", hint);
        }
        for (key, place) in object.members() {
            let case = case(&key.name, &place, names, context);
            let is_default = case.as_ref().is_some_and(|case| case.when.is_none());
            match default {
                Some(first) if is_default => {
                    let message = format!("`{first}` has no `when` either: it is the default");
                    object.at_key(key, message, Some("give one of them a `when`".to_owned()));
                }
                None if is_default => default = Some(&key.name),
                _ => {}
            }
            cases.push(case);
        }
    }
    cases
        .into_iter()
        .collect::<Option<Vec<Case>>>()
        .map(Kind::Switch)
}

fn case(name: &str, place: &Place<'_>, names: &Names<'_>, context: &Context<'_>) -> Option<Case> {
    let object = place.object()?;
    let condition = object.optional("when");
    let when = field::condition(condition.as_ref(), context);
    let then = object
        .required("then")
        .and_then(|place| then(&place, names));
    object.finish();
    if condition.is_some() && when.is_none() {
        return None;
    }
    Some(Case {
        name: name.to_owned(),
        when,
        then: then?,
    })
}

fn raise(place: &Place<'_>, context: &Context<'_>) -> Option<Kind> {
    let object = place.object()?;
    let place = object.required("error");
    object.finish();
    let place = place?;
    let raise = match place.node().as_str() {
        None => error(&place, context),
        Some(name) => match context.components.errors.find(name) {
            Some(component) => error(component, context),
            None => {
                let hint = place
                    .meant(name, context.components.errors.names())
                    .unwrap_or_else(|| "write {type, status, title}, or name it there".to_owned());
                place.fault_with(format!("`use.errors` has no `{name}`"), hint);
                None
            }
        },
    };
    raise.map(|raise| Kind::Raise(Box::new(raise)))
}

/// An error as it is raised: inline or in `use.errors`.
pub fn error(place: &Place<'_>, context: &Context<'_>) -> Option<Raise> {
    let object = place.object()?;
    let template = |place: &Place<'_>| field::template(place, context);
    let kind = object.required("type").filter(catch::is_error_type);
    let kind = kind.and_then(|place| template(&place));
    let status = object.required("status").filter(is_status);
    let status = status.and_then(|place| template(&place));
    let text = |name: &'static str| {
        let place = object.optional(name)?;
        let _ = place.string()?;
        template(&place)
    };
    let (title, detail, instance) = (text("title"), text("detail"), text("instance"));
    object.finish();
    Some(Raise {
        kind: kind?,
        status: status?,
        title,
        detail,
        instance,
    })
}

/// A status is a whole number, or an expression that gives one.
fn is_status(place: &Place<'_>) -> bool {
    const STATUS_MIN: i64 = 100;
    const STATUS_MAX: i64 = 599;
    place.node().as_str().is_some_and(field::is_expression)
        || place.integer(STATUS_MIN, STATUS_MAX).is_some()
}
