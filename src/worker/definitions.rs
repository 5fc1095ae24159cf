//! The workflows in force on this node: a snapshot, replaced as a whole when definitions change.
//!
//! The database is the truth; this is a cache of compiled definitions. A run is pinned to its
//! workflow's id, so retired versions are still found here, read when first asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::store::timetables::NewSchedule;
use crate::store::workflows::Workflow;
use crate::store::{self, Store};
use crate::trigger::{Triggers, timetable};
use crate::workflow::definition::{Schedule, Timetable, When};
use crate::workflow::{self, Definition, Documents};

/// Compiled definitions by workflow id, and the triggers of the active ones.
pub struct Definitions {
    store: Store,
    active: ArcSwap<Active>,
    compiled: Mutex<HashMap<i32, Arc<Definition>>>,
    loaded: watch::Sender<bool>,
}

/// The active deployments at one moment.
#[derive(Default)]
pub struct Active {
    /// Their triggers.
    pub triggers: Triggers,
    /// Workflow ids by namespace and name.
    latest: HashMap<(String, String), i32>,
}

impl Definitions {
    /// Nothing is active until [`Definitions::reload`] has run.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            active: ArcSwap::default(),
            compiled: Mutex::default(),
            loaded: watch::Sender::new(false),
        }
    }

    /// Returns once what is deployed is known. Whoever decides about events or runs waits for it:
    /// those left by an earlier process would else be ignored, or called without their
    /// destination, by a node that has only just started.
    pub async fn loaded(&self) {
        let mut loaded = self.loaded.subscribe();
        // It cannot fail: the sender is ours.
        let _known = loaded.wait_for(|loaded| *loaded).await;
    }

    /// Reads the active deployments and compiles those not yet known.
    ///
    /// # Errors
    /// Where the database does not answer; the snapshot then stays as it was.
    pub async fn reload(&self) -> Result<(), store::Error> {
        let mut latest = HashMap::new();
        let mut active = Vec::new();
        for deployed in self.store.deployed_workflows().await? {
            let Some(definition) = self.compile(&deployed) else {
                continue;
            };
            let document = &definition.document;
            latest.insert(
                (document.namespace.clone(), document.name.clone()),
                deployed.id,
            );
            active.push((deployed.id, definition));
        }
        self.agree(&active).await?;
        let triggers = Triggers::new(active);
        self.active.store(Arc::new(Active { triggers, latest }));
        self.loaded.send_replace(true);
        Ok(())
    }

    /// Tells whenever the active deployments have been read.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.loaded.subscribe()
    }

    /// Makes the schedules agree with the deployments: a version that was activated ticks from then
    /// on, in the place of the one before. Where another node is doing so too, both do the same.
    async fn agree(&self, active: &[(i32, Arc<Definition>)]) -> Result<(), store::Error> {
        let timed: HashMap<i32, &Timetable> = active
            .iter()
            .filter_map(|(id, definition)| match &definition.schedule {
                Some(Schedule::Time(timetable)) => Some((*id, timetable.as_ref())),
                _ => None,
            })
            .collect();
        if timed.is_empty() {
            return Ok(());
        }
        let ids: Vec<i32> = timed.keys().copied().collect();
        let mut new = Vec::new();
        for outdated in self.store.outdated_schedules(&ids).await? {
            let Some(timetable) = timed.get(&outdated.workflow_id) else {
                continue;
            };
            let before = (outdated.due_at(), outdated.last_due_at());
            let due_at = timetable::first(timetable, outdated.activated_at, before);
            let after_us = match timetable.when {
                When::After(span) => i64::try_from(span.as_micros()).ok(),
                _ => None,
            };
            new.push(NewSchedule {
                workflow_id: outdated.workflow_id,
                activated_at: outdated.activated_at,
                due_at,
                after_us,
            });
        }
        if new.is_empty() {
            return Ok(());
        }
        self.store.put_schedules(&new).await
    }

    /// The deployments active now.
    #[must_use]
    pub fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// The id of the active version of a workflow.
    #[must_use]
    pub fn latest(&self, namespace: &str, name: &str) -> Option<i32> {
        self.active
            .load()
            .latest
            .get(&(namespace.to_owned(), name.to_owned()))
            .copied()
    }

    /// A version of a workflow as the database knows it now; `latest` is the active one.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn version(
        &self,
        identity: (&str, &str, &str),
    ) -> Result<Option<Workflow>, store::Error> {
        self.store.workflow(identity).await
    }

    /// A workflow by id, whatever its version.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn workflow(&self, id: i32) -> Result<Option<Arc<Definition>>, store::Error> {
        if let Some(definition) = self.known(id) {
            return Ok(Some(definition));
        }
        let stored = self.store.workflow_by_id(id).await?;
        Ok(stored.and_then(|stored| self.compile(&stored)))
    }

    fn known(&self, id: i32) -> Option<Arc<Definition>> {
        self.compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn compile(&self, stored: &Workflow) -> Option<Arc<Definition>> {
        let id = stored.id;
        if let Some(definition) = self.known(id) {
            return Some(definition);
        }
        let documents = Documents::pinned(stored.pins.as_deref().unwrap_or_default());
        match workflow::parse_with(&stored.text, &documents) {
            Ok(definition) => {
                let definition = Arc::new(definition);
                let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
                compiled.insert(id, Arc::clone(&definition));
                Some(definition)
            }
            Err(faults) => {
                // It was accepted by another version of the server; this one leaves it alone.
                let first = faults.first().map_or("", |fault| fault.message.as_str());
                tracing::error!(
                    workflow.id = id,
                    fault = first,
                    "a stored workflow cannot be read"
                );
                None
            }
        }
    }
}
