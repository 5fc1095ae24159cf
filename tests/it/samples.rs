//! The gallery of samples: every one is taken by a real server, signed with the source's secret.

use std::collections::BTreeSet;

use hookwright::signature::Scheme;
use hookwright::signature::samples::{find, gallery};
use serde_json::Value;

use crate::world::{World, until};

/// A secret that is one in every form that the gallery's senders have.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn world() -> World {
    let world = World::start().await;
    let secret = format!("\"{SECRET}\"");
    world.client.put("/api/v1/secrets/s", secret).await.good();
    world
}

async fn source(world: &World, provider: &str) {
    let source = format!(
        "{{source: {provider}, provider: {provider}, secret: {{secret: s}},
          url: 'https://hooks.example/hooks/{provider}'}}"
    );
    let path = format!("/api/v1/sources/{provider}");
    world.client.put(&path, source).await.good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_is_accepted_by_a_real_server() {
    let world = world().await;
    let providers: BTreeSet<_> = gallery().iter().map(|one| one.provider.as_str()).collect();
    assert!(providers.len() >= 20, "{providers:?}");
    for provider in &providers {
        assert!(Scheme::provider(provider).is_some(), "{provider}");
        source(&world, provider).await;
    }
    let mut untyped = Vec::new();
    for sample in gallery() {
        let (provider, name) = (&sample.provider, &sample.name);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("sample", name);
        let path = format!("/api/v1/sources/{provider}/samples?{}", query.finish());
        let mut ids = BTreeSet::new();
        for _ in 0..2 {
            let answer = world.client.post(&path, "").await;
            assert_eq!(answer.status, 202, "{provider} {name}: {}", answer.text());
            ids.insert(answer.json()["id"].as_str().unwrap().to_owned());
        }
        // Each time it is a new event, of a type that tells something.
        assert_eq!(ids.len(), 2, "{provider} {name}");
        let id = ids.first().unwrap();
        let event = world
            .client
            .get(&format!("/api/v1/events/{id}"))
            .await
            .good();
        if event["type"] == format!("{provider}.event").as_str() {
            untyped.push(name.as_str());
        }
        let shown = event.to_string();
        assert!(!shown.contains(SECRET), "{provider} {name}");
    }
    assert_eq!(untyped, ["slash-command"], "a form without a type");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_says_why() {
    let world = world().await;
    source(&world, "shopify").await;
    let detail = async |path: &str, status: u16| {
        let answer = world.client.post(path, "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let shop = "/api/v1/sources/shopify/samples";
    assert!(detail(shop, 400).await.contains("sample"));
    let known = detail(&format!("{shop}?sample=orders"), 404).await;
    assert!(known.contains("orders/create"), "{known}");
    detail("/api/v1/sources/nobody/samples?sample=push", 404).await;
    let square = "{source: square, provider: square, secret: {secret: s}}";
    let put = world.client.put("/api/v1/sources/square", square);
    put.await.good();
    let path = "/api/v1/sources/square/samples?sample=payment.updated";
    assert!(detail(path, 409).await.contains("url"));
    let unset = "{source: github, provider: github, secret: {secret: nothing}}";
    let put = world.client.put("/api/v1/sources/github", unset);
    put.await.good();
    let path = "/api/v1/sources/github/samples?sample=push";
    assert!(detail(path, 409).await.contains("secret"));
}

#[test]
fn a_sample_is_filled_in() {
    let now: jiff::Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
    let sample = find("linear", "Issue.create").unwrap();
    let (headers, body) = sample.make(now, 255);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["webhookTimestamp"], 1_782_907_200_000_i64);
    assert_eq!(body["createdAt"], "2026-07-01T12:00:00Z");
    assert_eq!(headers["linear-delivery"], format!("{:032x}", 255));
    assert_eq!(headers["content-type"], "application/json");
    for sample in gallery() {
        let (_, body) = sample.make(now, 7);
        let text = std::str::from_utf8(&body).unwrap();
        assert!(!text.contains('$'), "{} {}", sample.provider, sample.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_sends_and_tells_why() {
    let world = world().await;
    source(&world, "shopify").await;
    let server = format!("http://{}", world.client.address);
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookwright"));
        let command = command.args(arguments).env("HOOKWRIGHT_SERVER", &server);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = run(&["events", "samples", "--provider", "shopify"]).await;
    assert!(listed.contains("orders/create"), "{listed}");
    let sent = [
        "events",
        "send",
        "--source",
        "shopify",
        "--sample",
        "orders/create",
    ];
    let id = run(&sent).await.trim().to_owned();
    let why = until("it is decided", async || {
        let why = run(&["events", "why", &id]).await;
        why.contains("ignored").then_some(why)
    })
    .await;
    assert!(why.contains("client_secret, 1 of 1, in secret s"), "{why}");
    assert!(why.contains("no active workflow listens"), "{why}");
}
