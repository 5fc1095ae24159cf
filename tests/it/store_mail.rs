//! What runs exchange: events they publish, mail they get, what they listen for, and the races.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use hookwright::id::Id;
use hookwright::store::{
    Exchange, Filter, Letter, Link, MailKind, NewEvent, NewMail, NewRun, Next, Routing, Settlement,
    Target,
};
use jiff::Timestamp;

use crate::postgres::database;
use crate::store_append::{delivery, link, number};
use crate::store_journey::{assert_balanced, completed, runs, settlement};

fn with(mut settlement: Settlement, exchange: Exchange) -> Settlement {
    settlement.exchange = Some(Box::new(exchange));
    settlement
}

fn far() -> Next {
    let due_at = Timestamp::now() + Duration::from_secs(3_600);
    Next::Wait { due_at }
}

fn publishing(events: &[NewEvent]) -> Exchange {
    Exchange {
        events: events.to_vec(),
        ..Exchange::default()
    }
}

fn listening(keys: &[Id]) -> Exchange {
    Exchange {
        listens: keys.to_vec(),
        ..Exchange::default()
    }
}

fn letter(to: &NewRun, id: Id) -> NewMail {
    NewMail {
        run_id: to.id,
        id,
        kind: MailKind::Command,
        content: Some(Bytes::from_static(b"{}")),
    }
}

/// Appends an event and routes it to those who may listen with this key.
async fn tell(link: &mut Link, event: &NewEvent, key: Id) -> Vec<Id> {
    link.append(std::slice::from_ref(event)).await.unwrap();
    let listening = link.listened().await.unwrap().revision;
    let id = event.event.id;
    let batch = Routing {
        events: vec![id],
        ignored: vec![(id, "nobody listens".to_owned())],
        heard: vec![(id, key), (id, key)],
        listening,
        ..Routing::default()
    };
    link.route(&batch).await.unwrap().told
}

#[tokio::test]
async fn a_settlement_publishes_its_events_once_and_only_while_it_holds_the_claim() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 2).await;
    let events = [delivery("of-a-run"), delivery("another")];
    let publish = || with(settlement(&runs[0], 0, Next::Keep), publishing(&events));
    assert!(link.settle(&[publish()]).await.unwrap().is_empty());
    // The answer was lost on the way: the same is settled again.
    assert!(link.settle(&[publish()]).await.unwrap().is_empty());
    assert_eq!(number(&database, "select count(*) from events").await, 4);
    assert_eq!(number(&database, "select stored from ledger").await, 4);
    assert_eq!(number(&database, "select duplicates from ledger").await, 2);
    let inbox = link.unrouted(Duration::ZERO, 10).await.unwrap();
    let ids: BTreeSet<Id> = inbox.iter().map(|row| row.event.id).collect();
    assert_eq!(ids, events.iter().map(|event| event.event.id).collect());
    let published = inbox.iter().find(|row| row.event.id == events[0].event.id);
    assert_eq!(published.unwrap().event.body, events[0].event.body);

    let mut lost = with(
        settlement(&runs[1], 0, completed()),
        publishing(&[delivery("late")]),
    );
    lost.claim_id = 99;
    lost.exchange.as_mut().unwrap().mail = vec![letter(&runs[0], Id::generate())];
    assert_eq!(link.settle(&[lost]).await.unwrap(), [runs[1].id]);
    assert_eq!(number(&database, "select count(*) from events").await, 4);
    assert_eq!(number(&database, "select count(*) from mail").await, 0);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn a_published_event_can_start_a_run() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 1).await;
    let mut event = delivery("start");
    let target = Some(Target::Start {
        workflow_id: 3,
        run_id: Id::generate(),
    });
    event.target.clone_from(&target);
    let ends = with(settlement(&runs[0], 0, completed()), publishing(&[event]));
    assert!(link.settle(&[ends]).await.unwrap().is_empty());
    let inbox = link.unrouted(Duration::ZERO, 10).await.unwrap();
    assert_eq!(inbox[0].target, target);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn mail_is_kept_until_the_settlement_that_took_it() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 2).await;
    let (first, second) = (Id::generate(), Id::generate());
    let send = Exchange {
        mail: vec![letter(&runs[1], second), letter(&runs[1], first)],
        ..Exchange::default()
    };
    let sends = with(settlement(&runs[0], 0, Next::Keep), send);
    assert!(link.settle(&[sends]).await.unwrap().is_empty());
    for _ in 0..2 {
        let loaded = link.load(&[runs[1].id]).await.unwrap().remove(0);
        let ids: Vec<Id> = loaded.mail.iter().map(|mail| mail.id).collect();
        assert_eq!(ids, [first, second], "oldest first, until it is taken");
        assert_eq!(loaded.mail[0].letter, Letter::Command(Bytes::from("{}")));
    }
    let took = || Exchange {
        taken: vec![first],
        ..Exchange::default()
    };
    let mut fenced = with(settlement(&runs[1], 0, far()), took());
    fenced.claim_id = 99;
    assert_eq!(link.settle(&[fenced]).await.unwrap(), [runs[1].id]);
    assert_eq!(number(&database, "select count(*) from mail").await, 2);
    let taken = with(settlement(&runs[1], 0, Next::Keep), took());
    assert!(link.settle(&[taken]).await.unwrap().is_empty());
    let mail = link.mail(&[runs[0].id, runs[1].id]).await.unwrap();
    assert_eq!(mail[&runs[1].id][0].id, second);
    let ended = with(settlement(&runs[1], 1, completed()), Exchange::default());
    assert!(link.settle(&[ended]).await.unwrap().is_empty());
    assert_eq!(number(&database, "select count(*) from mail").await, 0);
    let late = letter(&runs[1], Id::generate());
    assert!(!database.store.send(&late).await.unwrap(), "it has ended");
    let unknown = NewMail {
        run_id: Id::generate(),
        ..letter(&runs[0], Id::generate())
    };
    assert!(!database.store.send(&unknown).await.unwrap());
}

#[tokio::test]
async fn an_event_reaches_those_who_listen_and_wakes_them() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 3).await;
    let (key, other) = (Id::generate(), Id::generate());
    let batch = [
        with(settlement(&runs[0], 0, far()), listening(&[key, other])),
        with(settlement(&runs[1], 0, far()), listening(&[other])),
        with(settlement(&runs[2], 0, Next::Keep), listening(&[key])),
    ];
    assert!(link.settle(&batch).await.unwrap().is_empty());
    let event = delivery("heard");
    let mut told = tell(&mut link, &event, key).await;
    told.sort_unstable();
    let mut expected = vec![runs[0].id, runs[2].id];
    expected.sort_unstable();
    assert_eq!(told, expected, "each once");
    assert_eq!(number(&database, "select count(*) from ignored").await, 0);
    assert_eq!(link.wake(&told).await.unwrap(), 1, "the other is claimed");
    assert_eq!(link.wake(&told).await.unwrap(), 0);
    assert_eq!(number(&database, "select count(*) from timers").await, 1);
    let loaded = link.load(&[runs[0].id]).await.unwrap().remove(0);
    let heard = Letter::Event {
        event: event.event.clone(),
        addressed: false,
    };
    assert_eq!(loaded.mail[0].letter, heard);
    assert_balanced(&database).await;

    // The run leaves one listen for another.
    let moved = Exchange {
        taken: vec![event.event.id],
        ..listening(&[other])
    };
    let moved = with(settlement(&runs[2], 1, Next::Keep), moved);
    assert!(link.settle(&[moved]).await.unwrap().is_empty());
    let told = tell(&mut link, &delivery("unheard"), Id::generate()).await;
    assert!(told.is_empty());
    assert_eq!(number(&database, "select count(*) from ignored").await, 1);
    let mut told = tell(&mut link, &delivery("second"), other).await;
    told.sort_unstable();
    let mut all: Vec<Id> = runs.iter().map(|run| run.id).collect();
    all.sort_unstable();
    assert_eq!(told, all);
    let ended = with(settlement(&runs[2], 2, completed()), Exchange::default());
    assert!(link.settle(&[ended]).await.unwrap().is_empty());
    let left = "select count(*) from listeners";
    assert_eq!(number(&database, left).await, 3);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn an_addressed_event_reaches_an_open_run_only() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 2).await;
    let ended = settlement(&runs[1], 0, completed());
    assert!(link.settle(&[ended]).await.unwrap().is_empty());
    let events: Vec<NewEvent> = [runs[0].id, runs[1].id, Id::generate()]
        .into_iter()
        .map(|run_id| NewEvent {
            target: Some(Target::Run { run_id }),
            ..delivery(&run_id.to_string())
        })
        .collect();
    link.append(&events).await.unwrap();
    let to = |event: &NewEvent| match event.target {
        Some(Target::Run { run_id }) => (event.event.id, run_id),
        _ => panic!("it is addressed"),
    };
    let batch = Routing {
        events: events.iter().map(|event| event.event.id).collect(),
        ignored: events
            .iter()
            .map(|event| (event.event.id, "it has ended".to_owned()))
            .collect(),
        addressed: events.iter().map(to).collect(),
        ..Routing::default()
    };
    let routed = link.route(&batch).await.unwrap();
    assert_eq!(routed.told, [runs[0].id]);
    assert_eq!(number(&database, "select count(*) from ignored").await, 2);
    let mail = link.mail(&[runs[0].id]).await.unwrap();
    assert!(matches!(
        mail[&runs[0].id][0].letter,
        Letter::Event {
            addressed: true,
            ..
        }
    ));
    assert_balanced(&database).await;
}

#[tokio::test]
async fn a_router_that_does_not_know_all_filters_routes_nothing() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 1).await;
    let known = link.listened().await.unwrap();
    assert!(known.filters.is_empty());
    let filter = Filter {
        workflow_id: 1,
        reference: "/do/0/a".to_owned(),
        number: 0,
    };
    let listens = || Exchange {
        filters: vec![filter.clone(), filter.clone()],
        ..listening(&[Id::generate()])
    };
    let settled = with(settlement(&runs[0], 0, Next::Keep), listens());
    assert!(link.settle(&[settled]).await.unwrap().is_empty());
    let event = delivery("new");
    link.append(std::slice::from_ref(&event)).await.unwrap();
    let mut batch = Routing {
        events: vec![event.event.id],
        listening: known.revision,
        ..Routing::default()
    };
    let routed = link.route(&batch).await.unwrap();
    assert!(routed.stale);
    assert_eq!(number(&database, "select count(*) from inbox").await, 1);
    let now = link.listened().await.unwrap();
    assert_eq!(now.filters, std::slice::from_ref(&filter));
    batch.listening = now.revision;
    let routed = link.route(&batch).await.unwrap();
    assert!(!routed.stale && routed.elsewhere.is_empty());
    let again = with(settlement(&runs[0], 1, Next::Keep), listens());
    assert!(link.settle(&[again]).await.unwrap().is_empty());
    assert_eq!(link.listened().await.unwrap().revision, now.revision);
    assert_balanced(&database).await;
}

/// Whoever commits last wakes: mail is written while its run goes to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_mail_and_going_to_wait() {
    let database = database().await;
    let (mut link_1, session) = link(&database, 0).await;
    let (mut link_2, _) = link(&database, 1).await;
    let runs = runs(&mut link_1, session, 200).await;
    let letters: Vec<NewMail> = runs.iter().map(|run| letter(run, Id::generate())).collect();
    let waits: Vec<Settlement> = runs
        .iter()
        .map(|run| with(settlement(run, 0, far()), listening(&[Id::generate()])))
        .collect();
    let ids: Vec<Id> = runs.iter().map(|run| run.id).collect();
    let going = ids.clone();
    let settles = tokio::spawn(async move {
        let mut waits = waits.into_iter();
        for ids in going.chunks(5) {
            let batch: Vec<Settlement> = waits.by_ref().take(5).collect();
            assert!(link_1.settle(&batch).await.unwrap().is_empty());
            link_1.wake(ids).await.unwrap();
        }
    });
    for letter in &letters {
        assert!(database.store.send(letter).await.unwrap());
    }
    settles.await.unwrap();
    assert_eq!(number(&database, "select count(*) from timers").await, 0);
    assert_eq!(number(&database, "select count(*) from ready").await, 200);
    // Mail that nobody woke for, as after a node that died, is found by anybody.
    sqlx::query(
        "with r as (delete from ready returning run_id)
                 insert into timers select 'infinity', run_id from r",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    assert_eq!(link_2.deliver(None).await.unwrap().woken, 200);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn a_run_put_aside_for_a_destination_is_called_back() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 2).await;
    for run in &runs {
        let aside = Next::Ready { destination_id: 7 };
        link.settle(&[settlement(run, 0, aside)]).await.unwrap();
    }
    let mail = letter(&runs[0], Id::generate());
    assert!(database.store.send(&mail).await.unwrap());
    let aside = "select count(*) from ready where destination_id = 7";
    assert_eq!(number(&database, aside).await, 1);
    let mine = "select count(*) from ready where destination_id = 0 and run_at <= now()";
    assert_eq!(number(&database, mine).await, 1);
    assert_balanced(&database).await;
}

#[tokio::test]
async fn mail_for_runs_that_have_ended_is_dropped() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    let runs = runs(&mut link, session, 2).await;
    for run in &runs {
        assert!(
            database
                .store
                .send(&letter(run, Id::generate()))
                .await
                .unwrap()
        );
    }
    // It ends without knowing of its mail.
    let ended = settlement(&runs[0], 0, completed());
    assert!(link.settle(&[ended]).await.unwrap().is_empty());
    let delivered = link.deliver(None).await.unwrap();
    assert_eq!((delivered.woken, delivered.undeliverable), (0, 1));
    assert_eq!(number(&database, "select count(*) from mail").await, 1);
}
