//! Sub-workflows through the server: their ends, their faults, and what ends with the parent.

use serde_json::{Value, json};

use crate::world::{World, until};

fn workflow(name: &str, rest: &str) -> String {
    format!("document: {{ dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0' }}\n{rest}")
}

/// A parent that runs `t/child`.
fn parent(more: &str) -> String {
    workflow(
        "parent",
        &format!(
            "do: [ {{ a: {{ run: {{ workflow: {{ namespace: t, name: child, version: latest, \
             input: {{ n: '${{ .n + 1 }}' }} }} }}{more} }} }} ]"
        ),
    )
}

const WAITS: &str = "do: [ { w: { wait: { hours: 1 } } } ]";

async fn show(world: &World, run: &str) -> Value {
    world
        .client
        .get(&format!("/api/v1/runs/{run}"))
        .await
        .good()
}

/// Starts the parent; its id and that of its child, once the child waits.
async fn waiting(world: &World) -> (String, String) {
    let path = "/api/v1/workflows/t/parent/latest/runs";
    let started = world.client.post(path, r#"{"n":1}"#).await.good();
    let parent = started["id"].as_str().unwrap().to_owned();
    let child = until("the child waits", async || {
        let shown = show(world, &parent).await;
        let child = shown["tasks"][0]["run"].as_str()?.to_owned();
        let waits = show(world, &child).await["status"] == "waiting";
        (waits && shown["status"] == "waiting").then_some(child)
    })
    .await;
    (parent, child)
}

async fn cancel(world: &World, run: &str) {
    let path = format!("/api/v1/runs/{run}/cancel");
    assert_eq!(world.client.post(&path, "").await.status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parent_and_child_know_each_other() {
    let world = World::start().await;
    let child = "input: { schema: { document: { type: object, required: [ n ] } } }\n\
                 do: [ { x: { set: { got: '${ .n * 10 }' } } } ]";
    world.workflow(&workflow("child", child)).await;
    world.workflow(&parent("")).await;
    let run = world.run_of("t/parent", &json!({"n": 4})).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(run["output"], json!({"got": 50}));
    let child = show(&world, run["tasks"][0]["run"].as_str().unwrap()).await;
    let link = json!({"run": run["id"], "task": "/do/0/a", "awaits": true});
    assert_eq!(child["parent"], link, "{child}");
    assert_eq!(child["input"], json!({"n": 5}));
    assert_eq!(child["status"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_children_are_faults_of_their_task() {
    let world = World::start().await;
    world.workflow(&parent("")).await;
    let unknown = world.run_of("t/parent", &json!({"n": 1})).await;
    let error = |kind: &str, status: u16| {
        let kind = format!("https://serverlessworkflow.io/spec/1.0.0/errors/{kind}");
        (json!(kind), json!(status), json!("/do/0/a"))
    };
    let of = |run: &Value| {
        let error = &run["error"];
        (
            error["type"].clone(),
            error["status"].clone(),
            error["instance"].clone(),
        )
    };
    assert_eq!(of(&unknown), error("configuration", 400), "{unknown}");
    let child = "input: { schema: { document: { type: object, required: [ other ] } } }\n\
                 do: [ { x: { set: { got: 1 } } } ]";
    world.workflow(&workflow("child", child)).await;
    let invalid = world.run_of("t/parent", &json!({"n": 1})).await;
    assert_eq!(of(&invalid), error("validation", 400), "{invalid}");
    let deep = "do: [ { a: { run: { workflow: { namespace: t, name: deep, version: 1.0.0 } } } } ]";
    world.workflow(&workflow("deep", deep)).await;
    let deep = world.run_of("t/deep", &json!({})).await;
    assert_eq!(of(&deep), error("runtime", 500), "{deep}");
    let ledger = world.books().await;
    // Two parents, one child; and one run with sixteen around the deepest.
    assert_eq!(ledger.runs.created, 3 + 17, "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_parent_cancels_what_it_awaits() {
    let world = World::start().await;
    let nested = workflow(
        "child",
        "do: [ { b: { run: { workflow: { namespace: t, name: leaf, version: latest } } } } ]",
    );
    world.workflow(&workflow("leaf", WAITS)).await;
    world.workflow(&nested).await;
    world.workflow(&parent("")).await;
    let (parent, child) = waiting(&world).await;
    let leaf = until("the leaf was started", async || {
        let leaf = show(&world, &child).await["tasks"][0]["run"]
            .as_str()?
            .to_owned();
        (show(&world, &leaf).await["status"] == "waiting").then_some(leaf)
    })
    .await;
    cancel(&world, &parent).await;
    for run in [&parent, &child, &leaf] {
        assert_eq!(world.end_of(run).await["status"], "cancelled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_of_the_task_cancels_the_child_and_a_cancelled_child_faults_it() {
    let world = World::start().await;
    world.workflow(&workflow("child", WAITS)).await;
    world.workflow(&parent(", timeout: { after: PT2S }")).await;
    let (first, child) = waiting(&world).await;
    let ended = world.end_of(&first).await;
    assert_eq!(ended["error"]["status"], 408, "{ended}");
    assert_eq!(world.end_of(&child).await["status"], "cancelled");
    let patient = parent("").replace("1.0.0'", "1.1.0'");
    world.workflow(&patient).await;
    let (second, child) = waiting(&world).await;
    cancel(&world, &child).await;
    let ended = world.end_of(&second).await;
    assert_eq!(ended["status"], "faulted", "{ended}");
    assert_eq!(ended["error"]["title"], "The sub-workflow was cancelled");
    assert_eq!(ended["error"]["instance"], "/do/0/a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_not_awaited_lives_on() {
    let world = World::start().await;
    world.workflow(&workflow("child", WAITS)).await;
    let tasks = "do: [ { a: { run: { await: false, \
                 workflow: { namespace: t, name: child, version: 1.0.0 } } } } ]";
    world.workflow(&workflow("parent", tasks)).await;
    let run = world.run_of("t/parent", &json!({"n": 1})).await;
    assert_eq!(
        (&run["status"], &run["output"]),
        (&json!("completed"), &json!({"n": 1}))
    );
    let child = run["tasks"][0]["run"].as_str().unwrap();
    let shown = until("the child waits", async || {
        let shown = show(&world, child).await;
        (shown["status"] == "waiting").then_some(shown)
    })
    .await;
    assert_eq!(shown["parent"]["awaits"], false);
    assert_eq!(shown["input"], json!({"n": 1}));
    cancel(&world, child).await;
    world.end_of(child).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_children_of_one_run_all_come_back() {
    let world = World::start().await;
    world
        .workflow(&workflow(
            "child",
            "do: [ { x: { set: { got: '${ .n }' } } } ]",
        ))
        .await;
    let branches: Vec<String> = (0..100)
        .map(|n| {
            format!(
                "{{ b{n}: {{ run: {{ workflow: {{ namespace: t, name: child, version: latest, \
                 input: {{ n: {n} }} }} }} }} }}"
            )
        })
        .collect();
    let tasks = format!(
        "do: [ {{ f: {{ fork: {{ branches: [ {} ] }} }} }} ]",
        branches.join(", ")
    );
    world.workflow(&workflow("parent", &tasks)).await;
    let run = world.run_of("t/parent", &json!({})).await;
    let expected: Vec<Value> = (0..100).map(|n| json!({"got": n})).collect();
    assert_eq!(run["output"], json!(expected), "{}", run["error"]);
}
