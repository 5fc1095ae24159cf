//! The server: composes settings, store, loops and doors; starts, serves, drains.
//!
//! The only module that knows all the others. `cli` calls it; tests start real servers with it.

pub mod accept;
pub mod detach;
pub mod metrics;
pub mod pace;
pub mod probes;
pub mod reload;
pub mod settings;
pub mod work;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::call::{Destinations, Sharing};
use crate::expression;
use crate::run::{Links, named_secrets};
use crate::secret::{Keyring, Secrets};
use crate::store::Store;
use crate::store::managed::Managed;
use crate::telemetry::Registry;
use crate::webhook::{self, Counters, Documents, Rejected, Sources};
use crate::worker::{self, Definitions, Roles, Screens, Worker};
use crate::{api, approval, telemetry};

pub use metrics::Metrics;
pub use settings::{Http, Settings};
use work::Work;

/// What a start needs beside the settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the private Postgres and the sealing key live.
    pub data_dir: PathBuf,
    /// Which loops run here.
    pub roles: Roles,
    /// A directory of definitions to apply at start and whenever it changes.
    pub definitions: Option<PathBuf>,
}

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is built of.
    pub world: Arc<World>,
    probes: Arc<probes::Probes>,
    accepting: JoinHandle<()>,
    stop: CancellationToken,
    watching: CancellationToken,
    work: Work,
    managed: Option<Managed>,
    drain: settings::Drain,
}

/// The parts that the doors and the loops share.
pub struct World {
    /// The database.
    pub store: Store,
    /// Compiled workflows.
    pub definitions: Arc<Definitions>,
    /// Where webhooks come from.
    pub sources: Arc<Sources>,
    /// What sources say of their events.
    pub screens: Arc<Screens>,
    /// Where calls go.
    pub destinations: Arc<Destinations>,
    /// Secret values.
    pub secrets: Arc<Secrets>,
    /// What seals secrets in the database.
    pub keyring: Arc<Keyring>,
    /// The loops.
    pub worker: Worker,
    /// What senders publish.
    pub documents: Arc<Documents>,
    /// Takes decisions on approvals.
    pub decisions: approval::Shared,
    /// Deliveries that were refused.
    pub rejected: Arc<Rejected>,
    /// What the door has received.
    pub counters: Arc<Counters>,
    /// Name of the environment.
    pub environment: Arc<str>,
    /// Whose threads have stacks to evaluate expressions on.
    pub work: tokio::runtime::Handle,
}

impl Server {
    /// Starts everything and returns when it accepts connections.
    ///
    /// # Errors
    /// With what is wrong and what to do: no Postgres, unfit database, port taken, bad settings.
    pub async fn start(
        settings: Settings,
        options: Options,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        expression::configure(settings.expression.clone());
        let (store, managed) = open_store(&settings, &options).await?;
        let work = Work::start(settings.worker.work_threads)?;
        let world = World::build(&settings, &options, (store, registry), &work.handle()).await?;
        let world = Arc::new(world);
        if let Some(dir) = &options.definitions {
            reload::apply(&world, dir).await?;
        }
        reload::all(&world)
            .await
            .context("definitions could not be loaded")?;
        let metrics = Arc::new(Metrics::new(registry)?);
        let probes = Arc::new(probes::Probes::default());
        let (listener, address) = bind(&world, &settings).await?;
        let routes = routes(&world, &settings, options.roles, (&probes, registry));
        let stop = CancellationToken::new();
        let door = accept::Door::new(&settings.http, Arc::clone(&metrics));
        let accepting = tokio::spawn(accept::serve(listener, routes, door, stop.clone()));
        let watching = CancellationToken::new();
        reload::watch(&world, options.definitions.clone(), watching.clone());
        probes::watch(
            Arc::clone(&probes),
            Arc::clone(&world),
            metrics,
            watching.clone(),
        );
        if options.roles.receive {
            tokio::spawn(webhook::heal::run(world.healing(), watching.clone()));
        }
        probes.wait_until_ready(Duration::from_secs(5)).await;
        tracing::info!(address = %address, environment = settings.environment, "ready");
        let drain = settings.drain;
        Ok(Self {
            address,
            world,
            probes,
            accepting,
            stop,
            watching,
            work,
            managed,
            drain,
        })
    }

    /// Drains in order (RELIABILITY L3): not ready at once; new connections for a grace period,
    /// so that balancers notice; no new runs; runs in flight may end; the rest is given back.
    pub async fn drain(mut self, grace: bool) {
        self.probes.drain();
        self.world.worker.close();
        tracing::info!("draining");
        if grace {
            tokio::time::sleep(Duration::from_millis(self.drain.accept_ms)).await;
        }
        self.stop.cancel();
        let connections = Duration::from_millis(self.drain.connections_ms);
        if tokio::time::timeout(connections, &mut self.accepting)
            .await
            .is_err()
        {
            self.accepting.abort();
        }
        self.world
            .worker
            .drain(Duration::from_millis(self.drain.runs_ms))
            .await;
        self.watching.cancel();
        self.shut_down().await;
        tracing::info!("stopped");
    }

    async fn shut_down(self) {
        drop(self.work);
        if let Some(managed) = self.managed {
            managed.stop().await;
        }
    }
}

/// Connects to the database, starting a private one where none is named.
async fn open_store(
    settings: &Settings,
    options: &Options,
) -> anyhow::Result<(Store, Option<Managed>)> {
    let (url, managed) = match settings.store.given_url() {
        Some(url) => (url.to_owned(), None),
        None => {
            let managed = Managed::start(&options.data_dir).await?;
            (managed.url().to_owned(), Some(managed))
        }
    };
    let store = Store::connect(&url, &settings.store).await?;
    store.prepare(&settings.environment).await?;
    Ok((store, managed))
}

impl World {
    fn healing(&self) -> webhook::heal::Parts {
        webhook::heal::Parts {
            store: self.store.clone(),
            sources: Arc::clone(&self.sources),
            destinations: Arc::clone(&self.destinations),
            appender: self.worker.appender.clone(),
        }
    }

    async fn build(
        settings: &Settings,
        options: &Options,
        (store, registry): (Store, &Registry),
        work: &tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        let keyring = Arc::new(match settings.secret.key_files.as_slice() {
            [] => Keyring::load_or_create(&options.data_dir)?,
            files => Keyring::load(files)?,
        });
        let environment: Arc<str> = settings.environment.as_str().into();
        let sealed = reload::open_secrets(&store, &keyring, &environment).await?;
        let secrets = Arc::new(Secrets::configured(sealed, settings.secret.clone()));
        redact_logs(&secrets);
        let prometheus: &prometheus::Registry = registry;
        let destinations = Destinations::new(
            Vec::new(),
            Arc::clone(&secrets),
            settings.call.clone(),
            prometheus,
        )?
        .sharing(Sharing {
            store: store.clone(),
            keyring: Arc::clone(&keyring),
            environment: Arc::clone(&environment),
        });
        let destinations = Arc::new(destinations);
        let definitions = Arc::new(Definitions::new(store.clone()));
        let metrics = Arc::new(worker::Metrics::new(prometheus)?);
        let screens = Arc::new(Screens::default());
        let parts = worker::Parts {
            store: store.clone(),
            definitions: Arc::clone(&definitions),
            destinations: Arc::clone(&destinations),
            environment: Arc::clone(&environment),
            secrets: named_secrets(&secrets),
            screens: Arc::clone(&screens),
            redactor: redactor(&secrets),
            tasks_max: settings.run.tasks_max,
            links: links(settings, &keyring),
            metrics,
            node: node_name(),
        };
        let worker = Worker::start(parts, &settings.worker, options.roles, work).await;
        let sources = Arc::new(Sources::new(Arc::clone(&secrets)));
        let documents = Arc::new(Documents::new(Arc::clone(&destinations)));
        let kept = webhook::rejected::Parts {
            store: store.clone(),
            keyring: Arc::clone(&keyring),
            environment: Arc::clone(&environment),
            sources: Arc::clone(&sources),
            documents: Arc::clone(&documents),
            appender: worker.appender.clone(),
        };
        let counted = approval::Metrics::new(prometheus)?;
        let appender = worker.appender.clone();
        let decisions = approval::Decisions::new(store.clone(), appender, counted);
        let queue = webhook::rejected::Queue::new(prometheus, settings.webhook.kept())?;
        Ok(Self {
            documents,
            decisions: Arc::new(decisions),
            rejected: Rejected::start(kept, queue),
            store,
            definitions,
            sources,
            screens,
            destinations,
            secrets,
            keyring,
            worker,
            counters: Arc::new(Counters::new(prometheus)?),
            environment,
            work: work.clone(),
        })
    }
}

/// Links of approvals lead to this node where nothing else is said.
fn links(settings: &Settings, keyring: &Keyring) -> Arc<Links> {
    let url = match settings.approval.public_url.as_str() {
        "" => format!("http://{}", settings.http.listen),
        url => url.to_owned(),
    };
    Arc::new(approval::links(&url, keyring, &settings.environment))
}

fn redactor(secrets: &Arc<Secrets>) -> Arc<worker::Redaction> {
    let secrets = Arc::clone(secrets);
    Arc::new(move || secrets.redactor())
}

fn redact_logs(secrets: &Arc<Secrets>) {
    let secrets = Arc::clone(secrets);
    telemetry::set_redactor(move |text| match secrets.redactor().redact(text) {
        std::borrow::Cow::Borrowed(_) => std::borrow::Cow::Borrowed(text),
        std::borrow::Cow::Owned(hidden) => std::borrow::Cow::Owned(hidden),
    });
}

/// Host name and process, for the sessions table and the log.
fn node_name() -> String {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    format!(
        "{}/{}",
        host.as_deref().unwrap_or("node"),
        std::process::id()
    )
}

/// Binds the listener. Without any API key the server is open to whoever reaches it, so it then
/// listens on loopback only, and says so.
async fn bind(world: &World, settings: &Settings) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let (store, environment) = (&world.store, &world.environment);
    api::access::record_configured(store, environment, &settings.api.admin_key).await?;
    let mut wanted = settings.http.listen;
    if !wanted.ip().is_loopback() && !world.store.has_api_keys().await? {
        let ip = if wanted.is_ipv6() {
            [0, 0, 0, 0, 0, 0, 0, 1].into()
        } else {
            [127, 0, 0, 1].into()
        };
        wanted.set_ip(ip);
        tracing::warn!(
            asked = %settings.http.listen,
            listening = %wanted,
            "there is no API key, so the server listens on loopback only; make one with \
             `hookwright keys create`, then start again"
        );
    }
    let listener = TcpListener::bind(wanted).await.with_context(|| {
        format!("cannot listen on {wanted}: set http.listen or --listen to a free address")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The routes of this node's roles; the API is everywhere.
fn routes(
    world: &Arc<World>,
    settings: &Settings,
    roles: Roles,
    (probes, registry): (&Arc<probes::Probes>, &Registry),
) -> axum::Router {
    let door = webhook::Door {
        sources: Arc::clone(&world.sources),
        appender: world.worker.appender.clone(),
        counters: Arc::clone(&world.counters),
        documents: Arc::clone(&world.documents),
        rejected: Arc::clone(&world.rejected),
        capture: reload::capture(world),
        config: settings.webhook.clone(),
    };
    let mut routes = api::router(reload::api_parts(world, settings))
        .merge(approval::router(Arc::clone(&world.decisions)))
        .merge(probes::router(Arc::clone(probes), registry.clone()));
    if roles.receive {
        routes = routes.merge(webhook::router(door));
    }
    detach::wrap(routes)
}
