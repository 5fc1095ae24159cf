//! Receivers that misbehave: none may hold a call, its place, or the memory longer than allowed.

use std::time::Duration;

use hookwright::problem::{Kind, Problem};
use hookwright::run::Attempt;

use super::sink::{Play, Sink, bytes};
use super::world::{World, get};

const PAUSE: Duration = Duration::from_millis(20);

async fn error_of(play: impl Fn() -> Play + Send + Sync + 'static) -> (Attempt, Problem) {
    let sink = Sink::start(move |_, _| play()).await;
    let world = World::new(&[]);
    let effect = get(&sink.url("/"));
    let failed = world.error(&effect).await;
    let in_flight = world.metric(
        "hookwright_calls_in_flight",
        &[("destination", "undeclared")],
    );
    assert_eq!(in_flight, 0.0);
    assert!(world.of(&effect).try_acquire().is_some());
    failed
}

#[tokio::test]
async fn a_drip_ends_at_the_deadline() {
    let head = bytes(200, &[], b"");
    let head = String::from_utf8(head)
        .unwrap()
        .replace("length: 0", "length: 100000");
    let (attempt, problem) =
        error_of(move || Play::Endless(head.clone().into(), b"x".to_vec(), PAUSE)).await;
    assert_eq!((problem.status, attempt.status), (503, Some(200)));
    assert!(attempt.duration_ms < 1_000);
}

#[tokio::test]
async fn a_drip_of_a_header_ends_at_the_deadline() {
    let (attempt, problem) =
        error_of(|| Play::Endless(b"HTTP/1.1 200 OK\r\nx-a: ".to_vec(), b"x".to_vec(), PAUSE))
            .await;
    assert_eq!((problem.status, attempt.status), (503, None));
}

#[tokio::test]
async fn endless_interim_answers_end_at_the_deadline() {
    let (_, problem) = error_of(|| {
        let hint = b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec();
        Play::Endless(hint.clone(), hint, PAUSE)
    })
    .await;
    assert_eq!(problem.status, 503);
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let (attempt, problem) = error_of(|| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let mut chunk = b"10000\r\n".to_vec();
        chunk.extend([b'x'; 0x10000]);
        chunk.extend(b"\r\n");
        Play::Endless(head, chunk, Duration::ZERO)
    })
    .await;
    assert!(problem.is(Kind::Communication));
    assert!(problem.detail.unwrap().contains("call.response_bytes_max"));
    assert_eq!(attempt.status, Some(200));
}

#[tokio::test]
async fn a_large_body_is_refused_by_its_announcement() {
    let (attempt, problem) =
        error_of(|| Play::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec()))
            .await;
    assert!(problem.detail.unwrap().contains("call.response_bytes_max"));
    assert!(attempt.duration_ms < 300, "not waited for");
}

#[tokio::test]
async fn a_small_body_that_expands_ends_at_the_limit() {
    // 64 members of one MiB of zeros each: 64 MiB from 66 KiB.
    let bomb = include_bytes!("../data/zeros.gz").repeat(64);
    let (_, problem) =
        error_of(move || Play::Answer(bytes(200, &[("content-encoding", "gzip")], &bomb))).await;
    assert!(problem.detail.unwrap().contains("call.response_bytes_max"));
}

#[tokio::test]
async fn what_claims_to_be_compressed_and_is_not_is_unusable() {
    let (attempt, problem) = error_of(|| {
        Play::Answer(bytes(
            200,
            &[("content-encoding", "gzip")],
            b"no gzip at all",
        ))
    })
    .await;
    assert!(problem.is(Kind::Communication));
    assert_eq!((problem.status, attempt.status), (500, Some(200)));
}

#[tokio::test]
async fn half_a_body_is_no_body() {
    let (attempt, problem) =
        error_of(|| Play::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"a\":".to_vec()))
            .await;
    assert_eq!((problem.status, attempt.status), (503, Some(200)));
}

#[tokio::test]
async fn closing_without_an_answer_is_a_broken_connection() {
    let (attempt, problem) = error_of(|| Play::Close(Vec::new())).await;
    assert_eq!((problem.status, attempt.status), (503, None));
}

#[tokio::test]
async fn what_is_not_http_is_a_broken_connection() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        let (attempt, problem) = error_of(move || Play::Close(garbage.to_vec())).await;
        assert_eq!((problem.status, attempt.status), (503, None));
    }
}

#[tokio::test]
async fn headers_that_are_no_text_do_no_harm() {
    let sink = Sink::start(|_, _| {
        Play::Answer(
            b"HTTP/1.1 200 OK\r\nx-bin: \xff\xfe\x80\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )
    })
    .await;
    let effect = super::world::call_with("GET", &sink.url("/"), |request| {
        request.output = hookwright::workflow::definition::HttpOutput::Response;
    });
    let output = World::new(&[]).output(&effect).await;
    assert!(output.contains("X-Bin"));
}

#[tokio::test]
async fn the_body_of_an_error_is_not_waited_for() {
    let (attempt, problem) = error_of(|| {
        Play::Hang(b"HTTP/1.1 500 X\r\ncontent-length: 99999999\r\n\r\nbroken because".to_vec())
    })
    .await;
    assert_eq!((problem.status, attempt.status), (500, Some(500)));
    assert_eq!(problem.detail.as_deref(), Some("broken because"));
}

#[tokio::test]
async fn a_dropped_call_gives_its_place_back() {
    let sink = Sink::start(|_, _| Play::Hang(Vec::new())).await;
    let world = World::new(&[]);
    let effect = get(&sink.url("/"));
    let destination = world.of(&effect);
    assert_eq!(destination.concurrency(), 2);
    let calls = async { tokio::join!(world.perform(&effect), world.perform(&effect)) };
    let gone = tokio::time::timeout(Duration::from_millis(100), calls).await;
    assert!(gone.is_err());
    let places = [destination.try_acquire(), destination.try_acquire()];
    assert!(places.iter().all(Option::is_some));
    assert!(destination.try_acquire().is_none());
    drop(places);
    let held = destination.acquire().await;
    let panicked = tokio::spawn(async move {
        let _held = held;
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    let places = [destination.try_acquire(), destination.try_acquire()];
    assert!(places.iter().all(Option::is_some));
}
