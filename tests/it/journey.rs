//! The main job, end to end: a signed webhook becomes a call to an API, and everything on the way
//! can be seen afterwards.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::world::destination::{Destination, Reply};
use crate::world::sender::shopify;
use crate::world::{World, order};

/// From receipt to the CRM, the retry included.
const MAIN_JOB_MAX: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_order_reaches_the_crm_through_a_retry() {
    let crm = Destination::answering(&[503, 201]).await;
    let world = World::start().await;
    world.main_job(&crm).await;

    let body = order(820_982_911_946_154_508);
    let delivery = shopify().delivery("order-1", body.clone());
    let delivery = delivery.header("authorization", "Bearer of-the-shop");
    let sent = Instant::now();
    let event = world.client.send(&delivery).await.good();
    let event = event["id"].as_str().unwrap();
    let run = world.ended(event).await;
    assert!(sent.elapsed() < MAIN_JOB_MAX, "{:?}", sent.elapsed());

    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["output"], json!({"crmId": "crm-1"}));
    assert_eq!(run["eventId"], event);
    let tasks = run["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 1, "{run}");
    assert_eq!(tasks[0]["reference"], "/do/0/createOrder");
    assert_eq!(tasks[0]["status"], "completed");
    let attempts = tasks[0]["attempts"].as_array().unwrap();
    let statuses: Vec<_> = attempts.iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [json!(503), json!(201)], "{run}");

    let calls = crm.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert_eq!(
            (call.method.as_str(), call.path.as_str()),
            ("POST", "/v2/orders")
        );
        assert_eq!(call.header("x-api-key"), "key-of-the-crm");
        assert_eq!(call.header("content-type"), "application/json");
        assert_eq!(call.json(), crm_order());
        assert!(!call.key().is_empty());
        assert_eq!(call.key(), calls[0].key(), "the same on every attempt");
    }

    let stored = world
        .client
        .get(&format!("/api/v1/events/{event}/body"))
        .await;
    assert_eq!(stored.text(), body, "byte for byte");
    let shown = world
        .client
        .get(&format!("/api/v1/events/{event}"))
        .await
        .good();
    assert_eq!(shown["type"], "shopify.orders/create");
    assert_eq!(shown["source"], "/hooks/shop");
    assert_eq!(shown["eventId"], "order-1");
    assert_eq!(shown["decision"], "routed");
    let headers = shown["headers"].to_string();
    assert!(headers.contains("orders/create"), "{headers}");
    assert!(!headers.contains("of-the-shop"), "masked: {headers}");
    counted(&world).await;
}

fn crm_order() -> serde_json::Value {
    json!({
        "externalId": 820_982_911_946_154_508_u64,
        "customer": {"email": "jane@example.com", "name": "Jane Doe"},
        "total": 59.80,
        "currency": "EUR",
        "lines": [
            {"sku": "TEA", "quantity": 2, "price": 14.95},
            {"sku": "POT", "quantity": 1, "price": 29.90},
        ],
    })
}

async fn counted(world: &World) {
    let ledger = world.books().await;
    assert_eq!((ledger.events.stored, ledger.events.routed), (1, 1));
    assert_eq!((ledger.runs.created, ledger.runs.completed), (1, 1));
    let expected = [
        ("hookwright_deliveries_received_total", 1.0),
        ("hookwright_events_appended_total", 1.0),
        ("hookwright_events_routed_total", 1.0),
        ("hookwright_runs_ended_total", 1.0),
        ("hookwright_attempts_total", 2.0),
        ("hookwright_retries_total", 1.0),
        ("hookwright_ack_seconds_count", 1.0),
    ];
    for (name, count) in expected {
        assert_eq!(world.client.metric(name).await, count, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_waits_survives_a_restart() {
    let crm = Destination::start(|_, number| match number {
        1 => Reply::new(503).header("retry-after", "2"),
        _ => Reply::new(201),
    })
    .await;
    let mut world = World::start().await;
    world.main_job(&crm).await;
    let event = world
        .client
        .send(&shopify().delivery("order-2", order(2)))
        .await;
    let event = event.good()["id"].as_str().unwrap().to_owned();
    let run = world.begun(&event).await;
    crm.called(1).await;
    let called = crm.calls()[0].at;
    world.restart().await;
    let run = world.end_of(run["id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "completed", "{run}");
    let calls = crm.calls();
    assert_eq!(calls.len(), 2, "none is repeated and none is lost");
    assert_eq!(calls[0].key(), calls[1].key());
    let waited = calls[1].at - called;
    assert!(
        waited >= Duration::from_millis(1_900),
        "Retry-After holds: {waited:?}"
    );
    let attempts = run["tasks"][0]["attempts"].as_array().unwrap();
    assert_eq!(
        attempts.len(),
        2,
        "what was before the restart is remembered: {run}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_survives_a_restart() {
    let mut world = World::start().await;
    world
        .workflow(
            "{document: {dsl: '1.0.3', namespace: t, name: pause, version: '1.0.0'},
              do: [{before: {set: {n: '${ .n + 1 }'}}}, {pause: {wait: PT0.3S}},
                   {after: {set: {n: '${ .n * 10 }'}}}]}",
        )
        .await;
    let path = "/api/v1/workflows/t/pause/latest/runs";
    let run = world.client.post(path, r#"{"n": 4}"#).await.good();
    world.restart().await;
    let run = world.end_of(run["id"].as_str().unwrap()).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["output"], json!({"n": 50}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_by_hand_is_answered_once_per_key() {
    let world = World::start().await;
    world
        .workflow(
            "{document: {dsl: '1.0.3', namespace: t, name: double, version: '1.0.0'},
              do: [{double: {set: {n: '${ .n * 2 }'}}}]}",
        )
        .await;
    let run = world.run_of("t/double", &json!({"n": 21})).await;
    assert_eq!(run["output"], json!({"n": 42}), "{run}");

    let path = "/api/v1/workflows/t/double/1.0.0/runs";
    let start = crate::world::Request::new("POST", path, r#"{"n": 1}"#);
    let start = start.header("idempotency-key", "once");
    let first = world.client.send(&start).await;
    assert_eq!(first.status, 202, "{}", first.text());
    let again = world.client.send(&start).await;
    assert_eq!(first.json()["id"], again.json()["id"]);
    world.end_of(first.json()["id"].as_str().unwrap()).await;
    assert_eq!(world.books().await.runs.created, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switch_raise_and_try_take_the_paths_they_say() {
    let crm = Destination::answering(&[409]).await;
    let world = World::start().await;
    let text = include_str!("data/paths.yaml").replace("CRM", &crm.url());
    world.workflow(&text).await;

    let big = world.run_of("t/paths", &json!({"total": 500})).await;
    assert_eq!(big["output"]["way"], "big", "{big}");
    let small = world.run_of("t/paths", &json!({"total": 5})).await;
    assert_eq!(small["output"]["way"], "small", "{small}");
    let none = world.run_of("t/paths", &json!({"total": -1})).await;
    assert_eq!(none["status"], "faulted", "{none}");
    assert_eq!(none["error"]["type"], "https://example.com/errors/negative");
    assert_eq!(none["error"]["status"], 422);
    let refused = world.run_of("t/paths", &json!({"total": 0})).await;
    assert_eq!(refused["status"], "completed", "{refused}");
    assert_eq!(refused["output"], json!({"way": "caught", "status": 409}));
    assert_eq!(crm.count(), 1, "a 409 is not tried again");

    let ledger = world.books().await;
    assert_eq!((ledger.runs.completed, ledger.runs.faulted), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_wait_is_a_row_and_nothing_else() {
    let mut world = World::start().await;
    world
        .workflow(
            "{document: {dsl: '1.0.3', namespace: t, name: long, version: '1.0.0'},
              do: [{pause: {wait: PT1H}}]}",
        )
        .await;
    let path = "/api/v1/workflows/t/long/latest/runs";
    let run = world.client.post(path, "{}").await.good();
    let id = run["id"].as_str().unwrap().to_owned();
    crate::world::until("it waits", async || {
        let run = world.client.get(&format!("/api/v1/runs/{id}")).await.good();
        (run["status"] == "waiting").then_some(())
    })
    .await;
    world.expect_open(1);
    let books = world.books().await;
    assert_eq!((books.runs.waiting, books.runs.running), (1, 0));
}
