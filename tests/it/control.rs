//! People control runs: cancel, suspend, resume, replay; one or many.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::destination::{Destination, Reply};
use crate::world::{Request, World, until};

/// A workflow of namespace `t`.
fn workflow(name: &str, version: &str, tasks: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: {name}, version: '{version}' }}\n\
         do:\n{tasks}"
    )
}

/// A call of `name`, as an item of a list.
fn call(name: &str, api: &Destination) -> String {
    let uri = format!("{}/{name}", api.url());
    format!(
        "- {name}: {{ call: http, with: \
         {{ method: post, endpoint: '{uri}', body: {{ in: '${{ . }}' }} }} }}\n"
    )
}

/// Starts a run of `t/<workflow>`; its id.
async fn start(world: &World, workflow: &str, input: &Value) -> String {
    let path = format!("/api/v1/workflows/t/{workflow}/latest/runs");
    let started = world.client.post(&path, input.to_string()).await.good();
    started["id"].as_str().unwrap().to_owned()
}

async fn show(world: &World, run: &str) -> Value {
    world
        .client
        .get(&format!("/api/v1/runs/{run}"))
        .await
        .good()
}

/// The run, once it has this status.
async fn becomes(world: &World, run: &str, status: &str) -> Value {
    until(status, async || {
        let shown = show(world, run).await;
        (shown["status"] == status).then_some(shown)
    })
    .await
}

/// Tells a run something; the status of the answer.
async fn tell(world: &World, run: &str, command: &str) -> u16 {
    let path = format!("/api/v1/runs/{run}/{command}");
    world.client.post(&path, "").await.status
}

async fn replay(world: &World, run: &str, body: &str) -> (u16, Value) {
    let path = format!("/api/v1/runs/{run}/replay");
    let answer = world.client.post(&path, body).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_an_event_started_is_replayed_with_that_event() {
    let api = Destination::answering(&[200]).await;
    let world = World::start().await;
    let listens = "schedule: { on: { one: { with: { type: t.ordered } } } }\n";
    let text = workflow("order", "1.0.0", &call("a", &api)) + listens;
    world.workflow(&text).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/t","type":"t.ordered",
                    "data":{"n":9007199254740993}}"#;
    let event = Request::new("POST", "/api/v1/events", event);
    let event = event.without("content-type");
    let event = event.header("content-type", "application/cloudevents+json");
    let event = world.client.send(&event).await.good();
    let first = world.ended(event["id"].as_str().unwrap()).await;
    assert_eq!(first["status"], "completed", "{first}");
    let first_id = first["id"].as_str().unwrap();
    let (status, answer) = replay(&world, first_id, "").await;
    assert_eq!(status, 202, "{answer}");
    let second = world.end_of(answer["id"].as_str().unwrap()).await;
    assert_eq!(second["status"], "completed", "{second}");
    assert_eq!(second["input"], first["input"]);
    assert_eq!(second["replayOf"], json!({"run": first_id, "from": null}));
    assert_eq!(first["replayOf"], Value::Null);
    let calls = api.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].body, calls[1].body, "to the digit");
    assert_ne!(
        calls[0].key(),
        calls[1].key(),
        "another run is another request"
    );
    // The event of the replay is addressed: it is the run that is replayed again.
    let path = format!(
        "/api/v1/events/{}/replay",
        second["eventId"].as_str().unwrap()
    );
    assert_eq!(world.client.post(&path, "").await.status, 409);
    let key = [("Idempotency-Key", "again")];
    let repeated = Request::new("POST", &format!("/api/v1/runs/{first_id}/replay"), "");
    let repeated = repeated.header(key[0].0, key[0].1);
    let one = world.client.send(&repeated).await.good();
    assert_eq!(world.client.send(&repeated).await.good(), one);
    world.end_of(one["id"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_task_is_replayed_and_what_succeeded_is_not() {
    let api = Destination::start(|call, number| match (call.path.as_str(), number) {
        ("/b", 0..3) => Reply::new(500),
        _ => Reply::new(200).body(r#"{"v":1}"#),
    })
    .await;
    let world = World::start().await;
    let tasks = |second: &str| call("a", &api) + &call(second, &api) + &call("c", &api);
    world
        .workflow(&workflow("chain", "1.0.0", &tasks("b")))
        .await;
    let run = world.run_of("t/chain", &json!({"n": 1})).await;
    assert_eq!(run["error"]["instance"], "/do/1/b", "{run}");
    let id = run["id"].as_str().unwrap();
    let from_b = r#"{"from": "/do/1/b"}"#;
    let (status, answer) = replay(&world, id, from_b).await;
    assert_eq!(status, 202, "{answer}");
    let again = world.end_of(answer["id"].as_str().unwrap()).await;
    assert_eq!(again["status"], "completed", "{again}");
    assert_eq!(again["replayOf"], json!({"run": id, "from": "/do/1/b"}));
    assert_eq!(again["input"], json!({"n": 1}));
    let paths: Vec<String> = api.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, ["/a", "/b", "/b", "/c"]);
    assert_eq!(again["tasks"].as_array().unwrap().len(), 3);
    // A replay of the replay: its journal begins with another run's.
    let (status, answer) = replay(&world, again["id"].as_str().unwrap(), "{}").await;
    assert_eq!(status, 202, "{answer}");
    let third = world.end_of(answer["id"].as_str().unwrap()).await;
    assert_eq!(
        (&third["status"], &third["input"]),
        (&json!("completed"), &json!({"n": 1}))
    );

    let other = call("x", &api) + &call("b", &api);
    world.workflow(&workflow("chain", "2.0.0", &other)).await;
    let newer = workflow("chain", "1.1.0", &tasks("b").replace("/b'", "/mended'"));
    world.workflow(&newer).await;
    for (body, code) in [
        (r#"{"from": "/do/0/a"}"#, 422),
        (r#"{"from": "/do/1/b", "version": "2.0.0"}"#, 409),
        (r#"{"version": "9.0.0"}"#, 404),
        (r#"{"form": "/do/1/b"}"#, 422),
        ("{", 400),
    ] {
        let (status, answer) = replay(&world, id, body).await;
        assert_eq!(status, code, "{body}: {answer}");
    }
    let (_, answer) = replay(&world, id, r#"{"from": "/do/1/b", "version": "1.1.0"}"#).await;
    let mended = world.end_of(answer["id"].as_str().unwrap()).await;
    assert_eq!(mended["workflow"]["version"], "1.1.0");
    assert_eq!(mended["status"], "completed", "{mended}");
    assert!(api.calls().iter().any(|call| call.path == "/mended"));
    let retire = Request::new("DELETE", "/api/v1/workflows/t/chain/1.0.0", "");
    assert_eq!(world.client.send(&retire).await.status, 204);
    assert_eq!(replay(&world, id, "").await.0, 409, "retired");
    let unknown = "01920000-0000-7000-8000-000000000001";
    assert_eq!(replay(&world, unknown, "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_run_is_cancelled_once_and_nothing_catches_it() {
    let world = World::start().await;
    let tasks = "- t: { try: [ { a: { wait: { hours: 1 } } } ], \
                 catch: { do: [ { b: { set: { caught: true } } } ] } }\n";
    world.workflow(&workflow("wait", "1.0.0", tasks)).await;
    let run = start(&world, "wait", &json!({})).await;
    becomes(&world, &run, "waiting").await;
    assert_eq!(tell(&world, &run, "cancel").await, 202);
    let shown = becomes(&world, &run, "cancelled").await;
    let statuses: Vec<_> = shown["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["status"])
        .collect();
    assert_eq!(statuses, ["cancelled", "cancelled"], "{shown}");
    assert_eq!(tell(&world, &run, "cancel").await, 200, "as it was told");
    assert_eq!(tell(&world, &run, "suspend").await, 409);
    assert_eq!(tell(&world, &run, "resume").await, 409);
    assert_eq!(
        tell(&world, "01920000-0000-7000-8000-000000000001", "cancel").await,
        404
    );
    let completed = "- a: { set: { b: 1 } }\n";
    world.workflow(&workflow("short", "1.0.0", completed)).await;
    let run = world.run_of("t/short", &json!({})).await;
    assert_eq!(
        tell(&world, run["id"].as_str().unwrap(), "cancel").await,
        409
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_interrupts_a_call_in_flight() {
    let api = Destination::start(|_, _| Reply::new(200).after(Duration::from_secs(60))).await;
    let world = World::start().await;
    world
        .workflow(&workflow("slow", "1.0.0", &call("a", &api)))
        .await;
    let run = start(&world, "slow", &json!({})).await;
    api.called(1).await;
    assert_eq!(tell(&world, &run, "cancel").await, 202);
    let shown = becomes(&world, &run, "cancelled").await;
    assert_eq!(shown["tasks"][0]["status"], "cancelled", "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_run_starts_nothing_until_it_is_resumed() {
    let api = Destination::start(|call, _| match call.path.as_str() {
        "/a" => Reply::new(200).after(Duration::from_secs(5)),
        _ => Reply::new(200),
    })
    .await;
    let world = World::start().await;
    let tasks = call("a", &api) + &call("b", &api);
    world.workflow(&workflow("two", "1.0.0", &tasks)).await;
    let run = start(&world, "two", &json!({})).await;
    api.called(1).await;
    assert_eq!(tell(&world, &run, "suspend").await, 202);
    let suspended = until("the call has ended", async || {
        let shown = show(&world, &run).await;
        let ended = shown["tasks"][0]["status"] == "completed";
        (ended && shown["status"] == "suspended").then_some(shown)
    })
    .await;
    assert_eq!(
        suspended["tasks"].as_array().unwrap().len(),
        2,
        "{suspended}"
    );
    until("it is no node's", async || {
        let ledger = world.database.store.ledger().await.unwrap();
        assert!(ledger.balanced, "{ledger:?}");
        (ledger.runs.suspended == 1 && ledger.runs.waiting == 1).then_some(())
    })
    .await;
    assert_eq!(api.count(), 1, "nothing new was started");
    assert_eq!(tell(&world, &run, "suspend").await, 200);
    let listed = world
        .client
        .get("/api/v1/runs?status=suspended")
        .await
        .good();
    assert_eq!(listed[0]["id"], run);
    let waiting = world.client.get("/api/v1/runs?status=waiting").await.good();
    assert_eq!(waiting, json!([]));
    assert_eq!(tell(&world, &run, "resume").await, 202);
    let ended = world.end_of(&run).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(api.count(), 2);
    assert_eq!(world.books().await.runs.suspended, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_run_on_while_a_run_is_suspended() {
    let api = Destination::answering(&[200]).await;
    let world = World::start().await;
    let tasks = format!("- w: {{ wait: {{ seconds: 2 }} }}\n{}", call("b", &api));
    world.workflow(&workflow("timed", "1.0.0", &tasks)).await;
    let run = start(&world, "timed", &json!({})).await;
    becomes(&world, &run, "waiting").await;
    assert_eq!(tell(&world, &run, "suspend").await, 202);
    becomes(&world, &run, "suspended").await;
    until("the wait is over", async || {
        let shown = show(&world, &run).await;
        (shown["tasks"][0]["status"] == "completed").then_some(())
    })
    .await;
    let shown = show(&world, &run).await;
    assert_eq!(shown["status"], "suspended", "{shown}");
    assert_eq!(api.count(), 0);
    let tasks = "- t: { do: [ { w: { wait: { hours: 1 } } } ], timeout: { after: PT3S } }\n";
    world.workflow(&workflow("limited", "1.0.0", tasks)).await;
    let limited = start(&world, "limited", &json!({})).await;
    assert_eq!(tell(&world, &limited, "suspend").await, 202);
    let limited = world.end_of(&limited).await;
    assert_eq!(
        limited["error"]["status"], 408,
        "a deadline is a deadline: {limited}"
    );
    assert_eq!(tell(&world, &run, "cancel").await, 202);
    becomes(&world, &run, "cancelled").await;
    assert_eq!(world.books().await.runs.suspended, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_are_told_at_once() {
    let world = World::start().await;
    let tasks = "- w: { wait: { hours: 1 } }\n";
    world.workflow(&workflow("many", "1.0.0", tasks)).await;
    world.workflow(&workflow("other", "1.0.0", tasks)).await;
    let other = start(&world, "other", &json!({})).await;
    for _ in 0..5 {
        start(&world, "many", &json!({})).await;
    }
    until("all wait", async || {
        let ledger = world.database.store.ledger().await.unwrap();
        (ledger.runs.waiting == 6).then_some(())
    })
    .await;
    let all = |command: &str, body: &str| {
        let (path, body) = (format!("/api/v1/runs/{command}"), body.to_owned());
        let client = world.client;
        async move { client.post(&path, body).await }
    };
    assert_eq!(
        all("cancel", "{}").await.status,
        422,
        "never everything by nothing"
    );
    assert_eq!(
        all("cancel", r#"{"status": "completed"}"#).await.status,
        422
    );
    assert_eq!(
        all("cancel", r#"{"workflow": "t/many", "limit": 0}"#)
            .await
            .status,
        400
    );
    let told = all("suspend", r#"{"workflow": "t/many", "limit": 2}"#)
        .await
        .good();
    assert_eq!(told["runs"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["more"], true);
    until("two are suspended", async || {
        let ledger = world.database.store.ledger().await.unwrap();
        (ledger.runs.suspended == 2).then_some(())
    })
    .await;
    let told = all("resume", r#"{"status": "suspended"}"#).await.good();
    assert_eq!(told["runs"].as_array().unwrap().len(), 2, "{told}");
    let told = all("cancel", r#"{"workflow": "t/many/1.0.0"}"#)
        .await
        .good();
    assert_eq!(told["runs"].as_array().unwrap().len(), 5, "{told}");
    assert_eq!(told["more"], false);
    until("they are cancelled", async || {
        let ledger = world.database.store.ledger().await.unwrap();
        (ledger.runs.cancelled == 5).then_some(())
    })
    .await;
    assert_eq!(show(&world, &other).await["status"], "waiting");
    assert_eq!(tell(&world, &other, "cancel").await, 202);
}

/// Runs a command against the world's server; what it printed, and its exit code.
async fn command(world: &World, arguments: &[&str]) -> (String, Option<i32>) {
    let server = format!("http://{}", world.client.address);
    let mut all = arguments.to_vec();
    all.extend(["--server", server.as_str()]);
    let done = crate::world::process::run(&all).await;
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap());
    (said.concat(), done.status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_and_control_runs() {
    let world = World::start().await;
    let tasks = "- w: { wait: { hours: 1 } }\n- e: { raise: { error: \
                 { type: 'https://t.test/e', status: 418, title: \"tea\\e[31m\" } } }\n";
    world.workflow(&workflow("told", "1.0.0", tasks)).await;
    let run = start(&world, "told", &json!({"n": 1})).await;
    becomes(&world, &run, "waiting").await;
    let (said, code) = command(&world, &["runs", "list", "--workflow", "t/told"]).await;
    assert_eq!(code, Some(0), "{said}");
    let mut lines = said.lines();
    assert!(lines.next().unwrap().starts_with("RUN  "), "{said}");
    let line = lines.next().unwrap();
    assert!(
        line.contains(&run) && line.contains("waiting  t/told/1.0.0"),
        "{said}"
    );
    let (said, _) = command(&world, &["runs", "show", &run]).await;
    assert!(said.contains(r#"input:    {"n":1}"#), "{said}");
    assert!(said.contains("/do/0/w"), "{said}");
    let (said, _) = command(&world, &["runs", "show", &run, "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(shown["id"], run);
    let (said, code) = command(&world, &["runs", "suspend", "--workflow", "t/told"]).await;
    assert_eq!((said.trim(), code), ("suspend: 1 runs were told", Some(0)));
    becomes(&world, &run, "suspended").await;
    let (said, code) = command(&world, &["runs", "resume", &run]).await;
    assert_eq!(
        (said.trim(), code),
        (format!("{run}: resume (was suspended)").as_str(), Some(0))
    );
    let (_, code) = command(&world, &["runs", "cancel", &run]).await;
    assert_eq!(code, Some(0));
    becomes(&world, &run, "cancelled").await;
    let (said, code) = command(&world, &["runs", "resume", &run]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the run has ended: cancelled"), "{said}");
    let (said, code) = command(&world, &["replay", &run]).await;
    assert_eq!(code, Some(0), "{said}");
    let again = becomes(&world, said.trim(), "waiting").await;
    let (said, _) = command(&world, &["runs", "show", again["id"].as_str().unwrap()]).await;
    assert!(said.contains(&format!("replays:  {run}")), "{said}");
    let (said, _) = command(&world, &["events", "list"]).await;
    assert!(said.contains("io.hookwright.run.requested.v1"), "{said}");
    let event = again["eventId"].as_str().unwrap();
    let (said, _) = command(&world, &["events", "show", event]).await;
    assert!(said.contains(&format!("replayof = {run}")), "{said}");
    let (said, code) = command(&world, &["events", "replay", event]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("replay that run instead"), "{said}");
    assert_eq!(
        tell(&world, again["id"].as_str().unwrap(), "cancel").await,
        202
    );
}
