//! What is sent: method, URI, headers, credentials, body.

use hookwright::problem::Kind;
use hookwright::run::Credentials;
use hookwright::workflow::definition::HttpOutput;

use super::sink::Sink;
use super::world::{World, call, call_with, get, pair, value};

#[tokio::test]
async fn a_plain_call_carries_what_every_call_carries() {
    let sink = Sink::saying(200, "{}").await;
    let world = World::new(&[]);
    world.output(&get(&sink.url("/a?z=0#part"))).await;
    let seen = sink.one();
    assert_eq!((&*seen.method, &*seen.target), ("GET", "/a?z=0"));
    assert_eq!(
        seen.header("accept").as_deref(),
        Some("application/json, */*;q=0.8")
    );
    let agent = format!("hookwright/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen.header("user-agent"), Some(agent));
    for absent in [
        "idempotency-key",
        "authorization",
        "content-type",
        "referer",
    ] {
        assert_eq!(seen.header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn query_values_are_data() {
    let sink = Sink::saying(200, "{}").await;
    let world = World::new(&[]);
    let effect = call_with("GET", &sink.url("/x?z=0"), |request| {
        request.query = vec![pair("e", "x y&z=1"), pair("tag", "ä"), pair("tag", "b#?")];
    });
    world.output(&effect).await;
    assert_eq!(
        sink.one().target,
        "/x?z=0&e=x%20y%26z%3D1&tag=%C3%A4&tag=b%23%3F"
    );
}

#[tokio::test]
async fn a_body_is_json_text_or_a_form() {
    let sink = Sink::saying(200, "{}").await;
    let world = World::new(&[]);
    let form = "application/x-www-form-urlencoded";
    for (body, given, content_type, sent) in [
        (r#"{"n":1.10}"#, None, "application/json", r#"{"n":1.10}"#),
        ("[1]", None, "application/json", "[1]"),
        (r#""a=1""#, None, "text/plain; charset=utf-8", "a=1"),
        (
            r#""<a/>""#,
            Some("application/xml"),
            "application/xml",
            "<a/>",
        ),
        (
            r#"{"a":"x y","b":[1,null,true],"c":null}"#,
            Some(form),
            form,
            "a=x+y&b=1&b=true",
        ),
        (
            r#"{"a":1}"#,
            Some("application/vnd.x+json"),
            "application/vnd.x+json",
            r#"{"a":1}"#,
        ),
    ] {
        let effect = call_with("POST", &sink.url("/"), |request| {
            request.body = Some(value(body));
            request
                .headers
                .extend(given.map(|given| pair("Content-Type", given)));
        });
        world.output(&effect).await;
        let seen = sink.seen().pop().unwrap();
        assert_eq!(seen.body, sent);
        assert_eq!(seen.header("content-type").as_deref(), Some(content_type));
    }
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let sink = Sink::saying(200, "{}").await;
    let world = World::new(&[]);
    let effect = call_with("POST", &sink.url("/"), |request| {
        request.body = Some(value(&format!("\"{}\"", "x".repeat(65 * 1024))));
    });
    let (_, problem) = world.error(&effect).await;
    assert!(problem.is(Kind::Configuration));
    assert!(sink.seen().is_empty());
}

#[tokio::test]
async fn headers_cannot_be_forged() {
    let sink = Sink::saying(200, "{}").await;
    let world = World::new(&[]);
    for (name, given) in [
        ("X-Note", "a\r\nX-Admin: 1"),
        ("X-Note", "a\0b"),
        ("X Note", "a"),
        ("X-Note\r\nX-Admin", "1"),
        ("Host", "evil.example"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
        ("Connection", "close"),
    ] {
        let effect = call_with("POST", &sink.url("/"), |request| {
            request.headers = vec![pair(name, given)];
        });
        let (attempt, problem) = world.error(&effect).await;
        assert!(problem.is(Kind::Configuration), "{name}: {problem:?}");
        assert_eq!(problem.instance.as_deref(), Some("/do/0/call"));
        assert_eq!(attempt.status, None);
    }
    assert!(sink.seen().is_empty());
}

fn with(sink: &Sink, more: &str) -> String {
    format!("destination: crm\nbaseUrl: {}\n{more}", sink.url("/v2"))
}

#[tokio::test]
async fn a_destination_adds_its_credentials() {
    let sink = Sink::saying(200, "{}").await;
    for (authentication, header, sent) in [
        (
            "{ bearer: { token: { secret: key } } }",
            "authorization",
            "Bearer s3cret-key-of-the-test",
        ),
        (
            "{ basic: { username: ann, password: { secret: login.pass } } }",
            "authorization",
            "Basic YW5uOnBhc3Mtb2YtYW5u",
        ),
        (
            "{ basic: { username: { secret: login.user }, password: { secret: login.pass } } }",
            "authorization",
            "Basic YW5uOnBhc3Mtb2YtYW5u",
        ),
        (
            "{ apiKey: { in: header, name: X-Api-Key, value: { secret: key } } }",
            "x-api-key",
            "s3cret-key-of-the-test",
        ),
    ] {
        let world = World::new(&[with(&sink, &format!("authentication: {authentication}"))]);
        world.output(&get("destination://crm/orders")).await;
        let seen = sink.seen().pop().unwrap();
        assert_eq!(seen.target, "/v2/orders");
        assert_eq!(seen.header(header).as_deref(), Some(sent));
    }
}

#[tokio::test]
async fn an_api_key_can_travel_in_the_query_and_is_never_shown() {
    let sink = Sink::saying(200, "{}").await;
    let key = "authentication: { apiKey: { in: query, name: api_key, value: { secret: key } } }";
    let world = World::new(&[with(&sink, key)]);
    let effect = call_with("GET", "destination://crm/orders?page=2", |request| {
        request.output = HttpOutput::Response;
    });
    let output = world.output(&effect).await;
    assert_eq!(
        sink.one().target,
        "/v2/orders?page=2&api_key=s3cret-key-of-the-test"
    );
    assert!(!output.contains("s3cret"), "{output}");
}

#[tokio::test]
async fn the_workflow_wins_over_the_destination() {
    let sink = Sink::saying(200, "{}").await;
    let more = "headers: { X-Team: ops, Accept: text/csv }\n\
                authentication: { bearer: { token: { secret: key } } }";
    let world = World::new(&[with(&sink, more)]);
    world.output(&get("destination://crm/a")).await;
    let seen = sink.one();
    assert_eq!(seen.header("x-team").as_deref(), Some("ops"));
    assert_eq!(seen.header("accept").as_deref(), Some("text/csv"));
    let effect = call_with("GET", "destination://crm/a", |request| {
        request.headers = vec![pair("X-Team", "dev")];
        let login = ("bob".to_owned().into(), "pw".to_owned().into());
        request.authentication = Some(Credentials::Basic(login.0, login.1));
    });
    world.output(&effect).await;
    let seen = sink.seen().pop().unwrap();
    assert_eq!(seen.header("x-team").as_deref(), Some("dev"));
    assert_eq!(
        seen.header("authorization").as_deref(),
        Some("Basic Ym9iOnB3")
    );
}

#[tokio::test]
async fn a_missing_secret_is_named_and_nothing_is_sent() {
    let sink = Sink::saying(200, "{}").await;
    let more = "authentication: { bearer: { token: { secret: none } } }";
    let world = World::new(&[with(&sink, more)]);
    let (_, problem) = world.error(&get("destination://crm/a")).await;
    assert!(problem.is(Kind::Authentication));
    assert!(problem.detail.unwrap().contains("secret none"));
    assert!(sink.seen().is_empty());
}

#[tokio::test]
async fn the_idempotency_key_is_the_same_on_every_attempt() {
    let sink = Sink::saying(503, "{}").await;
    let world = World::new(&[with(&sink, "")]);
    let mut effect = call("POST", "destination://crm/orders");
    world.retry(&effect).await;
    effect.attempt = 2;
    world.retry(&effect).await;
    let key = Some(world.identity.idempotency_key.to_string());
    let sent: Vec<_> = sink
        .seen()
        .iter()
        .map(|s| s.header("idempotency-key"))
        .collect();
    assert_eq!(sent, [key.clone(), key]);
}

#[tokio::test]
async fn the_idempotency_key_can_be_named_replaced_or_left_out() {
    let sink = Sink::saying(200, "{}").await;
    let named = World::new(&[with(&sink, "idempotencyKey: X-Request-Id")]);
    named.output(&call("PATCH", "destination://crm/a")).await;
    assert!(sink.seen()[0].header("x-request-id").is_some());
    assert_eq!(sink.seen()[0].header("idempotency-key"), None);
    let off = World::new(&[with(&sink, "idempotencyKey: off")]);
    off.output(&call("POST", "destination://crm/a")).await;
    assert_eq!(sink.seen()[1].header("idempotency-key"), None);
    let own = call_with("POST", &sink.url("/elsewhere"), |request| {
        request.headers = vec![pair("idempotency-key", "mine")];
    });
    off.output(&own).await;
    assert_eq!(
        sink.seen()[2].header("idempotency-key").as_deref(),
        Some("mine")
    );
    for method in ["GET", "HEAD"] {
        named.output(&call(method, "destination://crm/a")).await;
        assert_eq!(sink.seen().pop().unwrap().header("x-request-id"), None);
    }
}
