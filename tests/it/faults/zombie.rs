//! A node that is stopped for longer than its session lives, and then goes on: its work was taken
//! over, and nothing it still does may count.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::load::{Load, Plan};
use super::rig::{REPEATS_MAX, Rig};
use crate::world::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_a_stopped_node_are_fenced() {
    // A call lasts so long that some are in flight at any moment.
    let rig = Rig::new(Duration::from_millis(800)).await;
    let plan = rig.plan();
    let stopped = plan.start().await;
    rig.define(&stopped.client).await;
    let other = plan.sibling().start().await;
    let mut load_plan = Plan::new(vec![plan.address], "zombie");
    load_plan.rate_per_s = 30.0;
    load_plan.drops = 0.0;
    let load = Load::start(load_plan);
    load.more(40).await;
    let outcome = load.end().await;
    assert_eq!(outcome.refused, BTreeMap::new());
    let claims = "select count(*) from claims";
    let held = rig.number(claims).await;
    stopped.signal(Signal::SIGSTOP);
    assert!(held > 0, "runs are in flight");
    until("its work is done by the other", async || {
        let left = "select (select count(*) from claims) + (select count(*) from ready)
                         + (select count(*) from inbox) + (select count(*) from timers)";
        (rig.number(left).await == 0).then_some(())
    })
    .await;
    let ended = "select count(*) from journal where status is not null";
    let before = rig.number(ended).await;
    stopped.signal(Signal::SIGCONT);
    until("the stopped node has noticed", async || {
        let fenced = stopped
            .client
            .metric("hookwright_results_fenced_total")
            .await;
        (fenced >= 1.0).then_some(())
    })
    .await;
    assert_eq!(
        rig.number(ended).await,
        before,
        "no state was written twice"
    );
    assert!(other.client.metric("hookwright_claims_swept_total").await >= 1.0);
    rig.judge(outcome, REPEATS_MAX).await;

    // It is a node like any other again.
    let load = Load::start(Plan::new(vec![plan.address], "again"));
    load.more(50).await;
    let outcome = load.end().await;
    rig.judge(outcome, REPEATS_MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_one_database() {
    let rig = Rig::new(Duration::from_millis(100)).await;
    // The node with the door has few places, so the other gets work although nobody sends to it.
    let plan = rig.plan().with("worker.runs_in_flight_max", "8");
    let first = plan.start().await;
    rig.define(&first.client).await;
    let second = rig.plan().sibling().start().await;
    let load = Load::start(Plan::new(vec![plan.address], "shared"));
    load.more(500).await;
    let outcome = load.end().await;
    assert_eq!(outcome.refused, BTreeMap::new());
    rig.judge(outcome, 0).await;
    for node in [&first, &second] {
        let ended = node.client.metric("hookwright_runs_ended_total").await;
        assert!(ended >= 20.0, "each has done its share: {ended}");
    }
    // The same deliveries to both doors at once are one event each.
    let addresses = vec![plan.address, second.client.address];
    let mut both = Plan::new(addresses, "doors");
    both.duplicates = 0.5;
    let load = Load::start(both);
    load.more(200).await;
    let outcome = load.end().await;
    rig.judge(outcome, 0).await;
}
