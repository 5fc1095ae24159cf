//! What APIs announce about themselves becomes a list, an event, and a metric.

use serde_json::json;

use crate::world::destination::{Destination, Reply};
use crate::world::{World, until};

/// An API that announces different things at different paths.
async fn api() -> Destination {
    Destination::start(|call, _| {
        let reply = Reply::new(200);
        match call.path.as_str() {
            "/old" => reply
                .header("deprecation", "@1688169599")
                .header("sunset", "Tue, 30 Jun 2037 23:59:59 GMT")
                .header("link", "<https://a.example/x>; rel=\"sunset\""),
            "/warned" => reply.header("warning", "299 - \"soon gone\""),
            _ => reply.header("warning", "110 - \"stale\""),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announced_end_is_listed_with_the_task_it_concerns() {
    let api = api().await;
    let world = World::start().await;
    let client = &world.client;
    let text = format!("{{destination: api, baseUrl: '{}'}}", api.url());
    client.put("/api/v1/destinations/api", text).await.good();
    world
        .workflow(&format!(
            "document: {{dsl: 1.0.3, namespace: test, name: caller, version: 1.0.0}}
do:
  - old: {{call: http, with: {{method: get, endpoint: 'destination://api/old'}}}}
  - new: {{call: http, with: {{method: get, endpoint: 'destination://api/new'}}}}
  - warned: {{call: http, with: {{method: get, endpoint: '{}/warned'}}}}
",
            api.url()
        ))
        .await;
    world
        .workflow(
            "document: {dsl: 1.0.3, namespace: test, name: told, version: 1.0.0}
schedule:
  on:
    one:
      with: {type: 'io.hookwright.destination.change.*', data: '${ .kind == \"sunset\" }'}
do: [{told: {set: '${ .[0].data }'}}]
",
        )
        .await;
    for _ in 0..2 {
        let run = world.run_of("test/caller", &json!({})).await;
        assert_eq!(run["status"], "completed", "{run}");
    }
    let changes = until("three changes are listed", async || {
        let changes = client.get("/api/v1/changes").await.good();
        (changes.as_array().unwrap().len() == 3).then_some(changes)
    })
    .await;
    let of = |kind: &str| {
        let all = changes.as_array().unwrap().iter();
        all.clone().find(|change| change["kind"] == kind).unwrap()
    };
    let sunset = of("sunset");
    assert_eq!(sunset["destination"], "api");
    assert_eq!(sunset["reference"], "/do/0/old");
    assert_eq!(
        (&sunset["namespace"], &sunset["name"]),
        (&json!("test"), &json!("caller"))
    );
    assert_eq!(sunset["effectiveAt"], "2037-06-30T23:59:59Z");
    assert_eq!(sunset["link"], "https://a.example/x");
    assert_eq!(of("deprecation")["effectiveAt"], "2023-06-30T23:59:59Z");
    assert_eq!(of("deprecation")["link"], json!(null));
    assert_eq!(of("warning")["reference"], "/do/2/warned");
    let told = until("the sunset has started a run", async || {
        let page = client.get("/api/v1/runs?workflow=test/told").await.good();
        page[0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let told = world.end_of(&told).await;
    assert_eq!(told["output"]["task"], "/do/0/old", "{told}");
    let metrics = client.get("/metrics").await.text();
    let line = "hookwright_changes_announced_total{destination=\"api\"} 3";
    assert!(metrics.contains(line), "{metrics}");
}
