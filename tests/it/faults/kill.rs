//! The server is killed under load; then Postgres is, under a server that stays up.

use std::collections::BTreeMap;
use std::time::Duration;

use hookwright::store::managed::Managed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::load::{Load, Plan};
use super::rig::{REPEATS_MAX, Rig, cycles};
use crate::world::Scratch;

/// How long a call takes at the destination.
const CALL: Duration = Duration::from_millis(50);

/// A started process takes deliveries within this time.
const READY_MAX: Duration = Duration::from_secs(5);

/// After Postgres takes connections again, the first delivery is acknowledged within this time.
const RECOVERY_MAX: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_it_has_acknowledged() {
    let rig = Rig::new(CALL).await;
    let plan = rig.plan();
    let mut node = plan.start().await;
    rig.define(&node.client).await;
    let load = Load::start(Plan::new(vec![plan.address], "kill"));
    let cycles = cycles(5);
    for cycle in 0..cycles {
        load.more(300 + 60 * (cycle % 5)).await;
        node.kill();
        let begun = Instant::now();
        node = plan.start().await;
        assert!(
            begun.elapsed() < READY_MAX,
            "{:?} to be ready",
            begun.elapsed()
        );
    }
    load.more(200).await;
    let outcome = load.end().await;
    assert_eq!(
        outcome.refused,
        BTreeMap::new(),
        "nothing but 2xx was answered"
    );
    rig.judge(outcome, cycles * REPEATS_MAX).await;
    assert!(node.is_running());
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// The postmaster of the cluster in `dir`.
fn postmaster(dir: &std::path::Path) -> Option<Pid> {
    let text = std::fs::read_to_string(dir.join("pg/postmaster.pid")).ok()?;
    Some(Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
}

/// Kills the postmaster and all its processes, as the power does.
fn kill_postgres(dir: &std::path::Path) {
    let postmaster = postmaster(dir).unwrap();
    kill(postmaster, Signal::SIGSTOP).unwrap();
    for process in children(postmaster) {
        let _ended_already = kill(process, Signal::SIGKILL);
    }
    kill(postmaster, Signal::SIGKILL).unwrap();
}

/// The processes whose parent is `parent`.
fn children(parent: Pid) -> Vec<Pid> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let of_parent = |pid: &i32| {
        // The command's name, in brackets, may have blanks; the parent stands after the state.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(&parent.to_string())
    };
    pids.filter(of_parent).map(Pid::from_raw).collect()
}

/// When Postgres takes connections.
async fn answers(url: &str) -> Instant {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Ok(connection) = PgConnection::connect(url).await {
            let at = Instant::now();
            connection.close().await.unwrap();
            return at;
        }
        assert!(Instant::now() < end, "Postgres stays away");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_nothing_that_was_acknowledged() {
    let scratch = Scratch::new();
    let postgres = Managed::start(scratch.path()).await.unwrap();
    let rig = Rig::on(postgres.url().to_owned(), CALL).await;
    let plan = rig.plan();
    let mut node = plan.start().await;
    rig.define(&node.client).await;
    let before = node.resident_bytes();
    let load = Load::start(Plan::new(vec![plan.address], "postgres"));
    let cycles = cycles(2);
    let mut back = Vec::new();
    for _ in 0..cycles {
        load.more(400).await;
        kill_postgres(scratch.path());
        back.push(answers(&rig.url).await);
        load.more(200).await;
    }
    let outcome = load.end().await;
    for at in back {
        let next = outcome
            .acknowledged_at
            .iter()
            .find(|acknowledged| **acknowledged > at);
        let took = *next.unwrap() - at;
        assert!(
            took < RECOVERY_MAX,
            "{took:?} until the first acknowledgement"
        );
    }
    let statuses: Vec<_> = outcome.refused.keys().collect();
    assert_eq!(statuses, [&503], "told to come again, and nothing else");
    assert_eq!(outcome.without_retry_after, 0, "and when");
    assert!(node.is_running(), "the server stays up");
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "grown by {grown} bytes");
    // A node that could not renew its session repeats what it had in flight, as a dead one.
    rig.judge(outcome, cycles * REPEATS_MAX).await;
    assert!(!node.log().contains("panicked"), "{}", node.log());
    node.kill();
    postgres.stop().await;
}
