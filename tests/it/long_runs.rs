//! Runs of many steps: replay reads what is open, what is written stays flat, and a checkpoint
//! that is lost or damaged costs time alone.

use hookwright::id::Id;
use serde_json::json;

use crate::world::destination::{Destination, Reply};
use crate::world::{World, until};

/// Waits of one run; each is a wake-up with a replay.
const WAITS: i64 = 90;

/// Journal rows that are replayed beside a checkpoint.
const ROWS_MAX: usize = 64;

/// Many short waits, then a call.
const WAITING: &str = r#"
document: { dsl: '1.0.3', namespace: test, name: waiting, version: '1.0.0' }
do:
  - loop:
      for: { in: '[ range(.waits) ]' }
      do:
        - wait: { wait: { milliseconds: 1 } }
        - count: { set: '${ {waits: .waits, last: $item} }' }
  - rest: { wait: '${ $workflow.input.rest }' }
  - tell:
      call: http
      with: { method: post, endpoint: 'URL', body: '${ . }' }
      output: { as: '${ $input }' }
"#;

/// Starts the run and waits until it rests.
async fn resting(world: &World, sink: &Destination, rest: &str) -> Id {
    world.workflow(&WAITING.replace("URL", &sink.url())).await;
    let input = json!({"waits": WAITS, "rest": rest}).to_string();
    let path = "/api/v1/workflows/test/waiting/latest/runs";
    let started = world.client.post(path, input).await.good();
    let id: Id = started["id"].as_str().unwrap().parse().unwrap();
    until("all waits are over", async || {
        let rows: i64 = sqlx::query_scalar("select count(*) from journal where run_id = $1")
            .bind(id.uuid())
            .fetch_one(world.database.store.pool())
            .await
            .unwrap();
        let waiting: i64 = sqlx::query_scalar("select count(*) from timers where run_id = $1")
            .bind(id.uuid())
            .fetch_one(world.database.store.pool())
            .await
            .unwrap();
        (rows >= WAITS && waiting == 1).then_some(())
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_wakes_with_what_is_open() {
    let sink = Destination::start(|_, _| Reply::new(200)).await;
    let mut world = World::start().await;
    let id = resting(&world, &sink, "PT8S").await;
    let mut link = world.database.store.link("test");
    let loaded = link.load(&[id]).await.unwrap().remove(0);
    assert!(loaded.checkpoint.is_some());
    assert!(
        loaded.journal.len() <= ROWS_MAX,
        "{} of {} rows are read",
        loaded.journal.len(),
        loaded.seq
    );
    assert!(loaded.seq >= i32::try_from(WAITS).unwrap(), "numbers go on");

    // Another process goes on from there.
    world.restart().await;
    let run = world.end_of(&id.to_string()).await;
    assert_eq!(
        run["output"],
        json!({"waits": WAITS, "last": WAITS - 1}),
        "{run}"
    );
    assert_eq!(sink.calls().len(), 1);
    let left = async || {
        let left: i64 = sqlx::query_scalar("select count(*) from checkpoints")
            .fetch_one(world.database.store.pool())
            .await
            .unwrap();
        (left == 0).then_some(())
    };
    until("the checkpoint is gone", left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_checkpoint_costs_time_alone() {
    let sink = Destination::start(|_, _| Reply::new(200)).await;
    let mut world = World::start().await;
    let id = resting(&world, &sink, "PT8S").await;
    world.stop().await;
    let damaged = sqlx::query("update checkpoints set state = substr(state, 1, 100)")
        .execute(world.database.store.pool())
        .await
        .unwrap();
    assert_eq!(damaged.rows_affected(), 1);
    world.restart().await;
    let run = world.end_of(&id.to_string()).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(
        run["output"],
        json!({"waits": WAITS, "last": WAITS - 1}),
        "{run}"
    );
    assert_eq!(sink.calls().len(), 1);
}
