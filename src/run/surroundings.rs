//! What surrounds a run: the same for all its entries, and given from outside.

use std::sync::Arc;

use serde::Deserialize;

use super::Links;
use crate::expression::Value;
use crate::id::Id;

/// Gives the value of a secret by its name; `None` where it is unknown.
pub type Resolve = dyn Fn(&str) -> Option<Value> + Send + Sync;

/// What surrounds a run and is the same for all its entries.
pub struct Surroundings {
    /// The run's id: `$workflow.id`.
    pub id: Id,
    /// Name of the environment: `$runtime.metadata.environment`.
    pub environment: Arc<str>,
    /// Resolves `$secrets.<name>`; `None` where unknown. Asked only for names in `use.secrets`.
    pub secrets: Arc<Resolve>,
    /// [`Config::tasks_max`].
    pub tasks_max: u32,
    /// Makes the links of approvals.
    pub links: Arc<Links>,
}

/// What may be set about runs; the section `[run]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Most task executions of one run, so that a loop by `then` ends. One more faults the run
    /// with a runtime error that no `catch` sees.
    pub tasks_max: u32,
}

impl std::fmt::Debug for Surroundings {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("id", &self.id)
            .field("environment", &self.environment)
            .field("tasks_max", &self.tasks_max)
            .finish_non_exhaustive()
    }
}
