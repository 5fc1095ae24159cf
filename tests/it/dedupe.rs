//! The same delivery again: answered as the first, run once.

use futures_util::future::join_all;

use crate::world::destination::Destination;
use crate::world::sender::shopify;
use crate::world::{World, order};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_comes_again_runs_once() {
    let crm = Destination::answering(&[201]).await;
    let mut world = World::start().await;
    world.main_job(&crm).await;
    let delivery = shopify().delivery("d-1", order(1));
    let first = world.client.send(&delivery).await.good();
    let event = first["id"].as_str().unwrap().to_owned();
    world.ended(&event).await;

    let again = world.client.send(&delivery).await.good();
    assert_eq!(again, first, "the sender gets the same answer");
    let other_body = shopify().delivery("d-1", order(2));
    let other = world.client.send(&other_body).await.good();
    assert_eq!(other, first, "the id decides, not the body");
    let path = format!("/api/v1/events/{event}/body");
    assert_eq!(
        world.client.get(&path).await.text(),
        order(1),
        "the first is kept"
    );

    world.restart().await;
    let after = world.client.send(&delivery).await.good();
    assert_eq!(after, first, "a restart forgets nothing");

    let books = world.books().await;
    assert_eq!((books.events.stored, books.events.duplicates), (1, 3));
    assert_eq!(books.runs.created, 1);
    assert_eq!(crm.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_delivery_many_times_at_once_is_one_event() {
    let crm = Destination::answering(&[201]).await;
    let world = World::start().await;
    world.main_job(&crm).await;
    let delivery = shopify().delivery("d-2", order(2));
    let answers = join_all((0..40).map(|_| world.client.send(&delivery))).await;
    let first = answers[0].good();
    for answer in &answers {
        assert_eq!(answer.good(), first);
    }
    world.ended(first["id"].as_str().unwrap()).await;
    let books = world.books().await;
    assert_eq!((books.events.stored, books.events.duplicates), (1, 39));
    assert_eq!(books.runs.created, 1);
    assert_eq!(crm.count(), 1);
}
