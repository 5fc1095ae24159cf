//! Runs for many events: each event is in one batch, whatever happens to nodes.

use std::collections::BTreeMap;

use hookwright::workflow::parse;
use serde_json::{Value, json};

use crate::postgres::{Database, database};
use crate::store_append::number;
use crate::world::process::Plan;
use crate::world::wire::Client;
use crate::world::{Request, Scratch, World, until};

fn workflow(metadata: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: t, name: w, version: 1.0.0, metadata: {metadata}}}\n\
         schedule: {{on: {{one: {{with: {{type: order.made}}}}}}, read: data}}\n\
         do:\n  - keep: {{set: '{{count: length}}'}}\n"
    )
}

#[test]
fn gathering_that_cannot_be_held_is_refused() {
    for (metadata, pointer) in [
        ("{batch: {maxSize: 10}}", "/batch"),
        ("{batch: {maxSize: 0, maxWait: PT1S}}", "/batch/maxSize"),
        ("{batch: {maxSize: 10, maxWait: P2D}}", "/batch/maxWait"),
        (
            "{batch: {maxSize: 10, maxWait: PT1S, key: '.['}}",
            "/batch/key",
        ),
        (
            "{batch: {maxSize: 10, maxWait: PT1S, size: 1}}",
            "/batch/size",
        ),
        ("{debounce: {maxWait: PT1S}}", "/debounce"),
        ("{debounce: {period: PT0S}}", "/debounce/period"),
        (
            "{batch: {maxSize: 1, maxWait: PT1S}, debounce: {period: PT1S}}",
            "/debounce",
        ),
    ] {
        let faults = parse(&workflow(metadata)).err().unwrap_or_default();
        let found: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            found,
            [format!("/document/metadata{pointer}")],
            "{metadata}: {faults:?}"
        );
    }
    let timed = workflow("{debounce: {period: PT1S}}").replace(
        "{on: {one: {with: {type: order.made}}}, read: data}",
        "{every: PT1H}",
    );
    assert_eq!(
        parse(&timed).unwrap_err()[0].pointer,
        "/document/metadata/debounce"
    );
}

async fn publish(client: &Client, number: u64, customer: &str) {
    let event = json!({
        "specversion": "1.0", "id": number.to_string(), "source": "/shop", "type": "order.made",
        "data": {"number": number, "customer": customer},
    });
    let request = Request::new("POST", "/api/v1/events", event.to_string())
        .header("content-type", "application/cloudevents+json");
    client.send(&request).await.good();
}

/// The inputs of all runs that have completed.
async fn inputs(client: &Client) -> Vec<Value> {
    let runs = client
        .get("/api/v1/runs?workflow=t/w&limit=1000")
        .await
        .good();
    let mut inputs = Vec::new();
    for run in runs.as_array().unwrap() {
        let run = client
            .get(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap()))
            .await;
        let run = run.good();
        if run["status"] == "completed" {
            inputs.push(run["input"].clone());
        }
    }
    inputs
}

/// How often each order is in the input of a run.
fn counts(inputs: &[Value]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for order in inputs.iter().flat_map(|input| input.as_array().unwrap()) {
        *counts.entry(order["number"].as_u64().unwrap()).or_default() += 1;
    }
    counts
}

async fn nothing_is_left(database: &Database) {
    until("no event waits", async || {
        let left = "select coalesce(sum(events), 0)::bigint + (select count(*) from batch_events) \
                    from batches";
        (number(database, left).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_due_when_it_is_full_or_old() {
    let world = World::start().await;
    let text = workflow("{batch: {maxSize: 3, maxWait: PT1S, key: '.[0].customer'}}");
    world.workflow(&text).await;
    for number in 0..7 {
        publish(&world.client, number, "Ada").await;
    }
    publish(&world.client, 7, "Bob").await;
    let inputs = until("all are in runs", async || {
        let inputs = inputs(&world.client).await;
        (counts(&inputs).len() == 8).then_some(inputs)
    })
    .await;
    assert!(
        counts(&inputs).values().all(|count| *count == 1),
        "{inputs:?}"
    );
    for input in &inputs {
        let orders = input.as_array().unwrap();
        assert!(orders.len() <= 3, "{input}");
        assert!(
            orders
                .iter()
                .all(|order| order["customer"] == orders[0]["customer"]),
            "{input}"
        );
    }
    let largest = inputs
        .iter()
        .map(|input| input.as_array().unwrap().len())
        .max();
    assert_eq!(largest, Some(3));
    let events = world
        .client
        .get("/api/v1/events?type=order.made")
        .await
        .good();
    let path = format!("/api/v1/events/{}", events[0]["id"].as_str().unwrap());
    let event = world.client.get(&path).await.good();
    assert_eq!(event["ignored"], "it is gathered for a later run of t/w");
    nothing_is_left(&world.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_and_a_kill_put_each_event_into_one_run() {
    let database = database().await;
    let scratch = Scratch::new();
    let plan = Plan::new(&database.url, scratch.path()).with_short_sessions();
    let first = plan.start().await;
    let second = plan.sibling().start().await;
    let text = workflow("{batch: {maxSize: 5, maxWait: PT0.3S}}");
    first.client.post("/api/v1/workflows", text).await.good();
    until("both know the workflow", async || {
        let path = "/api/v1/workflows/t/w/latest";
        (second.client.get(path).await.status == 200).then_some(())
    })
    .await;
    // The other node looks at the revision once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    for number in 0..40 {
        let client = if number % 2 == 0 {
            &first.client
        } else {
            &second.client
        };
        publish(client, number, "Ada").await;
    }
    first.kill();
    for number in 40..50 {
        publish(&second.client, number, "Ada").await;
    }
    let inputs = until("all are in runs", async || {
        let inputs = inputs(&second.client).await;
        (counts(&inputs).len() == 50).then_some(inputs)
    })
    .await;
    assert!(
        counts(&inputs).values().all(|count| *count == 1),
        "{inputs:?}"
    );
    assert!(
        inputs
            .iter()
            .all(|input| input.as_array().unwrap().len() <= 5),
        "{inputs:?}"
    );
    nothing_is_left(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debounced_run_gets_the_last_event_once_it_is_quiet() {
    let world = World::start().await;
    let text = workflow("{debounce: {period: PT2S, key: '.[0].customer'}}");
    world.workflow(&text).await;
    for number in 0..5 {
        publish(&world.client, number, "Ada").await;
    }
    publish(&world.client, 5, "Bob").await;
    until("both runs have ended", async || {
        (inputs(&world.client).await.len() >= 2).then_some(())
    })
    .await;
    nothing_is_left(&world.database).await;
    world.books().await;
    let mut inputs = inputs(&world.client).await;
    inputs.sort_by_key(|input| input[0]["number"].as_u64());
    let expected = [
        json!([{"number": 4, "customer": "Ada"}]),
        json!([{"number": 5, "customer": "Bob"}]),
    ];
    assert_eq!(inputs, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_somebody_asks_for_is_not_gathered() {
    let world = World::start().await;
    world
        .workflow(&workflow("{batch: {maxSize: 100, maxWait: PT1H}}"))
        .await;
    let run = world.run_of("t/w", &json!([{"number": 1}])).await;
    assert_eq!(run["status"], "completed");
}
