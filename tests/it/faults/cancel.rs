//! Senders and users that hang up half-way: no statement is left open, and nothing that others
//! were promised is lost with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;

use super::load::{Load, Plan};
use super::proxy;
use super::rig::{REPEATS_MAX, Rig};
use crate::world::process::Plan as NodePlan;
use crate::world::sender::standard;
use crate::world::wire::{Line, Request};

/// Senders that hang up.
const HANG_UPS: usize = 600;

/// Looks at what sessions of the database do, every 50 ms.
struct Watch {
    idle_in_transaction: Arc<AtomicI64>,
    ended: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Counts sessions that have rested in a transaction for longer than `at_least`.
    async fn start(url: &str, at_least: Duration) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let (most, ended) = (
            Arc::new(AtomicI64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, end) = (Arc::clone(&most), Arc::clone(&ended));
        let at_least_ms = i64::try_from(at_least.as_millis()).unwrap();
        let task = tokio::spawn(async move {
            while !end.load(Ordering::Acquire) {
                let count: i64 = sqlx::query_scalar(
                    "select count(*) from pg_stat_activity
                     where datname = current_database() and state like 'idle in transaction%'
                       and state_change < clock_timestamp() - $1 * interval '1 millisecond'",
                )
                .bind(at_least_ms)
                .fetch_one(&mut connection)
                .await
                .unwrap();
                seen.fetch_max(count, Ordering::AcqRel);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self {
            idle_in_transaction: most,
            ended,
            task,
        }
    }

    async fn end(self) -> i64 {
        self.ended.store(true, Ordering::Release);
        self.task.await.unwrap();
        self.idle_in_transaction.load(Ordering::Acquire)
    }
}

/// Sends a request whole and closes 1 to 200 ms later.
async fn hang_up(address: SocketAddr, request: Request, at_most_ms: u64) {
    let Ok(mut line) = Line::open(address).await else {
        return;
    };
    if line.write(&request.bytes()).await.is_ok() {
        let ms = rand::rng().random_range(1..=at_most_ms);
        let _answered = tokio::time::timeout(Duration::from_millis(ms), line.read()).await;
    }
}

/// `count` senders, thirty at a time, that each hang up.
async fn hang_ups(address: SocketAddr, count: usize) {
    for first in (0..count).step_by(30) {
        let one = |number: usize| {
            let id = format!("hang-up-{number:06}");
            let body = format!(r#"{{"type":"order.created","id":"{id}","number":{number}}}"#);
            hang_up(address, standard().delivery(&id, body), 200)
        };
        futures_util::future::join_all((first..count.min(first + 30)).map(one)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_that_hang_up_harm_nobody() {
    let rig = Rig::new(Duration::from_millis(5)).await;
    let plan = rig.plan();
    let mut node = plan.start().await;
    rig.define(&node.client).await;
    let watch = Watch::start(&rig.url, Duration::from_millis(200)).await;
    let mut good = Plan::new(vec![plan.address], "beside");
    good.drops = 0.0;
    good.rate_per_s = 150.0;
    let load = Load::start(good);
    hang_ups(plan.address, HANG_UPS).await;
    let outcome = load.end().await;
    assert_eq!(
        outcome.refused,
        BTreeMap::new(),
        "the others notice nothing"
    );
    rig.judge(outcome, 0).await;
    assert_eq!(watch.end().await, 0, "no transaction is left open");
    assert!(node.is_running());
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// Requests to the API that change things, each given up after 5 to 50 ms.
async fn impatient_users(address: SocketAddr, ended: Arc<AtomicBool>) {
    let mut number = 0;
    while !ended.load(Ordering::Acquire) {
        number += 1;
        let text = format!(
            "{{source: storm, verify: none, dedupe: {{window: P{}D}}}}",
            number % 9 + 1
        );
        let request = match number % 3 {
            0 => Request::new("PUT", "/api/v1/sources/storm", text),
            1 => Request::new("PUT", "/api/v1/secrets/storm", format!("\"{number}\"")),
            _ => Request::new("GET", "/api/v1/runs?limit=100", ""),
        };
        hang_up(address, request, 50).await;
    }
}

/// Now that nobody hangs up any more, open transactions end. One that nobody knows of would stay
/// until Postgres ends it after 10 s of idleness, which is later than this waits.
async fn nothing_is_forgotten(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let idle: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and state like 'idle in transaction%'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if idle == 0 {
            return;
        }
        assert!(Instant::now() < end, "{idle} transactions are left open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancellations_poisons_no_connection() {
    let rig = Rig::new(Duration::from_millis(5)).await;
    let url = proxy::start(&rig.url, Duration::from_millis(30)).await;
    let plan = NodePlan { url, ..rig.plan() };
    let node = plan.start().await;
    rig.define(&node.client).await;
    // Between two statements a transaction is idle for the proxy's delay and for as long as a busy
    // machine lets the server wait; one that nobody knows of any more is idle until it is ended.
    let watch = Watch::start(&rig.url, Duration::from_secs(5)).await;
    let mut storm = Plan::new(vec![plan.address], "storm");
    storm.drops = 0.3;
    let load = Load::start(storm);
    let ended = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (0..4)
        .map(|_| tokio::spawn(impatient_users(plan.address, Arc::clone(&ended))))
        .collect();
    load.more(700).await;
    ended.store(true, Ordering::Release);
    for user in users {
        user.await.unwrap();
    }
    nothing_is_forgotten(&rig.url).await;
    node.kill();
    let node = plan.start().await;
    load.more(100).await;
    let outcome = load.end().await;
    assert_eq!(outcome.without_retry_after, 0);
    rig.judge(outcome, REPEATS_MAX).await;
    assert_eq!(watch.end().await, 0, "no transaction is left open");
    let log = node.log();
    assert!(
        !log.contains("25P02") && !log.contains("transaction is aborted"),
        "{log}"
    );
    assert!(!log.contains("panicked"), "{log}");
}
