//! The workflows in force on this node: a snapshot, replaced as a whole when definitions change.
//!
//! The database is the truth; this is a cache of compiled definitions. A run is pinned to its
//! workflow's id, so retired versions are still found here, read when first asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::store::workflows::Workflow;
use crate::store::{self, Store};
use crate::trigger::Triggers;
use crate::workflow::{self, Definition};

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
            let Some(definition) = self.compile(deployed.id, &deployed.text) else {
                continue;
            };
            let document = &definition.document;
            latest.insert(
                (document.namespace.clone(), document.name.clone()),
                deployed.id,
            );
            active.push((deployed.id, definition));
        }
        let triggers = Triggers::new(active);
        self.active.store(Arc::new(Active { triggers, latest }));
        self.loaded.send_replace(true);
        Ok(())
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
        let text = self.store.workflow_text(id).await?;
        Ok(text.and_then(|text| self.compile(id, &text)))
    }

    fn known(&self, id: i32) -> Option<Arc<Definition>> {
        self.compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn compile(&self, id: i32, text: &str) -> Option<Arc<Definition>> {
        if let Some(definition) = self.known(id) {
            return Some(definition);
        }
        match workflow::parse(text) {
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
