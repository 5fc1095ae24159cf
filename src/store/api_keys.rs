//! The table `api_keys`: who may use the API. Digests only; a key itself is never stored.
//!
//! Written by the API and `hookwright keys`; read for every request through a short-lived cache
//! that `api::access` keeps.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;

use super::{Error, Store};

/// An API key as it is on record.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ApiKey {
    /// The public part that finds it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the key's secret part.
    pub digest: Vec<u8>,
    /// `viewer`, `operator`, `editor`, `deployer` or `admin`.
    pub role: String,
    /// When it was made.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub created_at: Timestamp,
    /// After this it opens nothing.
    #[sqlx(rename = "expires_at")]
    expires: Option<jiff_sqlx::Timestamp>,
    /// Since then it opens nothing.
    #[sqlx(rename = "revoked_at")]
    revoked: Option<jiff_sqlx::Timestamp>,
}

impl ApiKey {
    /// After this it opens nothing; `None` = it does not end.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires.map(jiff_sqlx::Timestamp::to_jiff)
    }

    /// When it was revoked.
    #[must_use]
    pub fn revoked_at(&self) -> Option<Timestamp> {
        self.revoked.map(jiff_sqlx::Timestamp::to_jiff)
    }

    /// Whether it opens anything at this time.
    #[must_use]
    pub fn is_good_at(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires_at().is_none_or(|end| now < end)
    }
}

/// A key to record.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// The public part that finds it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the key's secret part.
    pub digest: [u8; 32],
    /// `viewer`, `operator`, `editor`, `deployer` or `admin`.
    pub role: &'static str,
    /// After this it opens nothing; `None` = it does not end.
    pub expires_at: Option<Timestamp>,
}

impl Store {
    /// Records a key, unless one of its id is on record.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn add_api_key(&self, new: &NewApiKey) -> Result<(), Error> {
        sqlx::query(
            "insert into api_keys (id, name, digest, role, expires_at) \
             values ($1, $2, $3, $4, $5) on conflict do nothing",
        )
        .bind(&new.id)
        .bind(&new.name)
        .bind(new.digest.as_slice())
        .bind(new.role)
        .bind(new.expires_at.map(Timestamp::to_sqlx))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Revokes a key for good; it stays on record. Whether there was one that was not revoked.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn revoke_api_key(&self, id: &str) -> Result<bool, Error> {
        let done = sqlx::query(
            "update api_keys set revoked_at = now() where id = $1 and revoked_at is null",
        )
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// A key by its public part, also where it was revoked.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, Error> {
        Ok(sqlx::query_as(
            "select id, name, digest, role, created_at, expires_at, revoked_at \
             from api_keys where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Keys whose public parts come after `after`, at most `limit`, also revoked ones.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn api_keys(&self, after: &str, limit: u16) -> Result<Vec<ApiKey>, Error> {
        Ok(sqlx::query_as(
            "select id, name, digest, role, created_at, expires_at, revoked_at \
             from api_keys where id > $1 order by id limit $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }

    /// Whether a key was ever made. Revoked ones count: revoking the last key must not open
    /// the door to everyone.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn has_api_keys(&self) -> Result<bool, Error> {
        Ok(sqlx::query_scalar("select exists (select from api_keys)")
            .fetch_one(&self.pool)
            .await?)
    }
}
