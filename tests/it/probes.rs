//! `/livez`, `/readyz` and the door while Postgres is away, and after.

use std::time::Duration;

use hookwright::store::managed::Managed;
use tokio::time::Instant;

use crate::world::process::Plan;
use crate::world::{Request, Scratch, until};

/// While Postgres is away senders are told so within this time.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_database_says_so_and_recovers() {
    let scratch = Scratch::new();
    let postgres = Managed::start(scratch.path()).await.unwrap();
    let plan = Plan::new(postgres.url(), scratch.path());
    let mut node = plan.start().await;
    let client = node.client;
    let source = "{source: any, verify: none}";
    client.put("/api/v1/sources/any", source).await.good();
    let delivery = Request::new("POST", "/hooks/any", r#"{"n": 1}"#);
    client.send(&delivery).await.good();

    postgres.stop().await;
    let asked = Instant::now();
    let another = Request::new("POST", "/hooks/any", r#"{"n": 2}"#);
    let answer = client.send(&another).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let after = answer.header("retry-after").unwrap();
    assert!(
        after.parse::<u32>().is_ok_and(|seconds| seconds > 0),
        "{after}"
    );
    assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
    until("it is not ready", async || {
        (!node.is_ready().await).then_some(())
    })
    .await;
    let ready = client.get("/readyz").await;
    assert_eq!(
        (ready.status, &*ready.json()["detail"].to_string()),
        (503, "\"the database does not answer\"")
    );
    assert_eq!(
        client.get("/livez").await.status,
        200,
        "a restart would not mend it"
    );
    assert_eq!(client.get("/metrics").await.status, 200);
    let runs = client.get("/api/v1/runs").await;
    assert_eq!(runs.status, 503, "{}", runs.text());

    let postgres = Managed::start(scratch.path()).await.unwrap();
    node.ready().await;
    let again = client.send(&another).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert!(node.is_running());
    assert!(!node.log().contains("panicked"), "{}", node.log());
    node.kill();
    postgres.stop().await;
}
