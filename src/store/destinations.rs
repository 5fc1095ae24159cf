//! The table `destinations`: every version of every destination; one version of a name is active.
//!
//! Written by the API and by definitions from files, read by whoever loads the destinations. It
//! holds texts; `call` reads them.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::sources::Put;
use super::{Error, Store, revision};

/// A stored version of a destination.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Destination {
    /// Key of the row.
    pub id: i32,
    /// The queue of its calls: the same over all versions of the name.
    pub number: i32,
    /// Name of the destination, as in `destination://<name>/…`.
    pub name: String,
    /// From 1, raised with every change.
    pub version: i32,
    /// The document as it was sent.
    pub text: String,
    /// When it was stored.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub created_at: Timestamp,
}

/// Stores a text as the active version of its destination.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn put(connection: &mut PgConnection, name: &str, text: &str) -> Result<Put, Error> {
    let active = find(connection, name).await?;
    if let Some(active) = active.as_ref().filter(|active| active.text == text) {
        return Ok(Put::Unchanged(active.version));
    }
    remove(connection, name).await?;
    let version = sqlx::query_scalar(
        "insert into destinations (number, name, version, text) \
         select coalesce(max(number), nextval('destination_number')), \
                $1, coalesce(max(version), 0) + 1, $2 from destinations where name = $1 \
         returning version",
    )
    .bind(name)
    .bind(text)
    .fetch_one(connection)
    .await?;
    Ok(Put::of(active.is_some(), version))
}

/// Takes a destination out of service; its versions stay on record. Whether there was one.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn remove(connection: &mut PgConnection, name: &str) -> Result<bool, Error> {
    let done = sqlx::query("update destinations set active = false where name = $1 and active")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// All active destinations, by name.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn active(connection: &mut PgConnection) -> Result<Vec<Destination>, Error> {
    Ok(sqlx::query_as(
        "select id, number, name, version, text, created_at \
         from destinations where active order by name",
    )
    .fetch_all(connection)
    .await?)
}

async fn find(connection: &mut PgConnection, name: &str) -> Result<Option<Destination>, Error> {
    Ok(sqlx::query_as(
        "select id, number, name, version, text, created_at \
         from destinations where name = $1 and active",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?)
}

impl Store {
    /// [`put`] as a transaction of its own.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn put_destination(&self, name: &str, text: &str) -> Result<Put, Error> {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.transaction(move |connection| {
            Box::pin(async move {
                revision::raise(connection).await?;
                put(connection, &name, &text).await
            })
        })
        .await
    }

    /// [`remove`] as a transaction of its own.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn remove_destination(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.transaction(move |connection| {
            Box::pin(async move {
                revision::raise(connection).await?;
                remove(connection, &name).await
            })
        })
        .await
    }

    /// The active version of a destination.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn destination(&self, name: &str) -> Result<Option<Destination>, Error> {
        find(&mut *self.pool.acquire().await?, name).await
    }

    /// All active destinations, by name.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn destinations(&self) -> Result<Vec<Destination>, Error> {
        active(&mut *self.pool.acquire().await?).await
    }
}
