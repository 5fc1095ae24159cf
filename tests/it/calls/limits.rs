//! Rate limits that all nodes share: configured, said by answers, or taught by refusals.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use crate::postgres::database;
use crate::world::destination::{Destination, Reply};
use crate::world::process::Plan;
use crate::world::wire::Client;
use crate::world::{Scratch, World, until};

/// Declares a destination, and a workflow of the same name that calls it.
async fn declare(client: &Client, name: &str, url: &str, more: &str) {
    let text = format!("{{destination: {name}, baseUrl: '{url}', {more}}}");
    let path = format!("/api/v1/destinations/{name}");
    client.put(&path, text).await.good();
    let text = format!(
        "document: {{dsl: 1.0.3, namespace: test, name: {name}, version: 1.0.0}}
do:
  - call: {{call: http, with: {{method: get, endpoint: 'destination://{name}/x'}}}}
"
    );
    client.post("/api/v1/workflows", text).await.good();
}

/// Runs that all complete.
async fn runs(clients: &[&Client], name: &str, each: usize) {
    let path = format!("/api/v1/workflows/test/{name}/latest/runs?wait=30s");
    let path = path.as_str();
    let starts = clients
        .iter()
        .flat_map(|client| (0..each).map(move |_| client.post(path, "{}")));
    for answer in join_all(starts).await {
        let run: Value = answer.good();
        assert_eq!(run["status"], "completed", "{run}");
    }
}

async fn condition(client: &Client, name: &str) -> Value {
    let path = format!("/api/v1/destinations/{name}");
    client.get(&path).await.good()["condition"].clone()
}

/// At no time were there more calls than a limit allows that began with the first of them. Late
/// arrivals only make it fewer.
fn within(times: &[Instant], at_once: f64, per_second: f64) {
    for (number, at) in times.iter().enumerate() {
        let passed = (*at - times[0]).as_secs_f64();
        let most = at_once + per_second * (passed + 0.25);
        assert!((number as f64) < most, "call {number} after {passed} s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_a_limit() {
    let api = Destination::answering(&[200]).await;
    let (database, scratch) = (database().await, Scratch::new());
    let plan = Plan::new(&database.url, scratch.path());
    let one = plan.start().await;
    let two = plan.sibling().start().await;
    declare(
        &one.client,
        "api",
        &api.url(),
        "rateLimit: [20/s, 5000/min]",
    )
    .await;
    until("the second node has loaded it", async || {
        let path = "/api/v1/workflows/test/api/latest/runs?wait=30s";
        let run = two.client.post(path, "{}").await.good();
        (run["status"] == "completed").then_some(())
    })
    .await;
    let before = api.count();
    runs(&[&one.client, &two.client], "api", 30).await;
    let calls = api.calls();
    assert_eq!(calls.len(), before + 60);
    let times: Vec<_> = calls[before..].iter().map(|call| call.at).collect();
    within(&times, 2.0, 20.0);
    let shown = condition(&one.client, "api").await;
    assert!(shown["rateLeft"].is_i64(), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_used_up_the_quota_holds_back_the_next_calls() {
    let api = Destination::start(|_, number| {
        let left = if number == 1 { "0" } else { "50" };
        Reply::new(200)
            .header("x-ratelimit-remaining", left)
            .header("x-ratelimit-reset", "1")
    })
    .await;
    let world = World::start().await;
    declare(&world.client, "api", &api.url(), "concurrency: 8").await;
    runs(&[&world.client], "api", 1).await;
    assert_eq!(condition(&world.client, "api").await["state"], "held");
    runs(&[&world.client], "api", 10).await;
    let calls = api.calls();
    let (first, second) = (calls[0].at, calls[1].at);
    assert!(second - first >= Duration::from_secs(1), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_without_a_word_slow_a_destination_down() {
    let api = Destination::start(|_, number| {
        Reply::new(if (21..=23).contains(&number) {
            429
        } else {
            200
        })
    })
    .await;
    let world = World::start().await;
    declare(&world.client, "api", &api.url(), "retry: {delay: PT0.1S}").await;
    runs(&[&world.client], "api", 20).await;
    assert!(condition(&world.client, "api").await["slowedTo"].is_null());
    runs(&[&world.client], "api", 3).await;
    let slowed = until("the limit is known", async || {
        condition(&world.client, "api").await["slowedTo"].as_f64()
    })
    .await;
    assert!((0.1..=20.0).contains(&slowed), "{slowed}");
    let before = api.count();
    runs(&[&world.client], "api", 8).await;
    let calls = api.calls();
    let times: Vec<_> = calls[before..].iter().map(|call| call.at).collect();
    // It grows by a thirtieth in a second.
    within(&times, 2.0 + slowed / 10.0, slowed * 2.0);
}
