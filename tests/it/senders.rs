//! What senders do beside one signed event: batches, CloudEvents, secrets that they send, keys that
//! they publish, and deliveries that were refused at first.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::sender::{SECRET, shopify};
use crate::world::{Request, World, order, until};

/// A world with a secret `s` of this value and a source `in`.
async fn world(source: &str, secret: Option<&str>) -> World {
    let world = World::start().await;
    if let Some(secret) = secret {
        let secret = serde_json::to_vec(secret).unwrap();
        world.client.put("/api/v1/secrets/s", secret).await.good();
    }
    world.client.put("/api/v1/sources/in", source).await.good();
    world
}

/// The events of the source, oldest first.
async fn events(world: &World) -> Vec<Value> {
    let path = "/api/v1/events?source=/hooks/in&limit=100";
    let list = world.client.get(path).await.good();
    let mut events = list.as_array().unwrap().clone();
    events.reverse();
    events
}

fn okta(body: &Value) -> Request {
    Request::new("POST", "/hooks/in", body.to_string())
        .header("content-type", "application/json")
        .header("authorization", "secret-of-the-hook")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_becomes_events_of_their_own_once() {
    let source = "{source: in, provider: okta, secret: {secret: s}}";
    let world = world(source, Some("secret-of-the-hook")).await;
    let element = |id: u32| json!({ "uuid": format!("u{id}"), "eventType": "user.created" });
    let batch = |ids: &[u32]| {
        let elements: Vec<_> = ids.iter().map(|id| element(*id)).collect();
        json!({ "eventId": "b", "data": { "events": elements } })
    };
    let answer = world.client.send(&okta(&batch(&[1, 2, 3]))).await.good();
    assert_eq!(answer["events"], 3);
    let again = world.client.send(&okta(&batch(&[1, 2, 3]))).await.good();
    assert_eq!(again["id"], answer["id"]);
    // A later batch that repeats one element brings only what is new.
    world.client.send(&okta(&batch(&[3, 4]))).await.good();
    let events = events(&world).await;
    assert_eq!(events.len(), 4, "{events:?}");
    assert!(
        events
            .iter()
            .all(|event| event["type"] == "okta.user.created")
    );
    let id = answer["id"].as_str().unwrap();
    let body = world.client.get(&format!("/api/v1/events/{id}/body")).await;
    assert_eq!(body.body, element(1).to_string().into_bytes());
    // Nothing in it: nothing to store, and nothing to complain of.
    let none = json!({ "eventId": "b", "data": { "events": [] } });
    assert_eq!(world.client.send(&okta(&none)).await.good()["events"], 0);
    // No batch at all is kept whole rather than lost.
    let other = json!({ "eventId": "b", "something": "else" });
    world.client.send(&okta(&other)).await.good();
    assert_eq!(self::events(&world).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudevents_come_in_all_three_forms() {
    let source = "{source: in, provider: cloudevents, secret: {secret: s}}";
    let world = world(source, Some("tok")).await;
    let send = async |media: &str, body: &str, extra: &[(&str, &str)]| {
        let request = Request::new("POST", "/hooks/in", body)
            .header("content-type", media)
            .header("authorization", "Bearer tok");
        let request = extra.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        world.client.send(&request).await.good()
    };
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/shop"),
        ("ce-type", "order.placed"),
        ("ce-subject", "caf%C3%A9"),
    ];
    send("application/json", "[1, 2]", &binary).await;
    let one =
        r#"{"specversion":"1.0","id":"2","source":"/shop","type":"order.paid","data":{"n": 1.50}}"#;
    send("application/cloudevents+json; charset=utf-8", one, &[]).await;
    let many = format!(r#"[{one},{}]"#, one.replace(r#""2""#, r#""3""#));
    let answer = send("application/cloudevents-batch+json", &many, &[]).await;
    assert_eq!(answer["events"], 2);
    // Not one of the forms: kept as it is.
    send(
        "application/cloudevents+json",
        r#"{"specversion":"0.1"}"#,
        &[],
    )
    .await;
    let events = events(&world).await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(
        kinds,
        [
            "order.placed",
            "order.paid",
            "order.paid",
            "cloudevents.event"
        ]
    );
    let show = async |event: &Value| {
        let id = event["id"].as_str().unwrap();
        let shown = world
            .client
            .get(&format!("/api/v1/events/{id}"))
            .await
            .good();
        let body = world.client.get(&format!("/api/v1/events/{id}/body")).await;
        (shown.to_string(), body.text())
    };
    let (shown, body) = show(&events[0]).await;
    assert_eq!(body, "[1, 2]");
    assert!(
        shown.contains("café") && shown.contains("/hooks/in"),
        "{shown}"
    );
    let (shown, body) = show(&events[1]).await;
    assert_eq!(body, r#"{"n": 1.50}"#);
    assert!(shown.contains(r#""origin":"/shop""#), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_sent_is_kept_once_and_only_while_it_is_awaited() {
    let closed = "{source: in, provider: asana, secret: {secret: s}}";
    let world = world(closed, None).await;
    let hello = Request::new("POST", "/hooks/in", "").header("x-hook-secret", "of-asana");
    assert_eq!(world.client.send(&hello).await.status, 401);
    let open = "{source: in, provider: asana, secret: {secret: s}, registration: pending}";
    world.client.put("/api/v1/sources/in", open).await.good();
    let answer = world.client.send(&hello).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-hook-secret"), Some("of-asana"));
    let other = Request::new("POST", "/hooks/in", "").header("x-hook-secret", "of-a-stranger");
    assert_eq!(world.client.send(&other).await.status, 401);
    let body = r#"{"events":[{"action":"changed","resource":{"resource_type":"task"}}]}"#;
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"of-asana");
    let signature = hex::encode(hmac::sign(&key, body.as_bytes()).as_ref());
    let event = Request::new("POST", "/hooks/in", body).header("x-hook-signature", &signature);
    assert_eq!(world.client.send(&event).await.status, 200);
    assert_eq!(events(&world).await[0]["type"], "asana.task.changed");
}

/// Serves a set of keys, and counts how often.
async fn publisher(set: Value) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut head = [0; 4096];
            let _read = stream.read(&mut head).await;
            let body = set.to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            let _written = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_keys_are_fetched_once_and_decide() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (URL.encode(&point[1..33]), URL.encode(&point[33..]));
    let key = json!({ "kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": x, "y": y });
    let (url, asked) = publisher(json!({ "keys": [key] })).await;
    let source = format!(
        "{{source: in, parameters: {{audience: us}}, verify: {{scheme: jwt, algorithms: [ES256],
          token: {{in: header, name: Authorization, prefix: 'Bearer '}}, key: {{jwks: '{url}'}},
          require: [exp], claims: {{aud: '{{parameter:audience}}'}}}}}}"
    );
    let world = world(&source, None).await;
    let now = jiff::Timestamp::now().as_second();
    let token = |head: Value, claims: Value| {
        let signed = format!(
            "{}.{}",
            URL.encode(head.to_string()),
            URL.encode(claims.to_string())
        );
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("Bearer {signed}.{}", URL.encode(signature.as_ref()))
    };
    let status = async |token: &str, body: &str| {
        let request = Request::new("POST", "/hooks/in", body).header("authorization", token);
        world.client.send(&request).await.status
    };
    let head = json!({ "alg": "ES256", "kid": "k" });
    let good = token(head.clone(), json!({ "aud": ["us"], "exp": now + 600 }));
    assert_eq!(status(&good, "{}").await, 200);
    assert_eq!(status(&good, "{\"n\":2}").await, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "fetched once");
    let refused = [
        token(head.clone(), json!({ "aud": "them", "exp": now + 600 })),
        token(head.clone(), json!({ "aud": "us", "exp": now - 1 })),
        token(head.clone(), json!({ "aud": "us" })),
        token(
            json!({ "alg": "none" }),
            json!({ "aud": "us", "exp": now + 600 }),
        ),
        token(
            json!({ "alg": "ES256", "kid": "other" }),
            json!({ "aud": "us", "exp": now + 600 }),
        ),
        token(
            json!({ "alg": "ES256", "kid": "k", "crit": ["b64"] }),
            json!({ "aud": "us", "exp": now + 600 }),
        ),
        good.replace("Bearer ", "Basic "),
        format!("{good}A"),
    ];
    for token in &refused {
        assert_eq!(status(token, "{}").await, 401, "{token}");
    }
    let asked = asked.load(Ordering::Relaxed);
    assert_eq!(asked, 1, "an unknown key asks again, but not at once");
    // Keys that cannot be had are our affair: the sender is to come again.
    let away = source.replace(&url, "http://127.0.0.1:9/keys");
    world.client.put("/api/v1/sources/in", away).await.good();
    assert_eq!(status(&good, "{}").await, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_delivery_is_kept_and_released_once_the_secret_is_right() {
    let source = "{source: in, provider: shopify, secret: {secret: s}}";
    let world = world(source, Some("not-yet-the-right-one")).await;
    let sender = shopify().with_path("/hooks/in");
    for number in 1..=3 {
        let delivery = sender.delivery(&format!("late-{number}"), order(number));
        assert_eq!(world.client.send(&delivery).await.status, 401);
    }
    let path = "/api/v1/rejections?source=in";
    let kept = until("the rejections are kept", async || {
        let list = world.client.get(path).await.good();
        (list.as_array().unwrap().len() == 3).then_some(list)
    })
    .await;
    assert_eq!(kept[0]["cause"], "signature_mismatch");
    let id = kept[2]["id"].as_str().unwrap();
    let body = world
        .client
        .get(&format!("/api/v1/rejections/{id}/body"))
        .await;
    assert_eq!(body.body, order(1).into_bytes(), "byte for byte");
    let release = format!("/api/v1/rejections/{id}/release");
    assert_eq!(world.client.post(&release, "").await.status, 409);
    let right = serde_json::to_vec(SECRET).unwrap();
    world.client.put("/api/v1/secrets/s", right).await.good();
    let released = world.client.post(&release, "").await.good();
    assert_eq!(released["events"], 1);
    assert_eq!(world.client.post(&release, "").await.status, 404);
    let all = "/api/v1/rejections/release?source=in";
    let released = world.client.post(all, "").await.good();
    assert_eq!(
        (&released["released"], &released["refused"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(events(&world).await.len(), 3);
    let left = world.client.get(path).await.good();
    assert_eq!(left, json!([]));
    // What the sender sends again in the meantime is the same event.
    let again = sender.delivery("late-1", order(1));
    world.client.send(&again).await.good();
    assert_eq!(events(&world).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_can_ask_for_more_than_a_signature() {
    let source = "{source: in, provider: shopify, secret: {secret: s}, pathToken: {secret: s},
        methods: [post], contentTypes: [application/json],
        response: {status: 202, contentType: text/plain, body: thanks}}";
    let world = world(source, Some("plain")).await;
    let sender = shopify().with_secret("plain");
    let status = async |path: &str| {
        let delivery = sender.clone().with_path(path).delivery("p", order(1));
        world.client.send(&delivery).await.status
    };
    for path in ["/hooks/in", "/hooks/in/plai", "/hooks/in/x/plain"] {
        assert_eq!(status(path).await, 401, "{path}");
    }
    let good = sender
        .clone()
        .with_path("/hooks/in/plain")
        .delivery("p", order(1));
    let answer = world.client.send(&good).await;
    assert_eq!((answer.status, answer.text().as_str()), (202, "thanks"));
    let put = Request {
        method: "PUT",
        ..good.clone()
    };
    assert_eq!(world.client.send(&put).await.status, 405);
    let form = good
        .without("content-type")
        .header("content-type", "text/plain");
    assert_eq!(world.client.send(&form).await.status, 415);
    // Neither the signature nor the token is stored for others to read.
    let event = &events(&world).await[0];
    let id = event["id"].as_str().unwrap();
    let shown = world
        .client
        .get(&format!("/api/v1/events/{id}"))
        .await
        .text();
    let signature = good_signature(&shown);
    assert!(signature, "{shown}");
}

/// Whether the signature is hidden in what is shown of an event.
fn good_signature(shown: &str) -> bool {
    let event: Value = serde_json::from_str(shown).unwrap();
    let headers = event["headers"].to_string();
    headers.contains("x-shopify-hmac-sha256") && headers.contains("***")
}
