//! Bodies and expressions made to end, stall or bloat a server: it answers, lives, keeps what it
//! has acknowledged byte for byte, and goes on with the next good event.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::rig::Rig;
use crate::world::process::Node;
use crate::world::sender::standard;
use crate::world::{Request, until};

/// Whatever comes is answered within this time.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The next good event is done within this time.
const NEXT_MAX: Duration = Duration::from_secs(3);

/// What all the poison together may add to the server's memory.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

/// The limit of a body as shipped.
const BODY_BYTES_MAX: usize = 1_048_576;

type Bodies = Vec<(&'static str, Vec<u8>)>;

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A JSON string of so many bytes.
fn sized(length: usize) -> Vec<u8> {
    text(&format!("\"{}\"", "a".repeat(length - 2)))
}

/// Small bodies that readers of JSON take in different ways; all are JSON by their content type.
fn odd_bodies() -> Bodies {
    vec![
        ("empty", Vec::new()),
        ("no JSON", text("hello")),
        ("cut off", text("{\"a\":")),
        ("more after it", text("{\"a\":1} x")),
        ("two documents", text("{}{}")),
        ("byte order mark", text("\u{feff}{\"a\":1}")),
        ("escaped NUL", text(r#"{"a":"\u0000"}"#)),
        ("raw NUL", text("{\"a\":\"\0\"}")),
        ("lone surrogate", text(r#"{"a":"\ud800"}"#)),
        ("bad UTF-8", b"{\"a\":\"\xff\xfe\"}".to_vec()),
        ("overlong UTF-8", b"{\"a\":\"\xc0\xaf\"}".to_vec()),
        ("a key twice", text(r#"{"id":"1","id":"2"}"#)),
        (
            "huge integer",
            text(r#"{"n":123456789012345678901234567890}"#),
        ),
        ("huge exponent", text(r#"{"n":1e400}"#)),
        ("tiny exponent", text(r#"{"n":1e-999999}"#)),
        ("minus zero", text(r#"{"n":-0}"#)),
        ("not a number", text(r#"{"n":NaN}"#)),
        ("leading zero", text(r#"{"n":01}"#)),
        ("prototypes", text(r#"{"__proto__":{"x":1}}"#)),
        (
            "line feeds",
            text(r#"{"a":"x\r\nX-Injected: 1","b":"\u001b"}"#),
        ),
        (
            "expressions",
            text(r#"{"a":"${ env }","b":"$(id)","c":"\u202e"}"#),
        ),
        (
            "entities",
            text("<!DOCTYPE l [<!ENTITY a \"aa\">]><l>&a;</l>"),
        ),
        ("events", text(r#"[{"type":"order.created"},1,null]"#)),
    ]
}

/// Bodies that are deep, wide or long.
fn large_bodies() -> Bodies {
    let deep = |depth: usize| text(&("[".repeat(depth) + &"]".repeat(depth)));
    let numbered = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("\"k{n}\":{n}")).collect();
        text(&format!("{{{}}}", members.join(",")))
    };
    let objects = r#"{"a":"#.repeat(100_000) + "1" + &"}".repeat(100_000);
    let key = format!("{{\"{}\":1}}", "k".repeat(900_000));
    let escapes = format!("\"{}\"", r"\u0041".repeat(150_000));
    let number = format!("{{\"n\":1{}}}", "0".repeat(100_000));
    vec![
        ("long number", text(&number)),
        ("deep 63", deep(63)),
        ("deep 1,000", deep(1_000)),
        ("deep 100,000", deep(100_000)),
        ("deep 500,000", deep(500_000)),
        ("deep objects", text(&objects)),
        ("only open", text(&"[".repeat(900_000))),
        ("wide array", text(&format!("[{}1]", "1,".repeat(400_000)))),
        ("wide object", numbered(60_000)),
        ("long string", sized(900_000)),
        ("long key", text(&key)),
        ("escapes", text(&escapes)),
        ("blanks", text(&(" ".repeat(900_000) + "{}"))),
        ("one byte less", sized(BODY_BYTES_MAX - 1)),
        ("the limit", sized(BODY_BYTES_MAX)),
        ("one byte more", sized(BODY_BYTES_MAX + 1)),
    ]
}

const READER: &str = "
document: { dsl: '1.0.3', namespace: t, name: reader, version: '1.0.0' }
schedule: { on: { one: { with: { source: /hooks/load } } } }
input: { from: '.[0].data' }
do:
  - read:
      call: http
      with:
        method: post
        endpoint: destination://sink/poison
        body: { length: '${ tojson | length }', kind: '${ type }' }
";

async fn started() -> (Rig, Node) {
    let rig = Rig::new(Duration::ZERO).await;
    let node = rig.plan().start().await;
    rig.define(&node.client).await;
    node.client.post("/api/v1/workflows", READER).await.good();
    (rig, node)
}

/// A good event goes all the way, soon.
async fn next_is_good(rig: &Rig, node: &Node, id: &str) {
    let begun = Instant::now();
    let body = format!(r#"{{"type":"order.created","id":"{id}","number":1}}"#);
    node.client
        .send(&standard().delivery(id, body))
        .await
        .good();
    until("the next good event is delivered", async || {
        let calls = rig.sink.calls();
        let ours = |call: &&crate::world::destination::Call| call.json()["id"] == id;
        calls.iter().rfind(ours).map(drop)
    })
    .await;
    assert!(
        begun.elapsed() < NEXT_MAX,
        "{:?} after {id}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poisonous_bodies_harm_nothing() {
    let (rig, mut node) = started().await;
    next_is_good(&rig, &node, "warm").await;
    let before = node.resident_bytes();
    let bodies = odd_bodies().into_iter().chain(large_bodies());
    for (number, (name, body)) in bodies.enumerate() {
        let id = format!("poison-{number}");
        let delivery = standard().delivery(&id, body.clone());
        let begun = Instant::now();
        let answer = node.client.send(&delivery).await;
        assert!(
            begun.elapsed() < ANSWER_MAX,
            "{name}: {:?}",
            begun.elapsed()
        );
        let expected = if body.len() > BODY_BYTES_MAX {
            413
        } else {
            200
        };
        assert_eq!(answer.status, expected, "{name}: {}", answer.text());
        if expected == 200 {
            let event = answer.json()["id"].as_str().unwrap().to_owned();
            let path = format!("/api/v1/events/{event}/body");
            let stored = node.client.get(&path).await.body;
            assert!(stored == body, "{name}: not byte for byte");
        }
        let unsigned = delivery.without("webhook-signature");
        assert!(
            matches!(node.client.send(&unsigned).await.status, 401 | 413),
            "{name}"
        );
        assert!(
            node.is_running(),
            "{name} ended the server:\n{}",
            node.log()
        );
        next_is_good(&rig, &node, &format!("after-{number}")).await;
    }
    for label in ["gzip", "gzip, gzip", "br", "deflate", "zstd"] {
        let delivery = standard().delivery("label", include_bytes!("../data/zeros.gz").to_vec());
        let answer = node
            .client
            .send(&delivery.header("content-encoding", label))
            .await;
        assert_eq!(answer.status, 415, "{label}");
    }
    rig.settle().await;
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
    let ledger = node.client.get("/api/v1/ledger").await.good();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// What must come of an expression, and the expression.
fn expressions() -> Vec<(bool, &'static str)> {
    let lines = include_str!("../data/poison.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    let read = |line: &'static str| match line.split_once(' ') {
        Some(("fails", expression)) => (true, expression),
        Some(("any", expression)) => (false, expression),
        _ => panic!("no verdict: {line}"),
    };
    lines.map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poisonous_expressions_fail_their_own_run_only() {
    let (rig, mut node) = started().await;
    next_is_good(&rig, &node, "warm").await;
    let before = node.resident_bytes();
    let client = node.client;
    let try_one = async |number: usize, must_fail: bool, expression: &str| {
        let name = format!("p{number}");
        let workflow = json!({
            "document": {"dsl": "1.0.3", "namespace": "t", "name": name, "version": "1.0.0"},
            "do": [{"one": {"set": {"x": format!("${{ {expression} }}")}}}],
        });
        let deployed = client.post("/api/v1/workflows", workflow.to_string()).await;
        if deployed.status == 422 {
            return; // Refused when it is deployed: better still.
        }
        deployed.good();
        let path = format!("/api/v1/workflows/t/{name}/latest/runs?wait=30s");
        let run: Value = client.post(&path, r#"{"a": 1}"#).await.good();
        assert!(run["endedAt"].is_string(), "{expression}: {run}");
        if must_fail {
            assert_eq!(run["status"], "faulted", "{expression}: {run}");
            let told = &run["error"]["type"];
            assert!(told.is_string(), "{expression}: {run}");
        }
    };
    let all = expressions();
    // All at once: none may hold up the others for longer than its own limits.
    let runs = all.iter().enumerate();
    let runs = runs.map(|(number, (must_fail, text))| try_one(number, *must_fail, text));
    join_all(runs).await;
    assert!(node.is_running(), "{}", node.log());
    next_is_good(&rig, &node, "after").await;
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
    assert!(!node.log().contains("panicked"), "{}", node.log());
    let alive = Request::new("GET", "/livez", "");
    assert_eq!(client.send(&alive).await.status, 200);
}
