//! A real Postgres for the tests: one cluster per test process, one fresh database per test.
//!
//! The cluster is a managed Postgres of the server itself in a temporary directory; it stops when
//! the process ends, because the pipe it is held by breaks. Set `HOOKWRIGHT_TEST_DATABASE_URL` to
//! use another one (its user must be allowed to create databases).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use hookwright::store::managed::Managed;
use hookwright::store::{Config, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

/// The name under which test databases are prepared.
pub const ENVIRONMENT: &str = "test";

/// A database of one test, migrated and with today's partitions.
pub struct Database {
    pub url: String,
    pub store: Store,
}

/// A fresh database.
pub async fn database() -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{number}", std::process::id());
    let admin = admin_url().await;
    let template = template(admin).await;
    execute(admin, format!("create database {name} template {template}")).await;
    let url = with_database(admin, &name);
    let store = Store::connect(&url, &config()).await.unwrap();
    Database { url, store }
}

/// The shipped configuration of the store, with a deadline that suits a busy test machine.
pub fn config() -> Config {
    let mut sections: toml::Table =
        toml::from_str(include_str!("../../config/default.toml")).unwrap();
    let mut config: Config = sections.remove("store").unwrap().try_into().unwrap();
    config.accept_losing_acknowledged_events = true; // the cluster runs without fsync
    config.deadline_ms = 20_000;
    config.pool_connections_max = 3;
    config
}

/// The URL of an empty database that is neither migrated nor prepared.
pub async fn empty(name: &str) -> String {
    let admin = admin_url().await;
    let name = format!("{name}_{}", std::process::id());
    execute(admin, format!("create database {name}")).await;
    with_database(admin, &name)
}

async fn admin_url() -> &'static str {
    static URL: OnceCell<String> = OnceCell::const_new();
    URL.get_or_init(|| async {
        match std::env::var("HOOKWRIGHT_TEST_DATABASE_URL") {
            Ok(url) => url,
            Err(_) => tokio::task::spawn_blocking(start_cluster).await.unwrap(),
        }
    })
    .await
}

async fn template(admin: &str) -> &'static str {
    static NAME: OnceCell<String> = OnceCell::const_new();
    NAME.get_or_init(|| async {
        let name = format!("template_{}", std::process::id());
        execute(admin, format!("create database {name}")).await;
        let store = Store::connect(&with_database(admin, &name), &config())
            .await
            .unwrap();
        store.prepare(ENVIRONMENT).await.unwrap();
        store.pool().close().await;
        name
    })
    .await
}

/// Starts the cluster on a thread and runtime of its own: each test has a runtime that ends with
/// the test, but the cluster stays until the process ends.
fn start_cluster() -> String {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let managed = Managed::start_throwaway(&cluster_dir()).await.unwrap();
            send.send(managed.url().to_owned()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receive.recv().unwrap()
}

/// A directory named after this process; those of processes that are gone are removed.
fn cluster_dir() -> PathBuf {
    let prefix = "hookwright-tests-";
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(prefix)
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    std::env::temp_dir().join(format!("{prefix}{}", std::process::id()))
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_path(name);
    url.into()
}

async fn execute(url: &str, sql: String) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
