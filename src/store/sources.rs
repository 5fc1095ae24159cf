//! The table `sources`: every version of every webhook source; one version of a name is active.
//!
//! Written by the API and by definitions from files, read by whoever loads the sources. It holds
//! texts; `webhook` reads them.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{Error, Store, revision};

/// A stored version of a source.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Source {
    /// Key of the row.
    pub id: i32,
    /// Name of the source: the last part of its endpoint.
    pub name: String,
    /// From 1, raised with every change.
    pub version: i32,
    /// The document as it was sent.
    pub text: String,
    /// When it was stored.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub created_at: Timestamp,
}

/// What storing a document came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// There was none of this name.
    Created(i32),
    /// There was another text; this is the new version.
    Updated(i32),
    /// This text was active already.
    Unchanged(i32),
}

impl Put {
    /// The version that is active now.
    #[must_use]
    pub const fn version(self) -> i32 {
        match self {
            Self::Created(version) | Self::Updated(version) | Self::Unchanged(version) => version,
        }
    }

    /// Tells from what was active before, and from the version that is now.
    pub(super) const fn of(before: bool, version: i32) -> Self {
        if before {
            Self::Updated(version)
        } else {
            Self::Created(version)
        }
    }
}

/// Stores a text as the active version of its source.
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
        "insert into sources (name, version, text) \
         select $1, coalesce(max(version), 0) + 1, $2 from sources where name = $1 \
         returning version",
    )
    .bind(name)
    .bind(text)
    .fetch_one(connection)
    .await?;
    Ok(Put::of(active.is_some(), version))
}

/// Takes a source out of service; its versions stay on record. Whether there was one.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn remove(connection: &mut PgConnection, name: &str) -> Result<bool, Error> {
    let done = sqlx::query("update sources set active = false where name = $1 and active")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// All active sources, by name.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn active(connection: &mut PgConnection) -> Result<Vec<Source>, Error> {
    Ok(sqlx::query_as(
        "select id, name, version, text, created_at from sources where active order by name",
    )
    .fetch_all(connection)
    .await?)
}

async fn find(connection: &mut PgConnection, name: &str) -> Result<Option<Source>, Error> {
    Ok(sqlx::query_as(
        "select id, name, version, text, created_at from sources where name = $1 and active",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?)
}

impl Store {
    /// The version of a source that was in force at a time; the first one where the clocks of nodes
    /// differ so much that none was.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn source_at(&self, name: &str, at: Timestamp) -> Result<Option<Source>, Error> {
        Ok(sqlx::query_as(
            "select id, name, version, text, created_at from sources \
             where name = $1 order by created_at <= $2 desc, \
                    case when created_at <= $2 then version else -version end desc limit 1",
        )
        .bind(name)
        .bind(jiff_sqlx::Timestamp::from(at))
        .fetch_optional(&self.pool)
        .await?)
    }

    /// [`put`] as a transaction of its own.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn put_source(&self, name: &str, text: &str) -> Result<Put, Error> {
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
    pub async fn remove_source(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.transaction(move |connection| {
            Box::pin(async move {
                revision::raise(connection).await?;
                remove(connection, &name).await
            })
        })
        .await
    }

    /// The active version of a source.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn source(&self, name: &str) -> Result<Option<Source>, Error> {
        find(&mut *self.pool.acquire().await?, name).await
    }

    /// All active sources, by name.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn sources(&self) -> Result<Vec<Source>, Error> {
        active(&mut *self.pool.acquire().await?).await
    }
}
