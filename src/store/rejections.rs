//! The table `rejections`: refused deliveries, kept for a while.
//!
//! Written by the door's keeper, in batches and off the way of deliveries; read by the API and when
//! one is verified again. The head of a delivery is sealed, since it may hold credentials.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Error, Store};
use crate::id::Id;

/// A refused delivery.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Kept {
    /// Its key.
    pub id: Uuid,
    /// When it arrived.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub received_at: Timestamp,
    /// Name of the source.
    pub source: String,
    /// The check that failed.
    pub cause: String,
    /// The HTTP method.
    pub method: String,
    /// Which key of the keyring wrapped the data key of the head.
    pub kek_id: String,
    /// The data key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// Path, query and headers, sealed.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

/// What may be shown of one.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Label {
    /// Its key.
    pub id: Uuid,
    /// When it arrived.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub received_at: Timestamp,
    /// Name of the source.
    pub source: String,
    /// The check that failed.
    pub cause: String,
    /// The HTTP method.
    pub method: String,
    /// Bytes of the body.
    pub bytes: i32,
}

impl Store {
    /// Keeps refused deliveries.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn keep_rejections(&self, rejections: Vec<Kept>) -> Result<(), Error> {
        for kept in rejections {
            sqlx::query(
                "insert into rejections (id, received_at, source, cause, method, version, kek_id, \
                 wrapped_key, head, body) values ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9)",
            )
            .bind(kept.id)
            .bind(jiff_sqlx::Timestamp::from(kept.received_at))
            .bind(kept.source)
            .bind(kept.cause)
            .bind(kept.method)
            .bind(kept.kek_id)
            .bind(kept.wrapped_key)
            .bind(kept.head)
            .bind(kept.body)
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }

    /// Forgets those that are older than `days`, and the oldest beyond `count` or beyond `bytes` of
    /// bodies.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn expire_rejections(
        &self,
        days: i32,
        (count, bytes): (i64, i64),
    ) -> Result<u64, Error> {
        let done = sqlx::query(
            "delete from rejections r using ( \
               select id, row_number() over newest as place, \
                      sum(octet_length(body) + octet_length(head)) over newest as bytes \
               from rejections window newest as (order by id desc) \
             ) o where o.id = r.id and (o.place > $2 or o.bytes > $3 \
               or r.received_at < now() - make_interval(days => $1))",
        )
        .bind(days)
        .bind(count)
        .bind(bytes)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// What may be shown of them, newest first, below `before`; of one source where it is named.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn rejections(
        &self,
        source: Option<&str>,
        before: Option<Id>,
        limit: u16,
    ) -> Result<Vec<Label>, Error> {
        Ok(sqlx::query_as(
            "select id, received_at, source, cause, method, octet_length(body) as bytes \
             from rejections where ($1::text is null or source = $1) \
             and ($2::uuid is null or id < $2) order by id desc limit $3",
        )
        .bind(source)
        .bind(before.map(|id| id.uuid()))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }

    /// One of them, whole.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn rejection(&self, id: Id) -> Result<Option<Kept>, Error> {
        Ok(sqlx::query_as(
            "select id, received_at, source, cause, method, kek_id, wrapped_key, head, body \
             from rejections where id = $1",
        )
        .bind(id.uuid())
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Forgets one of them.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn forget_rejection(&self, id: Id) -> Result<(), Error> {
        sqlx::query("delete from rejections where id = $1")
            .bind(id.uuid())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
