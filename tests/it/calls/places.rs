//! A call keeps its place at its destination until what came of it is stored; nobody waits for
//! ever.

use serde_json::json;

use crate::world::World;
use crate::world::destination::{Destination, Reply};

/// Four calls side by side, one of which is given up, and one after them.
const WORKFLOW: &str = "
document: {dsl: 1.0.3, namespace: test, name: places, version: 1.0.0}
do:
  - first:
      try:
        - slow:
            call: http
            with: {method: get, endpoint: 'destination://narrow/slow'}
            timeout: {after: PT0.2S}
      catch: {}
  - several:
      fork:
        branches:
          - a: {call: http, with: {method: post, endpoint: 'destination://narrow/a'}}
          - b: {call: http, with: {method: post, endpoint: 'destination://narrow/b'}}
          - c: {call: http, with: {method: post, endpoint: 'destination://narrow/c'}}
  - last: {call: http, with: {method: get, endpoint: 'destination://narrow/last'}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_does_not_wait_for_a_place_it_holds_itself() {
    let sink = Destination::start(|call, _| {
        let slow = call.path.ends_with("slow");
        let delay = if slow { 20_000 } else { 5 };
        Reply::new(200).after(std::time::Duration::from_millis(delay))
    })
    .await;
    let world = World::start().await;
    let text = format!(
        "{{destination: narrow, baseUrl: '{}', concurrency: 1}}",
        sink.url()
    );
    let put = world.client.put("/api/v1/destinations/narrow", text).await;
    put.good();
    world.workflow(WORKFLOW).await;
    let run = world.run_of("test/places", &json!({})).await;
    assert_eq!(run["status"], "completed", "{run}");
    let paths: Vec<_> = sink.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths.len(), 5, "{paths:?}");
}
