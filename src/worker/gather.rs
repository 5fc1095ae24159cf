//! Schedules that start on several events: looks whether what has been gathered suffices.
//!
//! The router stores what matched; this loop decides, on whatever node, and the statement that
//! uses events up lets one node win. A match appends an event that is addressed to its workflow, so
//! the run begins as every other does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::append::{Appended, chain};
use crate::event::{DedupeKey, Event};
use crate::expression::Value;
use crate::id::Id;
use crate::store::{self, Gathered, Gathering, Group, Link, NewEvent, Target};
use crate::trigger;

/// Pause between two looks for what other nodes have gathered, or left behind.
const PERIOD: Duration = Duration::from_secs(1);

/// The type of the event that starts a run on several events.
pub const GATHERED: &str = "io.hookwright.events.gathered";

/// Looks, for ever.
pub async fn run(shared: Arc<Shared>, mut link: Link, router: mpsc::Sender<Appended>) {
    shared.definitions.loaded().await;
    loop {
        let gathered = shared.gathered.notified();
        let _period = tokio::time::timeout(PERIOD, gathered).await;
        if let Err(error) = look(&shared, &mut link, &router).await {
            tracing::warn!(error = %chain(&error), "gathered events could not be looked at");
            tokio::time::sleep(PERIOD).await;
        }
    }
}

async fn look(
    shared: &Shared,
    link: &mut Link,
    router: &mpsc::Sender<Appended>,
) -> Result<(), store::Error> {
    for group in link.gathered_groups().await? {
        loop {
            let events = link.gathered(group).await?;
            let ids: Vec<Id> = events.iter().map(|gathered| gathered.id).collect();
            let Some(gathering) = decide(shared, group, events).await? else {
                link.looked_at(group, &ids).await?;
                break;
            };
            let used = link.use_gathered(&gathering).await?;
            if let (true, Some(new)) = (used, gathering.start) {
                let appended = Appended {
                    event: new.event,
                    target: new.target,
                    received_at: Instant::now(),
                };
                // Where it is full the inbox row remains and is read back.
                let _full = router.try_send(appended);
            }
        }
    }
    Ok(())
}

/// A match, where there is one; what belongs to no deployed workflow any more is used up.
async fn decide(
    shared: &Shared,
    group: Group,
    events: Vec<Gathered>,
) -> Result<Option<Gathering>, store::Error> {
    if events.is_empty() {
        return Ok(None);
    }
    let all = |events: &[Gathered]| events.iter().map(|gathered| gathered.id).collect();
    let nothing = |events| {
        Ok(Some(Gathering {
            group,
            events,
            start: None,
        }))
    };
    let definition = shared.definitions.workflow(group.0).await?;
    let active = definition.filter(|definition| {
        let document = &definition.document;
        shared
            .definitions
            .latest(&document.namespace, &document.name)
            == Some(group.0)
    });
    let Some(definition) = active else {
        return nothing(all(&events));
    };
    let lost: Vec<Id> = events
        .iter()
        .filter(|gathered| gathered.event.is_none())
        .map(|gathered| gathered.id)
        .collect();
    if !lost.is_empty() {
        return nothing(lost);
    }
    let offered: Vec<(&Event, u64)> = events
        .iter()
        .filter_map(|gathered| Some((gathered.event.as_ref()?, gathered.filters)))
        .collect();
    let Some(found) = trigger::complete(&definition, &offered) else {
        return Ok(None);
    };
    let used: Vec<Id> = found.used.iter().map(|at| offered[*at].0.id).collect();
    let document = &definition.document;
    let source = format!(
        "/{}/{}/{}",
        document.namespace, document.name, document.version
    );
    let start = found
        .input
        .map(|input| start(group, (&source, &used), &input));
    Ok(Some(Gathering {
        group,
        events: used,
        start,
    }))
}

fn start(group: Group, (source, used): (&str, &[Id]), input: &Value) -> NewEvent {
    let id = Id::generate();
    // The same events start a run once.
    let name: String = used.iter().map(Id::to_string).collect();
    let event_id = group.1.derive(&name).to_string();
    let event = Event {
        id,
        event_id,
        source: source.to_owned(),
        kind: GATHERED.to_owned(),
        attributes: BTreeMap::new(),
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: input.to_json().into(),
    };
    NewEvent {
        key: DedupeKey::new(&event.source, &event.event_id),
        event,
        window_days: 30,
        target: Some(Target::Start {
            workflow_id: group.0,
            run_id: Id::generate(),
        }),
    }
}
