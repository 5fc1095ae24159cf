//! Writes down what APIs announce about themselves, and says so in the log: one event for each
//! announcement and task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Shared;
use super::append::{Appender, chain};
use crate::call::announced::Change;
use crate::event::{DedupeKey, Event};
use crate::expression::Value;
use crate::id::Id;
use crate::store::changes::NewChange;
use crate::store::{self, Link, NewEvent};

/// CloudEvents `type` of the events.
const ANNOUNCED: &str = "io.hookwright.destination.change.announced.v1";

/// Pause between two looks.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Days within which the same announcement is no other event.
const WINDOW_DAYS: u16 = 30;

/// Writes for ever.
pub async fn run(shared: Arc<Shared>, mut link: Link, appender: Appender) {
    loop {
        tokio::time::sleep(LOOK_PERIOD).await;
        for change in shared.destinations.take_changes() {
            if let Err(error) = write(&shared, &mut link, change, &appender).await {
                // It is said again, with one of the next answers.
                let error = chain(&error);
                tracing::warn!(%error, "an announced change could not be stored");
            }
        }
    }
}

async fn write(
    shared: &Shared,
    link: &mut Link,
    change: Change,
    appender: &Appender,
) -> Result<(), store::Error> {
    let redactor = shared.redactor();
    let announced = change.announced;
    let change = NewChange {
        run_id: change.run_id,
        host: change.host,
        kind: announced.kind.word(),
        reference: change.reference,
        destination: change.destination,
        text: redactor.redact(&announced.text).into_owned(),
        link: announced
            .link
            .map(|link| redactor.redact(&link).into_owned()),
        effective_at: announced.effective_at,
    };
    if !link.knows_change(&change).await? {
        tracing::warn!(
            destination.name = change.destination,
            destination.host = change.host,
            task.reference = change.reference,
            run.id = %change.run_id,
            kind = change.kind,
            text = change.text,
            "an API announces a change"
        );
        let event = event(&change);
        let new = NewEvent {
            key: DedupeKey::new(&event.source, &event.event_id),
            event,
            window_days: WINDOW_DAYS,
            target: None,
        };
        if appender.append(new).await.is_err() {
            return Ok(());
        }
    }
    link.put_change(&change).await
}

fn event(change: &NewChange) -> Event {
    let text = |name: &str, text: &str| (name.to_owned(), Value::string(text));
    let name = change.destination.as_deref().unwrap_or(&change.host);
    let mut data = vec![
        text("destination", name),
        text("host", &change.host),
        text("kind", change.kind),
        text("text", &change.text),
        text("task", &change.reference),
        text("runId", &change.run_id.to_string()),
    ];
    data.extend(change.link.iter().map(|link| text("link", link)));
    let effective_at = change.effective_at.map(|at| at.to_string());
    data.extend(effective_at.iter().map(|at| text("effectiveAt", at)));
    Event {
        id: Id::generate(),
        event_id: format!("{} {} {}", change.kind, change.reference, change.text),
        source: format!("/destinations/{name}"),
        kind: ANNOUNCED.to_owned(),
        attributes: BTreeMap::from([
            ("subject".to_owned(), name.to_owned()),
            ("time".to_owned(), Timestamp::now().to_string()),
        ]),
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: Value::object(data).to_json().into(),
    }
}
