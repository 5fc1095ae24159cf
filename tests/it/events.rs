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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_events_of_an_order_start_one_run_and_others_wait() {
    let mut world = World::start().await;
    world
        .workflow(&workflow(
            "both",
            "schedule: {read: data, on: {all: [\
             {with: {type: paid}, correlate: {order: {from: .data.order}}}, \
             {with: {type: shipped}, correlate: {order: {from: .data.order}}}]}}\n\
             do: [{a: {set: '${ map(.order) + map(.by) }'}}]",
        ))
        .await;
    let sent = |kind: &'static str, order: u64, by: &'static str| {
        (
            kind,
            format!("{kind}-{order}-{by}"),
            json!({"order": order, "by": by}),
        )
    };
    for (kind, id, data) in [
        sent("shipped", 1, "dhl"),
        sent("paid", 2, "visa"),
        sent("shipped", 1, "ups"),
    ] {
        world.publish(kind, &id, &data).await;
    }
    world.restart().await;
    let (kind, id, data) = sent("paid", 1, "cash");
    world.publish(kind, &id, &data).await;
    let runs = until("a run", async || {
        let runs = world.client.get("/api/v1/runs").await.good();
        (!runs.as_array().unwrap().is_empty()).then_some(runs)
    })
    .await;
    let run = world.end_of(runs[0]["id"].as_str().unwrap()).await;
    assert_eq!(run["output"], json!([1, 1, "cash", "dhl"]), "{run}");
    let ledger = world.books().await;
    assert_eq!(ledger.runs.created, 1);
    let left: i64 = sqlx::query_scalar("select count(*) from gathered")
        .fetch_one(world.database.store.pool())
        .await
        .unwrap();
    assert_eq!(left, 2, "the other order, and the second shipment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_gathered_until_a_condition_or_another_event() {
    let world = World::start().await;
    world
        .workflow(&workflow(
            "sums",
            "schedule: {read: data, on: {any: [{with: {type: n}}], until: 'add >= 5'}}\n\
             do: [{a: {set: '${ {sum: add} }'}}]",
        ))
        .await;
    world
        .workflow(&workflow(
            "closes",
            "schedule: {read: data, on: {any: [{with: {type: n}}], \
                until: {one: {with: {type: end}}}}}\n\
             do: [{a: {set: '${ {all: .} }'}}]",
        ))
        .await;
    for n in [2, 2, 3, 4, 9] {
        world
            .publish("n", &format!("n-{n}-{}", uuid::Uuid::now_v7()), &json!(n))
            .await;
    }
    world.publish("end", "end", &json!({})).await;
    let outputs = until("three runs", async || {
        let runs = world.client.get("/api/v1/runs").await.good();
        let mut outputs = Vec::new();
        for run in runs.as_array().unwrap() {
            outputs.push(world.end_of(run["id"].as_str().unwrap()).await["output"].clone());
        }
        (outputs.len() == 3).then_some(outputs)
    })
    .await;
    for wanted in [
        json!({"sum": 7}),
        json!({"sum": 13}),
        json!({"all": [2, 2, 3, 4, 9]}),
    ] {
        assert!(outputs.contains(&wanted), "{wanted}: {outputs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_hears_of_faulted_runs_but_not_of_its_own_circle() {
    let world = World::start().await;
    world
        .workflow(&workflow("breaks", "do: [{a: {set: '${ error }'}}]"))
        .await;
    let before = world.run_of("t/breaks", &json!({})).await;
    assert_eq!(before["status"], "faulted");
    let written = async || {
        sqlx::query_scalar::<_, i64>("select count(*) from events where published_by is not null")
            .fetch_one(world.database.store.pool())
            .await
            .unwrap()
    };
    assert_eq!(written().await, 0, "nobody wants to hear of it");
    world
        .workflow(&workflow(
            "alerts",
            "schedule: {on: {one: {with: {type: io.serverlessworkflow.workflow.faulted.v1}}}}\n\
             do: [{a: {set: '${ .[0].data | error }'}}]",
        ))
        .await;
    let broken = world.run_of("t/breaks", &json!({})).await;
    let alerts = until("the alert and its own", async || {
        let path = "/api/v1/workflows/t/alerts/1.0.0/runs";
        let runs = world.client.get(path).await.good();
        (runs.as_array().unwrap().len() == 2).then_some(runs)
    })
    .await;
    for run in alerts.as_array().unwrap() {
        let run = world.end_of(run["id"].as_str().unwrap()).await;
        assert_eq!(run["status"], "faulted");
        let heard = &run["input"][0];
        assert_eq!(heard["data"]["error"]["status"], 400, "{heard}");
        if heard["source"] == "/t/breaks/1.0.0" {
            assert_eq!(heard["subject"], broken["id"]);
            let name = format!("breaks-{}.t", broken["id"].as_str().unwrap());
            assert_eq!(heard["data"]["name"], name.as_str());
            assert_eq!(heard["data"]["definition"]["name"], "breaks");
        } else {
            assert_eq!(heard["source"], "/t/alerts/1.0.0");
        }
    }
    until("the circle is broken", async || {
        (written().await == 3).then_some(())
    })
    .await;
    let ledger = world.books().await;
    assert_eq!(ledger.runs.created, 4, "{ledger:?}");
    assert_eq!(ledger.events.ignored, 1);
    let emitted = world.client.get("/api/v1/events/emitted").await.good();
    assert_eq!(
        emitted,
        json!([]),
        "those of the lifecycle are not among them"
    );
}
