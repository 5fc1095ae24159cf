//! Days of history: creates the partitions of the coming days and drops those past retention.
//!
//! Dropping a day costs a hundredth of deleting its rows and leaves no bloat. Every statement here
//! gives up its lock after a fifth of a second and tries again: a waiting DDL statement would hold
//! up all writers behind it.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{Error, Store, WINDOW_DAYS_MAX, migrate};

/// How many days ahead partitions are created.
pub const DAYS_AHEAD: u16 = 3;

/// How many past days get dedupe partitions on a new database, so that duplicates are looked for
/// in small tables from the first day on.
const DEDUPE_DAYS_BACK: i32 = 7;

/// Advisory lock that keeps two nodes from doing the same upkeep.
const LOCK: i64 = 0x686f_6f6b_0002;

/// How long a node waits for another one's upkeep.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a DDL statement is tried that did not get its lock.
const ATTEMPTS_MAX: u32 = 25;

/// Tables of history partitioned by ranges of UUIDs of version 7.
const BY_ID: [&str; 4] = ["events", "ignored", "runs", "journal"];

/// Creates the partitions of today and `days_ahead` days more, where they are missing.
///
/// # Errors
/// [`Error::Unavailable`] where a lock was not to be had, [`Error::Refused`] otherwise.
pub async fn ensure(store: &Store, days_ahead: u16) -> Result<(), Error> {
    let mut upkeep = Upkeep::open(store).await?;
    let last = upkeep.today + i32::from(days_ahead);
    for day in upkeep.today - DEDUPE_DAYS_BACK..=last {
        upkeep
            .create("dedupe", day, &format!("for values in ('{}')", date(day)?))
            .await?;
    }
    for table in BY_ID {
        for day in upkeep.today..=last {
            let (from, to) = (first_id(day), first_id(day + 1));
            upkeep
                .create(
                    table,
                    day,
                    &format!("for values from ('{from}') to ('{to}')"),
                )
                .await?;
        }
    }
    upkeep.close().await
}

/// Drops the partitions of days that ended more than `days` days ago, except days of which a run
/// or event is still open, and the rows of other tables that belong to them. Returns how many
/// partitions went. 0 keeps all of them.
///
/// # Errors
/// As [`ensure`].
pub async fn drop_older(store: &Store, days: u16) -> Result<u32, Error> {
    let mut upkeep = Upkeep::open(store).await?;
    let mut dropped = 0;
    let dedupe_floor = upkeep.today - i32::from(WINDOW_DAYS_MAX);
    for (name, day) in upkeep.days_of("dedupe").await? {
        if day < dedupe_floor {
            dropped += u32::from(upkeep.ddl(&format!("drop table if exists {name}")).await?);
        }
    }
    let floor = upkeep.today - i32::from(days);
    for table in BY_ID {
        for (name, day) in upkeep.days_of(table).await? {
            if days > 0 && day < floor && !upkeep.is_open(day).await? {
                dropped += u32::from(upkeep.ddl(&format!("drop table if exists {name}")).await?);
            }
        }
    }
    if days > 0 {
        for sql in [
            "delete from faulted where run_id < $1",
            "delete from checkpoints where run_id < $1",
            "delete from approvals where run_id < $1 \
             and (status <> 'pending' or expires_at < now())",
        ] {
            sqlx::query(sql)
                .bind(first_id(floor))
                .execute(&mut upkeep.connection)
                .await?;
        }
    }
    upkeep.close().await?;
    Ok(dropped)
}

/// One round of upkeep: partitions for the days ahead, none older than `store.retention_days`.
///
/// # Errors
/// As [`ensure`].
pub async fn keep(store: &Store) -> Result<(), Error> {
    ensure(store, DAYS_AHEAD).await?;
    let dropped = drop_older(store, store.config.retention_days).await?;
    if dropped > 0 {
        tracing::info!(partitions = dropped, "old days were dropped");
    }
    Ok(())
}

/// Rows that found no partition of their day; more than 0 wants an alarm.
///
/// # Errors
/// [`Error::Unavailable`] or [`Error::Refused`].
pub async fn strays(store: &Store) -> Result<i64, Error> {
    let count = sqlx::query_scalar(
        "select (select count(*) from events_default) + (select count(*) from dedupe_default)
              + (select count(*) from ignored_default) + (select count(*) from runs_default)
              + (select count(*) from journal_default)",
    )
    .fetch_one(store.pool())
    .await?;
    Ok(count)
}

/// One round of upkeep: a connection that holds the lock.
struct Upkeep {
    connection: PgConnection,
    /// The database's day, in days since the Unix epoch (UTC).
    today: i32,
}

impl Upkeep {
    async fn open(store: &Store) -> Result<Self, Error> {
        let options = store.options("upkeep", &[("lock_timeout", "200ms")]);
        let mut connection = PgConnection::connect_with(&options).await?;
        migrate::lock(&mut connection, LOCK, LOCK_TIMEOUT).await?;
        let today = sqlx::query_scalar("select current_date - date '1970-01-01'")
            .fetch_one(&mut connection)
            .await?;
        Ok(Self { connection, today })
    }

    async fn close(self) -> Result<(), Error> {
        Ok(self.connection.close().await?)
    }

    async fn create(&mut self, table: &str, day: i32, bounds: &str) -> Result<(), Error> {
        let name = format!("{table}_{}", date(day)?.strftime("%Y%m%d"));
        let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(&name)
            .fetch_one(&mut self.connection)
            .await?;
        if exists {
            return Ok(());
        }
        let sql = format!("create table if not exists {name} partition of {table} {bounds}");
        if !self.ddl(&sql).await? {
            tracing::error!(table, %name, "the default partition holds rows of this day: it stays");
        }
        Ok(())
    }

    /// Runs a statement, again where it did not get its lock; false: rows of the default partition
    /// forbid it.
    async fn ddl(&mut self, sql: &str) -> Result<bool, Error> {
        let mut attempts = 1;
        loop {
            let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut self.connection)
                .await;
            let Err(error) = outcome else { return Ok(true) };
            match error
                .as_database_error()
                .and_then(|cause| cause.code())
                .as_deref()
            {
                Some("23514") => return Ok(false),
                Some("55P03") if attempts < ATTEMPTS_MAX => attempts += 1,
                _ => return Err(error.into()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The daily partitions of a table with their days.
    async fn days_of(&mut self, table: &str) -> Result<Vec<(String, i32)>, Error> {
        let days = sqlx::query_as(
            r"select c.relname::text, to_date(right(c.relname, 8), 'YYYYMMDD') - date '1970-01-01'
              from pg_inherits i join pg_class c on c.oid = i.inhrelid
              where i.inhparent = to_regclass($1) and c.relname ~ '_\d{8}$' order by 1",
        )
        .bind(table)
        .fetch_all(&mut self.connection)
        .await?;
        Ok(days)
    }

    /// Whether anything of this day still waits to be worked on. A run may belong to an event of
    /// the day before, so the day after counts as well.
    async fn is_open(&mut self, day: i32) -> Result<bool, Error> {
        let open = sqlx::query_scalar(
            "select exists (select from inbox where event_id >= $1 and event_id < $2)
                 or exists (select from held where event_id >= $1 and event_id < $2)
                 or exists (select from claims where run_id >= $1 and run_id < $2)
                 or exists (select from ready where run_id >= $1 and run_id < $2)
                 or exists (select from timers where run_id >= $1 and run_id < $2)",
        )
        .bind(first_id(day))
        .bind(first_id(day + 2))
        .fetch_one(&mut self.connection)
        .await?;
        Ok(open)
    }
}

/// The smallest id of a day: its first millisecond in the leading 48 bits (RFC 9562, 5.7).
fn first_id(day: i32) -> Uuid {
    let start_ms = u128::from(u32::try_from(day).unwrap_or(0)) * 86_400_000;
    Uuid::from_u128(start_ms << 80)
}

fn date(day: i32) -> Result<jiff::civil::Date, Error> {
    jiff::civil::date(1970, 1, 1)
        .checked_add(jiff::Span::new().days(day))
        .map_err(|_| Error::Unfit("the database's clock is outside any calendar".to_owned()))
}
