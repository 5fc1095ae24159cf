//! The table `rates`: how many calls to destinations may begin, for all nodes together.
//!
//! A token bucket for each window of a limit. A node that has calls takes tokens of all windows in
//! one statement, a batch at a time, so that the row is locked a few times a second and not once
//! for each call. All times are the database's.

use std::time::Duration;

use sqlx::Row;

use super::{Error, Link};

/// A row that is updated is read as it is now, under its lock. A window that is new is full.
pub(super) const TAKE: &str = "
insert into rates as r (destination_id, tokens, granted)
select $1::integer, array_agg(w.capacity - n.granted order by w.i), n.granted
from unnest($2::double precision[]) with ordinality as w (capacity, i),
  (select greatest(0, least($4::integer, floor(min(c))))::integer as granted
   from unnest($2::double precision[]) c) n
group by n.granted
on conflict (destination_id) do update
set (tokens, granted, filled_at) = (
  with levels as (
    select w.i, least(w.capacity, coalesce(r.tokens[w.i], w.capacity) + $5::integer
      + w.rate * greatest(0, extract(epoch from now() - r.filled_at))) as level
    from unnest($2::double precision[], $3::double precision[]) with ordinality
      as w (capacity, rate, i)
  ),
  given as (
    select greatest(0, least($4::integer, floor(min(level))))::integer as granted from levels
  )
  select array_agg(l.level - g.granted order by l.i), g.granted, greatest(r.filled_at, now())
  from levels l, given g group by g.granted
)
returning granted, tokens";

/// One window of a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateWindow {
    /// Calls that may begin at once.
    pub capacity: f64,
    /// Calls that come in addition, in a second.
    pub per_second: f64,
}

/// What a node got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taken {
    /// Calls that may begin.
    pub granted: u32,
    /// How long until there is another.
    pub next_in: Duration,
}

impl Link {
    /// Takes up to `wanted` tokens of all windows, and gives `returned` back first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn take_rate(
        &mut self,
        destination: i32,
        windows: &[RateWindow],
        (wanted, returned): (u32, u32),
    ) -> Result<Taken, Error> {
        let query = sqlx::query(TAKE)
            .bind(destination)
            .bind(windows.iter().map(|it| it.capacity).collect::<Vec<_>>())
            .bind(windows.iter().map(|it| it.per_second).collect::<Vec<_>>())
            .bind(i32::try_from(wanted).unwrap_or(i32::MAX))
            .bind(i32::try_from(returned).unwrap_or(i32::MAX));
        let rows = self.rows(query).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let granted: i32 = row.try_get("granted")?;
        let tokens: Vec<f64> = row.try_get("tokens")?;
        let waits = windows.iter().zip(&tokens).map(|(window, left)| {
            let seconds = (1.0 - left).max(0.0) / window.per_second;
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        });
        Ok(Taken {
            granted: u32::try_from(granted).unwrap_or_default(),
            next_in: waits.max().unwrap_or_default(),
        })
    }
}
