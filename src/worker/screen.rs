//! Screens: events of sources that are paused are held, those their filter refuses are left out.
//!
//! The router asks before it asks any trigger. Events of a paused source leave the inbox for a
//! table of their own, so that a long pause slows nobody; when the source goes on, or is gone, they
//! come back oldest first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Shared;
use super::append::{Appended, chain};
use crate::event::Event;
use crate::store::{self, Link, Store};
use crate::trigger::{Screen, is_asked_for};

/// Pause between two looks for held events of sources that are not paused.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Longest pause after a failed statement.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// What sources say of their events, as this node knows it.
#[derive(Default)]
pub struct Screens(ArcSwap<HashMap<String, Screen>>);

impl Screens {
    /// Puts these in force, in place of all others.
    pub fn replace(&self, screens: Vec<Screen>) {
        let table = screens
            .into_iter()
            .map(|screen| (screen.source.clone(), screen));
        self.0.store(Arc::new(table.collect()));
    }

    /// Why this event is left out, if it is.
    #[must_use]
    pub fn refuses(&self, event: &Event) -> Option<String> {
        let table = self.0.load();
        if table.is_empty() {
            return None;
        }
        table.get(&event.source)?.refuses(event)
    }

    fn holds(&self, source: &str) -> bool {
        let table = self.0.load();
        !table.is_empty() && table.get(source).is_some_and(|screen| screen.paused)
    }
}

/// Takes the events out of a batch that are to be held; tries until the database has answered.
pub(super) async fn hold(shared: &Shared, link: &mut Link, batch: &mut Vec<Appended>) {
    let is_held = |appended: &mut Appended| {
        appended.target.is_none()
            && shared.screens.holds(&appended.event.source)
            && !is_asked_for(&appended.event)
    };
    let held: Vec<_> = batch
        .extract_if(.., is_held)
        .map(|appended| (appended.event.id, appended.event.source))
        .collect();
    if held.is_empty() {
        return;
    }
    let mut pause = Duration::from_millis(100);
    while let Err(error) = link.hold(&held).await {
        tracing::warn!(error = %chain(&error), "events could not be held; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

/// Gives events back to the inbox whose source is not paused, for ever.
pub async fn run(shared: Arc<Shared>) {
    let store = shared.screens_store.clone();
    shared.definitions.loaded().await;
    loop {
        tokio::time::sleep(LOOK_PERIOD).await;
        let sources = match store.held_sources().await {
            Ok(sources) => sources,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "held events could not be looked at");
                continue;
            }
        };
        for source in sources {
            if let Err(error) = release(&shared, &store, &source).await {
                tracing::warn!(error = %chain(&error), "held events could not go on");
            }
        }
    }
}

/// Gives all events of a source back, unless it is paused.
async fn release(shared: &Shared, store: &Store, source: &str) -> Result<(), store::Error> {
    while !shared.screens.holds(source) && store.release_held(source).await? > 0 {}
    Ok(())
}
