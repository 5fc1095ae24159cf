//! Schedules through the server: one run a tick, whatever happens to nodes and versions.

use std::collections::BTreeSet;

use hookwright::id::Id;
use hookwright::store::schedules::{Move, Tick};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::postgres::{Database, database};
use crate::store_append::{link, number};
use crate::world::process::Plan;
use crate::world::wire::Client;
use crate::world::{Request, Scratch, World, until};

/// A workflow that is done at once, or after a wait.
fn workflow(name: &str, version: &str, schedule: &str, policy: &str, wait: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: t, name: {name}, version: {version}, \
         metadata: {policy}}}\nschedule: {schedule}\ndo:\n  - pause: {{wait: {wait}}}\n"
    )
}

fn quick(name: &str, schedule: &str) -> String {
    workflow(name, "1.0.0", schedule, "{}", "PT0.001S")
}

async fn execute(database: &Database, sql: &'static str) {
    sqlx::raw_sql(sql)
        .execute(database.store.pool())
        .await
        .unwrap();
}

async fn runs(client: &Client, name: &str) -> Vec<Value> {
    let path = format!("/api/v1/runs?workflow=t/{name}&limit=1000");
    let runs = client.get(&path).await.good();
    runs.as_array().unwrap().clone()
}

async fn schedule(client: &Client, name: &str) -> Value {
    client
        .get(&format!("/api/v1/schedules/t/{name}"))
        .await
        .good()
}

async fn post(client: &Client, name: &str, verb: &str) -> Value {
    let path = format!("/api/v1/schedules/t/{name}/{verb}");
    client.post(&path, "").await.good()
}

/// The times of all ticks that started runs, in order.
async fn due_times(database: &Database) -> Vec<Timestamp> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select event_id from events where type = 'io.hookwright.schedule.due.v1' \
         and run_id is not null order by event_id",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    let mut times: Vec<Timestamp> = ids.iter().map(|id| id.parse().unwrap()).collect();
    times.sort_unstable();
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn after_follows_the_end_of_the_run_before() {
    let world = World::start().await;
    let text = workflow("a", "1.0.0", "{after: PT0.2S}", "{}", "PT0.2S");
    world.workflow(&text).await;
    until("three runs have ended", async || {
        let ended = runs(&world.client, "a").await;
        let ended = ended
            .iter()
            .filter(|run| run["endedAt"].is_string())
            .count();
        (ended >= 3).then_some(())
    })
    .await;
    post(&world.client, "a", "pause").await;
    world.books().await;
    let mut runs = runs(&world.client, "a").await;
    runs.reverse();
    for pair in runs.windows(2) {
        let ended: Timestamp = pair[0]["endedAt"].as_str().unwrap().parse().unwrap();
        let created: Timestamp = pair[1]["createdAt"].as_str().unwrap().parse().unwrap();
        let pause = created.duration_since(ended).as_millis();
        assert!(pause >= 199, "{pause} ms between two runs: {pair:?}");
    }
    let run = world.end_of(runs[0]["id"].as_str().unwrap()).await;
    assert_eq!(run["input"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_and_a_kill_leave_one_run_a_tick() {
    let database = database().await;
    let scratch = Scratch::new();
    let plan = Plan::new(&database.url, scratch.path()).with_short_sessions();
    let first = plan.start().await;
    let second = plan.sibling().start().await;
    let text = quick("every-second", "{every: PT1S}");
    first.client.post("/api/v1/workflows", text).await.good();
    let ticked = async |client: &Client, count: i64| {
        until("ticks", async || {
            let shown = schedule(client, "every-second").await;
            (shown["ticks"]["started"].as_i64()? >= count).then_some(())
        })
        .await;
    };
    ticked(&first.client, 2).await;
    first.kill();
    ticked(&second.client, 4).await;
    let first = plan.start().await;
    ticked(&first.client, 5).await;
    second.kill();
    ticked(&first.client, 6).await;
    post(&first.client, "every-second", "pause").await;
    let times = due_times(&database).await;
    for pair in times.windows(2) {
        assert_eq!(
            pair[1].duration_since(pair[0]).as_millis(),
            1_000,
            "{times:?}"
        );
    }
    until(
        "each tick has its run, and all of them have ended",
        async || {
            let runs = runs(&first.client, "every-second").await;
            let ended = runs
                .iter()
                .filter(|run| run["status"] == "completed")
                .count();
            (runs.len() == times.len() && ended == times.len()).then_some(())
        },
    )
    .await;
    let missed = number(&database, "select missed from schedules").await;
    assert_eq!(missed, 0, "one node was always there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_cancels_the_run_before_where_that_is_asked() {
    let world = World::start().await;
    let policy = "{schedule: {overlap: cancel}}";
    let text = workflow("c", "1.0.0", "{every: PT1S}", policy, "PT1H");
    world.workflow(&text).await;
    until("runs were cancelled", async || {
        let runs = runs(&world.client, "c").await;
        let cancelled = runs.iter().filter(|run| run["status"] == "cancelled");
        (cancelled.count() >= 2).then_some(())
    })
    .await;
    post(&world.client, "c", "pause").await;
    let open = until("one run is left", async || {
        let mut runs = runs(&world.client, "c").await;
        runs.retain(|run| run["status"] != "cancelled");
        (runs.len() == 1).then(|| runs.remove(0))
    })
    .await;
    let newest = runs(&world.client, "c").await.remove(0);
    assert_eq!(open["id"], newest["id"], "the last tick's");
    let cancel = format!("/api/v1/runs/{}/cancel", open["id"].as_str().unwrap());
    world.client.post(&cancel, "").await;
    world.books().await;
}

#[tokio::test]
async fn a_tick_belongs_to_whoever_moves_the_schedule_on() {
    let database = database().await;
    execute(
        &database,
        "insert into workflows (namespace, name, version, text, digest)
         values ('t', 'w', '1', '', '');
         insert into deployments (namespace, name, workflow_id) values ('t', 'w', 1);
         insert into schedules (namespace, name, workflow_id, activated_at, due_at)
         select namespace, name, workflow_id, activated_at, now() from deployments",
    )
    .await;
    let (mut first, _) = link(&database, 0).await;
    let (mut second, _) = link(&database, 1).await;
    let look = first.due_schedules().await.unwrap();
    let due_at = look.due[0].due_at;
    let step = || Move {
        namespace: "t".to_owned(),
        name: "w".to_owned(),
        workflow_id: 1,
        due_at,
        next_at: Some(due_at + jiff::SignedDuration::from_secs(60)),
        held: false,
        started: 1,
        skipped: 0,
        missed: 0,
        cancel: None,
    };
    let tick = || {
        let id = Id::at(look.now);
        vec![Tick {
            namespace: "t".to_owned(),
            name: "w".to_owned(),
            id,
            source: "/api/v1/schedules/t/w".to_owned(),
            event_id: due_at.to_string(),
            due_at,
            workflow_id: Some(1),
            run_id: Some(id.counterpart()),
            reason: None,
        }]
    };
    let (moves, ticks) = ([step()], [tick(), tick()]);
    let (one, other) = tokio::join!(
        first.tick((&moves, &ticks[0]), ("due", &[])),
        second.tick((&moves, &ticks[1]), ("due", &[]))
    );
    assert_eq!(one.unwrap().len() + other.unwrap().len(), 1);
    assert_eq!(number(&database, "select count(*) from events").await, 1);
    assert_eq!(number(&database, "select count(*) from inbox").await, 1);
    assert_eq!(number(&database, "select started from schedules").await, 1);
    assert_eq!(
        number(&database, "select sum(stored)::bigint from ledger").await,
        1
    );
    let again = first.tick((&moves, &tick()), ("due", &[])).await.unwrap();
    assert!(
        again.is_empty(),
        "after a lost answer it is not due any more"
    );
    execute(
        &database,
        "update schedules set due_at = now() - interval '1 second'",
    )
    .await;
    let due_at = first.due_schedules().await.unwrap().due[0].due_at;
    execute(&database, "delete from deployments").await;
    let moves = [Move { due_at, ..step() }];
    let retired = first.tick((&moves, &tick()), ("due", &[])).await.unwrap();
    assert!(retired.is_empty(), "what is not active does not tick");
    assert!(first.due_schedules().await.unwrap().due.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_ticks_start_one_run_and_the_log_says_how_many_there_were() {
    let mut world = World::start().await;
    world.workflow(&quick("hourly", "{every: PT1H}")).await;
    let policy = "{schedule: {catchUp: skip}}";
    let text = workflow(
        "skipping",
        "1.0.0",
        "{cron: '0 * * * *'}",
        policy,
        "PT0.001S",
    );
    world.workflow(&text).await;
    let policy = "{schedule: {catchUp: all}}";
    let text = workflow("all", "1.0.0", "{every: PT1H}", policy, "PT0.001S");
    world.workflow(&text).await;
    world.stop().await;
    execute(
        &world.database,
        "update schedules set due_at = date_trunc('hour', now()) - interval '5 hours'
                                     + interval '10 minutes' where name <> 'skipping';
         update schedules set due_at = date_trunc('hour', now()) - interval '5 hours'
         where name = 'skipping'",
    )
    .await;
    world.restart().await;
    let settled = async |name: &str| {
        until("nothing is due", async || {
            let shown = schedule(&world.client, name).await;
            let next: Timestamp = shown["next"][0].as_str()?.parse().ok()?;
            (next > Timestamp::now()).then_some(shown)
        })
        .await
    };
    let hourly = settled("hourly").await;
    assert_eq!(hourly["ticks"]["started"], 1, "{hourly}");
    assert!(hourly["ticks"]["missed"].as_i64().unwrap() >= 3, "{hourly}");
    assert_eq!(hourly["next"].as_array().unwrap().len(), 5);
    let all = settled("all").await;
    assert!(all["ticks"]["started"].as_i64().unwrap() >= 4, "{all}");
    assert_eq!(all["ticks"]["missed"], 0);
    let skipping = settled("skipping").await;
    assert!(
        skipping["ticks"]["missed"].as_i64().unwrap() >= 5,
        "{skipping}"
    );
    assert_eq!(skipping["cron"], "0 * * * *");
    assert_eq!(skipping["timezone"], "UTC");
    let path = "/api/v1/events?source=/api/v1/schedules/t/hourly";
    let events = world.client.get(path).await.good();
    let why: Vec<_> = events.as_array().unwrap().iter().collect();
    assert_eq!(why.len(), 2, "{events}");
    let id = why.iter().map(|event| event["id"].as_str().unwrap());
    let mut reasons = Vec::new();
    for id in id {
        let event = world
            .client
            .get(&format!("/api/v1/events/{id}"))
            .await
            .good();
        reasons.extend(event["ignored"].as_str().map(str::to_owned));
    }
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains("catchUp is one"), "{reasons:?}");
    ticks_are_measured(&world).await;
}

async fn ticks_are_measured(world: &World) {
    let metrics = world.client.get("/metrics").await.text();
    for series in [
        "hookwright_schedule_ticks_total{outcome=\"started\"}",
        "hookwright_schedule_lateness_seconds_count",
    ] {
        assert!(metrics.contains(series), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_active_version_ticks() {
    let world = World::start().await;
    world
        .workflow(&workflow("v", "1.0.0", "{every: PT1S}", "{}", "PT0.001S"))
        .await;
    world
        .workflow(&workflow("v", "2.0.0", "{every: PT1H}", "{}", "PT0.001S"))
        .await;
    let shown = schedule(&world.client, "v").await;
    assert_eq!(
        (&shown["version"], &shown["every"]),
        (&json!("2.0.0"), &json!("PT1H"))
    );
    let back = "/api/v1/workflows/t/v/1.0.0/activate";
    world.client.post(back, "").await.good();
    until("the first version ticks", async || {
        (!runs(&world.client, "v").await.is_empty()).then_some(())
    })
    .await;
    let retire = Request::new("DELETE", "/api/v1/workflows/t/v/1.0.0", "");
    assert_eq!(world.client.send(&retire).await.status, 204);
    let before = due_times(&world.database).await;
    let gone = world.client.get("/api/v1/schedules/t/v").await;
    assert_eq!(gone.status, 404);
    // Long enough for two ticks that must not come.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(due_times(&world.database).await, before);
    let versions: BTreeSet<String> = runs(&world.client, "v")
        .await
        .iter()
        .map(|run| run["workflow"]["version"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(versions, BTreeSet::from(["1.0.0".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_paused_resumed_and_run_at_once() {
    let world = World::start().await;
    world.workflow(&quick("p", "{cron: '* * * * *'}")).await;
    let paused = post(&world.client, "p", "pause").await;
    assert_eq!(paused["paused"], true);
    assert_eq!(paused["next"], json!([]));
    execute(
        &world.database,
        "update schedules set due_at = now() - interval '1 hour'",
    )
    .await;
    let run = post(&world.client, "p", "run").await;
    let run = world.end_of(run["id"].as_str().unwrap()).await;
    assert_eq!(
        (&run["status"], &run["input"]),
        (&json!("completed"), &json!({}))
    );
    let resumed = post(&world.client, "p", "resume").await;
    assert_eq!(resumed["paused"], false);
    let next: Timestamp = resumed["next"][0].as_str().unwrap().parse().unwrap();
    let database_now: jiff_sqlx::Timestamp = sqlx::query_scalar("select now()")
        .fetch_one(world.database.store.pool())
        .await
        .unwrap();
    assert!(next > database_now.to_jiff() - jiff::SignedDuration::from_secs(60));
    post(&world.client, "p", "pause").await;
    let shown = schedule(&world.client, "p").await;
    assert_eq!(
        shown["ticks"]["missed"], 0,
        "a pause misses nothing: {shown}"
    );
    let list = world.client.get("/api/v1/schedules?limit=1").await.good();
    assert_eq!(list[0]["name"], "p");
    let after = world.client.get("/api/v1/schedules?after=t/p").await.good();
    assert_eq!(after, json!([]));
    let unknown = world
        .client
        .post("/api/v1/schedules/t/none/pause", "")
        .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_waits_for_the_run_before_or_is_skipped() {
    let world = World::start().await;
    for overlap in ["skip", "queue"] {
        let policy = format!("{{schedule: {{overlap: {overlap}}}}}");
        let text = workflow(overlap, "1.0.0", "{every: PT1S}", &policy, "PT1.4S");
        world.workflow(&text).await;
    }
    until(
        "one has skipped a tick and gone on, one has queued one",
        async || {
            let skip = schedule(&world.client, "skip").await;
            let queue = schedule(&world.client, "queue").await;
            let skip = (
                skip["ticks"]["skipped"].as_i64()?,
                skip["ticks"]["started"].as_i64()?,
            );
            let queue = queue["ticks"]["started"].as_i64()?;
            (skip.0 >= 1 && skip.1 >= 2 && queue >= 3).then_some(())
        },
    )
    .await;
    for name in ["skip", "queue"] {
        post(&world.client, name, "pause").await;
    }
    world.books().await;
    for name in ["skip", "queue"] {
        let mut runs = runs(&world.client, name).await;
        runs.reverse();
        for pair in runs.windows(2) {
            let ended: Timestamp = pair[0]["endedAt"].as_str().unwrap().parse().unwrap();
            let created: Timestamp = pair[1]["createdAt"].as_str().unwrap().parse().unwrap();
            // A run's creation has the milliseconds of its id.
            let gap = created.as_millisecond() - ended.as_millisecond();
            assert!(gap >= 0, "{name}: runs overlap by {gap} ms: {pair:?}");
        }
    }
    let queue = schedule(&world.client, "queue").await;
    assert_eq!(
        (&queue["ticks"]["skipped"], &queue["ticks"]["missed"]),
        (&json!(0), &json!(0))
    );
}
