//! Real hands: a run in memory against the real destinations, by the wall clock.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

use super::drive::{self, Hands, Happening, Played};
use super::stage::Stage;
use crate::call::{self, Destinations, Performed};
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::{Change, Child, Effect, Key, Outcome, Run};
use crate::secret::Secrets;
use crate::workflow::Definition;

type Performing = Pin<Box<dyn Future<Output = (Key, Performed)> + Send>>;

/// What performs calls over the network.
struct Network {
    run_id: Id,
    destinations: Arc<Destinations>,
    performing: FuturesUnordered<Abortable<Performing>>,
    aborts: HashMap<Key, AbortHandle>,
}

/// Drives a run in memory to its end: real calls under the policies of their destinations, real
/// time, and nothing stored.
///
/// # Errors
/// Where the settings for calls cannot be used.
pub async fn perform(
    definition: Arc<Definition>,
    input: Value,
    stage: &Stage,
    (environment, secrets): (&str, Arc<Secrets>),
) -> Result<Played, call::Error> {
    let destinations = stage.open(&secrets, stage.call.clone())?;
    let run_id = Id::generate();
    let surroundings = drive::surroundings(run_id, environment, &secrets, stage.tasks_max);
    let mut hands = Network {
        run_id,
        destinations: Arc::new(destinations),
        performing: FuturesUnordered::new(),
        aborts: HashMap::new(),
    };
    let run = Run::new(definition, surroundings).recorded();
    let played = drive::drive(run, Change::Started { input }, &mut hands).await;
    let played = drive::redacted(played, &secrets);
    Ok(played)
}

impl Hands for Network {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn keep_only(&mut self, effects: &[Effect]) {
        self.aborts.retain(|key, abort| {
            let wanted = effects.iter().any(|effect| effect.key == *key);
            if !wanted {
                abort.abort();
            }
            wanted
        });
    }

    fn performs(&self, key: &Key) -> bool {
        self.aborts.contains_key(key)
    }

    fn start(&mut self, effect: &Effect) {
        let identity = drive::identity(self.run_id, effect);
        let destinations = Arc::clone(&self.destinations);
        let effect = effect.clone();
        let key = effect.key.clone();
        let performing: Performing = Box::pin(async move {
            let destination = destinations.of(&effect);
            let permit = destination.acquire().await;
            let performed = destinations.perform(&effect, &destination, identity, &permit);
            let performed = performed.await;
            (effect.key, performed)
        });
        let (abort, registration) = AbortHandle::new_pair();
        self.performing
            .push(Abortable::new(performing, registration));
        self.aborts.insert(key, abort);
    }

    fn is_idle(&self) -> bool {
        self.aborts.is_empty()
    }

    async fn begin(&mut self, child: &Child) -> Change {
        let Child {
            namespace, name, ..
        } = child;
        let detail = format!(
            "{namespace}/{name} is not started: a run in memory has no sub-workflows; deploy both \
             to a server, or play them with `hookwright test`"
        );
        Change::ChildEnded {
            child: child.run_id,
            outcome: Outcome::Faulted(Problem::new(Kind::Configuration, detail)),
        }
    }

    fn cancel(&mut self, _: Id) {}

    fn publish(&mut self, _: &Event) {}

    async fn next(&mut self, until: Option<Timestamp>) -> Result<Option<Happening>, ()> {
        let outcome = match until {
            Some(until) => {
                let pause = until.duration_since(Timestamp::now());
                let pause = std::time::Duration::try_from(pause).unwrap_or_default();
                if self.performing.is_empty() {
                    tokio::time::sleep(pause).await;
                    return Ok(None);
                }
                match tokio::time::timeout(pause, self.performing.next()).await {
                    Ok(outcome) => outcome,
                    Err(_) => return Ok(None),
                }
            }
            None => self.performing.next().await,
        };
        let Some(Ok((key, performed))) = outcome else {
            return Ok(None);
        };
        self.aborts.remove(&key);
        let change = drive::change(key, performed, Timestamp::now());
        Ok(Some(Happening::Change(change)))
    }
}
