//! What a run begins with and where it comes from: read from the event that started it.
//!
//! An event that is addressed to a run was made by the server, so its attributes can be believed:
//! they say which run it repeats, or which run started it as a sub-workflow. The same names in an
//! event from outside mean nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::route;
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::run::{Entry, entry};
use crate::trigger::REPLAY_OF;
use crate::workflow::Definition;

/// Media type of the body of a start that brings a journal with it: `{"input", "journal"}`.
pub const RESUMING: &str = "application/vnd.hookwright.replay+json";

/// CloudEvents `type` of an event that starts one run.
pub const REQUESTED: &str = "io.hookwright.run.requested.v1";

/// The attribute that names the task from which it is repeated.
pub const REPLAY_FROM: &str = "replayfrom";

/// The attribute that names the run that started this one as a sub-workflow.
pub const PARENT_RUN: &str = "parentrun";

/// The attribute that names the task of that run.
pub const PARENT_TASK: &str = "parenttask";

/// The attribute that says whether that task waits for the end.
pub const PARENT_AWAITS: &str = "parentawaits";

/// The attribute that counts the runs around a sub-workflow.
pub const DEPTH: &str = "depth";

/// CloudEvents `source` of what a run publishes about itself and those it starts.
#[must_use]
pub fn source(run: Id) -> String {
    format!("/api/v1/runs/{run}")
}

/// What a run begins with.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Raw input of the workflow.
    pub input: Value,
    /// Entries of another run that this one begins with.
    pub journal: Vec<Entry>,
    /// Who started it and what it repeats.
    pub ties: Ties,
}

/// How a run hangs together with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// The run it repeats, and from which task, where not from the start.
    pub replay_of: Option<(Id, Option<String>)>,
    /// The run that started it as a sub-workflow.
    pub parent: Option<Parent>,
}

/// Who started a sub-workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The run.
    pub run_id: Id,
    /// Its task.
    pub reference: String,
    /// Whether it waits for the end.
    pub awaits: bool,
    /// How many runs are around this one.
    pub depth: u32,
}

/// A body with a journal.
#[derive(Deserialize)]
struct Resuming<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow)]
    journal: &'a RawValue,
}

/// What the run begins with that this event starts.
///
/// # Errors
/// Where the journal that comes with it cannot be read.
pub fn of(event: &Event, addressed: bool, definition: &Definition) -> Result<Origin, String> {
    if !addressed {
        let input = route::input(event, false, definition);
        return Ok(Origin {
            input,
            ..Origin::default()
        });
    }
    let ties = Ties::of(&event.attributes);
    if event.content_type.as_deref() != Some(RESUMING) {
        let input = route::input(event, true, definition);
        let journal = Vec::new();
        return Ok(Origin {
            input,
            journal,
            ties,
        });
    }
    let body: Resuming<'_> = serde_json::from_slice(&event.body)
        .map_err(|_| "the event of this replay cannot be read".to_owned())?;
    let input = Value::from_json(body.input.get().as_bytes()).map_err(|error| error.to_string())?;
    let journal = entry::decode(body.journal.get().as_bytes()).map_err(|it| it.to_string())?;
    Ok(Origin {
        input,
        journal,
        ties,
    })
}

/// The body of a start that brings a journal with it.
#[must_use]
pub fn resuming(input: &Value, journal: &[Entry]) -> Vec<u8> {
    let mut body = b"{\"input\":".to_vec();
    input.write_json(&mut body);
    body.extend_from_slice(b",\"journal\":");
    body.extend_from_slice(&entry::encode(journal));
    body.push(b'}');
    body
}

impl Ties {
    /// How many runs are around those that this one starts.
    #[must_use]
    pub fn depth_inside(&self) -> u32 {
        self.parent
            .as_ref()
            .map_or(1, |parent| parent.depth.saturating_add(1))
    }

    /// What an event says of the run it starts; one that is not addressed says nothing.
    #[must_use]
    pub fn of_event(event: &Event, addressed: bool) -> Self {
        match addressed {
            true => Self::of(&event.attributes),
            false => Self::default(),
        }
    }

    fn of(attributes: &BTreeMap<String, String>) -> Self {
        let id = |name: &str| attributes.get(name)?.parse().ok();
        let parent = id(PARENT_RUN).map(|run_id| Parent {
            run_id,
            reference: attributes.get(PARENT_TASK).cloned().unwrap_or_default(),
            awaits: attributes.get(PARENT_AWAITS).is_some_and(|it| it == "true"),
            depth: attributes
                .get(DEPTH)
                .and_then(|text| text.parse().ok())
                .unwrap_or(1),
        });
        let replay_of = id(REPLAY_OF).map(|run| (run, attributes.get(REPLAY_FROM).cloned()));
        Self { replay_of, parent }
    }
}
