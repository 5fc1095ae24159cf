//! Days of history come and go.

use hookwright::id::Id;
use hookwright::store::partitions;
use sqlx::AssertSqlSafe;

use crate::postgres::database;
use crate::store_append::{delivery, link, number};
use crate::store_journey::runs;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_may_create_days_at_the_same_time_and_again() {
    let database = database().await;
    let before = number(&database, "select count(*) from pg_inherits").await;
    let (one, two) = (database.store.clone(), database.store.clone());
    let (one, two) = tokio::join!(
        tokio::spawn(async move { partitions::ensure(&one, 5).await }),
        tokio::spawn(async move { partitions::ensure(&two, 5).await }),
    );
    one.unwrap().unwrap();
    two.unwrap().unwrap();
    let after = number(
        &database,
        "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhparent
         where c.relkind = 'p'",
    )
    .await;
    // Each table has one index, whose partitions are in pg_inherits as well; events has another.
    let (of_each, of_events) = (2, 1);
    assert_eq!(
        number(&database, "select count(*) from pg_inherits").await - before,
        10 * of_each + 2 * of_events
    );
    assert_eq!(
        after,
        4 * 7 + 14,
        "today, five more and the default of each; dedupe 7 back"
    );
}

#[tokio::test]
async fn rows_go_to_the_partition_of_their_day() {
    let database = database().await;
    let (mut link, session) = link(&database, 0).await;
    runs(&mut link, session, 3).await;
    assert_eq!(partitions::strays(&database.store).await.unwrap(), 0);
    let strange: Id = "00000000-0000-7000-8000-000000000000".parse().unwrap();
    let mut event = delivery("clock far off");
    event.event.id = strange;
    assert_eq!(
        link.append(&[event]).await.unwrap(),
        [None],
        "stored all the same"
    );
    assert_eq!(partitions::strays(&database.store).await.unwrap(), 1);
}

#[tokio::test]
async fn old_days_go_unless_something_of_them_is_open() {
    let database = database().await;
    let pool = database.store.pool();
    let run = "016f638d-0000-7000-8000-000000000000"; // of that day
    sqlx::raw_sql(AssertSqlSafe(format!(
        "create table events_20200101 partition of events for values
           from ('016f5e66-e800-0000-0000-000000000000')
             to ('016f638d-4400-0000-0000-000000000000');
         create table dedupe_20200101 partition of dedupe for values in ('2020-01-01');
         insert into timers (due_at, run_id) values (now(), '{run}');
         insert into faulted (run_id, workflow_id) values
           ('{run}', 1), ('fff00000-0000-7000-8000-000000000000', 1)",
    )))
    .execute(pool)
    .await
    .unwrap();
    assert_eq!(
        partitions::drop_older(&database.store, 0).await.unwrap(),
        1,
        "only dedupe"
    );
    assert_eq!(
        partitions::drop_older(&database.store, 30).await.unwrap(),
        0,
        "a run is open"
    );
    assert_eq!(number(&database, "select count(*) from faulted").await, 1);
    sqlx::query("delete from timers")
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(
        partitions::drop_older(&database.store, 30).await.unwrap(),
        1
    );
    assert_eq!(
        number(
            &database,
            "select count(*) from pg_class where relname like 'events\\_2020%'"
        )
        .await,
        0
    );
    assert_eq!(
        partitions::drop_older(&database.store, 1).await.unwrap(),
        0,
        "today stays"
    );
}
