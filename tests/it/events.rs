//! Events between runs, through the server: emitted, heard, correlated, and what is not lost.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, until};

fn workflow(name: &str, rest: &str) -> String {
    format!("document: {{dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0'}}\n{rest}\n")
}

impl World {
    /// Publishes an event; its id.
    async fn publish(&self, kind: &str, id: &str, data: &Value) -> String {
        let event = json!({
            "specversion": "1.0", "id": id, "source": "https://acme.test", "type": kind,
            "data": data,
        });
        let request = crate::world::Request::new("POST", "/api/v1/events", event.to_string())
            .header("content-type", "application/cloudevents+json");
        let stored = self.client.send(&request).await.good();
        stored["id"].as_str().unwrap().to_owned()
    }

    /// Starts a run; its id.
    async fn started(&self, name: &str, input: &Value) -> String {
        let path = format!("/api/v1/workflows/t/{name}/latest/runs");
        let run = self.client.post(&path, input.to_string()).await.good();
        run["id"].as_str().unwrap().to_owned()
    }

    async fn becomes(&self, run: &str, status: &str) -> Value {
        until(status, async || {
            let run = self.client.get(&format!("/api/v1/runs/{run}")).await.good();
            (run["status"] == status).then_some(run)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emitted_event_starts_another_workflow_once() {
    let world = World::start().await;
    world
        .workflow(&workflow(
            "hears",
            "schedule: {on: {one: {with: {type: shop.sold}}}}\n\
             do: [{a: {set: '${ .[0] | {n: .data.n, source} }'}}]",
        ))
        .await;
    world
        .workflow(&workflow(
            "tells",
            "do: [{a: {emit: {event: {with: {type: shop.sold, data: '${ . }'}}}}}]",
        ))
        .await;
    let told = world.run_of("t/tells", &json!({"n": 7})).await;
    assert_eq!(told["output"]["data"], json!({"n": 7}));
    let emitted = world.client.get("/api/v1/events/emitted").await.good();
    assert_eq!(emitted.as_array().unwrap().len(), 1, "{emitted}");
    assert_eq!(emitted[0]["id"], told["output"]["id"]);
    assert_eq!(emitted[0], told["output"]);
    let heard = world.ended(emitted[0]["id"].as_str().unwrap()).await;
    assert_eq!(heard["output"], json!({"n": 7, "source": "/t/tells/1.0.0"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_waiting_runs_hears_what_is_for_it() {
    const RUNS: u64 = 30;
    let world = World::start().await;
    world
        .workflow(&workflow(
            "waits",
            "do: [{l: {listen: {to: {one: {with: {type: paid}, \
             correlate: {order: {from: .data.order, expect: '${ .order }'}}}}}}}]",
        ))
        .await;
    let mut runs = Vec::new();
    for order in 0..RUNS {
        runs.push(world.started("waits", &json!({"order": order})).await);
    }
    for run in &runs {
        world.becomes(run, "waiting").await;
    }
    let ledger = world.database.store.ledger().await.unwrap();
    assert_eq!(ledger.runs.waiting, i64::try_from(RUNS).unwrap());
    assert!(ledger.balanced);
    for order in (0..RUNS).rev() {
        let data = json!({"order": order});
        world.publish("paid", &format!("p-{order}"), &data).await;
        world.publish("paid", &format!("p-{order}"), &data).await;
    }
    world
        .publish("paid", "p-none", &json!({"order": 4711}))
        .await;
    for (order, run) in runs.iter().enumerate() {
        let run = world.end_of(run).await;
        assert_eq!(run["output"], json!([{"order": order}]), "{run}");
    }
    let left: i64 =
        sqlx::query_scalar("select (select count(*) from listeners) + (select count(*) from mail)")
            .fetch_one(world.database.store.pool())
            .await
            .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listen_survives_a_restart_and_hears_what_came_meanwhile() {
    let mut world = World::start().await;
    world
        .workflow(&workflow(
            "two",
            "do: [{l: {listen: {to: {all: [{with: {type: a}}, {with: {type: b}}]}, read: raw}}}]",
        ))
        .await;
    let run = world.started("two", &json!({})).await;
    world.becomes(&run, "waiting").await;
    world.publish("a", "1", &json!({"n": 1})).await;
    until("the first event is journaled", async || {
        let rows =
            sqlx::query_scalar::<_, i64>("select count(*) from journal where entries <> '[]'")
                .fetch_one(world.database.store.pool())
                .await
                .unwrap();
        (rows == 1).then_some(())
    })
    .await;
    world.restart().await;
    world.publish("b", "2", &json!([2])).await;
    let run = world.end_of(&run).await;
    assert_eq!(run["output"], json!([r#"{"n":1}"#, "[2]"]), "{run}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_listens_while_a_call_is_in_flight_hears() {
    use crate::world::destination::{Destination, Reply};
    let slow = Destination::start(|_, _| Reply::new(200).after(Duration::from_secs(3))).await;
    let world = World::start().await;
    let text = "do: [{f: {fork: {compete: true, branches: [\
         {slow: {call: http, with: {method: get, endpoint: 'URL/x'}}}, \
         {l: {listen: {to: {one: {with: {type: go}}}}}}]}}}]";
    world
        .workflow(&workflow("race", &text.replace("URL", &slow.url())))
        .await;
    let run = world.started("race", &json!({})).await;
    until("it listens", async || {
        let rows = sqlx::query_scalar::<_, i64>("select count(*) from listeners")
            .fetch_one(world.database.store.pool())
            .await
            .unwrap();
        (rows == 1).then_some(())
    })
    .await;
    world.publish("go", "1", &json!("now")).await;
    let run = world.end_of(&run).await;
    assert_eq!(run["output"], json!(["now"]), "{run}");
}
