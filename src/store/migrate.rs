//! Brings the schema up to date when a server starts; several nodes may start at once.

use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use super::{Error, Store};

/// Advisory lock that migrating nodes queue at.
const LOCK: i64 = 0x686f_6f6b_0001;

/// How often a waiting node tries the lock again.
const RETRY: Duration = Duration::from_millis(100);

/// Applies the migrations that are missing.
///
/// # Errors
/// [`Error::Unfit`] where the schema was made by a newer server, a migration was changed after it
/// was applied, or another node did not finish within `store.migration_timeout_ms`.
pub async fn run(store: &Store) -> Result<(), Error> {
    let options = store.options("migrate", &[("lock_timeout", "2s")]);
    let mut connection = PgConnection::connect_with(&options).await?;
    let timeout = Duration::from_millis(store.config.migration_timeout_ms.into());
    lock(&mut connection, LOCK, timeout).await?;
    let mut migrator: Migrator = sqlx::migrate!("./migrations");
    migrator.set_locking(false);
    let outcome = migrator
        .run_direct(None, &mut connection, false)
        .await
        .map_err(explain);
    connection.close().await?;
    outcome
}

/// Takes an advisory lock of the session, waiting at most `timeout`; closing the connection
/// releases it. Tries again and again rather than waiting inside Postgres, where a waiter would
/// hold a snapshot.
pub(super) async fn lock(
    connection: &mut PgConnection,
    key: i64,
    timeout: Duration,
) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let locked: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(key)
            .fetch_one(&mut *connection)
            .await?;
        if locked {
            return Ok(());
        }
        if started.elapsed() > timeout {
            return Err(Error::Unfit(format!(
                "another node has been changing the schema for {} s: look for its connection in \
                 pg_stat_activity (application_name 'hookwright migrate') and start again",
                timeout.as_secs()
            )));
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn explain(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => Error::Unfit(format!(
            "the database has schema version {version}, which this server does not know: it was \
             migrated by a newer server; start that version"
        )),
        MigrateError::VersionMismatch(version) => Error::Unfit(format!(
            "migration {version} of the database differs from this server's: it was made by \
             another build"
        )),
        MigrateError::Execute(cause) => cause.into(),
        MigrateError::ExecuteMigration(cause, _) => cause.into(),
        other => Error::Unfit(format!("the database cannot be migrated: {other}")),
    }
}
