//! What is made of an answer: the output of the task, or its error.

use hookwright::problem::Kind;
use hookwright::run::Credentials;
use hookwright::workflow::definition::HttpOutput;
use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::sink::{Play, Sink, answer, bytes, json};
use super::world::{World, call, call_with, get, value};

#[tokio::test]
async fn content_is_represented_by_its_media_type() {
    for (content_type, body, output) in [
        (
            Some("application/json"),
            r#"{"n": 123456789012345678901234567890}"#,
            r#"{"n":123456789012345678901234567890}"#,
        ),
        (
            Some("application/hal+json; charset=utf-8"),
            r#"{"a": 1}"#,
            r#"{"a":1}"#,
        ),
        (Some("Application/JSON"), "\u{feff}[]", "[]"),
        (Some("text/plain; charset=utf-8"), "hello", r#""hello""#),
        (Some("application/soap+xml"), "<a/>", r#""<a/>""#),
        (Some("application/x-www-form-urlencoded"), "a=1", r#""a=1""#),
        (Some("image/png"), "hello", r#""aGVsbG8=""#),
        (None, "hello", r#""aGVsbG8=""#),
        (Some("application/json"), "", "null"),
    ] {
        let sink = Sink::start(move |_, _| {
            let headers: Vec<_> = content_type.iter().map(|t| ("content-type", *t)).collect();
            answer(200, &headers, body)
        })
        .await;
        let world = World::new(&[]);
        assert_eq!(
            world.output(&get(&sink.url("/"))).await,
            output,
            "{content_type:?}"
        );
    }
}

#[tokio::test]
async fn latin_text_is_read_as_it_says() {
    let sink = Sink::start(|_, _| {
        let headers = [("content-type", "text/plain; charset=\"ISO-8859-1\"")];
        Play::Answer(bytes(200, &headers, b"caf\xe9"))
    })
    .await;
    let output = World::new(&[]).output(&get(&sink.url("/"))).await;
    assert_eq!(output, r#""café""#);
}

#[tokio::test]
async fn credentials_in_a_uri_are_refused_and_not_dropped() {
    let sink = Sink::saying(200, "{}").await;
    let url = sink.url("/").replace("//", "//ann:pa55@");
    let (_, problem) = World::new(&[]).error(&get(&url)).await;
    assert!(problem.is(Kind::Configuration));
    let detail = problem.detail.unwrap();
    assert!(detail.contains("authentication") && !detail.contains("pa55"));
    assert!(sink.seen().is_empty());
}

#[tokio::test]
async fn no_content_is_null() {
    let sink = Sink::start(|_, _| Play::Answer(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())).await;
    assert_eq!(World::new(&[]).output(&get(&sink.url("/"))).await, "null");
}

#[tokio::test]
async fn raw_output_is_base64() {
    let sink = Sink::saying(200, r#"{"a":1}"#).await;
    let effect = call_with("GET", &sink.url("/"), |request| {
        request.output = HttpOutput::Raw;
    });
    assert_eq!(World::new(&[]).output(&effect).await, r#""eyJhIjoxfQ==""#);
}

#[tokio::test]
async fn a_whole_response_shows_both_sides_without_credentials() {
    let sink = Sink::start(|_, _| {
        let headers = [
            ("content-type", "application/json"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        answer(201, &headers, r#"{"ok":true}"#)
    })
    .await;
    let effect = call_with("GET", &sink.url("/x"), |request| {
        request.output = HttpOutput::Response;
        request.authentication = Some(Credentials::Bearer("t0ken-of-the-test".to_owned().into()));
    });
    let output = World::new(&[]).output(&effect).await;
    assert!(!output.contains("t0ken"), "{output}");
    let output = value(&output);
    let at = |pointer: &str| super::world::text(&output.pointer(pointer).unwrap());
    assert_eq!(at("/statusCode"), "201");
    assert_eq!(at("/content"), r#"{"ok":true}"#);
    assert_eq!(at("/headers/Content-Type"), r#""application/json""#);
    assert_eq!(at("/headers/X-A"), r#""1, 2""#);
    assert_eq!(at("/request/method"), r#""get""#);
    assert_eq!(at("/request/uri"), format!("\"{}\"", sink.url("/x")));
    assert_eq!(at("/request/headers/Authorization"), r#""***""#);
}

#[tokio::test]
async fn an_error_status_is_a_communication_problem() {
    let sink = Sink::saying(422, r#"{"message":"amount is missing"}"#).await;
    let world = World::new(&[]);
    let effect = call_with("POST", &sink.url("/x"), |request| {
        request.output = HttpOutput::Response;
    });
    let (attempt, problem) = world.error(&effect).await;
    assert!(problem.is(Kind::Communication));
    assert_eq!(problem.status, 422);
    assert_eq!(problem.title.as_deref(), Some("Unprocessable Entity"));
    assert_eq!(
        problem.detail.as_deref(),
        Some(r#"{"message":"amount is missing"}"#)
    );
    assert_eq!(problem.instance.as_deref(), Some("/do/0/call"));
    assert_eq!((attempt.number, attempt.status), (1, Some(422)));
    assert_eq!(attempt.error, Some(problem));
    assert_eq!(ended(&world, "client_error"), 1.0);
}

#[tokio::test]
async fn the_detail_of_a_problem_is_cut_and_holds_no_secret() {
    let sink = Sink::start(|_, _| {
        let body = format!("key s3cret-key-of-the-test is {}", "é".repeat(5_000));
        answer(400, &[("content-type", "text/plain")], &body)
    })
    .await;
    let document = format!(
        "destination: crm\nbaseUrl: {}\n\
         authentication: {{ bearer: {{ token: {{ secret: key }} }} }}",
        sink.url("")
    );
    let world = World::new(&[document]);
    let (_, problem) = world.error(&get("destination://crm/")).await;
    let detail = problem.detail.unwrap();
    assert!(detail.starts_with("key *** is é"), "{}", &detail[..30]);
    assert!(detail.len() <= 4 * 1024);
}

#[tokio::test]
async fn undecodable_json_is_a_communication_problem() {
    for body in [&b"{\"a\":"[..], b"{\"a\":\"\xff\xfe\"}", b"{} {}", b"NaN"] {
        let sink = Sink::start(move |_, _| {
            Play::Answer(bytes(200, &[("content-type", "application/json")], body))
        })
        .await;
        let world = World::new(&[]);
        let (attempt, problem) = world.error(&get(&sink.url("/"))).await;
        assert!(problem.is(Kind::Communication));
        assert_eq!((problem.status, attempt.status), (500, Some(200)));
        assert_eq!(ended(&world, "invalid"), 1.0);
    }
}

#[tokio::test]
async fn a_closed_port_is_a_communication_problem() {
    let sink = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = sink.local_addr().unwrap().port();
    drop(sink);
    let world = World::new(&[]);
    let (attempt, problem) = world
        .error(&get(&format!("http://127.0.0.1:{port}/")))
        .await;
    assert!(problem.is(Kind::Communication));
    assert_eq!((problem.status, attempt.status), (503, None));
    assert_eq!(ended(&world, "connect"), 1.0);
}

#[tokio::test]
async fn failed_tls_is_a_communication_problem() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let plain = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(plain).await.unwrap();
        // Held open until the client has read it.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let world = World::new(&[]);
    let (attempt, problem) = world.error(&get(&url)).await;
    assert!(problem.is(Kind::Communication));
    assert_eq!((problem.status, attempt.status), (503, None));
    assert_eq!(ended(&world, "connect"), 1.0);
}

#[tokio::test]
async fn a_blocked_call_says_nothing_more() {
    let world = World::new(&[]);
    for url in [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/",
        "http://db.svc:5432/",
    ] {
        let (_, problem) = world.error(&get(url)).await;
        assert!(problem.is(Kind::Authorization));
        assert_eq!(problem.status, 403);
        assert_eq!(problem.detail.as_deref(), Some("blocked by egress policy"));
    }
    assert_eq!(ended(&world, "blocked"), 3.0);
}

#[tokio::test]
async fn a_deadline_covers_the_whole_call() {
    let started = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{";
    for play in [&b""[..], &started[..20], started] {
        let sink = Sink::start(move |_, _| Play::Hang(play.to_vec())).await;
        let world = World::new(&[]);
        let (attempt, problem) = world.error(&get(&sink.url("/"))).await;
        assert!(problem.is(Kind::Communication), "{problem:?}");
        assert_eq!(problem.status, 503);
        assert!(
            (400..900).contains(&attempt.duration_ms),
            "{}",
            attempt.duration_ms
        );
        assert_eq!(ended(&world, "timeout"), 1.0);
    }
}

#[tokio::test]
async fn a_deadline_of_the_workflow_is_a_timeout() {
    let sink = Sink::start(|_, _| Play::Hang(Vec::new())).await;
    let mut effect = get(&sink.url("/"));
    effect.deadline = Some(Timestamp::now() + SignedDuration::from_millis(50));
    let world = World::new(&[]);
    let (attempt, problem) = world.error(&effect).await;
    assert!(problem.is(Kind::Timeout));
    assert!(attempt.duration_ms < 350, "{}", attempt.duration_ms);
    effect.deadline = Some(Timestamp::now() - SignedDuration::from_secs(1));
    assert!(world.error(&effect).await.1.is(Kind::Timeout));
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let sink = Sink::start(|_, _| {
        let mut all = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(3);
        all.extend(bytes(200, &[("content-type", "application/json")], b"7"));
        Play::Answer(all)
    })
    .await;
    assert_eq!(World::new(&[]).output(&get(&sink.url("/"))).await, "7");
}

#[tokio::test]
async fn methods_are_sent_as_given() {
    let sink = Sink::start(|seen, _| match seen.method.as_str() {
        "HEAD" => Play::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec()),
        _ => json(200, "1"),
    })
    .await;
    let world = World::new(&[]);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        assert_eq!(world.output(&call(method, &sink.url("/"))).await, "1");
        assert_eq!(sink.seen().pop().unwrap().method, method);
    }
    assert_eq!(world.output(&call("HEAD", &sink.url("/"))).await, "null");
    let (_, problem) = world.error(&call("GET / HTTP/1.1", &sink.url("/"))).await;
    assert!(problem.is(Kind::Configuration));
}

fn ended(world: &World, outcome: &str) -> f64 {
    let labels = [("destination", "undeclared"), ("outcome", outcome)];
    world.metric("hookwright_attempts_total", &labels)
}
