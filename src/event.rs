//! Events: what the log holds. A CloudEvents 1.0 context with the body exactly as it was received.
//!
//! Built by the doors (webhook, API, schedules), stored by `store`, matched by `trigger`. This
//! module only holds the words and the keys; it neither parses bodies nor talks to Postgres.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::id::Id;

/// One event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Our id: key of the row, answer to the sender, and time of receipt.
    pub id: Id,
    /// CloudEvents `id`: the sender's delivery or event id.
    pub event_id: String,
    /// CloudEvents `source`: `/hooks/<name>` for webhooks.
    pub source: String,
    /// CloudEvents `type`: `<provider>.<the sender's type>` for webhooks.
    pub kind: String,
    /// The other context attributes: `subject`, `time`, `dataschema` and extensions.
    pub attributes: BTreeMap<String, String>,
    /// CloudEvents `datacontenttype`: the media type of the body.
    pub content_type: Option<String>,
    /// The delivery's headers in the order received; credentials are masked.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// How the types of the events begin that tell of the lifecycle of runs and tasks.
pub const LIFECYCLE: &str = "io.serverlessworkflow.";

/// Whether events of this type tell of the lifecycle of runs and tasks.
#[must_use]
pub fn is_lifecycle(kind: &str) -> bool {
    kind.starts_with(LIFECYCLE)
}

/// The type of the events that are decisions on approvals. They count only where they are addressed
/// to the run that asks, which nobody can do but this server.
pub const DECIDED: &str = "io.hookwright.approval.decided.v1";

/// The extension attribute of a lifecycle event that names the workflows (`namespace/name`, by
/// spaces) whose lifecycle has led to the run it tells of.
pub const CAUSES: &str = "hookwrightcauses";

/// The workflow (`namespace/name`) that a lifecycle event tells of: its source says so.
#[must_use]
pub fn workflow_of(event: &Event) -> Option<&str> {
    let path = event.source.strip_prefix('/')?;
    path.rsplit_once('/').map(|(workflow, _)| workflow)
}

/// Whether a lifecycle event tells of a run to which the lifecycle of this workflow has led.
#[must_use]
pub fn is_caused_by(event: &Event, namespace: &str, name: &str) -> bool {
    let causes = event.attributes.get(CAUSES);
    causes.is_some_and(|causes| {
        let mut workflows = causes.split(' ').filter_map(|it| it.split_once('/'));
        workflows.any(|workflow| workflow == (namespace, name))
    })
}

/// What makes two deliveries the same event: a 128-bit digest of the source and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupeKey(pub [u8; 16]);

impl DedupeKey {
    /// The key of an id within a source.
    #[must_use]
    pub fn new(source: &str, id: &str) -> Self {
        Self::digest(&[source.as_bytes(), &[0], id.as_bytes()])
    }

    /// The key of a delivery that carries no id: its method, path and body.
    #[must_use]
    pub fn of_content(source: &str, method: &str, path: &str, body: &[u8]) -> Self {
        Self::digest(&[
            source.as_bytes(),
            &[1],
            method.as_bytes(),
            &[0],
            path.as_bytes(),
            &[0],
            body,
        ])
    }

    fn digest(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(key)
    }
}
