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

/// One call that says what kind of run it is from.
const KINDS: &str = "
document: {dsl: 1.0.3, namespace: test, name: kinds, version: 1.0.0}
do:
  - tell:
      call: http
      with: {method: post, endpoint: 'destination://narrow/', body: {kind: '${ .kind }'}}
";

/// Runs whose destination is busy are put aside; those that come later must not overtake them for
/// as long as they keep coming.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_put_aside_go_on_while_others_keep_coming() {
    const EARLY: usize = 24;
    const LATE_AT_ONCE: usize = 5;
    const LATE_MAX: usize = 1_000;
    let sink =
        Destination::start(|_, _| Reply::new(200).after(std::time::Duration::from_millis(30)))
            .await;
    // A quarter of these may wait for one destination.
    let world = World::with(&[("worker.runs_in_flight_max", 32.into())]).await;
    let text = format!(
        "{{destination: narrow, baseUrl: '{}', concurrency: 1}}",
        sink.url()
    );
    let put = world.client.put("/api/v1/destinations/narrow", text).await;
    put.good();
    world.workflow(KINDS).await;
    let start = async |kind: &str| {
        let path = "/api/v1/workflows/test/kinds/latest/runs";
        let input = json!({ "kind": kind }).to_string();
        world.client.post(path, input).await.good();
    };
    futures_util::future::join_all((0..EARLY).map(|_| start("early"))).await;
    let mut late = 0;
    loop {
        let calls = sink.calls();
        let early = calls.iter().filter(|call| call.json()["kind"] == "early");
        let early = early.count();
        if early == EARLY {
            break;
        }
        assert!(
            late < LATE_MAX,
            "{early} of {EARLY} after {late} later ones"
        );
        if late < calls.len() - early + LATE_AT_ONCE {
            start("late").await;
            late += 1;
        } else {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    let metrics = world.client.get("/metrics").await.text();
    let parked = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hookwright_runs_parked_total "));
    let parked: f64 = parked.expect("the metric").parse().unwrap();
    assert!(parked > 0.0, "no run was put aside");
}
