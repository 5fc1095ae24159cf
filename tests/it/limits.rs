//! Limits of the door: sizes, deadlines and numbers of connections, to the byte.

use std::time::Duration;

use tokio::time::Instant;

use crate::world::sender::shopify;
use crate::world::wire::Line;
use crate::world::{Change, Request, World};

/// A source that stores whatever comes.
async fn world(changes: &[Change<'_>]) -> World {
    let world = World::with(changes).await;
    let source = "{source: any, verify: none}";
    world.client.put("/api/v1/sources/any", source).await.good();
    world
}

fn any(body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", "/hooks/any", body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_be_as_large_as_the_limit_and_not_a_byte_larger() {
    let world = world(&[("webhook.body_bytes_max", 2_000.into())]).await;
    for (length, status) in [(1_999, 200), (2_000, 200), (2_001, 413), (50_000, 413)] {
        let answer = world.client.send(&any(vec![b'x'; length])).await;
        assert_eq!(answer.status, status, "{length} bytes: {}", answer.text());
    }
    let mut line = Line::open(world.client.address).await.unwrap();
    let head = "POST /hooks/any HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    line.write(head.as_bytes()).await.unwrap();
    line.write(format!("bb8\r\n{}\r\n0\r\n\r\n", "x".repeat(3_000)).as_bytes())
        .await
        .unwrap();
    assert_eq!(
        line.read().await.unwrap().status,
        413,
        "without a length as well"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_is_cut_off_and_others_are_served() {
    let world = world(&[("http.header_timeout_ms", 1_000.into())]).await;
    let mut slow = Line::open(world.client.address).await.unwrap();
    let begun = Instant::now();
    let mut silent = Line::open(world.client.address).await.unwrap();
    slow.write(b"POST /hooks/any HTTP/1.1\r\nhost: loc")
        .await
        .unwrap();
    let served = world.client.send(&any("{}")).await;
    assert_eq!(served.status, 200);
    assert!(
        slow.closes_within(Duration::from_secs(6)).await,
        "a head that never ends"
    );
    assert!(
        silent.closes_within(Duration::from_secs(6)).await,
        "a head that never begins"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(7),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_body_is_answered_and_cut_off() {
    let world = world(&[("webhook.body_timeout_ms", 500.into())]).await;
    let mut slow = Line::open(world.client.address).await.unwrap();
    let request = any(vec![b'x'; 100]);
    slow.write(&request.head()).await.unwrap();
    slow.write(b"xxx").await.unwrap();
    let answer = slow.read().await.unwrap();
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(slow.closes_within(Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_closed_at_once() {
    let world = world(&[("http.connections_per_address_max", 4.into())]).await;
    let mut lines = Vec::new();
    for number in 0..4 {
        let mut line = Line::open(world.client.address).await.unwrap();
        line.write(&any(format!("{number}")).bytes()).await.unwrap();
        assert_eq!(line.read().await.unwrap().status, 200);
        lines.push(line);
    }
    let mut fifth = Line::open(world.client.address).await.unwrap();
    assert!(fifth.closes_within(Duration::from_secs(5)).await);
    drop(lines);
    crate::world::until("places are free again", async || {
        let answer = world.client.try_send(&any("after")).await;
        answer
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    })
    .await;
    assert!(
        world
            .client
            .metric("hookwright_connections_refused_total")
            .await
            >= 1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_be_read_two_ways_is_refused() {
    let world = world(&[]).await;
    let requests = [
        "POST /hooks/any HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
        "POST /hooks/any HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
        "POST /hooks/any HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /hooks/any HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        "POST /hooks/any HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST /hooks/any HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
    ];
    for request in requests {
        let mut line = Line::open(world.client.address).await.unwrap();
        line.write(request.as_bytes()).await.unwrap();
        let status = line.read().await.map(|answer| answer.status);
        assert!(matches!(status, Ok(400 | 501)), "{status:?}: {request:?}");
        assert!(
            line.closes_within(Duration::from_secs(5)).await,
            "closed: {request:?}"
        );
    }
    assert_eq!(world.books().await.events.stored, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_and_too_large_headers_are_refused() {
    let world = world(&[]).await;
    let mut many = any("{}");
    for number in 0..120 {
        many = many.header(&format!("x-{number}"), "1");
    }
    assert_eq!(world.client.send(&many).await.status, 431);
    let large = any("{}").header("x-large", &"x".repeat(80_000));
    // The refusal may overtake what is still being written.
    let status = world
        .client
        .try_send(&large)
        .await
        .map(|answer| answer.status);
    assert!(matches!(status, Ok(431) | Err(_)), "{status:?}");
    assert_eq!(
        world.client.send(&any("{}")).await.status,
        200,
        "others are served"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_the_api_are_limited_too() {
    let world = world(&[("api.body_bytes_max", 3_000.into())]).await;
    let answer = world
        .client
        .post("/api/v1/workflows", vec![b' '; 3_001])
        .await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let unsigned = shopify().delivery("l-1", "{}");
    assert_eq!(
        world.client.send(&unsigned).await.status,
        401,
        "no such source here"
    );
}
