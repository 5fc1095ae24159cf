//! What happens when nodes, connections and answers are lost.

use std::time::Duration;

use hookwright::store::{ClaimIds, Error, Next, SWEEPS_MAX};
use sqlx::{Connection, PgConnection};

use crate::postgres::{config, database};
use crate::store_append::{delivery, link, number};
use crate::store_journey::{assert_balanced, completed, runs, settlement};
use hookwright::store::Store;

#[tokio::test]
async fn claims_of_a_dead_session_go_back_and_its_results_are_fenced() {
    let database = database().await;
    let (mut dead, session) = link(&database, 0).await;
    let runs = runs(&mut dead, session, 2).await;
    let (mut alive, other) = link(&database, 0).await;
    assert_eq!(
        alive.sweep(Duration::from_secs(30)).await.unwrap().returned,
        0
    );
    sqlx::query("update sessions set beat_at = now() - interval '1 minute' where id = $1")
        .bind(session)
        .execute(database.store.pool())
        .await
        .unwrap();
    let swept = alive.sweep(Duration::from_secs(30)).await.unwrap();
    assert_eq!((swept.returned, swept.sessions), (2, 0));
    assert_eq!(
        alive.sweep(Duration::from_secs(30)).await.unwrap().sessions,
        1
    );
    assert!(!dead.beat(session).await.unwrap(), "declared dead");
    assert!(alive.beat(other).await.unwrap());

    let mut claims = ClaimIds::new(other);
    let claimed = alive.claim(other, &mut claims, &[(0, 10)]).await.unwrap();
    assert_eq!(
        claimed
            .iter()
            .map(|claimed| claimed.sweeps)
            .collect::<Vec<_>>(),
        [1, 1]
    );
    let late = [
        settlement(&runs[0], 0, completed()),
        settlement(&runs[1], 0, Next::Keep),
    ];
    assert_eq!(dead.settle(&late).await.unwrap(), [runs[0].id, runs[1].id]);
    assert_eq!(number(&database, "select count(*) from journal").await, 0);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn claims_that_a_dead_node_still_makes_are_swept_too() {
    let database = database().await;
    let (mut zombie, session) = link(&database, 0).await;
    zombie.close_session(session).await.unwrap();
    runs(&mut zombie, session, 1).await;
    assert_eq!(
        zombie
            .sweep(Duration::from_secs(30))
            .await
            .unwrap()
            .returned,
        1
    );
}

#[tokio::test]
async fn a_run_that_ends_every_node_is_faulted() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 1).await;
    link.settle(&[settlement(&runs[0], 0, Next::Keep)])
        .await
        .unwrap();
    for round in 1..=SWEEPS_MAX {
        let swept = link.sweep(Duration::from_secs(0)).await.unwrap();
        assert_eq!(
            swept.poisoned,
            u64::from(round == SWEEPS_MAX),
            "round {round}"
        );
        let mut session = ClaimIds::new(link.open_session("next").await.unwrap());
        let claimed = link
            .claim(session.session, &mut session, &[(0, 1)])
            .await
            .unwrap();
        assert_eq!(claimed.len(), usize::from(round < SWEEPS_MAX));
    }
    let (status, error): (String, Vec<u8>) =
        sqlx::query_as("select status, error from journal where seq = 1")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
    assert_eq!(status, "faulted");
    assert!(
        String::from_utf8(error)
            .unwrap()
            .contains("claimed 5 times without finishing")
    );
    assert_eq!(
        number(&database, "select workflow_id::bigint from faulted").await,
        1
    );
    assert_balanced(&database).await;
}

#[tokio::test]
async fn sweeps_are_forgotten_only_with_progress() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 2).await;
    sqlx::query("update claims set sweeps = 3")
        .execute(database.store.pool())
        .await
        .unwrap();
    let progress = settlement(&runs[0], 0, Next::Ready { destination_id: 1 });
    let mut none = settlement(&runs[1], 0, Next::Ready { destination_id: 2 });
    none.entries = None;
    link.settle(&[progress, none]).await.unwrap();
    let mut claims = ClaimIds::new(session);
    let claimed = link
        .claim(session, &mut claims, &[(1, 1), (2, 1)])
        .await
        .unwrap();
    let mut sweeps: Vec<_> = claimed.iter().map(|claimed| claimed.sweeps).collect();
    sweeps.sort_unstable();
    assert_eq!(sweeps, [0, 3]);
}

#[tokio::test]
async fn an_orderly_end_returns_claims_as_they_were() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    runs(&mut link, session, 2).await;
    link.close_session(session).await.unwrap();
    assert_eq!(
        number(&database, "select count(*) from ready where sweeps = 0").await,
        2
    );
    assert_eq!(number(&database, "select count(*) from claims").await, 0);
    assert!(!link.beat(session).await.unwrap());
}

#[tokio::test]
async fn claims_whose_answer_was_lost_come_back() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 3).await;
    let held = [runs[0].claim_id.unwrap()];
    assert_eq!(
        link.reclaim(session, &held, Duration::from_secs(60))
            .await
            .unwrap(),
        0,
        "young"
    );
    assert_eq!(
        link.reclaim(session, &held, Duration::ZERO).await.unwrap(),
        2
    );
    assert_eq!(number(&database, "select count(*) from claims").await, 1);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn a_statement_past_its_deadline_fails_and_the_link_recovers() {
    let database = database().await;
    let mut config = config();
    config.deadline_ms = 400;
    let store = Store::connect(&database.url, &config).await.unwrap();
    let mut link = store.link("test");
    link.append(&[delivery("d-0")]).await.unwrap();
    let mut blocker = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql("begin; lock table inbox")
        .execute(&mut blocker)
        .await
        .unwrap();
    let event = delivery("d-1");
    let outcome = link.append(std::slice::from_ref(&event)).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    sqlx::raw_sql("rollback")
        .execute(&mut blocker)
        .await
        .unwrap();
    assert_eq!(
        link.append(&[event]).await.unwrap(),
        [None],
        "the server had rolled it back"
    );
}

#[tokio::test]
async fn a_dropped_statement_leaves_no_connection_that_swallows_writes() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    for n in 0..30_u64 {
        let event = delivery(&format!("dropped-{n}"));
        let append = link.append(std::slice::from_ref(&event));
        let _ = tokio::time::timeout(Duration::from_micros(n * 100), append).await;
    }
    let event = delivery("last");
    assert_eq!(
        link.append(std::slice::from_ref(&event)).await.unwrap(),
        [None]
    );
    let stored: bool = sqlx::query_scalar("select exists (select from events where id = $1)")
        .bind(event.event.id.uuid())
        .fetch_one(database.store.pool())
        .await
        .unwrap();
    assert!(stored);
}

#[tokio::test]
async fn a_terminated_connection_is_replaced() {
    let database = database().await;
    let (mut link, _) = link(&database, 0).await;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = 'hookwright test' and datname = current_database()",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    assert!(matches!(
        link.append(&[delivery("a")]).await,
        Err(Error::Unavailable(_))
    ));
    assert_eq!(link.append(&[delivery("b")]).await.unwrap(), [None]);
}
