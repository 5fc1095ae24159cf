//! T2 and T3: from the inbox to the end of a run, and the races on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use hookwright::id::Id;
use hookwright::store::{ClaimIds, Link, NewRun, Next, Routing, Settlement};
use jiff::Timestamp;

use crate::postgres::{Database, database};
use crate::store_append::{delivery, link, number};

/// Stores `count` events and creates a run of workflow 1 for each, claimed with ids from 1.
pub async fn runs(link: &mut Link, session: i64, count: usize) -> Vec<NewRun> {
    let events: Vec<_> = (0..count)
        .map(|n| delivery(&format!("{session}-{n}")))
        .collect();
    link.append(&events).await.unwrap();
    let mut batch = Routing {
        session,
        ..Routing::default()
    };
    for (claim_id, event) in (1..).zip(&events) {
        batch.events.push(event.event.id);
        batch.runs.push(NewRun {
            id: Id::generate(),
            event_id: event.event.id,
            workflow_id: 1,
            claim_id: Some(claim_id),
        });
    }
    assert!(link.route(&batch).await.unwrap().elsewhere.is_empty());
    batch.runs
}

/// A settlement of a run with its first claim.
pub fn settlement(run: &NewRun, seq: i32, next: Next) -> Settlement {
    Settlement {
        run_id: run.id,
        workflow_id: run.workflow_id,
        claim_id: run.claim_id.unwrap(),
        seq,
        entries: Some(Bytes::from(format!("[{seq}]"))),
        next,
        exchange: None,
    }
}

/// How a run ends well.
pub fn completed() -> Next {
    Next::Ended {
        status: "completed",
        output: Some(Bytes::from_static(b"{}")),
        error: None,
    }
}

/// The balance of the ledger against the tables.
pub async fn assert_balanced(database: &Database) {
    let off = number(
        database,
        "select sum(stored - routed)::bigint - (select count(*) from inbox) from ledger",
    )
    .await;
    assert_eq!(off, 0, "stored = routed + inbox");
    let off = number(
        database,
        "select sum(runs - completed - faulted - cancelled)::bigint
              - (select count(*) from claims) - (select count(*) from timers)
              - (select count(*) from ready) from ledger",
    )
    .await;
    assert_eq!(off, 0, "runs = ended + open");
}

#[tokio::test]
async fn routing_creates_claimed_and_ready_runs_and_says_what_is_ignored() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let events: Vec<_> = (0..3).map(|n| delivery(&n.to_string())).collect();
    link.append(&events).await.unwrap();
    let ids: Vec<Id> = events.iter().map(|event| event.event.id).collect();
    let run = |event_id, claim_id| NewRun {
        id: Id::generate(),
        event_id,
        workflow_id: 1,
        claim_id,
    };
    let batch = Routing {
        session,
        events: ids.clone(),
        runs: vec![run(ids[0], Some(1)), run(ids[0], None), run(ids[1], None)],
        ignored: vec![(ids[2], "no workflow listens\0".to_owned())],
        ..Routing::default()
    };
    assert!(link.route(&batch).await.unwrap().elsewhere.is_empty());
    assert_eq!(number(&database, "select count(*) from runs").await, 3);
    assert_eq!(number(&database, "select count(*) from claims").await, 1);
    assert_eq!(number(&database, "select count(*) from ready").await, 2);
    assert_eq!(number(&database, "select count(*) from ignored").await, 1);
    assert_eq!(
        link.route(&batch).await.unwrap().elsewhere,
        ids,
        "all had been routed"
    );
    assert_eq!(number(&database, "select count(*) from runs").await, 3);
    assert_balanced(&database).await;

    let queues = link.ready_queues().await.unwrap();
    assert_eq!(
        queues
            .iter()
            .map(|queue| queue.destination_id)
            .collect::<Vec<_>>(),
        [0]
    );
    let mut claims = ClaimIds::new(session);
    let claimed = link
        .claim(session, &mut claims, &[(0, 1), (5, 1)])
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1, "no more than the limit of the queue");
    assert_eq!(claimed[0].claim_id, session << 40);
    assert_eq!(claimed[0].sweeps, 0);
    let rest = link.claim(session, &mut claims, &[(0, 9)]).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_ne!(rest[0].claim_id, claimed[0].claim_id);
}

/// Routes events in batches of 30; returns how many of them were this router's.
async fn route_all(link: &mut Link, session: i64, ids: &[Id]) -> usize {
    let mut created = 0;
    for ids in ids.chunks(30) {
        let run = |id: &Id| NewRun {
            id: Id::generate(),
            event_id: *id,
            workflow_id: 1,
            claim_id: None,
        };
        let runs = ids.iter().map(run).collect();
        let batch = Routing {
            session,
            events: ids.to_vec(),
            runs,
            ..Routing::default()
        };
        created += ids.len() - link.route(&batch).await.unwrap().elsewhere.len();
    }
    created
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_routers_of_the_same_events_create_each_run_once() {
    let database = database().await;
    let (mut writer, _) = link(&database, 0).await;
    let events: Vec<_> = (0..600).map(|n| delivery(&n.to_string())).collect();
    writer.append(&events).await.unwrap();
    let mut tasks = Vec::new();
    for lane in 0..4_u16 {
        let (mut link, session) = link(&database, i16::try_from(lane).unwrap()).await;
        let mut ids: Vec<Id> = events.iter().map(|event| event.event.id).collect();
        ids.rotate_left(usize::from(lane) * 10);
        tasks.push(tokio::spawn(async move {
            route_all(&mut link, session, &ids).await
        }));
    }
    let mut created = 0;
    for task in tasks {
        created += task.await.unwrap();
    }
    assert_eq!(created, 600);
    assert_eq!(
        number(&database, "select count(distinct event_id) from runs").await,
        600
    );
    assert_eq!(number(&database, "select count(*) from runs").await, 600);
    assert_balanced(&database).await;
}

/// Claims until nothing is ready.
async fn claim_all(link: &mut Link, session: i64) -> Vec<Id> {
    let mut claims = ClaimIds::new(session);
    let mut mine = Vec::new();
    while !link.ready_queues().await.unwrap().is_empty() {
        let queues = [(0, 7), (1, 7), (2, 7)];
        mine.extend(link.claim(session, &mut claims, &queues).await.unwrap());
    }
    mine.into_iter().map(|claimed| claimed.run_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_claimers_never_get_the_same_run() {
    let database = database().await;
    sqlx::query(
        "insert into ready (destination_id, run_id)
                 select n % 3, gen_random_uuid() from generate_series(1, 600) n",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    let mut tasks = Vec::new();
    for lane in 0..4 {
        let (mut link, session) = link(&database, lane).await;
        tasks.push(tokio::spawn(
            async move { claim_all(&mut link, session).await },
        ));
    }
    let mut claimed = Vec::new();
    for task in tasks {
        claimed.extend(task.await.unwrap());
    }
    assert_eq!(claimed.len(), 600);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 600);
    assert_eq!(
        number(&database, "select count(distinct claim_id) from claims").await,
        600
    );
}

#[tokio::test]
async fn settling_keeps_waits_requeues_and_ends() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 5).await;
    let faulted = Next::Ended {
        status: "faulted",
        output: None,
        error: Some(Bytes::from_static(b"{\"status\": 500}")),
    };
    let due_at = Timestamp::now() - Duration::from_secs(1);
    let batch = [
        settlement(&runs[0], 0, Next::Keep),
        settlement(&runs[1], 0, Next::Wait { due_at }),
        settlement(&runs[2], 0, Next::Ready { destination_id: 4 }),
        settlement(&runs[3], 0, completed()),
        settlement(&runs[4], 0, faulted),
    ];
    assert!(link.settle(&batch).await.unwrap().is_empty());
    assert_balanced(&database).await;
    assert_eq!(number(&database, "select count(*) from claims").await, 1);
    assert_eq!(number(&database, "select count(*) from faulted").await, 1);
    assert_eq!(
        number(
            &database,
            "select count(*) from journal where status is not null"
        )
        .await,
        2
    );
    assert_eq!(
        number(&database, "select destination_id::bigint from ready").await,
        4
    );

    let fired = link.fire(100).await.unwrap();
    assert_eq!((fired.moved, fired.next_in), (1, None));
    assert_eq!(number(&database, "select count(*) from ready").await, 2);

    let ids: Vec<Id> = runs
        .iter()
        .map(|run| run.id)
        .chain([Id::generate()])
        .collect();
    let loaded = link.load(&ids).await.unwrap();
    assert_eq!(loaded.len(), 5, "a run that does not exist is missing");
    let kept = loaded
        .iter()
        .find(|loaded| loaded.run_id == runs[0].id)
        .unwrap();
    assert_eq!(kept.event.id, runs[0].event_id);
    assert_eq!(kept.journal, [Bytes::from_static(b"[0]")]);
    assert_eq!(
        u64::try_from(kept.created_at.as_millisecond()).unwrap(),
        runs[0].id.made_at_ms()
    );

    link.settle(&[settlement(&runs[0], 1, Next::Keep)])
        .await
        .unwrap();
    let mut last = settlement(&runs[0], 2, completed());
    last.entries = None;
    assert!(link.settle(&[last]).await.unwrap().is_empty());
    let loaded = link.load(&ids[..1]).await.unwrap();
    assert_eq!(
        loaded[0].journal,
        [&b"[0]"[..], b"[1]"],
        "in order, without the closing row"
    );
}

#[tokio::test]
async fn a_timer_says_when_it_is_due() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 3).await;
    let later = Timestamp::now() + Duration::from_secs(3_600);
    let past = Timestamp::now() - Duration::from_secs(1);
    let batch = [
        settlement(&runs[0], 0, Next::Wait { due_at: later }),
        settlement(&runs[1], 0, Next::Wait { due_at: past }),
        settlement(&runs[2], 0, Next::Wait { due_at: past }),
    ];
    link.settle(&batch).await.unwrap();
    let fired = link.fire(1).await.unwrap();
    assert_eq!((fired.moved, fired.next_in), (1, Some(Duration::ZERO)));
    let fired = link.fire(10).await.unwrap();
    assert_eq!(fired.moved, 1);
    let next_in = fired.next_in.unwrap();
    assert!(next_in > Duration::from_secs(3_500) && next_in <= Duration::from_secs(3_600));
}

#[tokio::test]
async fn a_settlement_whose_claim_is_lost_writes_nothing() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 2).await;
    let mut zombie = settlement(&runs[0], 0, completed());
    zombie.claim_id = 99;
    let mut zombie_keep = settlement(&runs[0], 0, Next::Keep);
    zombie_keep.claim_id = 99;
    let honest = settlement(&runs[1], 0, completed());
    assert_eq!(link.settle(&[zombie, honest]).await.unwrap(), [runs[0].id]);
    assert_eq!(link.settle(&[zombie_keep]).await.unwrap(), [runs[0].id]);
    assert_eq!(number(&database, "select count(*) from journal").await, 1);
    assert_eq!(number(&database, "select count(*) from claims").await, 1);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn settling_again_after_a_lost_answer_is_safe() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 1).await;
    let keep = [settlement(&runs[0], 0, Next::Keep)];
    assert!(link.settle(&keep).await.unwrap().is_empty());
    assert!(link.settle(&keep).await.unwrap().is_empty());
    let end = [settlement(&runs[0], 1, completed())];
    assert!(link.settle(&end).await.unwrap().is_empty());
    assert_eq!(link.settle(&end).await.unwrap(), [runs[0].id]);
    assert_eq!(number(&database, "select count(*) from journal").await, 2);
    assert_eq!(number(&database, "select completed from ledger").await, 1);
}
