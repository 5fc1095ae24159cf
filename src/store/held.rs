//! The table `held`: events of sources that are paused.
//!
//! The router moves them here from the inbox; when the source goes on they come back, oldest
//! first. In the ledger they are stored and not routed.

use uuid::Uuid;

use super::{Error, Link, Store};
use crate::id::Id;

/// Events that go back to the inbox at once.
const RELEASED_MAX: i32 = 256;

/// What another node has routed already is not held.
pub(super) const HOLD: &str = "
with gone as (
  delete from inbox i using unnest($1::uuid[]) as g (id)
  where i.event_id = g.id returning i.event_id
)
insert into held (source, event_id)
select g.source, g.id from unnest($1, $2::text[]) as g (id, source)
where (g.id in (select event_id from gone)) is true
on conflict do nothing";

/// The names alone, whatever the number of events.
pub(super) const SOURCES: &str = "
with recursive named as (
  (select source from held order by source limit 1)
  union all
  select (select h.source from held h where h.source > n.source order by h.source limit 1)
  from named n where n.source is not null
)
select source from named where source is not null";

/// They count as having waited, so that any router takes them up at once.
pub(super) const RELEASE: &str = "
with places as materialized (
  select h.ctid as place from held h
  where h.source = $1 order by h.source, h.event_id limit $2 for update skip locked
),
gone as (
  delete from held where ctid = any (array(select place from places)) returning event_id
)
insert into inbox (event_id, queued_at)
select event_id, now() - interval '1 minute' from gone
on conflict do nothing";

impl Link {
    /// Moves events, each with its source, from the inbox to the held ones.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`]; doing it again is safe.
    pub async fn hold(&mut self, events: &[(Id, String)]) -> Result<(), Error> {
        let (ids, sources): (Vec<Uuid>, Vec<&str>) = events
            .iter()
            .map(|(id, source)| (id.uuid(), source.as_str()))
            .unzip();
        let query = sqlx::query(HOLD).bind(ids).bind(sources);
        self.rows(query).await?;
        Ok(())
    }
}

impl Store {
    /// The sources that have held events.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn held_sources(&self) -> Result<Vec<String>, Error> {
        Ok(sqlx::query_scalar(SOURCES).fetch_all(&self.pool).await?)
    }

    /// Gives the oldest held events of a source back to the inbox; how many.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn release_held(&self, source: &str) -> Result<u64, Error> {
        let done = sqlx::query(RELEASE)
            .bind(source)
            .bind(RELEASED_MAX)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
