//! The table `tokens`: access tokens shared by all nodes, sealed, and the lease of the one node
//! that renews. Used by `call` when a token it holds is no longer fresh; this file sees no plain
//! token.

use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::{Error, Store};

/// Takes the lease where the token is missing, stale or rejected and nobody else has it; otherwise
/// gives what is there. Times are the database's.
const TAKE: &str = "
with taken as (
  insert into tokens as t (key, holder, leased_until)
  values ($1, $2, now() + $3 * interval '1 millisecond')
  on conflict (key) do update set holder = excluded.holder, leased_until = excluded.leased_until
  where t.leased_until <= now()
    and (t.sealed is null or t.fresh_until <= now() or t.version = $4)
  returning true as taken, version, kek_id, wrapped_key, sealed, fresh_until
)
select taken, version, kek_id, wrapped_key, sealed,
  greatest(0, (extract(epoch from fresh_until - now()) * 1000))::bigint as fresh_ms
from (
  select * from taken
  union all
  select false, version, kek_id, wrapped_key, sealed, fresh_until from tokens
  where key = $1 and not exists (select from taken)
) found";

/// Stores what the holder of the lease got, gives the lease back, and forgets old rows.
const PUT: &str = "
with gone as (
  delete from tokens where key = any (array(
    select key from tokens
    where greatest(fresh_until, leased_until)
      < now() - case when renewable then interval '90 days' else interval '1 day' end
    limit 100 for update skip locked))
    and key <> $1
)
update tokens set leased_until = now(), version = $3, kek_id = $4, wrapped_key = $5, sealed = $6,
  fresh_until = now() + $7 * interval '1 millisecond', renewable = $8
where key = $1 and holder = $2 and version = $3 - 1";

/// A token as it is stored.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Raised with every token.
    pub version: i32,
    /// Which key of the keyring wrapped the data key.
    pub kek_id: String,
    /// The data key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// The value, sealed with the data key.
    pub sealed: Vec<u8>,
    /// How much longer it may be used.
    pub fresh: Duration,
    /// Whether it holds a refresh token.
    pub renewable: bool,
}

/// What came of asking for the lease.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Whether the caller has the lease now.
    pub leased: bool,
    /// The version that is there; 0 where there never was one.
    pub version: i32,
    /// What is there.
    pub token: Option<Sealed>,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

impl Store {
    /// Takes the lease of a token for `holder` where it has to be renewed: it is missing, stale,
    /// or the version `rejected`. `None` where another node has just begun.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn take_token(
        &self,
        key: &[u8],
        holder: Uuid,
        lease: Duration,
        rejected: Option<i32>,
    ) -> Result<Option<Taken>, Error> {
        let row = sqlx::query(TAKE)
            .bind(key)
            .bind(holder)
            .bind(milliseconds(lease))
            .bind(rejected)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let version: i32 = row.try_get("version")?;
        let sealed: Option<Vec<u8>> = row.try_get("sealed")?;
        let fresh_ms: Option<i64> = row.try_get("fresh_ms")?;
        let fresh_ms = u64::try_from(fresh_ms.unwrap_or(0)).unwrap_or(0);
        let token = match sealed {
            Some(sealed) => Some(Sealed {
                version,
                kek_id: row.try_get("kek_id")?,
                wrapped_key: row.try_get("wrapped_key")?,
                sealed,
                fresh: Duration::from_millis(fresh_ms),
                renewable: false,
            }),
            None => None,
        };
        Ok(Some(Taken {
            leased: row.try_get("taken")?,
            version,
            token,
        }))
    }

    /// Stores a token under the lease of `holder` and gives the lease back. False where the lease
    /// was lost to another node.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn put_token(&self, key: &[u8], holder: Uuid, new: &Sealed) -> Result<bool, Error> {
        let done = sqlx::query(PUT)
            .bind(key)
            .bind(holder)
            .bind(new.version)
            .bind(&new.kek_id)
            .bind(&new.wrapped_key)
            .bind(&new.sealed)
            .bind(milliseconds(new.fresh))
            .bind(new.renewable)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives the lease of `holder` back without a token.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn release_token(&self, key: &[u8], holder: Uuid) -> Result<(), Error> {
        sqlx::query("update tokens set leased_until = now() where key = $1 and holder = $2")
            .bind(key)
            .bind(holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
