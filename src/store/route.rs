//! T2, route: events leave the inbox and become runs, or are ignored for a reason.
//!
//! Called by the router in `worker`, which has matched the batch in memory.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::append::storable;
use super::link::check_batch;
use super::load::read_event;
use super::{Error, Link, Routing, Unrouted};
use crate::id::Id;

/// The delete decides who routes an event: of two nodes the second finds its row gone. Rows are
/// looked up one by one and deleted by place, in an order that is the same for everybody.
pub(super) const ROUTE: &str = "
with places as materialized (
  select i.place from unnest($1::uuid[]) as g (id) cross join lateral (
    select x.ctid as place from inbox x where x.event_id = g.id offset 0
  ) i
),
gone as (
  delete from inbox where ctid = any (array(select place from places)) returning event_id
),
created as (
  insert into runs (id, workflow_id, event_id)
  select n.id, n.workflow_id, n.event_id
  from unnest($2::uuid[], $3::uuid[], $4::integer[]) as n (id, event_id, workflow_id)
  where (n.event_id in (select event_id from gone)) is true
  on conflict do nothing returning id
),
claimed as (
  insert into claims (run_id, claim_id, session_id)
  select n.id, n.claim_id, $6::bigint
  from unnest($2, $5::bigint[]) as n (id, claim_id)
  where n.claim_id is not null and (n.id in (select id from created)) is true
  on conflict do nothing
),
queued as (
  insert into ready (destination_id, run_id)
  select 0, n.id from unnest($2, $5) as n (id, claim_id)
  where n.claim_id is null and (n.id in (select id from created)) is true
  on conflict do nothing
),
passed as (
  insert into ignored (event_id, reason)
  select n.id, n.reason from unnest($7::uuid[], $8::text[]) as n (id, reason)
  where (n.id in (select event_id from gone)) is true
  on conflict do nothing returning event_id
),
counted as (
  update ledger set
    routed = routed + (select count(*) from gone),
    ignored = ignored + (select count(*) from passed),
    runs = runs + (select count(*) from created)
  where session_id = $9::bigint and lane = $10::smallint
)
select event_id from gone";

/// Ids sort by time, so the first rows of the index are the oldest.
pub(super) const UNROUTED: &str = "
select e.* from inbox i cross join lateral (
  select x.id, x.source, x.event_id, x.type, x.content_type, x.attributes, x.headers, x.body,
         x.workflow_id, x.run_id
  from events x where x.id = i.event_id offset 0
) e
where i.queued_at <= now() - $1::bigint * interval '1 millisecond'
order by i.event_id limit $2::integer";

impl Link {
    /// T2. Deletes inbox rows and creates their runs, claims, ready rows and "ignored" records in
    /// one statement. Returns the events that another node had already routed: nothing was
    /// created for them. Runs may be created with ids of version 7 only.
    ///
    /// After [`Error::Unavailable`] the batch may have been routed. Routing it again is safe: it
    /// answers that the events were already routed. Claims that this node then does not know of
    /// come back through [`Link::reclaim`].
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], or [`Error::Unfit`] for an oversized batch.
    pub async fn route(&mut self, batch: &Routing) -> Result<Vec<Id>, Error> {
        check_batch(batch.events.len())?;
        let (session, lane) = self.lane;
        let runs = &batch.runs;
        let rows = self
            .rows(
                sqlx::query(ROUTE)
                    .bind(batch.events.iter().map(|id| id.uuid()).collect::<Vec<_>>())
                    .bind(runs.iter().map(|run| run.id.uuid()).collect::<Vec<_>>())
                    .bind(
                        runs.iter()
                            .map(|run| run.event_id.uuid())
                            .collect::<Vec<_>>(),
                    )
                    .bind(runs.iter().map(|run| run.workflow_id).collect::<Vec<_>>())
                    .bind(runs.iter().map(|run| run.claim_id).collect::<Vec<_>>())
                    .bind(batch.session)
                    .bind(
                        batch
                            .ignored
                            .iter()
                            .map(|(id, _)| id.uuid())
                            .collect::<Vec<_>>(),
                    )
                    .bind(
                        batch
                            .ignored
                            .iter()
                            .map(|(_, why)| storable(why))
                            .collect::<Vec<_>>(),
                    )
                    .bind(session)
                    .bind(lane),
            )
            .await?;
        let routed: HashSet<Uuid> = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        Ok(batch
            .events
            .iter()
            .copied()
            .filter(|id| !routed.contains(&id.uuid()))
            .collect())
    }

    /// Inbox rows older than `older_than`, with their events, oldest first; at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn unrouted(
        &mut self,
        older_than: Duration,
        limit: u32,
    ) -> Result<Vec<Unrouted>, Error> {
        let rows = self
            .rows(
                sqlx::query(UNROUTED)
                    .bind(i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX / 1_000_000))
                    .bind(i32::try_from(limit).unwrap_or(i32::MAX)),
            )
            .await?;
        rows.iter()
            .map(|row| read_event(row, 0).map(|(event, target)| Unrouted { event, target }))
            .collect()
    }
}
