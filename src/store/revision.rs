//! The revision of all definitions: one number that every change raises, so that nodes notice.
//!
//! Called by every change of a workflow, source, destination or secret, and by the loop that
//! reloads them. It says nothing about what has changed; readers load what is active.

use sqlx::PgConnection;

use super::{Error, Store};

/// The channel on which the new number is announced once a change is committed.
pub const CHANNEL: &str = "hookwright_revision";

/// A connection inside a transaction, as all changes of definitions take it.
pub type Connection = PgConnection;

/// Raises the number. Call it first in a transaction: the row it locks lets one change of
/// definitions happen at a time, so what a change has read is still true when it writes.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn raise(connection: &mut PgConnection) -> Result<i64, Error> {
    let number = sqlx::query_scalar("update revision set number = number + 1 returning number")
        .fetch_one(&mut *connection)
        .await?;
    announce(connection, number).await?;
    Ok(number)
}

async fn announce(connection: &mut PgConnection, number: i64) -> Result<(), Error> {
    sqlx::query("select pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(number.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes other changes of definitions wait until this transaction has ended; for one that may turn
/// out to change nothing.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn lock(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select from revision for update")
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// The revision now; polled by every node, compared with what it has loaded.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn revision(&self) -> Result<i64, Error> {
        Ok(sqlx::query_scalar("select number from revision")
            .fetch_one(&self.pool)
            .await?)
    }
}
