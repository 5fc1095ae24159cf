//! What every deployed filter says of one event: for the question why something did not start.
//!
//! Unlike routing this looks at all deployments, so nobody asks it for each event.

use std::cell::OnceCell;

use super::filter::{Candidate, ReceivedAt, Verdict};
use super::{Lazy, Triggers, attribute, envelope, received_at};
use crate::event::Event;
use crate::workflow::definition::Document;

/// Filters that are told of one event at most.
pub const TOLD_MAX: usize = 100;

/// What one filter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its workflow.
    pub namespace: String,
    /// Its workflow.
    pub name: String,
    /// Its workflow's version.
    pub version: String,
    /// Whether it lets the event through.
    pub matches: bool,
    /// What decided, as a sentence without data.
    pub reason: String,
}

impl Triggers {
    /// What the filters say that ask for events of this type, or of any; at most [`TOLD_MAX`].
    #[must_use]
    pub fn verdicts(&self, event: &Event) -> Vec<Told> {
        let envelope = Lazy {
            make: &|| envelope(event),
            made: OnceCell::new(),
        };
        let scope = ReceivedAt(received_at(event));
        let candidate = Candidate {
            attribute: &|name| attribute(event, name),
            envelope: &|| envelope.get(),
            scope: &scope,
            is_run: true,
        };
        let filters = self.filters.iter().filter_map(|(place, number)| {
            let deployment = &self.deployments[*place];
            let verdict = candidate.judge(deployment.filter(*number)?);
            let Document {
                namespace,
                name,
                version,
                ..
            } = &deployment.definition.document;
            (!verdict.is_about("type")).then(|| Told {
                namespace: namespace.clone(),
                name: name.clone(),
                version: version.clone(),
                matches: matches!(verdict, Verdict::Matches),
                reason: verdict.to_string(),
            })
        });
        filters.take(TOLD_MAX).collect()
    }
}
