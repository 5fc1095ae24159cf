//! Sub-workflows: how a run starts its children, cancels them, and hears how they ended.
//!
//! A child is started by an event like any run, published with the settlement that says so; its end
//! is mail to its parent, written with the settlement that ends it. So neither can be missed,
//! whichever node has the one or the other.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::command::Command;
use super::definitions::Definitions;
use super::lifecycle::Lifecycle;
use super::origin::{self, Parent, Ties};
use crate::event::{CAUSES, DedupeKey, Event};
use crate::expression::Value;
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::{Change, Child, End, Errand, Outcome};
use crate::secret::Redactor;
use crate::store::{self, Exchange, MailKind, NewEvent, NewMail, Target};

/// How deep sub-workflows may be nested: a workflow that runs itself must end.
pub const DEPTH_MAX: u32 = 16;

/// The end of a child, as it is mailed.
#[derive(Serialize, Deserialize)]
struct Ended<'a> {
    child: Id,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// Finds the version that a run wants to start at `depth`; what to journal: its start, or why not.
///
/// # Errors
/// Where the database does not answer.
pub async fn start(
    definitions: &Definitions,
    child: &Child,
    depth: u32,
) -> Result<Change, store::Error> {
    let refused = |problem: Problem| {
        Ok(Change::ChildEnded {
            child: child.run_id,
            outcome: Outcome::Faulted(problem),
        })
    };
    if depth > DEPTH_MAX {
        let detail = format!("sub-workflows are nested more than {DEPTH_MAX} deep");
        let problem = Problem::new(Kind::Runtime, detail).title("Nested too deep");
        return refused(problem);
    }
    let (namespace, name, version) = (&child.namespace, &child.name, &child.version);
    let identity = (namespace.as_str(), name.as_str(), version.as_str());
    let wrong = |what: &str| {
        let detail = format!("the workflow {namespace}/{name}/{version} {what}");
        Problem::new(Kind::Configuration, detail)
    };
    match definitions.version(identity).await? {
        None => refused(wrong("is not deployed")),
        Some(version) if version.retired => refused(wrong("is retired; it starts no more runs")),
        Some(version) => Ok(Change::ChildStarted {
            key: child.key.clone(),
            child: child.run_id,
            workflow_id: version.id,
        }),
    }
}

/// A run that has errands.
pub struct About<'a> {
    /// The run.
    pub run_id: Id,
    /// Who started it.
    pub ties: &'a Ties,
    /// What has led to it.
    pub lifecycle: &'a Lifecycle,
}

/// What other runs are to do, for the settlement of the entries that say so.
pub fn carry_out(errands: Vec<Errand>, of: &About<'_>, exchange: &mut Exchange) {
    for errand in errands {
        match errand {
            Errand::Start { child, workflow_id } => {
                exchange.events.push(start_of(of, &child, workflow_id));
            }
            Errand::Cancel(child) => exchange.mail.push(Command::Cancel.to(child)),
        }
    }
}

fn start_of(of: &About<'_>, child: &Child, workflow_id: i32) -> NewEvent {
    let attribute = |name: &str, value: String| (name.to_owned(), value);
    let (parent, depth) = (of.run_id, of.ties.depth_inside());
    let causes = of.lifecycle.causes_inside();
    let id = child.run_id.counterpart();
    let (source, event_id) = (origin::source(parent), id.to_string());
    let key = DedupeKey::new(&source, &event_id);
    NewEvent {
        event: Event {
            id,
            event_id,
            source,
            kind: origin::REQUESTED.to_owned(),
            attributes: BTreeMap::from_iter(
                [
                    attribute(origin::PARENT_RUN, parent.to_string()),
                    attribute(origin::PARENT_TASK, child.key.reference.to_string()),
                    attribute(origin::PARENT_AWAITS, child.awaited.to_string()),
                    attribute(origin::DEPTH, depth.to_string()),
                ]
                .into_iter()
                .chain(causes.map(|causes| attribute(CAUSES, causes))),
            ),
            content_type: Some("application/json".to_owned()),
            headers: Vec::new(),
            body: child.input.to_json().into(),
        },
        key,
        window_days: 1,
        target: Some(Target::Start {
            workflow_id,
            run_id: child.run_id,
        }),
    }
}

/// The end of a run, for the parent that waits for it; secrets are hidden in it.
#[must_use]
pub fn ended(parent: &Parent, run_id: Id, end: &End, redactor: &Redactor) -> Option<NewMail> {
    if !parent.awaits {
        return None;
    }
    let output = match end {
        End::Completed(output) => Some(String::from_utf8(output.to_json()).ok()?),
        _ => None,
    };
    let error = match end {
        End::Completed(_) => None,
        End::Faulted(problem) => Some(problem.clone()),
        End::Cancelled => {
            let problem = Problem::new(Kind::Runtime, "the sub-workflow was cancelled");
            Some(problem.title("The sub-workflow was cancelled"))
        }
    };
    let output: Option<&RawValue> = match &output {
        Some(output) => Some(serde_json::from_str(output).ok()?),
        None => None,
    };
    let child = run_id;
    let content = serde_json::to_vec(&Ended {
        child,
        output,
        error,
    });
    Some(NewMail {
        run_id: parent.run_id,
        id: Id::generate(),
        kind: MailKind::Child,
        content: Some(Bytes::from(redactor.redact_json(content.ok()?))),
    })
}

/// What the end of a child means to its parent; `None` where it cannot be read.
#[must_use]
pub fn returned(content: &[u8]) -> Option<Change> {
    let ended: Ended<'_> = serde_json::from_slice(content).ok()?;
    let outcome = match (ended.output, ended.error) {
        (Some(output), _) => Outcome::Completed(Value::from_json(output.get().as_bytes()).ok()?),
        (None, Some(problem)) => Outcome::Faulted(problem),
        (None, None) => return None,
    };
    let child = ended.child;
    Some(Change::ChildEnded { child, outcome })
}

/// What others must learn of a run that nobody has driven to its end.
#[must_use]
pub fn lost(ties: &Ties, run_id: Id, end: &End, redactor: &Redactor) -> Exchange {
    let parent = ties.parent.as_ref();
    let mail = parent.and_then(|parent| ended(parent, run_id, end, redactor));
    Exchange {
        mail: mail.into_iter().collect(),
        suspended: Some(false),
        ..Exchange::default()
    }
}
