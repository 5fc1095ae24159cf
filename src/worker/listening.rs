//! The filters that runs listen with, compiled: a snapshot on this node, renewed when a router
//! finds that it is not the latest.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::definitions::Definitions;
use crate::store::{self, Filter, Link};
use crate::trigger::{self, Listeners};

/// All filters as of one revision.
#[derive(Default)]
pub struct Known {
    /// The revision.
    pub revision: i64,
    /// The filters, indexed.
    pub listeners: Listeners,
    filters: HashSet<Filter>,
}

impl Known {
    /// Whether the database has this filter already.
    #[must_use]
    pub fn has(&self, filter: &Filter) -> bool {
        self.filters.contains(filter)
    }
}

/// What this node knows of them.
#[derive(Default)]
pub struct Listening(ArcSwap<Known>);

impl Listening {
    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        self.0.load_full()
    }

    /// Learns all filters there are.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn learn(
        &self,
        link: &mut Link,
        definitions: &Definitions,
    ) -> Result<(), store::Error> {
        let listened = link.listened().await?;
        let mut filters = Vec::with_capacity(listened.filters.len());
        for filter in &listened.filters {
            let Some(definition) = definitions.workflow(filter.workflow_id).await? else {
                continue;
            };
            let number = usize::try_from(filter.number).unwrap_or(usize::MAX);
            let place = (filter.reference.as_str(), number);
            filters.extend(trigger::Filter::new(filter.workflow_id, &definition, place));
        }
        self.0.store(Arc::new(Known {
            revision: listened.revision,
            listeners: Listeners::new(filters),
            filters: listened.filters.into_iter().collect(),
        }));
        Ok(())
    }
}
