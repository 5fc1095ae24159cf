//! `/api/v1`: managing workflows, runs, events, sources, destinations, secrets and keys.
//!
//! One file per noun; `server` mounts [`router`]. Every route declares the permission it needs
//! through its first argument ([`access::Allowed`]); routes, roles and the OpenAPI document come
//! from the same list ([`routes`]). Probes and metrics are `server`'s, deliveries `webhook`'s.

pub mod access;
pub mod approvals;
pub mod bodies;
mod bundles;
mod changes;
pub mod cloudevents;
pub mod control;
pub mod definitions;
pub mod destinations;
pub mod documents;
pub mod duplicates;
pub mod error;
pub mod events;
pub mod keys;
pub mod ledger;
pub mod openapi;
pub mod pages;
pub mod rejections;
pub mod replays;
pub mod routes;
pub mod runs;
pub mod samples;
pub mod schedules;
pub mod secrets;
pub mod sources;
pub mod starts;
pub mod tasks;
mod ties;
mod why;
pub mod workflows;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use serde::Deserialize;

use crate::approval;
use crate::run;
use crate::secret::{Keyring, Redactor};
use crate::store::{self, Store};
use crate::webhook::rejected::Rejected;
use crate::worker::{Appender, Definitions, Endings};

pub use error::Error;

/// Where the API lives.
pub const PREFIX: &str = "/api/v1";

/// The `[api]` section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Largest body of a request, in bytes; a larger one is answered 413.
    pub body_bytes_max: usize,
    /// Most events in one batch.
    pub batch_events_max: usize,
    /// Longest time a start may wait for the end of its run, in milliseconds.
    pub wait_ms_max: u32,
    /// How far back an `Idempotency-Key` or the id of a published event is looked for, in days.
    pub dedupe_window_days: u16,
    /// How long a node may go on using what it has read about an API key, in milliseconds.
    pub key_cache_ttl_ms: u32,
    /// An admin's key that exists from the start, as `hookwright keys generate` prints it; empty:
    /// none.
    pub admin_key: secrecy::SecretString,
}

/// Loads definitions and secrets anew on this node, after a change that went through it.
pub type Reload =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), store::Error>> + Send>> + Send + Sync>;

/// What the API works with; made by `server`.
pub struct Parts {
    /// Settings.
    pub config: Config,
    /// Name of the environment.
    pub environment: Arc<str>,
    /// The management path to the database.
    pub store: Store,
    /// The way into the log.
    pub appender: Appender,
    /// Compiled workflows.
    pub definitions: Arc<Definitions>,
    /// Tells when a run has ended on this node.
    pub endings: Arc<Endings>,
    /// Seals secrets.
    pub keyring: Arc<Keyring>,
    /// Resolves `$secrets.<name>` for replaying runs.
    pub secrets: Arc<run::Resolve>,
    /// The redactor of now: what replaying shows may hold secrets.
    pub redactor: Arc<dyn Fn() -> Arc<Redactor> + Send + Sync>,
    /// Reads sources and destinations.
    pub checks: definitions::Checks,
    /// Fetches API documents when workflows are deployed.
    pub fetch: documents::Fetch,
    /// Makes this node see a change at once; the others notice the raised revision.
    pub reload: Reload,
    /// Takes decisions on approvals.
    pub decisions: approval::Shared,
    /// Deliveries that were refused.
    pub rejected: Arc<Rejected>,
    /// How many calls to the destination of a number this node has made in the last half minute.
    pub recent_calls: Arc<dyn Fn(i32) -> u32 + Send + Sync>,
    /// What this node's door has counted.
    pub door: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// The `worker.tasks_max` that runs are held to: replaying must end where living does.
    pub tasks_max: u32,
    /// Whose threads have the stacks to read definitions and evaluate expressions on.
    pub work: tokio::runtime::Handle,
}

/// The state of the routes; cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Inner>);

/// What [`State`] leads to.
pub struct Inner {
    parts: Parts,
    access: access::Keys,
    openapi: bytes::Bytes,
}

impl std::ops::Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl std::ops::Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// After a committed change: this node sees it before the caller gets the answer. Where that
    /// fails the change stands all the same, and the poll of the revision brings it.
    async fn changed(&self) {
        if let Err(error) = (self.parts.reload)().await {
            tracing::warn!(error = %error, "a change is stored but not loaded yet");
        }
    }

    /// Does work that reads definitions or evaluates expressions where stacks are deep enough.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.parts.work.spawn(async move { work() }).await;
        done.map_err(|failure| Error::Internal(anyhow::Error::new(failure)))
    }
}

/// All routes of the API, with their paths from the root.
#[must_use]
pub fn routes() -> routes::Routes {
    let routes = routes::Routes::default();
    let routes = workflows::routes(routes);
    let routes = starts::routes(routes);
    let routes = runs::routes(routes);
    let routes = control::routes(routes);
    let routes = replays::routes(routes);
    let routes = tasks::routes(routes);
    let routes = schedules::routes(routes);
    let routes = approvals::routes(routes);
    let routes = events::routes(routes);
    let routes = sources::routes(routes);
    let routes = samples::routes(routes);
    let routes = destinations::routes(routes);
    let routes = changes::routes(routes);
    let routes = secrets::routes(routes);
    let routes = bundles::routes(routes);
    let routes = keys::routes(routes);
    let routes = rejections::routes(routes);
    let routes = duplicates::routes(routes);
    let routes = ledger::routes(routes);
    openapi::routes(routes)
}

/// The router of the API. Unknown paths below [`PREFIX`] and wrong methods are problems, too.
pub fn router(parts: Parts) -> Router {
    let (router, operations) = routes().finish();
    let body_bytes_max = parts.config.body_bytes_max;
    let state = State(Arc::new(Inner {
        access: access::Keys::new(parts.config.key_cache_ttl_ms),
        openapi: openapi::document(&operations),
        parts,
    }));
    let router = router
        .fallback(async || Error::NotFound("there is no such path in this API".to_owned()))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(axum::extract::DefaultBodyLimit::max(body_bytes_max))
        .with_state(state);
    Router::new().nest(PREFIX, router)
}
