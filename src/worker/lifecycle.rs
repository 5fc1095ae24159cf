//! The lifecycle of runs as CloudEvents, so that workflows can react to it.
//!
//! They are events of the log like any other, written by the settlement that makes them true, and
//! only where something subscribes to them or the configuration asks for all: the usual run
//! writes none. An event of a run says which workflows' events have led to the run; those are not
//! started by it again, so nobody goes round in circles.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Shared;
use super::origin::REQUESTED;
use crate::event::{CAUSES, Event, LIFECYCLE, is_lifecycle, workflow_of};
use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;
use crate::workflow::Definition;

/// What happened to a run: the word in the type of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It began.
    Started,
    /// A person suspended it.
    Suspended,
    /// A person resumed it.
    Resumed,
    /// A task began to wait for events.
    CorrelationStarted,
    /// No task waits for events any more.
    CorrelationCompleted,
    /// It ended as it should.
    Completed,
    /// It ended with an error.
    Faulted,
    /// A person ended it, or the run that awaited it.
    Cancelled,
}

impl Moment {
    /// The word in the type, and the member of the data that says when.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Started => ("started", "startedAt"),
            Self::Suspended => ("suspended", "suspendedAt"),
            Self::Resumed => ("resumed", "resumedAt"),
            Self::CorrelationStarted => ("correlation-started", "startedAt"),
            Self::CorrelationCompleted => ("correlation-completed", "completedAt"),
            Self::Completed => ("completed", "completedAt"),
            Self::Faulted => ("faulted", "faultedAt"),
            Self::Cancelled => ("cancelled", "cancelledAt"),
        }
    }
}

/// What the lifecycle events of a run have in common.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    run_id: Id,
    definition: Arc<Definition>,
    causes: Option<String>,
}

impl Lifecycle {
    /// Of a run that this event has started.
    #[must_use]
    pub fn new(run_id: Id, definition: &Arc<Definition>, event: &Event) -> Self {
        Self {
            run_id,
            definition: Arc::clone(definition),
            causes: causes(event),
        }
    }

    /// The workflows whose lifecycle has led to the runs that this one starts; none where no
    /// lifecycle has led to it.
    #[must_use]
    pub fn causes_inside(&self) -> Option<String> {
        let causes = self.causes.as_deref()?;
        let document = &self.definition.document;
        let (namespace, name) = (&document.namespace, &document.name);
        Some(format!("{causes} {namespace}/{name}"))
    }

    /// The event of this moment, where somebody wants it.
    #[must_use]
    pub fn event(&self, shared: &Shared, moment: Moment, error: Option<&Problem>) -> Option<Event> {
        let active = shared.definitions.active();
        let known = shared.listening.known();
        let any = active.triggers.hears_lifecycle() || known.listeners.hears_lifecycle();
        if !any && !shared.lifecycle_events {
            return None;
        }
        let event = self.made(moment, error);
        let wanted = shared.lifecycle_events
            || active.triggers.may_want(&event)
            || known.listeners.may_want(&event);
        wanted.then_some(event)
    }

    fn made(&self, moment: Moment, error: Option<&Problem>) -> Event {
        let (word, when) = moment.words();
        let now = Timestamp::now();
        let document = &self.definition.document;
        let (namespace, name, version) = (&document.namespace, &document.name, &document.version);
        let made_at_ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let id = self
            .run_id
            .derive_at(made_at_ms, &format!("lifecycle {word}"));
        let text = |name: &str, text: &str| (name.to_owned(), Value::string(text));
        let workflow = Value::object([
            text("namespace", namespace),
            text("name", name),
            text("version", version),
        ]);
        let error = error.and_then(|error| serde_json::to_vec(error).ok());
        let error = error.and_then(|error| Value::from_json(&error).ok());
        let data = [
            text("name", &format!("{name}-{}.{namespace}", self.run_id)),
            text("runId", &self.run_id.to_string()),
            ("definition".to_owned(), workflow),
            text(when, &now.to_string()),
        ];
        let error = error.map(|error| ("error".to_owned(), error));
        let mut attributes = BTreeMap::from([
            ("subject".to_owned(), self.run_id.to_string()),
            ("time".to_owned(), now.to_string()),
        ]);
        if let Some(causes) = &self.causes {
            attributes.insert(CAUSES.to_owned(), causes.clone());
        }
        Event {
            id,
            event_id: id.to_string(),
            source: format!("/{namespace}/{name}/{version}"),
            kind: format!("{LIFECYCLE}workflow.{word}.v1"),
            attributes,
            content_type: Some("application/json".to_owned()),
            headers: Vec::new(),
            body: Value::object(data.into_iter().chain(error))
                .to_json()
                .into(),
        }
    }
}

/// The workflows whose lifecycle has led to a run that this event starts.
fn causes(event: &Event) -> Option<String> {
    let before = event.attributes.get(CAUSES).map(String::as_str);
    if event.kind == REQUESTED {
        return before.map(str::to_owned);
    }
    if !is_lifecycle(&event.kind) {
        return None;
    }
    let workflow = workflow_of(event)?;
    Some(match before {
        Some(before) => format!("{before} {workflow}"),
        None => workflow.to_owned(),
    })
}
