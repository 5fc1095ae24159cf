//! Keeps nodes agreed on which destinations are down, and says so in the log.
//!
//! What this node found out goes to the database, what is known there comes back, at once when
//! another node has said something and once a second in any case. Going down and coming up are
//! events of the log, one each, however many nodes there are: each change has a number, and the
//! event of a number is appended once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Shared;
use super::append::{Appender, chain};
use crate::call::News;
use crate::event::{DedupeKey, Event};
use crate::expression::Value;
use crate::id::Id;
use crate::store::conditions::Condition;
use crate::store::{self, Link, NewEvent};

/// Types of the events.
const DOWN: &str = "io.hookwright.destination.down.v1";
const UP: &str = "io.hookwright.destination.up.v1";

/// Longest pause between two looks.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Pause between two looks for runs whose calls may begin one after the other.
const CLAIM_PERIOD: Duration = Duration::from_millis(50);

/// News that is kept while the database does not answer; older news is let go.
const NEWS_MAX: usize = 1_000;

/// Days within which the event of a change is appended once.
const WINDOW_DAYS: u16 = 1;

/// Hears at once what other nodes have found out, for ever.
pub async fn hear(shared: Arc<Shared>, store: store::Store) {
    let mut ear = store.ear(store::conditions::CHANNEL);
    loop {
        ear.heard().await;
        shared.destinations.look();
    }
}

/// Tells and learns, for ever.
pub async fn run(shared: Arc<Shared>, mut link: Link, appender: Appender) {
    let mut untold: Vec<(i32, News)> = Vec::new();
    let mut looked_at: Option<Instant> = None;
    loop {
        let limited = shared.destinations.is_limited();
        let period = if limited { CLAIM_PERIOD } else { LOOK_PERIOD };
        let news = tokio::time::timeout(period, shared.destinations.news()).await;
        if limited {
            shared.wake_claims.notify_one();
        }
        if news.is_err() && looked_at.is_some_and(|at| at.elapsed() < LOOK_PERIOD) {
            continue;
        }
        looked_at = Some(Instant::now());
        untold.extend(shared.destinations.take_news());
        let surplus = untold.len().saturating_sub(NEWS_MAX);
        untold.drain(..surplus);
        if let Err(error) = round(&shared, &mut link, &mut untold, &appender).await {
            let error = chain(&error);
            tracing::warn!(%error, "what is known of destinations could not be exchanged");
        }
    }
}

async fn round(
    shared: &Shared,
    link: &mut Link,
    untold: &mut Vec<(i32, News)>,
    appender: &Appender,
) -> Result<(), store::Error> {
    let session = shared.session.id();
    while let Some((destination, news)) = untold.first() {
        match tell(link, (*destination, session), news).await {
            Err(error @ store::Error::Unavailable(_)) => return Err(error),
            Err(error) => tracing::error!(error = %chain(&error), "a condition was refused"),
            Ok(()) => {}
        }
        untold.remove(0);
    }
    let conditions = link.conditions().await?;
    shared.destinations.learn(&conditions);
    for (destination, lease) in shared.destinations.probes_wanted() {
        if link.probe_destination(destination, session, lease).await? {
            shared.destinations.probe(destination, lease);
            shared.wake_claims.notify_one();
        }
    }
    for condition in &conditions {
        publish(shared, link, condition, appender).await?;
    }
    if shared.destinations.is_troubled() && link.call_parked().await? > 0 {
        shared.wake_claims.notify_one();
    }
    Ok(())
}

async fn tell(
    link: &mut Link,
    (destination, session): (i32, i64),
    news: &News,
) -> Result<(), store::Error> {
    match news {
        News::Down { cause, pause } => link.destination_down(destination, cause, *pause).await,
        News::StillDown {
            cause,
            pause,
            pause_max,
        } => {
            let pauses = (*pause, *pause_max);
            link.destination_still_down((destination, session), cause, pauses)
                .await
        }
        News::Up => link.destination_up(destination, session).await,
        News::Held(pause) => link.destination_held(destination, *pause).await,
        News::Slowed { rate, shared } => link.destination_slowed(destination, *rate, *shared).await,
        News::Changed => link.destination_changed(destination).await,
    }
}

/// Appends the events of changes that are not in the log yet. Another node that does so at the
/// same time appends the same, which is found to be there.
async fn publish(
    shared: &Shared,
    link: &mut Link,
    condition: &Condition,
    appender: &Appender,
) -> Result<(), store::Error> {
    let destination = condition.destination_id;
    for change in condition.told + 1..=condition.changes {
        if let Some(name) = shared.destinations.name_of(destination) {
            let event = event(&name, change, condition);
            let key = DedupeKey::new(&event.source, &event.event_id);
            let (down, cause) = (change % 2 == 1, condition.cause.as_deref());
            tracing::warn!(
                destination.name = &*name,
                down,
                cause,
                "a destination has changed"
            );
            let new = NewEvent {
                event,
                key,
                window_days: WINDOW_DAYS,
                target: None,
            };
            if appender.append(new).await.is_err() {
                // The next look finds it.
                return Ok(());
            }
        }
        link.told_condition(destination, change).await?;
    }
    Ok(())
}

fn event(name: &str, change: i32, condition: &Condition) -> Event {
    let down = change % 2 == 1;
    let text = |name: &str, text: &str| (name.to_owned(), Value::string(text));
    let mut data = vec![
        text("destination", name),
        text("since", &condition.since.to_string()),
    ];
    data.extend(condition.cause.iter().map(|cause| text("cause", cause)));
    Event {
        id: Id::generate(),
        event_id: format!("{}-{change}", condition.destination_id),
        source: format!("/destinations/{name}"),
        kind: if down { DOWN } else { UP }.to_owned(),
        attributes: BTreeMap::from([
            ("subject".to_owned(), name.to_owned()),
            ("time".to_owned(), Timestamp::now().to_string()),
        ]),
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: Value::object(data).to_json().into(),
    }
}
