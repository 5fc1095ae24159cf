//! The batch loop: events that were gathered start runs together.
//!
//! The router gathers events of workflows with `metadata.batch` or `debounce` and does not start
//! runs for them. What is due becomes one event, addressed to its run, whose body is that run's
//! input; whoever takes the events out of their batch appends it, in one statement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Shared;
use super::append::{Appended, chain};
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::store::batches::{BATCH_BYTES_MAX, DueBatch, Gathered, Start};
use crate::store::{self, Link, Store, Target};
use crate::trigger::{self, gate};
use crate::workflow::Definition;
use crate::workflow::definition::{Gather, Gathering};

/// CloudEvents `type` of the event that stands for gathered ones.
const BATCHED: &str = "io.hookwright.events.batched.v1";

/// Longest pause between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// Pause before a batch is looked at again whose events are on their way out of the inbox.
const SOON: Duration = Duration::from_millis(25);

/// Events of a debounced run that are dropped for the last of them, in one statement.
const DROPPED_MAX: u32 = 10_000;

/// Pause between two looks for batches to forget.
const FORGET_PERIOD: Duration = Duration::from_secs(600);

/// Longest pause after a failed statement.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Where events are gathered.
pub struct Batches {
    store: Store,
    due: Notify,
}

impl Batches {
    /// The batches in this database.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            due: Notify::new(),
        }
    }

    /// Gathers events of the inbox, which are not routed yet; tries until the database has
    /// answered.
    pub async fn gather(&self, gathered: Vec<Gathered>) {
        if gathered.is_empty() {
            return;
        }
        let mut pause = Duration::from_millis(100);
        loop {
            match self.store.gather(gathered.clone()).await {
                Ok(false) => return,
                Ok(true) => return self.due.notify_one(),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "events could not be gathered; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
    }
}

/// An event to gather for a workflow that it matches, or why it cannot be.
pub fn gathered(
    gathering: &Gathering,
    event: &Event,
    (workflow_id, definition): (i32, &Definition),
) -> Result<Gathered, String> {
    let document = &definition.document;
    let received_at = super::execute::created_at(event.id);
    let key = match &gathering.key {
        None => gate::key_of(&Value::null()),
        Some(key) => {
            let input = trigger::input(definition, event);
            let key = gate::evaluate(key, &input, received_at).map_err(|error| {
                let (namespace, name) = (&document.namespace, &document.name);
                format!("the key by which {namespace}/{name} gathers events: {error}")
            })?;
            gate::key_of(&key)
        }
    };
    let (events_max, wait_max, quiet) = match gathering.rule {
        Gather::Batch {
            events_max,
            wait_max,
        } => (events_max, wait_max, None),
        Gather::Debounce { quiet, wait_max } => (u32::MAX, wait_max, Some(quiet)),
    };
    Ok(Gathered {
        namespace: document.namespace.clone(),
        name: document.name.clone(),
        key,
        workflow_id,
        event_id: event.id,
        bytes: i64::try_from(event.body.len()).unwrap_or(i64::MAX),
        events_max: events_max.min(i32::MAX.unsigned_abs()),
        wait_max,
        quiet,
    })
}

/// Starts runs for what is due, for ever; their events go on to `router`.
pub async fn run(shared: Arc<Shared>, mut link: Link, router: mpsc::Sender<Appended>) {
    let mut pause = LOOK_PERIOD;
    let mut soon = SOON;
    let mut forgotten_at = Instant::now();
    shared.definitions.loaded().await;
    loop {
        let _period = tokio::time::timeout(pause, shared.batches.due.notified()).await;
        pause = match look(&shared, &mut link, &router).await {
            Ok(Looked::Clear(pause)) => {
                soon = SOON;
                pause.min(LOOK_PERIOD)
            }
            Ok(Looked::Left) => {
                soon = (soon * 2).min(LOOK_PERIOD);
                soon
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "gathered events could not be looked at");
                LOOK_PERIOD
            }
        };
        if forgotten_at.elapsed() > FORGET_PERIOD {
            forgotten_at = Instant::now();
            let _later = link.forget_batches().await;
        }
    }
}

/// What a look left behind.
enum Looked {
    /// Nothing that is due; this long until something will be.
    Clear(Duration),
    /// Something that is due and could not be taken yet.
    Left,
}

async fn look(
    shared: &Shared,
    link: &mut Link,
    router: &mpsc::Sender<Appended>,
) -> Result<Looked, store::Error> {
    let look = link.due_batches().await?;
    let (due, mut taken) = (look.due.len(), 0);
    for batch in look.due {
        let Some(definition) = shared.definitions.workflow(batch.workflow_id).await? else {
            continue;
        };
        let Some(gathering) = &definition.gathering else {
            continue;
        };
        let id = Id::at(look.now);
        let start = take(link, batch, (&definition, gathering.rule), id).await?;
        if let Some(start) = start {
            taken += 1;
            hand_over(start, batch.workflow_id, router);
        }
    }
    if taken < due {
        return Ok(Looked::Left);
    }
    // What was taken may be due again at once.
    let pause = if due > 0 { SOON } else { LOOK_PERIOD };
    Ok(Looked::Clear(
        look.next_in.map_or(pause, |next| next.min(pause)),
    ))
}

/// Takes what is due out of a batch and appends the event that stands for it.
async fn take(
    link: &mut Link,
    batch: DueBatch,
    (definition, rule): (&Definition, Gather),
    id: Id,
) -> Result<Option<Start>, store::Error> {
    let (limit, events_max, wait) = match rule {
        Gather::Batch {
            events_max,
            wait_max,
        } => (events_max, events_max, wait_max),
        Gather::Debounce { quiet, .. } => (DROPPED_MAX, u32::MAX, quiet),
    };
    let mut members = link.batch_members(batch.id, limit).await?;
    let given = match rule {
        Gather::Batch { .. } => {
            members.truncate(within(&members));
            members.iter().map(|(id, _)| *id).collect()
        }
        Gather::Debounce { .. } => members.last().map(|(id, _)| vec![*id]).unwrap_or_default(),
    };
    if members.is_empty() {
        return Ok(None);
    }
    let events = link.events_of(&given).await?;
    let input = events
        .iter()
        .filter_map(|event| trigger::input(definition, event).items())
        .flatten()
        .collect();
    let document = &definition.document;
    let start = Start {
        event_id: id,
        source: format!(
            "/api/v1/workflows/{}/{}/{}",
            document.namespace, document.name, document.version
        ),
        kind: BATCHED,
        input: Value::array(input).to_json(),
        run_id: id.counterpart(),
        events_max: events_max.min(i32::MAX.unsigned_abs()),
        wait,
    };
    let taken = link.take_batch(batch, &members, &start).await?;
    tracing::debug!(
        workflow.name = document.name,
        events = members.len(),
        taken,
        "gathered events were due"
    );
    Ok(taken.then_some(start))
}

/// How many of them fit into one run; one always does.
fn within(members: &[(Id, i64)]) -> usize {
    let mut bytes = 0;
    let fits = members.iter().take_while(|(_, length)| {
        bytes += length;
        bytes <= BATCH_BYTES_MAX
    });
    fits.count().max(1)
}

/// Hands the event to the router of this node; where that is busy, it reads the inbox when it has
/// caught up.
fn hand_over(start: Start, workflow_id: i32, router: &mpsc::Sender<Appended>) {
    let event = Event {
        id: start.event_id,
        event_id: start.event_id.to_string(),
        source: start.source,
        kind: start.kind.to_owned(),
        attributes: std::collections::BTreeMap::new(),
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: Bytes::from(start.input),
    };
    let _busy = router.try_send(Appended {
        event,
        target: Some(Target::Start {
            workflow_id,
            run_id: start.run_id,
        }),
        received_at: Instant::now(),
    });
}
