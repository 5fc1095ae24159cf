//! Parents and children on two nodes, one of which is killed; commands to the node that does not
//! have the run.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{REPEATS_MAX, Rig};
use crate::world::until;
use crate::world::wire::Client;

/// Parents of the test.
const PARENTS: usize = 8;

/// Children of each.
const CHILDREN: usize = 4;

/// How long the call of a child takes.
const CALL: Duration = Duration::from_millis(400);

/// A parent with its children side by side, and the child that calls the sink.
async fn define(rig: &Rig, client: &Client) {
    let child = "document: { dsl: '1.0.3', namespace: t, name: child, version: 1.0.0 }\n\
         do: [ { a: { call: http, with: { method: post, endpoint: 'destination://sink/a', \
         body: '${ . }' } } }, { b: { set: { done: '${ $workflow.input.n }' } } } ]";
    let branches: Vec<String> = (0..CHILDREN)
        .map(|n| {
            format!(
                "{{ b{n}: {{ run: {{ workflow: {{ namespace: t, name: child, version: latest, \
                 input: {{ n: {n} }} }} }} }} }}"
            )
        })
        .collect();
    let parent = format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: parent, version: 1.0.0 }}\n\
         do: [ {{ f: {{ fork: {{ branches: [ {} ] }} }} }} ]",
        branches.join(", ")
    );
    rig.define(client).await;
    for text in [child.to_owned(), parent] {
        client.post("/api/v1/workflows", text).await.good();
    }
}

async fn start(client: &Client, workflow: &str) -> String {
    let path = format!("/api/v1/workflows/t/{workflow}/latest/runs");
    let started = client.post(&path, "{}").await.good();
    started["id"].as_str().unwrap().to_owned()
}

async fn becomes(client: &Client, run: &str, status: &str) -> Value {
    until(status, async || {
        let shown = client.get(&format!("/api/v1/runs/{run}")).await.good();
        (shown["status"] == status).then_some(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_in_flight_outlive_a_killed_node() {
    let rig = Rig::new(CALL).await;
    let plan = rig.plan();
    let first = plan.start().await;
    define(&rig, &first.client).await;
    let second = plan.sibling().start().await;
    let mut parents = Vec::new();
    for _ in 0..PARENTS {
        parents.push(start(&first.client, "parent").await);
    }
    rig.sink.called(CHILDREN).await;
    first.kill();
    let first = plan.start().await;
    rig.sink.called(PARENTS * CHILDREN / 2).await;
    first.kill();
    let expected: Vec<Value> = (0..CHILDREN).map(|n| json!({"done": n})).collect();
    for parent in &parents {
        let run = becomes(&second.client, parent, "completed").await;
        assert_eq!(run["output"], json!(expected), "{run}");
    }
    rig.settle().await;
    let created = rig.number("select count(*) from runs").await;
    assert_eq!(
        created,
        (PARENTS * (1 + CHILDREN)) as i64,
        "each child once"
    );
    let calls = rig.sink.calls();
    let keys: HashSet<&str> = calls.iter().map(|call| call.key()).collect();
    assert_eq!(
        keys.len(),
        PARENTS * CHILDREN,
        "each call once, but for repetitions"
    );
    assert!(calls.len() <= PARENTS * CHILDREN + 2 * REPEATS_MAX);
    until("no mail is left", async || {
        (rig.number("select count(*) from mail").await == 0).then_some(())
    })
    .await;
    let ledger = second.client.get("/api/v1/ledger").await.good();
    assert_eq!(ledger["balanced"], true, "{ledger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_reach_a_run_on_whatever_node() {
    let rig = Rig::new(Duration::from_secs(15)).await;
    let plan = rig.plan();
    let first = plan.start().await;
    define(&rig, &first.client).await;
    let second = plan.sibling().start().await;
    let run = start(&first.client, "child").await;
    rig.sink.called(1).await;
    let tell = async |command: &str, run: &str| {
        let path = format!("/api/v1/runs/{run}/{command}");
        assert_eq!(second.client.post(&path, "").await.status, 202, "{command}");
    };
    tell("suspend", &run).await;
    becomes(&second.client, &run, "suspended").await;
    tell("resume", &run).await;
    tell("cancel", &run).await;
    becomes(&second.client, &run, "cancelled").await;
    // Suspended on a node that is killed: it stays so, and nothing of it is done elsewhere.
    let run = start(&first.client, "child").await;
    rig.sink.called(2).await;
    tell("suspend", &run).await;
    becomes(&second.client, &run, "suspended").await;
    first.kill();
    until("the other node has taken it over", async || {
        let waits = "select count(*) from timers t join suspended s using (run_id)";
        (rig.number(waits).await == 1).then_some(())
    })
    .await;
    assert_eq!(rig.sink.count(), 2);
    tell("resume", &run).await;
    rig.sink.called(3).await;
    tell("cancel", &run).await;
    becomes(&second.client, &run, "cancelled").await;
    let calls = rig.sink.calls();
    assert_eq!(calls[1].key(), calls[2].key(), "the same request again");
    let ledger = second.client.get("/api/v1/ledger").await.good();
    assert_eq!(
        (&ledger["balanced"], &ledger["runs"]["suspended"]),
        (&json!(true), &json!(0))
    );
}
