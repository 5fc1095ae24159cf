//! Gaps are healed: senders are asked for what was missed, once, and nothing comes twice.

use std::time::Duration;

use futures_util::future::join_all;
use hookwright::signature::{Delivery, Keys, Scheme};
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::postgres::database;
use crate::world::destination::{Destination, Reply};
use crate::world::{Request, World, until};

const SECRET: &str = "whsec_of_the_test";

struct One;

impl Keys for One {
    fn values(&self, _name: &str) -> Vec<Vec<u8>> {
        vec![SECRET.as_bytes().to_vec()]
    }
}

/// A world whose sender answers at `destination://sender`, with a token.
async fn world(sender: &Destination, source: &str) -> World {
    let world = World::start().await;
    let client = &world.client;
    let secret = format!("\"{SECRET}\"");
    client.put("/api/v1/secrets/s", secret).await.good();
    let destination = format!(
        "{{destination: sender, baseUrl: '{}/api',
          authentication: {{bearer: {{token: {{secret: s}}}}}}}}",
        sender.url()
    );
    let put = client.put("/api/v1/destinations/sender", destination);
    put.await.good();
    client.put("/api/v1/sources/in", source).await.good();
    world
}

async fn events(world: &World) -> Vec<Value> {
    let events = world.client.get("/api/v1/events?source=/hooks/in").await;
    events.good().as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_events_are_appended_as_if_delivered() {
    let bodies = [
        r#"{"id":"evt_1","type":"invoice.paid","n": 1.50}"#,
        r#"{"id":"evt_2","type":"invoice.sent"}"#,
    ];
    let list = format!(r#"{{"data": [{}, {}]}}"#, bodies[0], bodies[1]);
    let sender = Destination::start(move |_, _| Reply::new(200).body(&list)).await;
    let source = "{source: in, provider: stripe, secret: {secret: s}, healing:
        {list: 'destination://sender/events?limit=2', items: '/data/*', every: PT1S}}";
    let world = world(&sender, source).await;
    let found = until("both are there", async || {
        let events = events(&world).await;
        (events.len() == 2).then_some(events)
    })
    .await;
    let mut kinds: Vec<_> = found
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["stripe.invoice.paid", "stripe.invoice.sent"]);
    // The list stays as it is, and the delivery comes late all the same.
    sender.called(3).await;
    let headers = HeaderMap::new();
    let body = bytes::Bytes::from_static(bodies[0].as_bytes());
    let unsigned = Delivery {
        method: &Method::POST,
        path_and_query: "/hooks/in",
        url: None,
        headers: &headers,
        body: &body,
        now: jiff::Timestamp::now().as_second(),
    };
    let signed = Scheme::provider("stripe").unwrap().sign(&unsigned, &One);
    let signed = signed.unwrap();
    let request = Request::new("POST", "/hooks/in", bodies[0]).header(
        "stripe-signature",
        signed["stripe-signature"].to_str().unwrap(),
    );
    let late = world.client.send(&request).await.good();
    let id = late["id"].as_str().unwrap();
    assert!(found.iter().any(|event| event["id"] == id), "{late}");
    let stored = world.client.get(&format!("/api/v1/events/{id}/body")).await;
    assert_eq!(stored.body, bodies[0].as_bytes());
    assert_eq!(events(&world).await.len(), 2);
    let call = &sender.calls()[0];
    assert_eq!(call.path, "/api/events?limit=2");
    assert_eq!(call.header("authorization"), format!("Bearer {SECRET}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_deliveries_are_asked_for_again_once() {
    let sender = Destination::start(|call, _| match call.method {
        // The other one cannot be had any more.
        Method::POST if call.path.ends_with("/7/attempts") => Reply::new(202).body(""),
        Method::POST => Reply::new(422),
        _ => Reply::new(200).body(
            r#"[{"id":12345678901234567890,"status_code":500},{"id":7,"status_code":502},
                {"id":8,"status_code":200}]"#,
        ),
    })
    .await;
    let source = r#"{source: in, provider: github, secret: {secret: s}, healing: {
        list: 'destination://sender/deliveries', items: '/*', every: PT1S,
        redeliver: 'if .status_code >= 300
          then "destination://sender/deliveries/\(.id)/attempts" else null end'}}"#;
    let world = world(&sender, source).await;
    let posts = |id: &str| {
        let path = format!("/api/deliveries/{id}/attempts");
        let calls = sender.calls().into_iter();
        calls.filter(|call| call.path == path).count()
    };
    until("the one that failed is asked for three times", async || {
        (posts("12345678901234567890") >= 3).then_some(())
    })
    .await;
    assert_eq!((posts("7"), posts("8")), (1, 0));
    assert!(events(&world).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_does_not_choose_whom_we_call() {
    let sender = Destination::start(|call, _| match call.method {
        Method::POST => Reply::new(202),
        _ => Reply::new(200).body(
            r#"[{"again":"destination://payments/refunds"},
                {"again":"destination://sender@payments/refunds"},
                {"again":"destination://sender/again"}]"#,
        ),
    })
    .await;
    let payments = Destination::answering(&[200]).await;
    let world = world(&sender, "{source: in, verify: none}").await;
    let text = format!("{{destination: payments, baseUrl: '{}'}}", payments.url());
    let put = world.client.put("/api/v1/destinations/payments", text);
    put.await.good();
    let source = "{source: in, verify: none, healing: {
        list: 'destination://sender/deliveries', items: '/*', every: PT1S, redeliver: .again}}";
    let put = world.client.put("/api/v1/sources/in", source);
    put.await.good();
    until("its own is asked for", async || {
        let calls = sender.calls();
        calls
            .into_iter()
            .any(|call| call.path == "/api/again")
            .then_some(())
    })
    .await;
    assert_eq!(payments.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_has_the_turn() {
    let database = database().await;
    let store = &database.store;
    let turn = async |ms: u64| {
        store
            .healing_turn("s", Duration::from_millis(ms))
            .await
            .unwrap()
    };
    let turns = join_all((0..8).map(|_| turn(60_000))).await;
    assert_eq!(turns.iter().filter(|turn| **turn).count(), 1, "{turns:?}");
    assert!(!turn(1).await, "it is another one's for a minute");
    assert!(store.healing_turn("t", Duration::ZERO).await.unwrap());
    assert!(
        store.healing_turn("t", Duration::ZERO).await.unwrap(),
        "due again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_healing_says_is_checked() {
    let world = World::start().await;
    let source = "source: s
verify: none
healing:
  list: file:///etc/passwd
  items: data
  every: P2D
  redeliver: '.id |'
";
    let answer = world.client.put("/api/v1/sources/s", source).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let faults = answer.json()["errors"].as_array().unwrap().clone();
    let mut lines: Vec<_> = faults
        .iter()
        .map(|fault| fault["line"].as_u64().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [4, 5, 6, 7], "{faults:#?}");
}
