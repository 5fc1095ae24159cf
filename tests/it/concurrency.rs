//! Limits of the runs that are open at once: exact over nodes, and never stuck.

use hookwright::id::Id;
use hookwright::store::gates::{Entrant, Place};
use hookwright::workflow::parse;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::postgres::{Database, database};
use crate::store_append::{link, number};
use crate::store_journey::{completed, runs, settlement};
use crate::world::process::Plan;
use crate::world::wire::Client;
use crate::world::{Scratch, World, until};

fn workflow(metadata: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: t, name: w, version: 1.0.0, metadata: {metadata}}}\n\
         do:\n  - pause: {{wait: {{milliseconds: 300}}}}\n"
    )
}

#[test]
fn limits_that_cannot_be_held_are_refused() {
    for (metadata, pointer) in [
        ("{concurrency: {key: .a}}", "/concurrency"),
        ("{concurrency: {limit: 0}}", "/concurrency/limit"),
        (
            "{concurrency: {limit: 1, onLimit: wait}}",
            "/concurrency/onLimit",
        ),
        ("{concurrency: {limit: 1, keys: .a}}", "/concurrency/keys"),
        ("{concurrency: {limit: 1, key: '.a |'}}", "/concurrency/key"),
        (
            "{concurrency: {limit: 1, key: $workflow.id}}",
            "/concurrency/key",
        ),
        ("{concurrency: {limit: 1}, singleton: true}", "/singleton"),
        ("{singleton: false}", "/singleton"),
        ("{concurrency: {limit: 1}, priority: 101}", "/priority"),
        ("{priority: 5}", "/priority"),
    ] {
        let faults = parse(&workflow(metadata)).err().unwrap_or_default();
        let found: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            found,
            [format!("/document/metadata{pointer}")],
            "{metadata}: {faults:?}"
        );
    }
    assert!(parse(&workflow("{team: sales, owner: {name: Ada}}")).is_ok());
}

async fn start(client: &Client, input: &Value) -> String {
    let path = "/api/v1/workflows/t/w/latest/runs";
    let started = client.post(path, input.to_string()).await.good();
    started["id"].as_str().unwrap().to_owned()
}

/// From when a run did its first task to its end, in milliseconds.
fn lived(run: &Value) -> (i64, i64) {
    let at = |text: &Value| {
        text.as_str()
            .unwrap()
            .parse::<Timestamp>()
            .unwrap()
            .as_millisecond()
    };
    (at(&run["tasks"][0]["startedAt"]), at(&run["endedAt"]))
}

/// The most runs that were open at the same time.
fn most_at_once(runs: &[Value]) -> usize {
    let lived: Vec<_> = runs.iter().map(lived).collect();
    let at = |time: i64| {
        lived
            .iter()
            .filter(|(from, to)| *from <= time && time < *to)
            .count()
    };
    lived
        .iter()
        .map(|(from, _)| at(*from))
        .max()
        .unwrap_or_default()
}

async fn end_of(client: &Client, id: &str) -> Value {
    until("the run has ended", async || {
        let run = client.get(&format!("/api/v1/runs/{id}")).await;
        let run = (run.status == 200).then(|| run.json())?;
        run["endedAt"].is_string().then_some(run)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_hold_one_limit_for_each_key_and_a_kill_frees_its_places() {
    let database = database().await;
    let scratch = Scratch::new();
    let plan = Plan::new(&database.url, scratch.path()).with_short_sessions();
    let first = plan.start().await;
    let second = plan.sibling().start().await;
    let text = workflow("{concurrency: {key: .customer, limit: 2}}");
    first.client.post("/api/v1/workflows", text).await.good();
    let mut ids = Vec::new();
    for number in 0..16 {
        let client = if number % 2 == 0 {
            &first.client
        } else {
            &second.client
        };
        let customer = ["Ada", "Bob"][number / 2 % 2];
        ids.push((
            customer,
            start(client, &json!({"customer": customer})).await,
        ));
    }
    first.kill();
    let mut ended = Vec::new();
    for (customer, id) in &ids {
        ended.push((*customer, end_of(&second.client, id).await));
    }
    for customer in ["Ada", "Bob"] {
        let of_one = ended.iter().filter(|(key, _)| *key == customer);
        let of_one: Vec<Value> = of_one.map(|(_, run)| run.clone()).collect();
        assert_eq!(of_one.len(), 8);
        assert!(
            of_one.iter().all(|run| run["status"] == "completed"),
            "{of_one:?}"
        );
        let most = most_at_once(&of_one);
        assert!(most <= 2, "{most} runs of {customer} at once: {of_one:?}");
    }
    until("all places are free", async || {
        let taken = "select sum(running + waiting)::bigint + (select count(*) from gate_runs) \
                     from gates";
        (number(&database, taken).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_turns_others_away_and_says_so() {
    let world = World::start().await;
    let text = workflow("{singleton: {key: .id}}").replace("milliseconds: 300", "seconds: 2");
    world.workflow(&text).await;
    let first = start(&world.client, &json!({"id": 1})).await;
    until("it runs", async || {
        let running = number(
            &world.database,
            "select count(*) from gate_runs where entered",
        )
        .await;
        (running == 1).then_some(())
    })
    .await;
    let second = start(&world.client, &json!({"id": 1})).await;
    let other = start(&world.client, &json!({"id": 2})).await;
    let second = world.end_of(&second).await;
    assert_eq!(second["status"], "cancelled", "{second}");
    let detail = second["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("metadata.concurrency"), "{second}");
    assert_eq!(world.end_of(&first).await["status"], "completed");
    assert_eq!(world.end_of(&other).await["status"], "completed");
    let metrics = world.client.get("/metrics").await.text();
    assert!(
        metrics.contains("hookwright_gate_decisions_total{outcome=\"skipped\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_come_in_by_priority_then_age() {
    let world = World::start().await;
    let text = workflow("{concurrency: {limit: 1}, priority: .rank}");
    let text = text.replace("{milliseconds: 300}", "'${ .hold // \"PT0.05S\" }'");
    world.workflow(&text).await;
    // Long enough for the others to arrive on a busy machine.
    let first = start(&world.client, &json!({"rank": 0, "hold": "PT6S"})).await;
    until("it runs", async || {
        let running = number(
            &world.database,
            "select count(*) from gate_runs where entered",
        )
        .await;
        (running == 1).then_some(())
    })
    .await;
    let mut waiting = Vec::new();
    for rank in [0, 7, 7, -3] {
        waiting.push(start(&world.client, &json!({"rank": rank})).await);
    }
    until("all of them wait", async || {
        let waiting = number(&world.database, "select sum(waiting)::bigint from gates").await;
        (waiting == 4).then_some(())
    })
    .await;
    let [plain, high, also_high, low] = &waiting[..] else {
        unreachable!("four were started");
    };
    let mut ends = Vec::new();
    for id in [&first, high, also_high, plain, low] {
        ends.push(lived(&world.end_of(id).await));
    }
    assert!(
        ends.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{ends:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_evaluated_faults_the_run() {
    let world = World::start().await;
    world
        .workflow(&workflow("{concurrency: {limit: 1, key: '.a + 1'}}"))
        .await;
    let run = start(&world.client, &json!({"a": {}})).await;
    let run = world.end_of(&run).await;
    assert_eq!(run["status"], "faulted");
    assert_eq!(run["error"]["status"], 400, "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_run_takes_the_place_of_the_oldest() {
    let world = World::start().await;
    let text = workflow("{concurrency: {limit: 1, onLimit: cancel}}").replace("300", "3600000");
    world.workflow(&text).await;
    let first = start(&world.client, &json!({})).await;
    until("it waits inside", async || {
        let run = world.client.get(&format!("/api/v1/runs/{first}")).await;
        (run.json()["status"] == "waiting").then_some(())
    })
    .await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(start(&world.client, &json!({})).await);
    }
    let last = others.pop().unwrap();
    for id in std::iter::once(&first).chain(&others) {
        assert_eq!(world.end_of(id).await["status"], "cancelled");
    }
    until("the newest is in", async || {
        let run = world.client.get(&format!("/api/v1/runs/{last}")).await;
        (run.json()["status"] == "waiting").then_some(())
    })
    .await;
    let cancel = format!("/api/v1/runs/{last}/cancel");
    world.client.post(&cancel, "").await;
    assert_eq!(world.end_of(&last).await["status"], "cancelled");
    world.books().await;
}

#[tokio::test]
async fn a_run_that_ended_with_its_node_leaves_and_a_higher_limit_lets_in() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 4).await;
    let entrants = |runs_max: i32| -> Vec<Entrant> {
        let entrant = |run: &hookwright::store::NewRun| Entrant {
            run_id: run.id,
            claim_id: run.claim_id.unwrap(),
            namespace: "t".to_owned(),
            name: "w".to_owned(),
            key: Id::from(uuid::Uuid::nil()),
            runs_max,
            priority: 0,
            waits: true,
            displaces: false,
        };
        runs.iter().map(entrant).collect()
    };
    let entered = database.store.enter_gates(entrants(1), Vec::new());
    let places = entered.await.unwrap().places;
    let inside = |places: &std::collections::HashMap<Id, Place>| {
        places.values().filter(|place| **place == Place::In).count()
    };
    assert_eq!((places.len(), inside(&places)), (4, 1));
    let again = database.store.enter_gates(entrants(1), Vec::new());
    let again = again.await.unwrap().places;
    assert_eq!(inside(&again), 1, "asking again changes nothing");
    assert_eq!(
        number(&database, "select waiting::bigint from gates").await,
        3
    );
    assert_eq!(
        number(&database, "select count(*) from ready where run_at > now()").await,
        3
    );
    assert!(
        link.ready_queues().await.unwrap().is_empty(),
        "those who wait cost claims nothing"
    );
    let first = runs
        .iter()
        .find(|run| places[&run.id] == Place::In)
        .unwrap();
    link.settle(&[settlement(first, 0, completed())])
        .await
        .unwrap();
    let round = database.store.look_over_gates(None).await.unwrap();
    assert_eq!((round.left, round.woken), (1, 1));
    assert_eq!(
        number(&database, "select count(*) from ready where run_at > now()").await,
        2
    );
    those_who_wait_take_in_mail(&database).await;
    sqlx::query("update gates set runs_max = 3")
        .execute(database.store.pool())
        .await
        .unwrap();
    let round = database.store.look_over_gates(None).await.unwrap();
    assert_eq!((round.left, round.woken), (0, 2));
    assert_eq!(
        number(&database, "select running::bigint from gates").await,
        3
    );
    assert_eq!(
        number(&database, "select waiting::bigint from gates").await,
        0
    );
}

async fn those_who_wait_take_in_mail(database: &Database) {
    let letter = "insert into mail (run_id, id, kind, content) \
                  select run_id, run_id, 1, '{}' from gate_runs where not entered limit 1";
    sqlx::query(letter)
        .execute(database.store.pool())
        .await
        .unwrap();
    let round = database.store.look_over_gates(None).await.unwrap();
    assert_eq!(
        (round.left, round.woken),
        (0, 1),
        "who waits takes in what it is told"
    );
    assert_eq!(
        number(database, "select count(*) from ready where run_at > now()").await,
        1
    );
}
