//! The books of the server, while it works: at any moment every event and run is accounted for.

use futures_util::future::join_all;

use crate::world::destination::{Destination, Reply};
use crate::world::sender::shopify;
use crate::world::{World, order};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_at_any_moment() {
    let crm = Destination::start(|_, number| match number % 5 {
        0 => Reply::new(400),
        1 => Reply::new(503),
        _ => Reply::new(201).after(std::time::Duration::from_millis(number as u64 % 7)),
    })
    .await;
    let world = World::start().await;
    world.main_job(&crm).await;
    let client = world.client;
    let send = async |number: u64| {
        // Every eighth comes twice, every ninth is forged.
        let id = format!("l-{}", number - number % 8 / 7);
        let sender = match number % 9 {
            0 => shopify().with_secret("forged"),
            _ => shopify(),
        };
        let answer = client.send(&sender.delivery(&id, order(number))).await;
        assert!(matches!(answer.status, 200 | 401), "{}", answer.status);
    };
    let done = std::cell::Cell::new(false);
    let senders = async {
        for first in (0..400).step_by(20) {
            join_all((first..first + 20).map(send)).await;
        }
        done.set(true);
    };
    let looks = async {
        while !done.get() {
            let shown = client.get("/api/v1/ledger").await.good();
            assert_eq!(shown["balanced"], true, "{shown}");
            let count = |at: &str| shown.pointer(at).unwrap().as_i64().unwrap();
            let open = count("/runs/running") + count("/runs/waiting") + count("/runs/pending");
            let ended = count("/runs/completed") + count("/runs/faulted");
            assert_eq!(count("/runs/created"), open + ended, "{shown}");
            assert_eq!(
                count("/events/stored"),
                count("/events/routed") + count("/events/inbox"),
                "{shown}"
            );
        }
    };
    tokio::join!(senders, looks);
    let books = world.books().await;
    assert!(books.runs.faulted > 0, "{books:?}");
    assert_eq!(
        books.runs.created,
        books.runs.completed + books.runs.faulted
    );
    assert_eq!(books.events.stored, books.runs.created);
    assert!(books.events.duplicates > 0);
    let text = client.get("/metrics").await.text();
    assert!(text.contains(r#"hookwright_deliveries_rejected_total{cause="signature_mismatch""#));
}
