//! The definitions a run is played against.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::SecretString;

use crate::call::{self, Declared, Destinations, Document};
use crate::secret::Secrets;
use crate::workflow::Definition;

/// Networks that make every address allowed: in a rehearsal nothing is sent, so nothing is guarded.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The definitions a run is played against, and the settings for calls and runs.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The destinations.
    pub destinations: Vec<Arc<Document>>,
    /// The workflows that may be started as sub-workflows.
    pub workflows: Vec<Arc<Definition>>,
    /// Section `[call]`.
    pub call: call::Config,
    /// `run.tasks_max`.
    pub tasks_max: u32,
}

impl Stage {
    /// The workflow of this namespace, name and version; `latest` where there is but one version.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn workflow(
        &self,
        (namespace, name, version): (&str, &str, &str),
    ) -> Result<&Arc<Definition>, String> {
        let is_meant = |definition: &&Arc<Definition>| {
            let document = &definition.document;
            let named = document.namespace == namespace && document.name == name;
            named && (version == "latest" || document.version == version)
        };
        let mut found = self.workflows.iter().filter(is_meant);
        match (found.next(), found.next()) {
            (Some(definition), None) => Ok(definition),
            (None, _) => Err(format!(
                "the workflow {namespace}/{name}/{version} is not among the definitions"
            )),
            (Some(_), Some(_)) => Err(format!(
                "there are several versions of {namespace}/{name}, and none of them is active \
                 here; name the version"
            )),
        }
    }

    /// The destinations, for real calls.
    ///
    /// # Errors
    /// Where the settings name a wrong network, or TLS cannot be set up.
    pub(super) fn open(
        &self,
        secrets: &Arc<Secrets>,
        config: call::Config,
    ) -> Result<Destinations, call::Error> {
        let declared = self.destinations.iter().zip(1..);
        let declared = declared.map(|(document, number)| Declared {
            number,
            version: 1,
            document: Arc::clone(document),
        });
        // The metrics of a run in memory are nobody's.
        let registry = prometheus::Registry::new();
        Destinations::new(declared.collect(), Arc::clone(secrets), config, &registry)
    }

    /// The destinations, for rehearsals, and the secrets they have.
    pub(super) fn rehearsed(
        &self,
        secrets: &[(String, String)],
    ) -> Result<(Destinations, Arc<Secrets>), call::Error> {
        let mut values = HashMap::new();
        for (name, text) in secrets {
            let value = SecretString::from(text.as_str());
            // The case's own come first.
            values.entry(name.clone()).or_insert(value);
        }
        let secrets = Arc::new(Secrets::rehearsed(values));
        let mut config = self.call.clone();
        config.egress_allow = ANYWHERE.map(str::to_owned).to_vec();
        Ok((self.open(&secrets, config)?, secrets))
    }
}
