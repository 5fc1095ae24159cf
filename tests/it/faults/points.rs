//! A node is killed at every named point of the journey, once each, and nothing is lost.
//!
//! Only with the feature `fault-points`; `src/fault_point.rs` is the other end.

use std::os::unix::process::ExitStatusExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use nix::sys::signal::Signal;
use serde_json::json;

use super::load::{Load, Plan};
use super::rig::{REPEATS_MAX, Rig};
use crate::world::process::{self, Node};
use crate::world::wire::{Client, Request};

/// How long a call takes at the destination.
const CALL: Duration = Duration::from_millis(60);

/// Points that are tried at the same time.
const AT_ONCE: usize = 4;

/// A journey through every stage: it waits, calls, and waits.
const WORKFLOW: &str = include_str!("../data/points.yaml");

/// A journey long enough for a checkpoint.
const LONG: &str = include_str!("../data/points_long.yaml");

/// Point, visit and delay in milliseconds, for a journey under load.
const ON_THE_WAY: [&str; 14] = [
    "verified:5",
    "append:3",
    "append:4:1",
    "appended:3",
    "stored:5:5",
    "route:3",
    "routed:3",
    "fired:2",
    "claimed:2",
    "call:5:30",
    "called:5",
    "settle:4",
    "settle:5:1",
    "settled:4",
];

/// Nodes that need few connections, since several points are tried at once.
fn small(rig: &Rig) -> process::Plan {
    rig.plan()
        .with("store.pool_connections_max", "2")
        .with("worker.append_connections", "1")
        .with("worker.settle_connections", "1")
}

fn armed(plan: &process::Plan, point: &str) -> process::Plan {
    let mut plan = plan.clone();
    let variable = ("HOOKWRIGHT_FAULT_POINT".to_owned(), point.to_owned());
    plan.variables.push(variable);
    plan
}

fn light(plan: &process::Plan, rate_per_s: f64) -> Plan {
    Plan {
        rate_per_s,
        connections: 6,
        ..Plan::new(vec![plan.address], "point")
    }
}

/// Waits for the end that its point gives the process.
async fn killed(node: &mut Node) {
    let status = node.exit().await;
    let killed = Some(Signal::SIGKILL as i32);
    assert_eq!(status.signal(), killed, "{status}: {}", node.log());
}

async fn on_the_way(point: &str, workflow: &'static str, (rate_per_s, more): (f64, usize)) {
    let rig = Rig::new(CALL).await;
    let plan = small(&rig);
    let mut node = armed(&plan, point).start().await;
    rig.define_with(&node.client, workflow).await;
    let load = Load::start(light(&plan, rate_per_s));
    killed(&mut node).await;
    let after = plan.start().await;
    load.more(more).await;
    rig.judge(load.end().await, REPEATS_MAX).await;
    drop(after);
}

/// A node dies while it takes over from one that has died.
async fn in_the_sweep() {
    let rig = Rig::new(CALL).await;
    let plan = small(&rig);
    let first = plan.start().await;
    rig.define_with(&first.client, WORKFLOW).await;
    let load = Load::start(light(&plan, 100.0));
    load.more(20).await;
    first.kill();
    let mut second = armed(&plan, "swept").start().await;
    killed(&mut second).await;
    let third = plan.start().await;
    load.more(5).await;
    rig.judge(load.end().await, 2 * REPEATS_MAX).await;
    drop(third);
}

/// A node dies while a new version is deployed: it is there with all that belongs to it, or not.
async fn in_a_deployment(point: &'static str, found: &str) {
    let rig = Rig::new(CALL).await;
    let plan = small(&rig);
    let mut node = armed(&plan, point).start().await;
    rig.define(&node.client).await;
    let load = Load::start(light(&plan, 50.0));
    load.more(5).await;
    let files = json!({"files": [{"path": "load.yaml", "text": WORKFLOW}]}).to_string();
    let deploy = Request::new("POST", "/api/v1/definitions", files.clone())
        .header("content-type", "application/json");
    let unanswered = node.client.try_send(&deploy).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    killed(&mut node).await;
    let after = plan.start().await;
    let again = Client {
        address: plan.address,
    };
    let plan = again.send(&deploy).await.good();
    assert_eq!(plan["lines"][0]["action"], found, "{plan}");
    load.more(10).await;
    rig.judge(load.end().await, REPEATS_MAX).await;
    drop(after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_anywhere_loses_nothing() {
    let others = ["swept", "checkpointed", "deploy", "deployed"];
    let points = others
        .into_iter()
        .chain(ON_THE_WAY)
        .map(|point| async move {
            let outcome = AssertUnwindSafe(dies_at(point)).catch_unwind().await;
            outcome.err().map(|_| point)
        });
    let failed: Vec<_> = futures_util::stream::iter(points)
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failed| failed)
        .collect()
        .await;
    assert!(failed.is_empty(), "{failed:?}: the reasons are above");
}

async fn dies_at(point: &'static str) {
    match point {
        "swept" => in_the_sweep().await,
        "checkpointed" => on_the_way(point, LONG, (0.3, 0)).await,
        "deploy" => in_a_deployment(point, "create").await,
        "deployed" => in_a_deployment(point, "unchanged").await,
        _ => on_the_way(point, WORKFLOW, (100.0, 5)).await,
    }
}
