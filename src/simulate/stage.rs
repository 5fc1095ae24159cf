//! The definitions a run is played against.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::SecretString;

use crate::call::{self, Declared, Destinations, Document};
use crate::secret::Secrets;

/// Networks that make every address allowed: in a rehearsal nothing is sent, so nothing is guarded.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The definitions a run is played against, and the settings for calls and runs.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The destinations.
    pub destinations: Vec<Arc<Document>>,
    /// Section `[call]`.
    pub call: call::Config,
    /// `run.tasks_max`.
    pub tasks_max: u32,
}

impl Stage {
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
