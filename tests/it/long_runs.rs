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

/// Starts the run and waits until its many waits are over.
async fn resting(world: &World, sink: &Destination, rest: &str) -> Id {
    world.workflow(&WAITING.replace("URL", &sink.url())).await;
    let input = json!({"waits": WAITS, "rest": rest}).to_string();
    let path = "/api/v1/workflows/test/waiting/latest/runs";
    let started = world.client.post(path, input).await.good();
    let id: Id = started["id"].as_str().unwrap().parse().unwrap();
    // A third at a time: how long a wake-up takes on a busy machine is not the matter here.
    for rows in [WAITS / 3, WAITS * 2 / 3] {
        until("its waits pass", async || {
            let now: i64 = sqlx::query_scalar("select count(*) from journal where run_id = $1")
                .bind(id.uuid())
                .fetch_one(world.database.store.pool())
                .await
                .unwrap();
            (now >= rows).then_some(())
        })
        .await;
    }
    until("it rests", async || {
        let rests = "select exists (select from timers where run_id = $1 and due_at > now() + \
                     interval '1 second') and exists (select from checkpoints where run_id = $1)";
        let rests: bool = sqlx::query_scalar(rests)
            .bind(id.uuid())
            .fetch_one(world.database.store.pool())
            .await
            .unwrap();
        rests.then_some(())
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
    let rows = i32::try_from(ROWS_MAX).unwrap();
    assert!(loaded.seq > rows, "numbers go on: {}", loaded.seq);

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
    let world = World::start().await;
    let id = resting(&world, &sink, "PT8S").await;
    let damaged = sqlx::query("update checkpoints set state = substr(state, 1, 100)")
        .execute(world.database.store.pool())
        .await
        .unwrap();
    assert_eq!(damaged.rows_affected(), 1);
    let run = world.end_of(&id.to_string()).await;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(
        run["output"],
        json!({"waits": WAITS, "last": WAITS - 1}),
        "{run}"
    );
    assert_eq!(sink.calls().len(), 1);
}

/// A loop of 1,200 tasks.
const MANY: &str = r#"
document: { dsl: '1.0.3', namespace: test, name: many, version: '1.0.0' }
do:
  - loop:
      for: { in: '[ range(1200) ]' }
      do: [ { count: { set: '${ $item }' } } ]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tasks_of_a_long_run_come_in_pages() {
    let world = World::start().await;
    world.workflow(MANY).await;
    let run = world.run_of("test/many", &json!({})).await;
    assert_eq!(run["output"], 1_199);
    let shown = run["tasks"].as_array().unwrap();
    assert_eq!(shown.len(), 1_000);
    assert_eq!(
        shown[0]["status"], "completed",
        "the loop itself: {}",
        shown[0]
    );
    assert_eq!(shown[999]["iteration"], "998");

    // What the run refers to, and the pages from there, relative to what was read.
    let mut next = run["tasksNext"]
        .as_str()
        .map(|next| format!("/api/v1/runs/{next}&limit=150"));
    let mut iterations = Vec::new();
    while let Some(path) = next {
        let answer = world.client.get(&path).await;
        let page = answer.good();
        let page = page.as_array().unwrap();
        iterations.extend(page.iter().map(|task| task["iteration"].clone()));
        next = answer.header("link").map(|link| {
            let (name, _) = link.trim_start_matches('<').split_once('>').unwrap();
            let (directory, _) = path.rsplit_once('/').unwrap();
            format!("{directory}/{name}")
        });
    }
    let rest: Vec<_> = (999..1_200).map(|at| json!(at.to_string())).collect();
    assert_eq!(iterations, rest);

    let id = run["id"].as_str().unwrap();
    let beyond = world
        .client
        .get(&format!("/api/v1/runs/{id}/tasks?after=5000"))
        .await;
    assert_eq!(beyond.good(), json!([]));
    for (path, status) in [
        (format!("/api/v1/runs/{id}/tasks?after=x"), 400),
        (format!("/api/v1/runs/{id}/tasks?limit=1001"), 400),
        (format!("/api/v1/runs/{}/tasks", Id::generate()), 404),
    ] {
        assert_eq!(world.client.get(&path).await.status, status, "{path}");
    }
}
