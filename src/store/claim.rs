//! Claims: taking runs from `ready`, fairly over queues, and giving back what was lost.

use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::{ClaimIds, Claimed, Error, Link, ReadyQueue};

/// Per queue its own index range and limit, so a queue of a hundred thousand runs that may not
/// start costs those of other queues nothing. Locked rows are another node's: skipped.
pub(super) const CLAIM: &str = "
with places as materialized (
  select x.place
  from unnest($1::integer[], $2::integer[]) as q (destination_id, claims)
  cross join lateral (
    select r.ctid as place from ready r
    where r.destination_id = q.destination_id and r.run_at <= now()
    order by r.run_at, r.run_id limit q.claims for update skip locked
  ) x
),
taken as (
  delete from ready where ctid = any (array(select place from places))
  returning run_id, sweeps
)
insert into claims (run_id, claim_id, session_id, sweeps)
select run_id, $4::bigint + row_number() over () - 1, $3::bigint, sweeps from taken
on conflict do nothing
returning run_id, claim_id, sweeps";

/// A loose index scan: jumps from queue to queue instead of reading all rows.
pub(super) const READY_QUEUES: &str = "
with recursive queue as (
  (select destination_id, run_at from ready order by destination_id, run_at limit 1)
  union all
  select n.destination_id, n.run_at
  from queue q cross join lateral (
    select x.destination_id, x.run_at from ready x
    where x.destination_id > q.destination_id order by x.destination_id, x.run_at limit 1
  ) n
)
select destination_id, (extract(epoch from now() - run_at) * 1000)::bigint
from queue where run_at <= now()";

/// Claims of a session that its node does not know of.
pub(super) const RECLAIM: &str = "
with gone as (
  delete from claims
  where session_id = $1::bigint and claimed_at < now() - $2::bigint * interval '1 millisecond'
    and claim_id not in (select unnest($3::bigint[]))
  returning run_id, sweeps
)
insert into ready (destination_id, run_id, sweeps)
select 0, run_id, sweeps from gone on conflict do nothing returning run_id";

impl Link {
    /// Claims runs that are ready: at most so many for each queue named, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`]. Claims made by a call whose answer was lost
    /// come back through [`Link::reclaim`].
    pub async fn claim(
        &mut self,
        session: i64,
        claims: &mut ClaimIds,
        queues: &[(i32, u32)],
    ) -> Result<Vec<Claimed>, Error> {
        let total: u32 = queues
            .iter()
            .fold(0, |sum, (_, limit)| sum.saturating_add(*limit));
        let first = claims.take(total);
        let limits = queues
            .iter()
            .map(|(_, limit)| i32::try_from(*limit).unwrap_or(i32::MAX));
        let rows = self
            .rows(
                sqlx::query(CLAIM)
                    .bind(queues.iter().map(|(queue, _)| *queue).collect::<Vec<_>>())
                    .bind(limits.collect::<Vec<_>>())
                    .bind(session)
                    .bind(first),
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Claimed {
                    run_id: row.try_get::<Uuid, _>(0)?.into(),
                    claim_id: row.try_get(1)?,
                    sweeps: row.try_get(2)?,
                })
            })
            .collect()
    }

    /// Queues (destination ids, 0 = none) that have ready rows due now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn ready_queues(&mut self) -> Result<Vec<ReadyQueue>, Error> {
        let rows = self.rows(sqlx::query(READY_QUEUES)).await?;
        rows.iter()
            .map(|row| {
                let age_ms = u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default();
                Ok(ReadyQueue {
                    destination_id: row.try_get(0)?,
                    oldest_age: Duration::from_millis(age_ms),
                })
            })
            .collect()
    }

    /// Returns claims of this session to `ready` that are older than `older_than` and not among
    /// `held`: claims whose statement was committed but whose answer never came. To be called now
    /// and then with all claim ids the node holds; `older_than` must be several deadlines long.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn reclaim(
        &mut self,
        session: i64,
        held: &[i64],
        older_than: Duration,
    ) -> Result<usize, Error> {
        let older_than_ms = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX / 1_000_000);
        let query = sqlx::query(RECLAIM)
            .bind(session)
            .bind(older_than_ms)
            .bind(held);
        Ok(self.rows(query).await?.len())
    }
}
