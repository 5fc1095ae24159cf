//! Timers: runs whose time has come go back to `ready`.

use std::time::Duration;

use sqlx::Row;

use super::{Error, Fired, Link};

/// They join the queue at the time they were due, so a late timer is not put last.
pub(super) const FIRE: &str = "
with places as materialized (
  select ctid as place from timers where due_at <= now()
  order by due_at, run_id limit $1::integer for update skip locked
),
gone as (
  delete from timers where ctid = any (array(select place from places))
  returning due_at, run_id, sweeps
),
queued as (
  insert into ready (destination_id, run_at, run_id, sweeps)
  select 0, due_at, run_id, sweeps from gone on conflict do nothing
)
select (select count(*) from gone),
       (select (extract(epoch from due_at - now()) * 1000)::bigint from timers
        where due_at > now() order by due_at, run_id limit 1)";

impl Link {
    /// Moves due timers to `ready`, at most `limit`; says how many and how long until the next is
    /// due (zero where more may be due already).
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn fire(&mut self, limit: u32) -> Result<Fired, Error> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let rows = self.rows(sqlx::query(FIRE).bind(limit)).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let moved: i64 = row.try_get(0)?;
        let next_ms: Option<i64> = row.try_get(1)?;
        let next_in =
            next_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
        Ok(Fired {
            moved: u64::try_from(moved).unwrap_or_default(),
            next_in: if moved >= i64::from(limit) {
                Some(Duration::ZERO)
            } else {
                next_in
            },
        })
    }
}
