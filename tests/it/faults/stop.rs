//! SIGTERM: a server under load ends in order, and nobody notices but the balancer.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::load::{Load, Plan};
use super::rig::Rig;
use crate::world::until;

/// A drain with runs of half a second ends within this time.
const DRAIN_MAX: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_drains_without_losing_or_repeating_anything() {
    let rig = Rig::new(Duration::from_millis(500)).await;
    let plan = rig.plan().with("drain.accept_ms", "2000");
    let mut node = plan.start().await;
    rig.define(&node.client).await;
    let mut load_plan = Plan::new(vec![plan.address], "drain");
    load_plan.rate_per_s = 50.0;
    load_plan.drops = 0.0;
    let load = Load::start(load_plan);
    load.more(80).await;
    let told = Instant::now();
    node.signal(Signal::SIGTERM);
    until("a balancer is told", async || {
        (!node.is_ready().await).then_some(())
    })
    .await;
    // Deliveries are still taken while the balancer takes notice; then it sends elsewhere.
    load.more(20).await;
    let outcome = load.end().await;
    let status = node.exit().await;
    assert!(status.success(), "{status}\n{}", node.log());
    assert!(told.elapsed() < DRAIN_MAX, "{:?}", told.elapsed());
    assert_eq!(outcome.refused, BTreeMap::new(), "no request failed");
    assert_eq!(
        rig.number("select count(*) from claims").await,
        0,
        "nothing is held"
    );
    assert_eq!(
        rig.number("select count(*) from sessions").await,
        0,
        "the session is closed"
    );
    let swept = "select coalesce(max(sweeps), 0)::bigint from ready";
    assert_eq!(
        rig.number(swept).await,
        0,
        "what was given back has lost no attempt"
    );

    let _next = plan.start().await;
    rig.judge(outcome, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_at_once() {
    let rig = Rig::new(Duration::ZERO).await;
    let mut node = rig.plan().start().await;
    node.signal(Signal::SIGTERM);
    until("it drains", async || (!node.is_ready().await).then_some(())).await;
    let told = Instant::now();
    node.signal(Signal::SIGTERM);
    let status = node.exit().await;
    assert!(
        told.elapsed() < Duration::from_secs(2),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(status.code(), Some(1));
}
