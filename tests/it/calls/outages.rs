//! Destinations that are down or ask to be left alone: their runs wait without attempts, others do
//! not notice, one call finds out, and all nodes agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::postgres::database;
use crate::world::destination::{Destination, Reply};
use crate::world::process::Plan;
use crate::world::wire::Client;
use crate::world::{PATIENCE, Scratch, World, until};

/// A destination that answers 503 until it is healed.
async fn ailing() -> (Destination, Arc<AtomicBool>) {
    let healed = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&healed);
    let destination = Destination::start(move |_, _| {
        let well = well.load(Ordering::SeqCst);
        Reply::new(if well { 200 } else { 503 })
    });
    (destination.await, healed)
}

/// Declares a destination, and a workflow of the same name that calls it.
async fn declare(client: &Client, name: &str, url: &str, more: &str) {
    let text = format!("{{destination: {name}, baseUrl: '{url}', {more}}}");
    let path = format!("/api/v1/destinations/{name}");
    client.put(&path, text).await.good();
    let text = format!(
        "document: {{dsl: 1.0.3, namespace: test, name: {name}, version: 1.0.0}}
do:
  - call: {{call: http, with: {{method: post, endpoint: 'destination://{name}/x'}}}}
"
    );
    client.post("/api/v1/workflows", text).await.good();
}

/// Starts runs; their ids.
async fn starts(client: &Client, name: &str, count: usize) -> Vec<String> {
    let path = format!("/api/v1/workflows/test/{name}/latest/runs");
    let starts = (0..count).map(|_| client.post(&path, "{}"));
    let ids = join_all(starts).await.into_iter();
    ids.map(|answer| answer.good()["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn condition(client: &Client, name: &str) -> Value {
    let path = format!("/api/v1/destinations/{name}");
    client.get(&path).await.good()["condition"].clone()
}

async fn becomes(client: &Client, name: &str, state: &str) -> Value {
    until(state, async || {
        let condition = condition(client, name).await;
        (condition["state"] == state).then_some(condition)
    })
    .await
}

async fn end_of(client: &Client, id: &str) -> Value {
    until("the run has ended", async || {
        let run = client.get(&format!("/api/v1/runs/{id}")).await.good();
        run["endedAt"].is_string().then_some(run)
    })
    .await
}

/// How many events of a type the log has about a destination.
async fn events(client: &Client, kind: &str, name: &str) -> usize {
    let path = format!("/api/v1/events?type=io.hookwright.destination.{kind}.v1");
    let page = client.get(&path).await.good();
    let about = format!("/destinations/{name}");
    let events = page.as_array().unwrap().iter();
    events.filter(|event| event["source"] == about).count()
}

const QUICK: &str = "circuitBreaker: {failures: 3, pause: PT0.5S, maxPause: PT1S}, concurrency: 4, \
                     retry: {delay: PT0.05S}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_wait_for_a_destination_that_is_down_and_others_go_on() {
    let (sick, healed) = ailing().await;
    let fit = Destination::answering(&[200]).await;
    let world = World::start().await;
    let client = &world.client;
    declare(client, "sick", &sick.url(), QUICK).await;
    declare(client, "fit", &fit.url(), "concurrency: 4").await;
    world
        .workflow(
            "document: {dsl: 1.0.3, namespace: test, name: alert, version: 1.0.0}
schedule: {on: {one: {with: {type: io.hookwright.destination.down.v1}}}}
do: [{told: {set: '${ .[0].data }'}}]
",
        )
        .await;
    let runs = starts(client, "sick", 40).await;
    let down = becomes(client, "sick", "down").await;
    assert!(down["cause"].as_str().unwrap().contains("503"), "{down}");
    assert!(down["retryAt"].is_string(), "{down}");
    until("all of them wait outside memory", async || {
        let condition = condition(client, "sick").await;
        (condition["waiting"].as_i64().unwrap() >= 30).then_some(())
    })
    .await;
    let run = world.run_of("test/fit", &json!({})).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(condition(client, "fit").await["state"], "up");
    let alert = until("the outage has started a run", async || {
        let path = "/api/v1/runs?workflow=test/alert";
        let page = client.get(path).await.good();
        page[0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let alert = end_of(client, &alert).await;
    assert_eq!(alert["output"]["destination"], "sick", "{alert}");
    // One call at a time finds out, however many wait.
    let before = sick.count();
    until("two calls have tried", async || {
        let tried = condition(client, "sick").await["failedProbes"].as_i64();
        (tried >= Some(2)).then_some(())
    })
    .await;
    assert!(sick.count() - before <= 6, "{} calls", sick.count());
    healed.store(true, Ordering::SeqCst);
    for id in &runs {
        let run = end_of(client, id).await;
        assert_eq!(run["status"], "completed", "{run}");
    }
    becomes(client, "sick", "up").await;
    until("it is said that it is up", async || {
        (events(client, "up", "sick").await == 1).then_some(())
    })
    .await;
    assert_eq!(events(client, "down", "sick").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_that_always_fails_says_nothing_about_its_destination() {
    let (sick, _) = ailing().await;
    let world = World::start().await;
    declare(&world.client, "sick", &sick.url(), QUICK).await;
    let run = world.run_of("test/sick", &json!({})).await;
    assert_eq!(run["status"], "faulted", "{run}");
    assert_eq!(sick.count(), 5);
    assert_eq!(condition(&world.client, "sick").await["state"], "up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_destination_keeps_its_other_times() {
    let (sick, healed) = ailing().await;
    let world = World::start().await;
    let client = &world.client;
    let slow = "circuitBreaker: {failures: 3, pause: PT60S}, retry: {delay: PT0.05S}";
    declare(client, "sick", &sick.url(), slow).await;
    let runs = starts(client, "sick", 4).await;
    becomes(client, "sick", "down").await;
    world
        .workflow(
            "document: {dsl: 1.0.3, namespace: test, name: short, version: 1.0.0}
do:
  - call:
      call: http
      with: {method: get, endpoint: 'destination://sick/x'}
      timeout: {after: PT0.5S}
",
        )
        .await;
    let run = world.run_of("test/short", &json!({})).await;
    let kind = run["error"]["type"].as_str().unwrap();
    assert!(kind.ends_with("/timeout"), "{run}");
    // Another document may be the cure, so it is tried at once.
    healed.store(true, Ordering::SeqCst);
    declare(client, "sick", &sick.url(), "timeout: PT20S").await;
    for id in &runs {
        let run = end_of(client, id).await;
        assert_eq!(run["status"], "completed", "{run}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn off_means_that_it_is_called_come_what_may() {
    let (sick, _) = ailing().await;
    let world = World::start().await;
    let off = "circuitBreaker: 'off', retry: {delay: PT0.01S, limit: {attempt: {count: 2}}}";
    declare(&world.client, "sick", &sick.url(), off).await;
    for id in starts(&world.client, "sick", 6).await {
        let run = end_of(&world.client, &id).await;
        assert_eq!(run["status"], "faulted", "{run}");
    }
    assert_eq!(sick.count(), 18);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_agree_on_who_tries_and_for_how_long_nobody_calls() {
    let (sick, healed) = ailing().await;
    let asked = Duration::from_secs(2);
    let busy = Destination::start(|_, number| match number {
        1 => Reply::new(429).header("retry-after", "2"),
        _ => Reply::new(200),
    })
    .await;
    let (database, scratch) = (database().await, Scratch::new());
    let plan = Plan::new(&database.url, scratch.path());
    let one = plan.start().await;
    let two = plan.sibling().start().await;
    declare(&one.client, "sick", &sick.url(), QUICK).await;
    declare(&one.client, "busy", &busy.url(), "timeout: PT10S").await;
    let both = [&one.client, &two.client];
    loaded(&two.client, &busy).await;

    // From the second call on it is left alone, by both nodes, for as long as it asked.
    let first = busy.calls()[0].at;
    let mut runs = Vec::new();
    for client in both {
        runs.extend(starts(client, "busy", 5).await);
    }
    for id in &runs {
        assert_eq!(end_of(&one.client, id).await["status"], "completed");
    }
    let early = |call: &&crate::world::destination::Call| call.at < first + asked;
    let calls = busy.calls();
    assert_eq!(calls.iter().filter(early).count(), 1, "while it was held");

    let mut runs = Vec::new();
    for client in both {
        runs.extend(starts(client, "sick", 20).await);
    }
    becomes(&one.client, "sick", "down").await;
    until("three calls have tried", async || {
        let tried = condition(&two.client, "sick").await["failedProbes"].as_i64();
        (tried >= Some(3)).then_some(())
    })
    .await;
    // What was on its way when it went down, and one for each time it was tried.
    let tried = condition(&one.client, "sick").await["failedProbes"].as_i64();
    let most = 2 * (4 + 3) + usize::try_from(tried.unwrap()).unwrap() + 1;
    assert!(sick.count() <= most, "{} calls, {tried:?}", sick.count());
    healed.store(true, Ordering::SeqCst);
    for id in &runs {
        let run = end_of(&one.client, id).await;
        assert_eq!(run["status"], "completed", "{run}");
    }
    until("both changes are told once", async || {
        let (down, up) = (
            events(&one.client, "down", "sick").await,
            events(&one.client, "up", "sick").await,
        );
        assert!(down <= 1 && up <= 1, "{down} {up}");
        (up == 1).then_some(())
    })
    .await;
}

/// Waits until a node has loaded what another one was told; the first call there is refused.
async fn loaded(client: &Client, busy: &Destination) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while busy.count() == 0 {
        assert!(tokio::time::Instant::now() < end, "it was never called");
        let path = "/api/v1/workflows/test/busy/latest/runs";
        let _start = client.post(path, "{}").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
