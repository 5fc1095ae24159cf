//! What every fault test needs: a database, server processes on it, a destination, and the
//! collecting of the journals at the end.

use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::load::Outcome;
use super::oracle::{Delivered, Journals};
use crate::postgres::{Database, database};
use crate::world::Scratch;
use crate::world::destination::{Destination, Reply};
use crate::world::process::Plan;
use crate::world::sender::SECRET;
use crate::world::wire::Client;

/// Calls in flight to the destination at most, on one node.
const CONCURRENCY: usize = 32;

/// What one kill may repeat: the calls in flight, and those whose results are on their way into the
/// database, which keep their places until they are there.
pub const REPEATS_MAX: usize = CONCURRENCY;

/// After the last fault everything is done within this time.
const SETTLE_MAX: Duration = Duration::from_secs(45);

/// How many cycles a test with a fault in each of them runs.
pub fn cycles(default: usize) -> usize {
    let given = std::env::var("HOOKWRIGHT_FAULT_CYCLES").ok();
    given.map_or(default, |text| text.parse().unwrap())
}

/// A database, a directory and a destination.
pub struct Rig {
    pub url: String,
    pub scratch: Scratch,
    pub sink: Destination,
    /// Keeps the database's pool of the tests.
    _database: Option<Database>,
}

impl Rig {
    /// On a database of the tests' cluster, with a destination that takes `delay` for each call.
    pub async fn new(delay: Duration) -> Self {
        let database = database().await;
        let url = database.url.clone();
        let rig = Self::on(url, delay).await;
        Self {
            _database: Some(database),
            ..rig
        }
    }

    /// On another database.
    pub async fn on(url: String, delay: Duration) -> Self {
        let sink = Destination::start(move |_, _| Reply::new(200).after(delay)).await;
        Self {
            url,
            scratch: Scratch::new(),
            sink,
            _database: None,
        }
    }

    /// A server process whose death is noticed soon.
    pub fn plan(&self) -> Plan {
        Plan::new(&self.url, self.path()).with_short_sessions()
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The source, the destination and the workflow between them.
    pub async fn define(&self, client: &Client) {
        self.define_with(client, include_str!("../data/load.yaml"))
            .await;
    }

    /// The same with another workflow.
    pub async fn define_with(&self, client: &Client, workflow: &'static str) {
        let secret = format!("\"whsec_{SECRET}\"");
        client.put("/api/v1/secrets/load", secret).await.good();
        let source = "{source: load, provider: standard-webhooks, secret: {secret: load}}";
        client.put("/api/v1/sources/load", source).await.good();
        let destination = format!(
            "{{destination: sink, baseUrl: '{}', timeout: PT20S, concurrency: {CONCURRENCY}}}",
            self.sink.url()
        );
        let answer = client.put("/api/v1/destinations/sink", destination).await;
        answer.good();
        client.post("/api/v1/workflows", workflow).await.good();
    }

    /// A number from the database.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        number.unwrap()
    }

    /// Waits until nothing is left to do.
    pub async fn settle(&self) {
        let end = Instant::now() + SETTLE_MAX;
        loop {
            let left = self
                .number(
                    "select (select count(*) from inbox) + (select count(*) from ready)
                          + (select count(*) from timers) + (select count(*) from claims)",
                )
                .await;
            if left == 0 {
                return;
            }
            assert!(Instant::now() < end, "{left} rows are stuck");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Judges what was promised, once all is settled.
    pub async fn judge(&self, outcome: Outcome, repeats_max: usize) {
        assert_eq!(outcome.given_up, [""; 0], "never acknowledged");
        self.settle().await;
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let stored =
            sqlx::query_as("select event_id, id::text from events where source = '/hooks/load'");
        let stored: Vec<(String, String)> = stored.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let calls = self.sink.calls();
        let delivered = calls.iter().map(|call| Delivered {
            id: call.json()["id"].as_str().unwrap().to_owned(),
            key: call.key().to_owned(),
        });
        let journals = Journals {
            acknowledged: outcome.acknowledged,
            stored,
            delivered: delivered.collect(),
            repeats_max,
        };
        journals.judge();
        self.books_balance().await;
    }

    /// Every event has one run, every run has ended once and well, and the books say so.
    async fn books_balance(&self) {
        let checks = [
            (
                "events without a run, or with several",
                "select count(*) from events e where
                 (select count(*) from runs r where r.event_id = e.id) <> 1",
            ),
            (
                "runs that did not complete exactly once",
                "select count(*) from runs r where (select count(*) from journal j
                 where j.run_id = r.id and j.status is not null) <> 1",
            ),
            (
                "runs that faulted",
                "select count(*) from journal where status is not null and status <> 'completed'",
            ),
            (
                "stored - routed",
                "select coalesce(sum(stored - routed), 0)::bigint from ledger",
            ),
            (
                "events the books do not know",
                "select (select count(*) from events) - coalesce(sum(stored), 0)::bigint
                 from ledger",
            ),
            (
                "runs created - completed",
                "select coalesce(sum(runs - completed), 0)::bigint from ledger",
            ),
            (
                "rows in default partitions",
                "select (select count(*) from events_default)
                 + (select count(*) from runs_default) + (select count(*) from journal_default)",
            ),
        ];
        for (what, sql) in checks {
            assert_eq!(self.number(sql).await, 0, "{what}");
        }
    }
}
