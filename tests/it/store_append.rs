//! T1: what is stored, what is a duplicate, and what the ledger says about it.

use std::time::Duration;

use bytes::Bytes;
use hookwright::event::{DedupeKey, Event};
use hookwright::id::Id;
use hookwright::store::{Error, Link, NewEvent, Target, plans};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::postgres::{Database, database};

/// An event of the shop; `delivery` is the sender's id.
pub fn delivery(delivery: &str) -> NewEvent {
    NewEvent {
        event: Event {
            id: Id::generate(),
            event_id: delivery.to_owned(),
            source: "/hooks/shop".to_owned(),
            kind: "shop.order".to_owned(),
            attributes: [("subject".to_owned(), "o-1".to_owned())].into(),
            content_type: Some("application/json".to_owned()),
            headers: vec![("x-id".to_owned(), delivery.to_owned())],
            body: Bytes::from_static(b"{\"a\": 1e400, \"a\": 2}\0\xff"),
        },
        key: DedupeKey::new("shop", delivery),
        window_days: 7,
        target: None,
    }
}

/// A link that counts in a lane of its own.
pub async fn link(database: &Database, lane: i16) -> (Link, i64) {
    let mut link = database.store.link("test");
    let session = link.open_session("node").await.unwrap();
    link.open_lane(session, lane).await.unwrap();
    (link, session)
}

/// A number that one SQL query gives.
pub async fn number(database: &Database, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(database.store.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_stored() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    let mut given = delivery("d-1");
    let run_id = Id::generate();
    given.target = Some(Target::Start {
        workflow_id: 7,
        run_id,
    });
    assert_eq!(
        link.append(std::slice::from_ref(&given)).await.unwrap(),
        [None]
    );
    let inbox = link.unrouted(Duration::ZERO, 10).await.unwrap();
    assert_eq!(inbox.len(), 1);
    assert_eq!(inbox[0].event, given.event);
    assert_eq!(inbox[0].target, given.target);
    assert!(
        link.unrouted(Duration::from_secs(60), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn duplicates_are_answered_with_the_stored_event() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    let (first, again, other) = (delivery("d-1"), delivery("d-1"), delivery("d-2"));
    let id = first.event.id;
    let outcome = link.append(&[first, again.clone(), other]).await.unwrap();
    assert_eq!(outcome, [None, Some(id), None], "within a batch");
    assert_eq!(
        link.append(&[again]).await.unwrap(),
        [Some(id)],
        "in a later batch"
    );
    assert_eq!(number(&database, "select count(*) from events").await, 2);
    assert_eq!(number(&database, "select count(*) from inbox").await, 2);
    assert_eq!(number(&database, "select stored from ledger").await, 2);
    assert_eq!(number(&database, "select duplicates from ledger").await, 2);
}

#[tokio::test]
async fn appending_again_after_a_lost_answer_is_safe() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    let event = delivery("d-1");
    link.append(std::slice::from_ref(&event)).await.unwrap();
    let id = event.event.id;
    assert_eq!(link.append(&[event]).await.unwrap(), [Some(id)]);
}

#[tokio::test]
async fn the_window_says_how_far_back_a_duplicate_is_found() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    let earlier = Id::generate();
    sqlx::query("insert into dedupe values ($1, current_date - 3, $2)")
        .bind(DedupeKey::new("shop", "old").0)
        .bind(earlier.uuid())
        .execute(database.store.pool())
        .await
        .unwrap();
    let mut event = delivery("old");
    assert_eq!(
        link.append(std::slice::from_ref(&event)).await.unwrap(),
        [Some(earlier)]
    );
    event.window_days = 2;
    assert_eq!(link.append(&[event]).await.unwrap(), [None]);
}

#[tokio::test]
async fn text_that_postgres_refuses_does_not_refuse_its_batch() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    let mut poison = delivery("d-\0");
    poison.event.kind = "a\0b".to_owned();
    poison.event.source = "\0".to_owned();
    poison.event.content_type = Some("\0".to_owned());
    poison.event.headers = vec![("a".to_owned(), "\0".to_owned())];
    poison.event.attributes = [("\0".to_owned(), "\0".to_owned())].into();
    poison.event.body = Bytes::from(vec![0; 100_000]);
    assert_eq!(
        link.append(&[delivery("d-1"), poison]).await.unwrap(),
        [None, None]
    );
    let inbox = link.unrouted(Duration::ZERO, 10).await.unwrap();
    assert_eq!(inbox[0].event.kind, "a\u{fffd}b");
    assert_eq!(inbox[0].event.body.len(), 100_000);
    assert_eq!(inbox[0].event.headers[0].1, "\0");
}

/// Appends 20 batches of 16 events, in an order of its own, and says who owns each key.
async fn append_all(link: &mut Link, lane: i16) -> Vec<(String, Id, bool)> {
    let mut answers = Vec::new();
    for round in 0..20 {
        let names = (0..16).map(|n| format!("{round}-{}", (n * 7 + lane) % 16));
        let batch: Vec<_> = names.map(|name| delivery(&name)).collect();
        let owners = link.append(&batch).await.unwrap();
        for (new, owner) in batch.into_iter().zip(owners) {
            answers.push((
                new.event.event_id,
                owner.unwrap_or(new.event.id),
                owner.is_none(),
            ));
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_one_stores_and_the_others_learn_its_id() {
    let database = database().await;
    let mut tasks = Vec::new();
    for lane in 0..4 {
        let (mut link, _) = link(&database, lane).await;
        tasks.push(tokio::spawn(
            async move { append_all(&mut link, lane).await },
        ));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await.unwrap());
    }
    answers.sort();
    for same in answers.chunk_by(|one, two| one.0 == two.0) {
        assert_eq!(same.len(), 4);
        assert_eq!(same.iter().filter(|answer| answer.2).count(), 1, "{same:?}");
        assert!(same.iter().all(|answer| answer.1 == same[0].1), "{same:?}");
    }
    assert_eq!(number(&database, "select count(*) from events").await, 320);
    assert_eq!(
        number(&database, "select sum(stored)::bigint from ledger").await,
        320
    );
    assert_eq!(
        number(&database, "select sum(duplicates)::bigint from ledger").await,
        960
    );
}

#[tokio::test]
async fn oversized_batches_are_refused() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    let batch: Vec<_> = (0..1_025).map(|n| delivery(&n.to_string())).collect();
    assert!(matches!(link.append(&batch).await, Err(Error::Unfit(_))));
    assert!(link.append(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn deliveries_on_both_sides_of_midnight_see_each_other() {
    let database = database().await;
    let (_, sql) = plans::STATEMENTS[0];
    assert!(sql.contains("localtime"));
    let at_midnight = sql.replace("localtime", "time '00:00:30'");
    let key = DedupeKey::new("shop", "late");
    // Before midnight, on its way into the partition of the old day ...
    let mut before = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("begin").execute(&mut before).await.unwrap();
    sqlx::query("insert into dedupe values ($1, current_date - 1, gen_random_uuid())")
        .bind(key.0)
        .execute(&mut before)
        .await
        .unwrap();
    // ... and just after it, waiting for the other.
    let mut after = PgConnection::connect(&database.url).await.unwrap();
    let prepare = format!("prepare late as {at_midnight}");
    sqlx::raw_sql(AssertSqlSafe(prepare))
        .execute(&mut after)
        .await
        .unwrap();
    let call = format!(
        "execute late ('{{\\\\x{}}}', '{{{}}}', '{{7}}', '{{s}}', '{{d}}', '{{t}}', '{{t}}', \
         '{{a}}', '{{a}}', '{{a}}', '{{null}}', '{{null}}', 0, 0, 1)",
        hex::encode(key.0),
        Id::generate(),
    );
    let late = tokio::spawn(async move {
        let row = sqlx::raw_sql(AssertSqlSafe(call))
            .fetch_one(&mut after)
            .await
            .unwrap();
        let stored: bool = row.get(2);
        stored
    });
    let waits = "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'";
    while number(&database, waits).await == 0 {}
    sqlx::raw_sql("commit").execute(&mut before).await.unwrap();
    assert!(!late.await.unwrap(), "a duplicate");
    assert_eq!(number(&database, "select count(*) from events").await, 0);
    assert_eq!(
        number(&database, "select count(*) from dedupe").await,
        1,
        "no trace of the second"
    );
}
