//! What a source takes in: from whom, how much and how often; events that are held or left out;
//! duplicates that were meant; and the answer to "why".

use serde_json::{Value, json};

use crate::world::destination::Destination;
use crate::world::sender::shopify;
use crate::world::wire::Answer;
use crate::world::{Change, Request, World, order, until};

/// A world with the main job, whose source says this, too.
async fn world(more: &str, changes: &[Change<'_>]) -> World {
    let crm = Destination::answering(&[201]).await;
    let world = World::with(changes).await;
    world.main_job(&crm).await;
    shop(&world, more).await;
    world
}

/// Changes the source.
async fn shop(world: &World, more: &str) {
    let source = format!(
        "{{source: shop, provider: shopify, secret: {{secret: shop-signing-secret}}{more}}}"
    );
    let put = world.client.put("/api/v1/sources/shop", source);
    put.await.good();
}

async fn send(world: &World, id: &str) -> Answer {
    let delivery = shopify().delivery(id, order(1));
    world.client.send(&delivery).await
}

async fn why(world: &World, id: &Value) -> Value {
    let path = format!("/api/v1/events/{}/why", id.as_str().unwrap());
    world.client.get(&path).await.good()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_come_from_certain_networks_only() {
    let proxies = [("webhook.trusted_proxies", vec!["127.0.0.0/8"].into())];
    let world = world(
        ", ingress: {allow: [192.0.2.0/24, '2001:db8::1']}",
        &proxies,
    )
    .await;
    for (forwarded, status) in [
        (None, 401),
        (Some("192.0.2.7"), 200),
        (Some("198.51.100.1, 192.0.2.7"), 200),
        (Some("192.0.2.7:4711, 127.0.0.9"), 200),
        (Some("[2001:db8::1]:4711"), 200),
        (Some("::ffff:192.0.2.8"), 200),
        (Some("192.0.2.7, 198.51.100.1"), 401),
        (Some("192.0.2.7, unknown"), 401),
        (Some(""), 401),
    ] {
        let delivery = shopify().delivery("n", order(1));
        let delivery = match forwarded {
            Some(hops) => delivery.header("x-forwarded-for", hops),
            None => delivery,
        };
        let answer = world.client.send(&delivery).await;
        assert_eq!(answer.status, status, "{forwarded:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_trusted_proxies_nobody_is_believed() {
    let world = world(", ingress: {allow: [192.0.2.0/24]}", &[]).await;
    let delivery = shopify().delivery("n", order(1));
    let claimed = delivery.clone().header("x-forwarded-for", "192.0.2.7");
    assert_eq!(world.client.send(&claimed).await.status, 401);
    shop(&world, ", ingress: {allow: [127.0.0.1]}").await;
    assert_eq!(world.client.send(&delivery).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_has_its_own_body_limit() {
    let world = world(", bodyBytesMax: 64", &[]).await;
    assert_eq!(send(&world, "b-1").await.status, 413);
    shop(&world, ", bodyBytesMax: 2097152").await;
    let mut body = order(1);
    body.push_str(&" ".repeat(1_500_000));
    let large = shopify().delivery("b-2", body);
    assert_eq!(world.client.send(&large).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_deliveries_are_told_when_to_come_again() {
    let rate = ", rateLimit: {requests: 1, per: PT1H, burst: 2}";
    let world = world(rate, &[]).await;
    assert_eq!(send(&world, "r-1").await.status, 200);
    // A change of something else gives nobody a fresh burst.
    let other = "{source: other, verify: none}";
    let put = world.client.put("/api/v1/sources/other", other);
    put.await.good();
    assert_eq!(send(&world, "r-2").await.status, 200);
    let answer = send(&world, "r-3").await;
    assert_eq!(answer.status, 429);
    let after: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3_000..=3_601).contains(&after), "{after}");
    let open = Request::new("POST", "/hooks/other", "{}");
    assert_eq!(world.client.send(&open).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_paused_source_are_held_and_go_on_in_order() {
    let world = world(", paused: true", &[]).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let answer = send(&world, &format!("p-{number}")).await.good();
        ids.push(answer["id"].as_str().unwrap().to_owned());
    }
    let decided = async |id: &str, word: &str| {
        until(word, async || {
            let event = world.client.get(&format!("/api/v1/events/{id}")).await;
            (event.good()["decision"] == word).then_some(())
        })
        .await;
    };
    for id in &ids {
        decided(id, "held").await;
    }
    let ledger = world.database.store.ledger().await.unwrap();
    assert_eq!((ledger.events.held, ledger.runs.created), (5, 0));
    assert!(ledger.balanced, "{ledger:?}");
    // What a person asks for is not held.
    let path = format!("/api/v1/events/{}/replay", ids[0]);
    let replay = world.client.post(&path, "");
    let replayed = replay.await.good();
    world.ended(replayed["id"].as_str().unwrap()).await;
    shop(&world, "").await;
    let mut runs = Vec::new();
    for id in &ids {
        runs.push(world.ended(id).await["id"].as_str().unwrap().to_owned());
    }
    assert!(
        runs.is_sorted(),
        "not in the order of their events: {runs:?}"
    );
    let ledger = world.books().await;
    assert_eq!((ledger.events.held, ledger.runs.created), (0, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_leaves_events_out_and_says_so() {
    let world = world(
        ", filter: '.data.customer.email | endswith(\"@example.org\")'",
        &[],
    )
    .await;
    let event = send(&world, "f-1").await.good();
    let shown = until("it is decided", async || {
        let why = why(&world, &event["id"]).await;
        (why["decision"] != "inbox").then_some(why)
    })
    .await;
    assert_eq!(shown["decision"], "ignored");
    assert_eq!(shown["ignored"], "the filter of source /hooks/shop said no");
    assert_eq!(shown["filters"][0]["matches"], true, "{shown}");
    let id = event["id"].as_str().unwrap();
    let path = format!("/api/v1/events/{id}/replay");
    let replay = world.client.post(&path, "");
    let replayed = replay.await.good();
    world.ended(replayed["id"].as_str().unwrap()).await;
    let shown = why(&world, &replayed["id"]).await;
    assert_eq!(shown["replayOf"], id);
    // One that cannot be evaluated lets nothing through, and nothing is lost.
    shop(&world, ", filter: '.data.id | ltrimstr(1) | error(\"x\")'").await;
    let event = send(&world, "f-2").await.good();
    let reason = until("it is decided", async || {
        let why = why(&world, &event["id"]).await;
        why["ignored"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(
        reason,
        "the filter of source /hooks/shop cannot be evaluated"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_can_say_why() {
    let world = world("", &[]).await;
    let first = send(&world, "w-1").await.good();
    world.ended(first["id"].as_str().unwrap()).await;
    let shown = why(&world, &first["id"]).await;
    let secret = json!({ "name": "client_secret", "index": 0, "inForce": 1,
        "reference": "secret shop-signing-secret" });
    assert_eq!(shown["verification"]["secret"], secret, "{shown}");
    assert_eq!(shown["verification"]["provider"], "shopify");
    assert_eq!(shown["runs"][0]["workflow"]["name"], "order-to-crm");
    assert_eq!(shown["filters"][0]["matches"], true);
    // While a secret is replaced the event says which one it was.
    let put = world.client.put("/api/v1/secrets/new", "\"another\"");
    put.await.good();
    let rotating = "{source: shop, provider: shopify,
        secret: [{secret: new}, {secret: shop-signing-secret}]}";
    let put = world.client.put("/api/v1/sources/shop", rotating);
    put.await.good();
    let second = send(&world, "w-2").await.good();
    world.ended(second["id"].as_str().unwrap()).await;
    let shown = why(&world, &second["id"]).await;
    let secret = json!({ "name": "client_secret", "index": 1, "inForce": 2,
        "reference": "secret shop-signing-secret" });
    assert_eq!(shown["verification"]["secret"], secret, "{shown}");
    // Of the first one it is still known how it was verified.
    let shown = why(&world, &first["id"]).await;
    assert_eq!(shown["verification"]["version"], 2, "{shown}");
    assert_eq!(shown["verification"]["secret"]["inForce"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_that_was_meant_can_be_accepted() {
    let world = world("", &[]).await;
    let client = &world.client;
    let first = send(&world, "d-1").await.good();
    let same = send(&world, "d-1").await.good();
    let other = client
        .send(&shopify().delivery("d-1", order(2)))
        .await
        .good();
    assert_eq!((&same["id"], &other["id"]), (&first["id"], &first["id"]));
    let kept = until("both are kept", async || {
        let kept = client.get("/api/v1/duplicates?source=shop").await.good();
        (kept.as_array().unwrap().len() == 2).then_some(kept)
    })
    .await;
    assert_eq!(kept[0]["cause"], "conflict", "{kept}");
    assert_eq!(kept[1]["cause"], "duplicate");
    assert_eq!(kept[0]["duplicateOf"], first["id"]);
    let shown = why(&world, &first["id"]).await;
    assert_eq!(shown["duplicates"][1]["cause"], "conflict", "{shown}");
    assert_eq!(client.get("/api/v1/rejections").await.good(), json!([]));
    let id = kept[0]["id"].as_str().unwrap();
    let body = client.get(&format!("/api/v1/duplicates/{id}/body")).await;
    assert_eq!(body.body, order(2).into_bytes());
    let accept = format!("/api/v1/duplicates/{id}/accept");
    let accepted = client.post(&accept, "").await.good();
    assert_eq!(accepted["events"], 1);
    assert_eq!(client.post(&accept, "").await.status, 404);
    let events = client.get("/api/v1/events?source=/hooks/shop").await.good();
    assert_eq!(events.as_array().unwrap().len(), 2);
    let shown = why(&world, &events[0]["id"]).await;
    assert_eq!(shown["replayOf"], first["id"]);
    world.ended(events[0]["id"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_source_says_of_its_intake_is_checked() {
    let world = World::start().await;
    let source = "source: s
verify: none
ingress: {allow: [10.0.0.0/40]}
bodyBytesMax: 99999999
rateLimit: {requests: 0, per: P2D}
paused: maybe
filter: '.data |'
attributes: {replayof: '{header:x}'}
";
    let answer = world.client.put("/api/v1/sources/s", source).await;
    assert_eq!(answer.status, 422);
    let faults: Value = serde_json::from_str(&answer.text()).unwrap();
    let mut lines: Vec<_> = faults["errors"].as_array().unwrap().iter().collect();
    lines.sort_by_key(|fault| fault["line"].as_u64());
    let lines: Vec<_> = lines
        .iter()
        .map(|fault| fault["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [3, 4, 5, 5, 6, 7, 8], "{faults:#}");
}
