//! What the door refuses, what it says, and that it is counted by cause.

use serde_json::{Value, json};

use crate::world::destination::Destination;
use crate::world::sender::{SECRET, shopify, standard};
use crate::world::{Request, World, order};

/// A world with a shop and a sender whose timestamps count.
async fn world() -> World {
    let crm = Destination::answering(&[201]).await;
    let world = World::start().await;
    world.main_job(&crm).await;
    let client = &world.client;
    let secret = format!("\"whsec_{SECRET}\"");
    client.put("/api/v1/secrets/load", secret).await.good();
    let source = "{source: load, provider: standard-webhooks, secret: {secret: load}}";
    client.put("/api/v1/sources/load", source).await.good();
    world
}

async fn causes(world: &World) -> Value {
    let ledger = world.client.get("/api/v1/ledger").await.good();
    ledger["door"]["rejectedByCause"].clone()
}

/// Deliveries, the status each is answered with, and the cause it is counted under.
fn refused() -> Vec<(Request, u16, &'static str)> {
    let now = jiff::Timestamp::now().as_second();
    let good = shopify().delivery("r-1", order(1));
    let mut changed = good.clone();
    changed.body[8] = b'9';
    vec![
        (
            good.clone().without("x-shopify-hmac-sha256"),
            401,
            "signature_missing",
        ),
        (changed, 401, "signature_mismatch"),
        (
            shopify().with_secret("another").delivery("r-2", order(2)),
            401,
            "signature_mismatch",
        ),
        (
            shopify()
                .with_path("/hooks/nobody")
                .delivery("r-3", order(3)),
            401,
            "unknown_source",
        ),
        (
            standard().at("r-4", "{}", now - 400),
            401,
            "timestamp_outside_tolerance",
        ),
        (
            standard().at("r-5", "{}", now + 400),
            401,
            "timestamp_outside_tolerance",
        ),
        (
            good.header("content-encoding", "gzip"),
            415,
            "content_encoding",
        ),
        (
            shopify().delivery("r-6", vec![b' '; 1_048_577]),
            413,
            "body_too_large",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_has_its_status_and_its_cause() {
    let world = world().await;
    let mut expected = std::collections::BTreeMap::new();
    let mut words = Vec::new();
    for (request, status, cause) in refused() {
        let before = causes(&world).await;
        let answer = world.client.send(&request).await;
        assert_eq!(answer.status, status, "{cause}: {}", answer.text());
        let problem = answer.header("content-type");
        assert_eq!(problem, Some("application/problem+json"), "{cause}");
        let after = causes(&world).await;
        let grown: Vec<_> = after
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, count)| before.get(name.as_str()) != Some(count))
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(grown.len(), 1, "{cause}: {before} {after}");
        words.push((cause, grown[0].clone()));
        *expected.entry(cause).or_insert(0) += 1;
    }
    let differ: Vec<_> = words.iter().filter(|(a, b)| a != b).collect();
    assert!(differ.is_empty(), "{differ:?}");
    assert_eq!(causes(&world).await, json!(expected));
    assert_eq!(
        world.books().await.events.stored,
        0,
        "nothing of it is an event"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_tell_an_unknown_source_from_a_bad_signature() {
    let world = world().await;
    let bad = shopify().with_secret("guess").delivery("s-1", order(1));
    let unknown = shopify()
        .with_path("/hooks/shop2")
        .delivery("s-1", order(1));
    let (bad, unknown) = (
        world.client.send(&bad).await,
        world.client.send(&unknown).await,
    );
    assert_eq!(bad.status, unknown.status);
    assert_eq!(bad.text(), unknown.text());
    let names = |answer: &crate::world::wire::Answer| -> Vec<String> {
        let names = answer.headers.iter().map(|(name, _)| name.clone());
        names.filter(|name| name != "date").collect()
    };
    assert_eq!(names(&bad), names(&unknown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_secrets_count_while_one_is_replaced() {
    let world = world().await;
    let client = &world.client;
    client
        .put("/api/v1/secrets/new", "\"the-new-one\"")
        .await
        .good();
    let source = "{source: shop, provider: shopify,
        secret: [{secret: new}, {secret: shop-signing-secret}]}";
    client.put("/api/v1/sources/shop", source).await.good();
    let senders = [shopify().with_secret("the-new-one"), shopify()];
    for (number, sender) in (1..).zip(senders) {
        let delivery = sender.delivery(&format!("rot-{number}"), order(number));
        assert_eq!(client.send(&delivery).await.status, 200);
    }
    let only_new = "{source: shop, provider: shopify, secret: {secret: new}}";
    client.put("/api/v1/sources/shop", only_new).await.good();
    let old = shopify().delivery("rot-3", order(3));
    assert_eq!(client.send(&old).await.status, 401);
}
