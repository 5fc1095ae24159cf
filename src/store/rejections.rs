//! The table `rejections`: deliveries that were refused, kept for a while with the reason.
//!
//! Written by the door that refused them, in batches of its own; read by the API. They are no
//! events: nothing routes them.

use uuid::Uuid;

use super::{Error, Store};
use crate::id::Id;

/// A delivery that was refused.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Our id; its time is when the delivery was received.
    pub id: Id,
    /// Name in the delivery's path, whether there is such a source or not.
    pub source: String,
    /// Why, as one of the words that the metric of rejections has as its label.
    pub cause: String,
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// JSON array of `[name, value]`; credentials are masked.
    pub headers: Vec<u8>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

/// What lists show of a rejection.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RejectionLine {
    id: Uuid,
    /// Name in the delivery's path.
    pub source: String,
    /// Why.
    pub cause: String,
    /// Size of the body in bytes.
    pub body_bytes: i32,
}

impl RejectionLine {
    /// Our id; its time is when the delivery was received.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id.into()
    }
}

impl Store {
    /// Keeps refused deliveries.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn add_rejections(&self, rejections: &[Rejection]) -> Result<(), Error> {
        fn column<T>(of: &[Rejection], field: impl Fn(&Rejection) -> T) -> Vec<T> {
            of.iter().map(field).collect()
        }
        sqlx::query(
            "insert into rejections (id, source, cause, method, path, headers, body) \
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], \
                                  $6::bytea[], $7::bytea[])",
        )
        .bind(column(rejections, |r| r.id.uuid()))
        .bind(column(rejections, |r| r.source.clone()))
        .bind(column(rejections, |r| r.cause.clone()))
        .bind(column(rejections, |r| r.method.clone()))
        .bind(column(rejections, |r| r.path.clone()))
        .bind(column(rejections, |r| r.headers.clone()))
        .bind(column(rejections, |r| r.body.clone()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The latest rejections older than `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn rejections(
        &self,
        before: Option<Id>,
        limit: u16,
    ) -> Result<Vec<RejectionLine>, Error> {
        Ok(sqlx::query_as(
            "select id, source, cause, length(body) as body_bytes from rejections \
             where id < $1 order by id desc limit $2",
        )
        .bind(before.map_or(Uuid::max(), Id::uuid))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }
}
