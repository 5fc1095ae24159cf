//! T2, route: events leave the inbox and become runs, or are ignored for a reason.
//!
//! Called by the router in `worker`, which has matched the batch in memory.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::append::storable;
use super::link::check_batch;
use super::load::read_event;
use super::{Error, Link, Routed, Routing, Unrouted};
use crate::id::Id;

/// The delete decides who routes an event: of two nodes the second finds its row gone. Rows are
/// looked up one by one and deleted by place, in an order that is the same for everybody.
///
/// A router that does not know all filters that runs listen with deletes nothing: it must learn
/// them first. Whoever began to listen before this statement's snapshot is therefore heard.
///
/// Made twice: as it is, and with listeners to tell, of which most batches have none. There,
/// `$more` tells them, `$unless` keeps what was heard from being ignored, `$answer` names them.
macro_rules! route {
    ([$($more:tt)*] [$($unless:tt)*] [$($answer:tt)*]) => {
        concat!(
            "
with revised as materialized (
  select from listening_revision where number <> $11::bigint
),
places as materialized (
  select i.place from unnest($1::uuid[]) as g (id) cross join lateral (
    select x.ctid as place from inbox x where x.event_id = g.id offset 0
  ) i
),
gone as (
  delete from inbox
  where ctid = any (array(select place from places)) and not exists (select from revised)
  returning event_id
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
),",
            $($more)*,
            "
passed as (
  insert into ignored (event_id, reason)
  select n.id, n.reason from unnest($7::uuid[], $8::text[]) as n (id, reason)
  where (n.id in (select event_id from gone)) is true",
            $($unless)*,
            "
  on conflict do nothing returning event_id
),
counted as (
  update ledger set
    routed = routed + (select count(*) from gone),
    ignored = ignored + (select count(*) from passed),
    runs = runs + (select count(*) from created)
  where session_id = $9::bigint and lane = $10::smallint
)
select 0::smallint, event_id from gone union all select 1::smallint, null::uuid from revised",
            $($answer)*,
        )
    };
}

/// Batches that no listener may be waiting for.
pub(super) const ROUTE: &str = route!([""][""][""]);

/// A listener hears an event once, however many of its filters match. An event that is addressed
/// to a run reaches it while it is open, whether it listens yet or not.
pub(super) const ROUTE_AND_TELL: &str = route!(
    ["
heard as (
  insert into mail (run_id, id, kind)
  select distinct l.run_id, g.event_id, 0::smallint
  from unnest($12::uuid[], $13::uuid[]) as g (event_id, key)
  cross join lateral (select x.run_id from listeners x where x.key = g.key offset 0) l
  where (g.event_id in (select event_id from gone)) is true
  on conflict do nothing returning run_id, id
),
open as materialized (
  select a.event_id, a.run_id
  from unnest($14::uuid[], $15::uuid[]) as a (event_id, run_id)
  cross join lateral (select from runs x where x.id = a.run_id offset 0) r
  where (a.event_id in (select event_id from gone)) is true
    and not exists (select from journal j where j.run_id = a.run_id and j.status is not null)
),
gathers as (
  insert into gathered (workflow_id, group_id, event_id, filters)
  select g.workflow_id, g.group_id, g.event_id, g.filters
  from unnest($16::uuid[], $17::integer[], $18::uuid[], $19::bigint[])
    as g (event_id, workflow_id, group_id, filters)
  where (g.event_id in (select event_id from gone)) is true
  on conflict do nothing returning workflow_id, group_id, event_id
),
news as (
  insert into gathered_new (workflow_id, group_id, event_id)
  select workflow_id, group_id, event_id from gathers on conflict do nothing
),
told as (
  insert into mail (run_id, id, kind)
  select run_id, event_id, 0::smallint from open
  on conflict do nothing returning run_id, id
),"]["
    and (n.id in (select id from heard union all select event_id from open)) is not true"]
        [" union all select distinct 2::smallint, run_id from heard
union all select 2::smallint, run_id from told"]
);

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
    /// T2. Deletes inbox rows and creates their runs, claims, ready rows, mail and "ignored"
    /// records in one statement. Runs may be created with ids of version 7 only.
    ///
    /// After [`Error::Unavailable`] the batch may have been routed. Routing it again is safe: it
    /// answers that the events were already routed. Claims that this node then does not know of
    /// come back through [`Link::reclaim`], mail that nobody was woken for through
    /// [`Link::deliver`].
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], or [`Error::Unfit`] for an oversized batch.
    pub async fn route(&mut self, batch: &Routing) -> Result<Routed, Error> {
        check_batch(batch.events.len())?;
        let (session, lane) = self.lane;
        let uuids = |ids: &[Id]| ids.iter().map(|id| id.uuid()).collect::<Vec<_>>();
        let runs = &batch.runs;
        let ignored = &batch.ignored;
        let tells =
            !(batch.heard.is_empty() && batch.addressed.is_empty() && batch.gathered.is_empty());
        let mut query = sqlx::query(if tells { ROUTE_AND_TELL } else { ROUTE })
            .bind(uuids(&batch.events))
            .bind(runs.iter().map(|run| run.id.uuid()).collect::<Vec<_>>())
            .bind(
                runs.iter()
                    .map(|run| run.event_id.uuid())
                    .collect::<Vec<_>>(),
            )
            .bind(runs.iter().map(|run| run.workflow_id).collect::<Vec<_>>())
            .bind(runs.iter().map(|run| run.claim_id).collect::<Vec<_>>())
            .bind(batch.session)
            .bind(ignored.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
            .bind(
                ignored
                    .iter()
                    .map(|(_, why)| storable(why))
                    .collect::<Vec<_>>(),
            )
            .bind(session)
            .bind(lane)
            .bind(batch.listening);
        if tells {
            let (heard, keys): (Vec<Uuid>, Vec<Uuid>) = batch
                .heard
                .iter()
                .map(|(event, key)| (event.uuid(), key.uuid()))
                .unzip();
            let (told, addressees): (Vec<Uuid>, Vec<Uuid>) = batch
                .addressed
                .iter()
                .map(|(event, run)| (event.uuid(), run.uuid()))
                .unzip();
            query = query.bind(heard).bind(keys).bind(told).bind(addressees);
            let gathered = &batch.gathered;
            let groups = gathered.iter().map(|(_, group, _)| group);
            let filters = gathered.iter().map(|(.., filters)| filters.cast_signed());
            query = query
                .bind(
                    gathered
                        .iter()
                        .map(|(id, ..)| id.uuid())
                        .collect::<Vec<_>>(),
                )
                .bind(groups.clone().map(|(id, _)| *id).collect::<Vec<_>>())
                .bind(groups.map(|(_, id)| id.uuid()).collect::<Vec<_>>())
                .bind(filters.collect::<Vec<_>>());
        }
        read(&self.rows(query).await?, &batch.events)
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

/// What became of a batch: its rows say what kind of thing each id is.
fn read(rows: &[PgRow], events: &[Id]) -> Result<Routed, Error> {
    let mut routed = Routed::default();
    let mut gone = HashSet::new();
    for row in rows {
        match row.try_get::<i16, _>(0)? {
            0 => {
                gone.insert(row.try_get::<Uuid, _>(1)?);
            }
            1 => routed.stale = true,
            _ => routed.told.push(row.try_get::<Uuid, _>(1)?.into()),
        }
    }
    let events = events.iter().copied();
    routed.elsewhere = events.filter(|id| !gone.contains(&id.uuid())).collect();
    Ok(routed)
}
