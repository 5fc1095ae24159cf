//! The table `secrets`: values sealed by `secret::Keyring`; this file sees no plain one.
//!
//! Written by the API, read where secrets are opened. A value is replaced, not versioned: only its
//! version number is kept, which is part of what the seal protects.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{Error, Store, revision};

/// What anyone may know of a secret.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Label {
    /// Name by which definitions refer to it.
    pub name: String,
    /// From 1, raised with every change.
    pub version: i32,
    /// When it was last set.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub updated_at: Timestamp,
}

/// A sealed secret.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Sealed {
    /// Name by which definitions refer to it.
    pub name: String,
    /// The version it was sealed for.
    pub version: i32,
    /// Which key of the keyring wrapped the data key.
    pub kek_id: String,
    /// The data key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// The value, sealed with the data key.
    pub sealed: Vec<u8>,
}

async fn put(connection: &mut PgConnection, secrets: Vec<Sealed>) -> Result<(), Error> {
    revision::raise(connection).await?;
    for secret in &secrets {
        put_one(connection, secret).await?;
    }
    Ok(())
}

async fn put_one(connection: &mut PgConnection, secret: &Sealed) -> Result<(), Error> {
    let done = sqlx::query(
        "insert into secrets (name, version, kek_id, wrapped_key, sealed) \
         values ($1, $2, $3, $4, $5) on conflict (name) do update \
         set version = excluded.version, kek_id = excluded.kek_id, \
             wrapped_key = excluded.wrapped_key, sealed = excluded.sealed, updated_at = now() \
         where secrets.version = excluded.version - 1",
    )
    .bind(&secret.name)
    .bind(secret.version)
    .bind(&secret.kek_id)
    .bind(&secret.wrapped_key)
    .bind(&secret.sealed)
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        let text = format!("secret {} was changed at the same time", secret.name);
        return Err(Error::Conflict(text));
    }
    Ok(())
}

impl Store {
    /// The versions these secrets would get next, in the order asked: 1 where there is none.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn next_secret_versions(&self, names: &[String]) -> Result<Vec<i32>, Error> {
        Ok(sqlx::query_scalar(
            "select coalesce(s.version, 0) + 1 from unnest($1::text[]) with ordinality n (name, i) \
             left join secrets s on s.name = n.name order by n.i",
        )
        .bind(names)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Stores sealed secrets, all or none. Names must differ from each other.
    ///
    /// # Errors
    /// [`Error::Conflict`] where one of them was changed since its version was asked for: ask
    /// again and seal again.
    pub async fn put_secrets(&self, secrets: Vec<Sealed>) -> Result<(), Error> {
        self.transaction(move |connection| Box::pin(put(connection, secrets)))
            .await
    }

    /// Forgets a secret. Whether there was one.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn remove_secret(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.transaction(move |connection| {
            Box::pin(async move {
                revision::raise(connection).await?;
                let done = sqlx::query("delete from secrets where name = $1")
                    .bind(name)
                    .execute(connection)
                    .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }

    /// What may be shown of the secrets whose names come after `after`, at most `limit`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn secret_labels(&self, after: &str, limit: u16) -> Result<Vec<Label>, Error> {
        Ok(sqlx::query_as(
            "select name, version, updated_at from secrets where name > $1 order by name limit $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }

    /// What may be shown of one secret.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn secret_label(&self, name: &str) -> Result<Option<Label>, Error> {
        Ok(
            sqlx::query_as("select name, version, updated_at from secrets where name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?,
        )
    }

    /// All secrets as they are sealed, for opening them in memory.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn sealed_secrets(&self) -> Result<Vec<Sealed>, Error> {
        Ok(
            sqlx::query_as("select name, version, kek_id, wrapped_key, sealed from secrets")
                .fetch_all(&self.pool)
                .await?,
        )
    }
}
