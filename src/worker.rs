//! The loops: append, schedule, route, claim, execute, settle, mail, timers, sweep, heartbeat.
//!
//! Each loop owns its connection and repeats one stage on batches; none ever ends on an error.
//! First start, restart and second node are one code path: whatever is in the tables is taken up.

pub mod append;
pub mod asked;
pub mod batch;
pub mod changes;
pub mod checkpoint;
pub mod claim;
pub mod command;
pub mod conditions;
pub mod definitions;
pub mod endings;
pub mod execute;
pub mod exchange;
pub mod family;
pub mod flight;
pub mod gate;
pub mod gather;
pub mod lifecycle;
pub mod listening;
pub mod mail;
pub mod metrics;
pub mod origin;
pub mod rates;
pub mod report;
pub mod route;
pub mod schedule;
pub mod screen;
pub mod session;
pub mod settle;
mod spacing;
pub mod sweep;
pub mod timers;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinHandle};

use crate::call::Destinations;
use crate::run::{Links, Resolve};
use crate::secret::Redactor;
use crate::store::{Link, Store};

pub use append::{Appender, Receipt, Unavailable};
pub use definitions::Definitions;
pub use endings::Endings;
pub use mail::Letterbox;
pub use metrics::Metrics;
pub use screen::Screens;
pub use session::Session;

/// Lanes of the ledger, one for each connection that counts.
const APPEND_LANE: usize = 0;
const ROUTE_LANE: usize = 100;
const SETTLE_LANE: usize = 200;
const SWEEP_LANE: usize = 300;
const SCHEDULE_LANE: usize = 400;
const BATCH_LANE: usize = 401;
const GATHER_LANE: usize = 402;

/// Settings of the loops.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Events that may wait for their commit; beyond it senders are told to try again.
    pub append_queue_events_max: usize,
    /// Bytes of events that may wait for their commit.
    pub append_queue_bytes_max: usize,
    /// Events in one commit.
    pub append_batch_events_max: usize,
    /// Connections that append.
    pub append_connections: usize,
    /// Least time from the beginning of a batch of a stage to that of the next, in milliseconds,
    /// unless a batch is full or the last one held a single event.
    pub batch_spacing_ms: u64,
    /// How long a sender waits for the commit, in milliseconds.
    pub append_timeout_ms: u64,
    /// Events handed from the writer to the router in memory; beyond it they are read back.
    pub route_queue_events_max: usize,
    /// Runs in flight on this node.
    pub runs_in_flight_max: usize,
    /// Connections that settle.
    pub settle_connections: usize,
    /// Threads that evaluate expressions.
    pub work_threads: usize,
    /// Pause between two heartbeats, in milliseconds.
    pub heartbeat_period_ms: u64,
    /// Without a heartbeat for this long a node starts no more calls, in milliseconds.
    pub self_fence_ms: u64,
    /// Without a heartbeat for this long a node is dead to the others, in milliseconds.
    pub session_timeout_ms: u64,
    /// Whether runs write all events of their lifecycle, wanted or not.
    pub lifecycle_events: bool,
}

/// Which loops this node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Takes deliveries: the writer.
    pub receive: bool,
    /// Routes and executes.
    pub work: bool,
}

/// Gives the redactor for what is written down, as of now.
pub type Redaction = dyn Fn() -> Arc<Redactor> + Send + Sync;

/// What the loops are built from.
pub struct Parts {
    /// Makes connections.
    pub store: Store,
    /// Compiled workflows.
    pub definitions: Arc<Definitions>,
    /// Where calls go.
    pub destinations: Arc<Destinations>,
    /// Name of the environment.
    pub environment: Arc<str>,
    /// Resolves `$secrets.<name>`.
    pub secrets: Arc<Resolve>,
    /// What sources say of their events.
    pub screens: Arc<Screens>,
    /// The redactor for what is written down, as of now.
    pub redactor: Arc<Redaction>,
    /// Executions of tasks in one run; one more faults it.
    pub tasks_max: u32,
    /// Makes the links of approvals.
    pub links: Arc<Links>,
    /// What to count.
    pub metrics: Arc<Metrics>,
    /// Name of this node in the sessions table.
    pub node: String,
}

/// What the loops share.
pub struct Shared {
    definitions: Arc<Definitions>,
    destinations: Arc<Destinations>,
    environment: Arc<str>,
    secrets: Arc<Resolve>,
    redactor: Arc<Redaction>,
    metrics: Arc<Metrics>,
    session: Arc<Session>,
    settler: settle::Settler,
    checkpoints: checkpoint::Checkpoints,
    timers: Arc<timers::Timers>,
    gates: gate::Gates,
    batches: batch::Batches,
    wake_claims: Notify,
    /// Whether ready runs wait for places: then new ones queue up behind them.
    backlog: AtomicBool,
    held: Held,
    addressees: Arc<mail::Addressees>,
    listening: listening::Listening,
    screens: Arc<Screens>,
    screens_store: Store,
    lifecycle_events: bool,
    /// Told when events were gathered.
    gathered: Notify,
    tasks_max: u32,
    links: Arc<Links>,
    /// Runs that may wait in memory for one destination: a quarter of all places.
    waiting_max: usize,
}

impl Shared {
    fn redactor(&self) -> Arc<Redactor> {
        (self.redactor)()
    }
}

/// The claims that have a task, or a settlement on its way, on this node, and where the mail of
/// their runs is put.
#[derive(Debug, Default)]
struct Held(Mutex<HashMap<i64, Arc<Letterbox>>>);

impl Held {
    fn insert(&self, claim_id: i64, letterbox: Arc<Letterbox>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(claim_id, letterbox);
    }

    fn letterboxes(&self, which: impl Fn(&Letterbox) -> bool) -> Vec<Arc<Letterbox>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .filter(|letterbox| which(letterbox))
            .cloned()
            .collect()
    }

    fn remove(&self, claim_id: i64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&claim_id);
    }

    fn claim_ids(&self) -> Vec<i64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The running loops of this node.
pub struct Worker {
    /// Hands events to the writer.
    pub appender: Appender,
    /// Tells when a run has ended here.
    pub endings: Arc<Endings>,
    /// The lease of this node.
    pub session: Arc<Session>,
    shared: Arc<Shared>,
    executor: execute::Executor,
    store: Store,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Worker {
    /// Starts the loops of the given roles: runs on the runtime `work`, whose threads have stacks
    /// to evaluate expressions on, the rest on the current one. Returns once the session is open.
    pub async fn start(parts: Parts, config: &Config, roles: Roles, work: &Handle) -> Self {
        let config = Arc::new(config.clone());
        let endings = Arc::new(Endings::default());
        let session = Arc::new(Session::new(Duration::from_millis(config.self_fence_ms)));
        let (appender, append_queue) = append::channel(&config, &parts.metrics);
        let (settler, settle_queue) = settle::channel();
        let (checkpoints, checkpoint_queue) = checkpoint::channel();
        let store = parts.store.clone();
        let node = parts.node.clone();
        let shared = Arc::new(Shared {
            definitions: parts.definitions,
            destinations: parts.destinations,
            environment: parts.environment,
            secrets: parts.secrets,
            redactor: parts.redactor,
            metrics: parts.metrics,
            session: Arc::clone(&session),
            settler,
            checkpoints,
            timers: Arc::default(),
            gates: gate::Gates::new(parts.store.clone()),
            screens: parts.screens,
            screens_store: parts.store.clone(),
            batches: batch::Batches::new(parts.store),
            wake_claims: Notify::new(),
            backlog: AtomicBool::new(false),
            held: Held::default(),
            addressees: Arc::default(),
            listening: listening::Listening::default(),
            lifecycle_events: config.lifecycle_events,
            gathered: Notify::new(),
            tasks_max: parts.tasks_max,
            links: parts.links,
            waiting_max: config.runs_in_flight_max.div_ceil(4),
        });
        let slots = config.runs_in_flight_max;
        let executor = execute::Executor::new(Arc::clone(&shared), slots, work.clone());
        let this = Self {
            appender,
            endings,
            session,
            shared,
            executor,
            store,
            tasks: Mutex::default(),
        };
        this.heartbeat(&node, &config);
        this.session.opened().await;
        let (router, events) = mpsc::channel(config.route_queue_events_max);
        this.append_loops(append_queue, &router, &config);
        if roles.work {
            this.settle_loops(settle_queue, &router, &config);
            this.work_loops(events, &config, work);
            let (shared, link) = (
                Arc::clone(&this.shared),
                this.counting("gather", GATHER_LANE),
            );
            let gathered = router.clone();
            this.keep(work.spawn(async move { gather::run(shared, link.await, gathered).await }));
            this.schedule_loops(router, work);
            let link = this.store.link("checkpoint");
            this.keep(tokio::spawn(checkpoint::run(checkpoint_queue, link)));
        }
        this
    }

    fn heartbeat(&self, node: &str, config: &Config) {
        let (session, node) = (Arc::clone(&self.session), node.to_owned());
        let mut link = self.store.link("heartbeat");
        let period = Duration::from_millis(config.heartbeat_period_ms);
        let beat = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(session::keep(&session, &mut link, &node, period));
                }
                Err(error) => tracing::error!(%error, "the heartbeat cannot run"),
            }
        };
        let started = std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(beat);
        if let Err(error) = started {
            tracing::error!(%error, "the heartbeat cannot start");
        }
    }

    fn append_loops(
        &self,
        queue: append::Queue,
        router: &mpsc::Sender<append::Appended>,
        config: &Config,
    ) {
        let queue = Arc::new(queue);
        for number in 0..config.append_connections {
            let (queue, router) = (Arc::clone(&queue), router.clone());
            let link = self.counting("append", APPEND_LANE + number);
            self.keep(tokio::spawn(async move {
                append::run(queue, link.await, router).await
            }));
        }
    }

    /// What starts runs beside events that come from outside: time, and gathered events.
    fn schedule_loops(&self, router: mpsc::Sender<append::Appended>, work: &Handle) {
        let (shared, events) = (Arc::clone(&self.shared), router.clone());
        let link = self.counting("batch", BATCH_LANE);
        self.keep(work.spawn(async move { batch::run(shared, link.await, events).await }));
        let shared = Arc::clone(&self.shared);
        let link = self.counting("schedule", SCHEDULE_LANE);
        self.keep(tokio::spawn(async move {
            schedule::run(shared, link.await, router).await
        }));
    }

    fn settle_loops(
        &self,
        queue: settle::Queue,
        router: &mpsc::Sender<append::Appended>,
        config: &Config,
    ) {
        let queue = Arc::new(queue);
        for number in 0..config.settle_connections {
            let after = settle::Books {
                endings: Arc::clone(&self.endings),
                timers: Arc::clone(&self.shared.timers),
                metrics: Arc::clone(&self.shared.metrics),
                addressees: Arc::clone(&self.shared.addressees),
                router: router.clone(),
            };
            let queue = Arc::clone(&queue);
            let link = self.counting("settle", SETTLE_LANE + number);
            self.keep(tokio::spawn(async move {
                settle::run(queue, link.await, after).await
            }));
        }
    }

    fn work_loops(
        &self,
        events: mpsc::Receiver<append::Appended>,
        config: &Arc<Config>,
        work: &Handle,
    ) {
        let (shared, executor) = (&self.shared, &self.executor);
        let (routed, runs) = (Arc::clone(shared), executor.clone());
        let link = self.counting("route", ROUTE_LANE);
        let spacing_ms = config.batch_spacing_ms;
        self.keep(
            work.spawn(
                async move { route::run(routed, runs, link.await, events, spacing_ms).await },
            ),
        );
        let (store, config) = (&self.store, Arc::clone(config));
        self.keep(work.spawn(claim::run(
            Arc::clone(shared),
            executor.clone(),
            store.link("claim"),
        )));
        self.keep(tokio::spawn(claim::reclaim(
            Arc::clone(shared),
            store.link("reclaim"),
        )));
        self.keep(tokio::spawn(timers::run(
            Arc::clone(shared),
            store.link("timers"),
        )));
        self.keep(tokio::spawn(mail::run(
            Arc::clone(shared),
            store.link("mail"),
        )));
        let (swept, link) = (Arc::clone(shared), self.counting("sweep", SWEEP_LANE));
        self.keep(tokio::spawn(async move {
            sweep::run(swept, link.await, config).await
        }));
        self.keep(tokio::spawn(rates::run(
            Arc::clone(shared),
            store.link("rates"),
        )));
        self.keep(tokio::spawn(changes::run(
            Arc::clone(shared),
            store.link("changes"),
            self.appender.clone(),
        )));
        self.keep(tokio::spawn(conditions::hear(
            Arc::clone(shared),
            store.clone(),
        )));
        self.keep(tokio::spawn(conditions::run(
            Arc::clone(shared),
            store.link("conditions"),
            self.appender.clone(),
        )));
        self.keep(tokio::spawn(sweep::partitions(store.clone())));
        self.keep(tokio::spawn(gate::run(Arc::clone(shared))));
        self.keep(tokio::spawn(screen::run(Arc::clone(shared))));
    }

    fn keep(&self, task: JoinHandle<()>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task.abort_handle());
    }

    /// A connection that counts in a lane of the ledger of its own.
    fn counting(&self, name: &str, lane: usize) -> impl Future<Output = Link> + use<> {
        let mut link = self.store.link(name);
        let session = self.session.id();
        let lane = i16::try_from(lane).unwrap_or(i16::MAX);
        async move {
            while let Err(error) = link.open_lane(session, lane).await {
                let error = append::chain(&error);
                tracing::warn!(%error, "the ledger cannot be opened; trying again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            link
        }
    }

    /// Runs this node holds right now.
    #[must_use]
    pub fn runs_in_flight(&self) -> usize {
        self.shared.held.count()
    }

    /// Takes no more runs; new ones stay in `ready`.
    pub fn close(&self) {
        self.executor.close();
    }

    /// Stops taking runs, waits up to `at_most` for those in flight, and gives back what is left
    /// with its attempts unchanged (RELIABILITY L3).
    pub async fn drain(&self, at_most: Duration) {
        self.close();
        let end = tokio::time::Instant::now() + at_most;
        while self.runs_in_flight() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = self.runs_in_flight();
        self.session.close();
        let mut link = self.store.link("drain");
        match link.close_session(self.session.id()).await {
            Ok(()) => tracing::info!(runs.returned = left, "session closed"),
            Err(error) => {
                tracing::warn!(
                    error = %append::chain(&error),
                    "the session could not be closed; its work is taken over when it has expired"
                );
            }
        }
        // Nothing is left to do, and the database may go away now.
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
    }
}
