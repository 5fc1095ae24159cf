//! Manual starts, lists of runs, and one run as its journal tells it.

use bytes::Bytes;
use hookwright::id::Id;
use hookwright::store::workflows::NewWorkflow;
use hookwright::store::{Link, NewRun, Next, Routing, Settlement};
use serde_json::json;

use crate::api::{World, workflow, world};

const RUNS: &str = "/workflows/shop/order/1.0.0/runs";

/// Stores a workflow past the API; its key.
async fn deployed(world: &World) -> i32 {
    let new = NewWorkflow {
        namespace: "shop".to_owned(),
        name: "order".to_owned(),
        version: "1.0.0".to_owned(),
        text: workflow("1.0.0", 1),
        digest: [0; 32],
        pins: None,
    };
    world.database.store.deploy(new).await.unwrap().id()
}

/// Plays the router and the worker.
struct Hands {
    link: Link,
    session: i64,
    claim_id: i64,
}

impl Hands {
    async fn new(world: &World) -> Self {
        let mut link = world.database.store.link("hands");
        let session = link.open_session("hands").await.unwrap();
        link.open_lane(session, 1).await.unwrap();
        Self {
            link,
            session,
            claim_id: 0,
        }
    }

    /// Makes the run of a manual start; claimed, or left in the queue.
    async fn route(&mut self, run: &str, workflow_id: i32, claim: bool) -> NewRun {
        let id: Id = run.parse().unwrap();
        let unrouted = self
            .link
            .unrouted(std::time::Duration::ZERO, 1_000)
            .await
            .unwrap();
        let of_run = |event: &hookwright::store::Unrouted| match event.target {
            Some(hookwright::store::Target::Start { run_id, .. }) => run_id == id,
            Some(_) | None => false,
        };
        let event_id = unrouted.into_iter().find(of_run).unwrap().event.id;
        self.claim_id += 1;
        let claim_id = claim.then_some(self.claim_id);
        let new = || NewRun {
            id,
            event_id,
            workflow_id,
            claim_id,
        };
        let batch = Routing {
            session: self.session,
            events: vec![event_id],
            runs: vec![new()],
            ..Routing::default()
        };
        assert!(self.link.route(&batch).await.unwrap().elsewhere.is_empty());
        new()
    }

    async fn settle(&mut self, run: &NewRun, next: Next) {
        let settlement = Settlement {
            run_id: run.id,
            workflow_id: run.workflow_id,
            claim_id: run.claim_id.unwrap(),
            seq: 0,
            entries: None,
            next,
            exchange: None,
        };
        assert!(self.link.settle(&[settlement]).await.unwrap().is_empty());
    }
}

fn ended(status: &'static str) -> Next {
    let output = (status == "completed").then(|| Bytes::from_static(b"{\"value\":1}"));
    let error =
        (status == "faulted").then(|| Bytes::from_static(b"{\"type\":\"x\",\"status\":500}"));
    Next::Ended {
        status,
        output,
        error,
    }
}

async fn start(world: &World, headers: &[(&str, &str)], body: &str) -> String {
    let answer = world.send(&format!("POST {RUNS}"), headers, body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_start_can_be_looked_at_at_once() {
    let world = world().await;
    deployed(&world).await;
    let run = start(&world, &[], "{\"order\": 1}").await;
    let shown = world.ask(&format!("GET /runs/{run}"), "").await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let shown = shown.json();
    assert_eq!(
        (&shown["status"], &shown["input"]),
        (&json!("pending"), &json!({"order": 1}))
    );
    assert_eq!(
        shown["workflow"],
        json!({"namespace": "shop", "name": "order", "version": "1.0.0"})
    );
    let event = shown["eventId"].as_str().unwrap();
    let event = world.ask(&format!("GET /events/{event}"), "").await.json();
    assert_eq!(event["type"], "io.hookwright.run.requested.v1");
    assert_eq!(event["source"], "/api/v1/workflows/shop/order/1.0.0");
    let empty = start(&world, &[], "").await;
    assert_eq!(
        world.ask(&format!("GET /runs/{empty}"), "").await.json()["input"],
        json!({})
    );
}

#[tokio::test]
async fn starts_that_cannot_be() {
    let world = world().await;
    deployed(&world).await;
    for (code, route, headers, body) in [
        (400, RUNS, &[][..], "{"),
        (400, RUNS, &[], "{} {}"),
        (404, "/workflows/shop/order/2.0.0/runs", &[], "{}"),
        (404, "/workflows/shop/other/latest/runs", &[], "{}"),
        (400, "/workflows/shop/order/1.0.0/runs?wait=1h", &[], "{}"),
        (400, "/workflows/shop/order/1.0.0/runs?wait=2m", &[], "{}"),
        (400, "/workflows/shop/order/1.0.0/runs?wait=", &[], "{}"),
        (400, RUNS, &[("idempotency-key", "")], "{}"),
    ] {
        let answer = world.send(&format!("POST {route}"), headers, body).await;
        assert_eq!(answer.status, code, "{route} {body}: {}", answer.body);
    }
    assert_eq!(world.ask("GET /events", "").await.json(), json!([]));
}

#[tokio::test]
async fn an_idempotency_key_names_one_run() {
    let world = world().await;
    deployed(&world).await;
    let key = [("idempotency-key", "order-1")];
    let run = start(&world, &key, "{\"n\": 1}").await;
    assert_eq!(start(&world, &key, "{\"n\": 1}").await, run);
    assert_ne!(
        start(&world, &[("idempotency-key", "order-2")], "{\"n\": 1}").await,
        run
    );
    assert_ne!(start(&world, &[], "{\"n\": 1}").await, run);
    let other = world
        .send(&format!("POST {RUNS}"), &key, "{\"n\": 2}")
        .await;
    assert_eq!(other.status, 422, "{}", other.body);
}

#[tokio::test]
async fn statuses_follow_the_run() {
    let world = world().await;
    let workflow_id = deployed(&world).await;
    let mut hands = Hands::new(&world).await;
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(start(&world, &[], "{}").await);
    }
    hands.route(&runs[0], workflow_id, false).await;
    hands.route(&runs[1], workflow_id, true).await;
    for (place, next) in [
        (
            2,
            Next::Wait {
                due_at: jiff::Timestamp::MAX,
            },
        ),
        (3, ended("completed")),
        (4, ended("faulted")),
        (5, ended("cancelled")),
    ] {
        let due_at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let next = if matches!(next, Next::Wait { .. }) {
            Next::Wait { due_at }
        } else {
            next
        };
        let run = hands.route(&runs[place], workflow_id, true).await;
        hands.settle(&run, next).await;
    }
    assert_listed(&world, &runs).await;
    let ledger = world.ask("GET /ledger", "").await.json();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert_eq!(
        ledger["runs"],
        json!({"created": 6, "completed": 1, "faulted": 1, "cancelled": 1,
               "running": 1, "waiting": 1, "pending": 1, "suspended": 0})
    );
    assert_eq!(ledger["door"], json!({"received": 0}));
}

/// Lists show these runs, one of each status.
async fn assert_listed(world: &World, runs: &[String]) {
    let words = [
        "pending",
        "running",
        "waiting",
        "completed",
        "faulted",
        "cancelled",
    ];
    let all = world.ask(&format!("GET {RUNS}"), "").await.json();
    let listed: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|run| run["status"].clone())
        .collect();
    assert_eq!(listed, words);
    for (run, word) in runs.iter().zip(words) {
        let only = world
            .ask(&format!("GET /runs?status={word}&workflow=shop/order"), "")
            .await
            .json();
        assert_eq!(only.as_array().unwrap().len(), 1, "{word}: {only}");
        assert_eq!(only[0]["id"], json!(run), "{word}");
    }
    assert_eq!(
        world.ask("GET /runs?status=suspended", "").await.json(),
        json!([])
    );
    assert_eq!(
        world
            .ask("GET /runs?workflow=shop/order/9.0.0", "")
            .await
            .json(),
        json!([])
    );
    let page = world.ask("GET /runs?limit=4&status=completed", "").await;
    assert!(page.headers.get("link").is_none());
}

#[tokio::test]
async fn waiting_answers_with_the_finished_run() {
    let world = world().await;
    let workflow_id = deployed(&world).await;
    let late = world.ask(&format!("POST {RUNS}?wait=20ms"), "{}").await;
    assert_eq!(late.status, 202);
    let key = [("idempotency-key", "k")];
    let run = start(&world, &key, "{}").await;
    let route = format!("POST {RUNS}?wait=20s");
    let (answer, ()) = tokio::join!(world.send(&route, &key, "{}"), async {
        let mut hands = Hands::new(&world).await;
        let run = hands.route(&run, workflow_id, true).await;
        hands.settle(&run, ended("completed")).await;
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    let shown = answer.json();
    assert_eq!(
        (&shown["id"], &shown["status"]),
        (&json!(run), &json!("completed"))
    );
    assert_eq!(shown["output"], json!({"value": 1}));
    assert!(shown["endedAt"].is_string());
}
