//! The table `rejections`: deliveries that became no event, kept for a while: refused ones, and
//! duplicates.
//!
//! Written by the door's keeper, in batches and off the way of deliveries; read by the API and when
//! one is verified again. The head of a delivery is sealed, since it may hold credentials.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Error, Store};
use crate::id::Id;

/// Why a delivery became no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was refused.
    Refused,
    /// There was an event of its id.
    Duplicate,
}

impl Kind {
    const fn number(self) -> i16 {
        match self {
            Self::Refused => 0,
            Self::Duplicate => 1,
        }
    }
}

/// A delivery that became no event.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Kept {
    /// Its key.
    pub id: Uuid,
    /// When it arrived.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub received_at: Timestamp,
    /// Name of the source.
    pub source: String,
    /// The check that failed; of a duplicate `duplicate`, or `conflict` where its body differs from
    /// that of the event.
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
    /// The event it duplicates.
    pub duplicate_of: Option<Uuid>,
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
    /// The check that failed, see [`Kept::cause`].
    pub cause: String,
    /// The HTTP method.
    pub method: String,
    /// Bytes of the body.
    pub bytes: i32,
    /// The event it duplicates.
    pub duplicate_of: Option<Uuid>,
}

/// How much is kept of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Days.
    pub days: u16,
    /// Deliveries.
    pub count: u32,
    /// Bytes of heads and bodies.
    pub bytes: u64,
}

pub(super) const KEEP: &str = "
insert into rejections (id, received_at, source, cause, method, version, kek_id, wrapped_key, head,
                        body, kind, duplicate_of)
values ($1, $2, $3,
        case when exists (select from events e where e.id = $10::uuid and e.body <> $9)
             then 'conflict' else $4 end,
        $5, 1, $6, $7, $8, $9, case when $10 is null then 0 else 1 end, $10)";

pub(super) const EXPIRE: &str = "
delete from rejections where ctid = any (array(
  select o.place from (
    select ctid as place, received_at, row_number() over newest as number,
           sum(octet_length(body) + octet_length(head)) over newest as bytes
    from rejections window newest as (partition by kind order by id desc)
  ) o
  where o.number > $2::bigint or o.bytes > $3::bigint
     or o.received_at < now() - make_interval(days => $1::integer)
))";

pub(super) const LIST: &str = "
select id, received_at, source, cause, method, octet_length(body) as bytes, duplicate_of
from rejections where kind = $1::smallint and id < $2::uuid order by id desc limit $3::bigint";

pub(super) const LIST_OF_SOURCE: &str = "
select id, received_at, source, cause, method, octet_length(body) as bytes, duplicate_of
from rejections where kind = $1::smallint and source = $4::text and id < $2::uuid
order by id desc limit $3::bigint";

pub(super) const DUPLICATES: &str = "
select id, received_at, source, cause, method, octet_length(body) as bytes, duplicate_of
from rejections where duplicate_of = $1::uuid order by id limit $2::bigint";

pub(super) const ONE: &str = "
select id, received_at, source, cause, method, kek_id, wrapped_key, head, body, duplicate_of
from rejections where id = $1::uuid and kind = $2::smallint";

pub(super) const FORGET: &str = "delete from rejections where id = $1::uuid";

impl Store {
    /// Keeps deliveries.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn keep_rejections(&self, rejections: Vec<Kept>) -> Result<(), Error> {
        for kept in rejections {
            sqlx::query(KEEP)
                .bind(kept.id)
                .bind(jiff_sqlx::Timestamp::from(kept.received_at))
                .bind(kept.source)
                .bind(kept.cause)
                .bind(kept.method)
                .bind(kept.kek_id)
                .bind(kept.wrapped_key)
                .bind(kept.head)
                .bind(kept.body)
                .bind(kept.duplicate_of)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// Forgets what is beyond the bounds, oldest first; how many.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn expire_rejections(&self, bounds: Bounds) -> Result<u64, Error> {
        let done = sqlx::query(EXPIRE)
            .bind(i32::from(bounds.days))
            .bind(i64::from(bounds.count))
            .bind(i64::try_from(bounds.bytes).unwrap_or(i64::MAX))
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
        kind: Kind,
        source: Option<&str>,
        (before, limit): (Option<Id>, u16),
    ) -> Result<Vec<Label>, Error> {
        let sql = source.map_or(LIST, |_| LIST_OF_SOURCE);
        let mut query = sqlx::query_as(sql)
            .bind(kind.number())
            .bind(before.map_or_else(Uuid::max, Id::uuid))
            .bind(i64::from(limit));
        if let Some(source) = source {
            query = query.bind(source);
        }
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// What is kept of the duplicates of an event, oldest first.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn duplicates(&self, event: Id, limit: u16) -> Result<Vec<Label>, Error> {
        let query = sqlx::query_as(DUPLICATES).bind(event.uuid());
        let query = query.bind(i64::from(limit));
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// One of them, whole.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn rejection(&self, kind: Kind, id: Id) -> Result<Option<Kept>, Error> {
        let query = sqlx::query_as(ONE).bind(id.uuid()).bind(kind.number());
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// Forgets one of them.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn forget_rejection(&self, id: Id) -> Result<(), Error> {
        let query = sqlx::query(FORGET).bind(id.uuid());
        query.execute(&self.pool).await?;
        Ok(())
    }
}
