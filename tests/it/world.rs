//! A real server on a port and a database of its own, with real destinations.
//!
//! [`World`] runs in this process; [`process::Node`] is the built program, to be killed. A world
//! that ends looks at its books: every run the test has not declared open must have ended.

pub mod destination;
pub mod process;
pub mod sender;
pub mod wire;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hookwright::config::{Layers, embedded};
use hookwright::server::{Options, Server, Settings};
use hookwright::store::ledger::Ledger;
use hookwright::telemetry::Registry;
use hookwright::worker::Roles;
use serde_json::Value;
use tokio::time::Instant;

use crate::postgres::{Database, ENVIRONMENT, database};
use destination::Destination;
use wire::Client;

pub use wire::Request;

/// How long what must happen may take on a machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(30);

const CRM_URL: &str = "https://api.crm.example/v2";

/// A key of the configuration and its value.
pub type Change<'a> = (&'a str, toml::Value);

/// A directory of its own that is removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("hookwright-world-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A server in this process.
pub struct World {
    server: Option<Server>,
    pub client: Client,
    pub database: Database,
    settings: Settings,
    options: Options,
    _scratch: Scratch,
    open: i64,
}

/// The shipped settings for a test: a free port, loopback may be called, and deadlines that suit a
/// machine with other work.
pub fn settings(url: &str, changes: &[Change<'_>]) -> Settings {
    let set = |layers: Layers, key: &str, value: toml::Value| layers.set("test", key, value);
    let fixed: [Change<'_>; 9] = [
        ("environment", ENVIRONMENT.into()),
        ("http.listen", "127.0.0.1:0".into()),
        ("store.url", url.into()),
        ("store.accept_losing_acknowledged_events", true.into()),
        ("store.deadline_ms", 8_000.into()),
        ("store.pool_connections_max", 3.into()),
        ("worker.append_timeout_ms", 10_000.into()),
        ("call.egress_allow", vec!["127.0.0.0/8"].into()),
        ("api.key_cache_ttl_ms", 0.into()),
    ];
    let layers = Layers::new(embedded::DEFAULT).unwrap();
    let all = fixed.iter().chain(changes).cloned();
    let layers = all.fold(layers, |layers, (key, value)| {
        set(layers, key, value).unwrap()
    });
    layers.load().unwrap()
}

impl World {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With other settings than the shipped ones.
    pub async fn with(changes: &[Change<'_>]) -> Self {
        let database = database().await;
        let settings = settings(&database.url, changes);
        Self::on(database, settings, None).await
    }

    /// With a directory of definitions.
    pub async fn with_definitions(dir: &Path) -> Self {
        let database = database().await;
        let settings = settings(&database.url, &[]);
        Self::on(database, settings, Some(dir.to_owned())).await
    }

    async fn on(database: Database, settings: Settings, definitions: Option<PathBuf>) -> Self {
        let scratch = Scratch::new();
        let options = Options {
            data_dir: scratch.path().to_owned(),
            roles: Roles {
                receive: true,
                work: true,
            },
            definitions,
        };
        let server = serve(&settings, &options).await;
        Self {
            client: Client {
                address: server.address,
            },
            server: Some(server),
            database,
            settings,
            options,
            _scratch: scratch,
            open: 0,
        }
    }

    /// Ends the server in order and starts another on the same database.
    pub async fn restart(&mut self) {
        self.stop().await;
        let server = serve(&self.settings, &self.options).await;
        self.client.address = server.address;
        self.server = Some(server);
    }

    /// Ends the server in order.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.drain(false).await;
        }
    }

    /// So many runs may be open when the test ends.
    pub fn expect_open(&mut self, runs: i64) {
        self.open = runs;
    }

    /// The shop, the CRM at `crm` and the workflow of `examples/order-to-crm`.
    pub async fn main_job(&self, crm: &Destination) {
        define_main_job(&self.client, &crm.url()).await;
    }

    /// Adds a workflow.
    pub async fn workflow(&self, text: &str) {
        self.client.post("/api/v1/workflows", text).await.good();
    }

    /// Starts a run and answers with it once it has ended.
    pub async fn run_of(&self, workflow: &str, input: &Value) -> Value {
        let path = format!("/api/v1/workflows/{workflow}/latest/runs?wait=30s");
        let run = self.client.post(&path, input.to_string()).await.good();
        assert!(run["endedAt"].is_string(), "not ended: {run}");
        run
    }

    /// The run that an event started, once it has ended.
    pub async fn ended(&self, event: &str) -> Value {
        let run = self.begun(event).await;
        self.end_of(run["id"].as_str().unwrap()).await
    }

    /// The run that an event started.
    pub async fn begun(&self, event: &str) -> Value {
        let event = until("the event is routed", async || {
            let path = format!("/api/v1/events/{event}");
            let event = self.client.get(&path).await.good();
            event["runs"][0].is_string().then_some(event)
        })
        .await;
        let id = event["runs"][0].as_str().unwrap().to_owned();
        self.client.get(&format!("/api/v1/runs/{id}")).await.good()
    }

    /// A run, once it has ended.
    pub async fn end_of(&self, id: &str) -> Value {
        until("the run has ended", async || {
            let run = self.client.get(&format!("/api/v1/runs/{id}")).await.good();
            run["endedAt"].is_string().then_some(run)
        })
        .await
    }

    /// The books, once nothing moves any more but the runs declared open.
    pub async fn books(&self) -> Ledger {
        let open = self.open;
        until("the books are closed", async || {
            let ledger = self.database.store.ledger().await.unwrap();
            let runs = &ledger.runs;
            let ended = runs.completed + runs.faulted + runs.cancelled;
            let closed = ledger.events.inbox == 0 && runs.created - ended == open;
            (ledger.balanced && closed).then_some(ledger)
        })
        .await
    }

    async fn close(&mut self) {
        let ledger = self.books().await;
        assert!(ledger.balanced, "{ledger:?}");
        if self.server.is_some() {
            let shown = self.client.get("/api/v1/ledger").await.good();
            let door = &shown["door"];
            let count = |name: &str| door[name].as_u64().unwrap();
            let decided = count("rejected") + count("duplicates") + count("stored");
            let others = count("answered") + count("unavailable") + count("inFlight");
            assert_eq!(count("received"), decided + others, "{door}");
        }
        self.stop().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(self.close());
        });
    }
}

async fn serve(settings: &Settings, options: &Options) -> Server {
    let registry = Registry::new().unwrap();
    let started = Server::start(settings.clone(), options.clone(), &registry).await;
    started.unwrap()
}

/// The shop, the CRM at `crm` and the workflow between them, put in as a user would.
pub async fn define_main_job(client: &Client, crm: &str) {
    let signing = serde_json::to_vec(sender::SECRET).unwrap();
    let secret = client.put("/api/v1/secrets/shop-signing-secret", signing);
    secret.await.good();
    let secret = client.put("/api/v1/secrets/crm-api-key", r#""key-of-the-crm""#);
    secret.await.good();
    let source = include_str!("../../examples/order-to-crm/shop.yaml");
    client.put("/api/v1/sources/shop", source).await.good();
    let destination = include_str!("../../examples/order-to-crm/crm.yaml");
    let destination = destination.replace(CRM_URL, &format!("{crm}/v2"));
    let answer = client.put("/api/v1/destinations/crm", destination).await;
    answer.good();
    let workflow = include_str!("../../examples/order-to-crm/order-to-crm.yaml");
    client.post("/api/v1/workflows", workflow).await.good();
}

/// An order as a shop sends it.
pub fn order(number: u64) -> String {
    format!(
        r#"{{"id":{number},"currency":"EUR","total_price":"59.80",
"customer":{{"email":"jane@example.com","first_name":"Jane","last_name":"Doe"}},
"line_items":[{{"sku":"TEA","quantity":2,"price":"14.95"}},
{{"sku":"POT","quantity":1,"price":"29.90"}}]}}"#
    )
}

/// Looks again and again until there is something; fails when that takes too long.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
