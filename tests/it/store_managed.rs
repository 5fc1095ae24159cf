//! The managed Postgres and how a database is prepared.

use crate::postgres;

#[tokio::test]
async fn a_test_database_is_migrated_and_partitioned() {
    let database = postgres::database().await;
    let partitions: i64 =
        sqlx::query_scalar("select count(*) from pg_inherits where inhparent = 'events'::regclass")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
    assert_eq!(partitions, 5, "today, three days more and the default");
}
