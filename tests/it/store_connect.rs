//! Whether a database is fit for us, and what the management pool guards against.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::oneshot;

use hookwright::store::{Error, Store, environment, migrate};

use crate::postgres::{ENVIRONMENT, config, database, empty};

fn unfit(outcome: Result<impl std::fmt::Debug, Error>) -> String {
    match outcome {
        Err(Error::Unfit(text)) => text,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_start_at_once_migrate_once() {
    let url = empty("together").await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let store = Store::connect(&url, &config()).await.unwrap();
        tasks.push(tokio::spawn(
            async move { store.prepare(ENVIRONMENT).await },
        ));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_server_is_refused() {
    let database = database().await;
    sqlx::query("insert into _sqlx_migrations values (9999, 'x', now(), true, '\\x00', 0)")
        .execute(database.store.pool())
        .await
        .unwrap();
    let text = unfit(migrate::run(&database.store).await);
    assert!(
        text.contains("schema version 9999") && text.contains("newer server"),
        "{text}"
    );
}

#[tokio::test]
async fn a_database_of_another_environment_is_refused() {
    let database = database().await;
    environment::claim(&database.store, ENVIRONMENT)
        .await
        .unwrap();
    let text = unfit(environment::claim(&database.store, "production").await);
    assert!(
        text.contains("'test'") && text.contains("'production'"),
        "{text}"
    );
}

#[tokio::test]
async fn settings_that_lose_acknowledged_events_are_refused_unless_accepted() {
    let database = database().await;
    sqlx::raw_sql(
        "do $$ begin execute format('alter database %I set synchronous_commit = off',
         current_database()); end $$",
    )
    .execute(database.store.pool())
    .await
    .unwrap();
    let mut config = config();
    config.accept_losing_acknowledged_events = false;
    let text = unfit(Store::connect(&database.url, &config).await);
    assert!(
        text.contains("synchronous_commit off and would lose"),
        "{text}"
    );
    config.accept_losing_acknowledged_events = true;
    Store::connect(&database.url, &config).await.unwrap();
}

#[tokio::test]
async fn an_unreadable_url_is_refused_without_repeating_it() {
    let text = unfit(Store::connect("postgres://u:hunter2@[/x", &config()).await);
    assert!(
        text.contains("postgres://user:password@host") && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn an_unreachable_database_is_unavailable() {
    let mut config = config();
    config.pool_acquire_timeout_ms = 200;
    let outcome = Store::connect("postgres://u@127.0.0.1:1/x", &config).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn the_pool_closes_a_connection_that_is_inside_a_transaction() {
    let database = database().await;
    let pool = database.store.pool();
    for _ in 0..3 {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::raw_sql("begin")
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    for n in 0..10 {
        sqlx::query("insert into faulted (run_id, workflow_id) values (gen_random_uuid(), $1)")
            .bind(n)
            .execute(pool)
            .await
            .unwrap();
    }
    let other = Store::connect(&database.url, &config()).await.unwrap();
    let count: i64 = sqlx::query_scalar("select count(*) from faulted")
        .fetch_one(other.pool())
        .await
        .unwrap();
    assert_eq!(count, 10);
}

/// Changes something and then waits inside the transaction.
async fn pause(
    connection: &mut PgConnection,
    begun: oneshot::Sender<()>,
    may_go_on: oneshot::Receiver<()>,
) -> Result<(), Error> {
    sqlx::query("update revision set number = 7")
        .execute(connection)
        .await?;
    begun.send(()).unwrap();
    may_go_on.await.unwrap();
    Ok(())
}

#[tokio::test]
async fn a_transaction_commits_even_if_its_caller_is_gone_and_rolls_back_on_failure() {
    let database = database().await;
    let store = database.store.clone();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let caller = tokio::spawn(async move {
        let work = store.transaction(|connection| Box::pin(pause(connection, begun, may_go_on)));
        work.await
    });
    has_begun.await.unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    let number = || async {
        let number: i64 = sqlx::query_scalar("select number from revision")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
        number
    };
    tokio::time::timeout(Duration::from_secs(20), async {
        while number().await != 7 {}
    })
    .await
    .unwrap();

    let outcome: Result<(), Error> = database
        .store
        .transaction(|connection| {
            Box::pin(async move {
                sqlx::query("update revision set number = 8")
                    .execute(connection)
                    .await?;
                Err(Error::Conflict("no".to_owned()))
            })
        })
        .await;
    assert!(matches!(outcome, Err(Error::Conflict(_))));
    assert_eq!(number().await, 7);
}
