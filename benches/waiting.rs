//! What runs that wait cost a server, and how late they wake when many fall due in one second.
//!
//! `cargo bench --bench waiting`, on a quiet machine. It starts a Postgres and the built server in
//! temporary directories, has `HOOKWRIGHT_BENCH_RUNS` runs (100,000) wait for an hour and compares
//! the server's memory before and after, then has `HOOKWRIGHT_BENCH_DUE` more (1,000) fall due
//! within one second and reads from their journals when each went on.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hookwright::store::managed::Managed;
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

/// Where the server listens.
const ADDRESS: &str = "127.0.0.1:18917";

/// Events in one request.
const BATCH: usize = 500;

/// Runs that have come and gone before memory is looked at.
const WARM_UP: usize = 2_000;

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Waits until the time its event names.
const WORKFLOW: &str = r#"
document: { dsl: '1.0.3', namespace: bench, name: waiting, version: '1.0.0' }
schedule: { on: { one: { with: { type: bench.waiting } } } }
input: { from: '.[0].data' }
do:
  - rest: { wait: '${ "PT\([.until - now, 0.001] | max | . * 1000 | round / 1000)S" }' }
"#;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Server {
    fn start(url: &str, data_dir: &std::path::Path) -> Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_hookwright"))
            .args(["serve", "--listen", ADDRESS, "--database-url", url])
            .arg("--data-dir")
            .arg(data_dir)
            .env(
                "HOOKWRIGHT__STORE__ACCEPT_LOSING_ACKNOWLEDGED_EVENTS",
                "true",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kib.context("no VmRSS")?.parse()?)
    }
}

struct Bench {
    client: reqwest::Client,
    database: PgConnection,
    sent: usize,
}

impl Bench {
    async fn post(&self, path: &str, media: &str, body: String) -> Result<()> {
        let url = format!("http://{ADDRESS}{path}");
        let request = self.client.post(url).header("content-type", media);
        let answer = request.body(body).send().await?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            answer.text().await?
        );
        Ok(())
    }

    /// Publishes so many events, each with the time its run is to wait for, in seconds.
    async fn publish(&mut self, count: usize, until: impl Fn(usize) -> f64) -> Result<()> {
        for first in (0..count).step_by(BATCH) {
            let event = |at: usize| -> Value {
                json!({
                    "specversion": "1.0", "type": "bench.waiting", "source": "/bench",
                    "id": (self.sent + at).to_string(), "data": {"until": until(at)},
                })
            };
            let batch: Vec<Value> = (first..count.min(first + BATCH)).map(event).collect();
            let body = serde_json::to_string(&batch)?;
            let media = "application/cloudevents-batch+json";
            self.post("/api/v1/events", media, body).await?;
        }
        self.sent += count;
        Ok(())
    }

    /// Waits until a count in the database is this.
    async fn until(&mut self, what: &'static str, sql: &'static str, wanted: usize) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let count: i64 = sqlx::query_scalar(sql)
                .fetch_one(&mut self.database)
                .await?;
            if usize::try_from(count).is_ok_and(|count| count == wanted) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{what}: {count} of {wanted}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn number(name: &str, default: usize) -> Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| name.to_owned()),
        Err(_) => Ok(default),
    }
}

fn now_s() -> f64 {
    Timestamp::now().as_duration().as_secs_f64()
}

fn report(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}

const TIMERS: &str = "select count(*) from timers";
const ENDED: &str = "select count(*) from journal where status is not null";

#[tokio::main]
async fn main() -> Result<()> {
    let (runs, due) = (
        number("HOOKWRIGHT_BENCH_RUNS", 100_000)?,
        number("HOOKWRIGHT_BENCH_DUE", 1_000)?,
    );
    let place = std::env::temp_dir().join(format!("hookwright-bench-{}", std::process::id()));
    let (postgres_dir, data_dir) = (place.join("postgres"), place.join("data"));
    std::fs::create_dir_all(&postgres_dir)?;
    std::fs::create_dir_all(&data_dir)?;
    let postgres = Managed::start(&postgres_dir).await?;
    let server = Server::start(postgres.url(), &data_dir)?;
    let outcome = measure(postgres.url(), &server, (runs, due)).await;
    drop(server);
    postgres.stop().await;
    std::fs::remove_dir_all(&place)?;
    outcome
}

async fn measure(url: &str, server: &Server, (runs, due): (usize, usize)) -> Result<()> {
    let client = reqwest::Client::new();
    let ready = format!("http://{ADDRESS}/readyz");
    let begun = Instant::now();
    while !matches!(client.get(&ready).send().await, Ok(answer) if answer.status().is_success()) {
        ensure!(begun.elapsed() < PATIENCE, "the server is not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let database = PgConnection::connect(url).await?;
    let mut bench = Bench {
        client,
        database,
        sent: 0,
    };
    let workflow = WORKFLOW.to_owned();
    bench
        .post("/api/v1/workflows", "application/yaml", workflow)
        .await?;

    let past = now_s();
    bench.publish(WARM_UP, |_| past).await?;
    bench.until("runs of the warm-up", ENDED, WARM_UP).await?;
    let before = server.resident_kib()?;
    let far = now_s() + 3_600.0;
    bench.publish(runs, |_| far).await?;
    bench.until("waiting runs", TIMERS, runs).await?;
    // What the burst itself needed goes back.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = server.resident_kib()?;
    let each = (after as f64 - before as f64) * 1024.0 / runs.max(1) as f64;
    report(&format!(
        "{runs} waiting runs: server memory {before} KiB before, {after} KiB after, \
         {each:.0} bytes each"
    ));

    let from = (now_s() + 20.0).ceil();
    let step = 1.0 / due.max(1) as f64;
    bench.publish(due, |at| from + at as f64 * step).await?;
    bench
        .until("runs that wait to fall due", TIMERS, runs + due)
        .await?;
    ensure!(now_s() < from, "publishing took too long; try fewer");
    bench
        .until("runs that have woken", ENDED, WARM_UP + due)
        .await?;
    let mut late_ms: Vec<f64> = sqlx::query_scalar(
        "select (extract(epoch from j.at) * 1000)::float8
                - (convert_from(e.body, 'utf8')::json->>'until')::float8 * 1000
         from journal j join runs r on r.id = j.run_id join events e on e.id = r.event_id
         where j.status is not null
           and (convert_from(e.body, 'utf8')::json->>'until')::float8 >= $1",
    )
    .bind(from)
    .fetch_all(&mut bench.database)
    .await?;
    late_ms.sort_by(f64::total_cmp);
    ensure!(
        late_ms.len() == due,
        "{} of {due} were found",
        late_ms.len()
    );
    let at = |share: f64| late_ms[((due - 1) as f64 * share) as usize];
    report(&format!(
        "{due} due in one second: ended late by {:.0} ms (p50), {:.0} ms (p99), {:.0} ms (most)",
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    Ok(())
}
