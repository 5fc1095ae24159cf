//! Events that a workflow has been given and that do not suffice to start it yet.
//!
//! The router puts them in with its own statement. Whoever finds a match, on any node, locks all
//! rows of it: only if each is still there are they deleted, and the event that starts the run is
//! appended in the same statement.

use sqlx::Row;
use uuid::Uuid;

use super::append::new_keys;
use super::load::read_event;
use super::{Error, Link, NewEvent, Target};
use crate::event::Event;
use crate::id::Id;

/// Events of one group that are looked at; of more the oldest do not count.
pub const GROUP_EVENTS_MAX: i32 = 1_000;

/// Groups that one look finds.
const GROUPS_MAX: i32 = 256;

/// A workflow and what its events have in common.
pub type Group = (i32, Id);

/// An event of a group.
#[derive(Debug)]
pub struct Gathered {
    /// The event's id.
    pub id: Id,
    /// The filters it has passed, one bit for each.
    pub filters: u64,
    /// The event; none where it cannot be read any more.
    pub event: Option<Event>,
}

/// A match: its events, and the event that starts the run, where one starts.
#[derive(Debug)]
pub struct Gathering {
    /// The group.
    pub group: Group,
    /// The events used up.
    pub events: Vec<Id>,
    /// What starts the run.
    pub start: Option<NewEvent>,
}

const GROUPS: &str = "
select distinct workflow_id, group_id from (
  select workflow_id, group_id from gathered_new limit 4096
) g limit $1::integer";

/// The newest ones, oldest first.
const GROUP: &str = "
select g.event_id, g.filters, e.*
from (
  select event_id, filters from gathered
  where workflow_id = $1::integer and group_id = $2::uuid order by event_id desc limit $3::integer
) g
left join lateral (
  select x.id, x.source, x.event_id, x.type, x.content_type, x.attributes, x.headers, x.body,
         x.workflow_id, x.run_id
  from events x where x.id = g.event_id offset 0
) e on true
order by g.event_id";

const LOOKED_AT: &str = "
delete from gathered_new n
where workflow_id = $1::integer and group_id = $2::uuid and (
  event_id = any ($3::uuid[])
  or not exists (
    select from gathered g
    where g.workflow_id = n.workflow_id and g.group_id = n.group_id and g.event_id = n.event_id
  )
)";

/// Rows never change, so a row that is locked is the row that is deleted.
const USE: &str = concat!(
    "
with locked as materialized (
  select g.ctid as place from gathered g
  where g.workflow_id = $1::integer and g.group_id = $2::uuid and g.event_id = any ($3::uuid[])
  order by g.event_id for update
),
gone as (
  delete from gathered where ctid = any (array(select place from locked))
    and (select count(*) from locked) = cardinality($3)
  returning 1
),
given as materialized (
  select t.key, t.id, 30 as window_days from (values ($4::bytea, $5::uuid)) as t (key, id)
  where t.id is not null and exists (select from gone)
),
",
    new_keys!(),
    "
stored as (
  insert into events (id, source, event_id, type, content_type, body, workflow_id, run_id)
  select $5, $6::text, $7::text, $8::text, 'application/json', $9::bytea, $1, $10::uuid
  where $5 in (select event_id from today)
  returning id
),
queued as (
  insert into inbox (event_id) select id from stored
),
counted as (
  update ledger set stored = stored + (select count(*) from stored)
  where session_id = $11::bigint and lane = $12::smallint and exists (select from stored)
)
select count(*) from gone"
);

impl Link {
    /// Groups with events that were not looked at yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn gathered_groups(&mut self) -> Result<Vec<Group>, Error> {
        let rows = self.rows(sqlx::query(GROUPS).bind(GROUPS_MAX)).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get::<Uuid, _>(1)?.into())))
            .collect()
    }

    /// The events of a group, oldest first; at most [`GROUP_EVENTS_MAX`], the newest ones.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn gathered(&mut self, (workflow, group): Group) -> Result<Vec<Gathered>, Error> {
        let query = sqlx::query(GROUP).bind(workflow).bind(group.uuid());
        let rows = self.rows(query.bind(GROUP_EVENTS_MAX)).await?;
        rows.iter()
            .map(|row| {
                let is_there = row.try_get::<Option<Uuid>, _>(2)?.is_some();
                let event = is_there.then(|| read_event(row, 2)).transpose()?;
                Ok(Gathered {
                    id: row.try_get::<Uuid, _>(0)?.into(),
                    filters: row.try_get::<i64, _>(1)?.cast_unsigned(),
                    event: event.map(|(event, _)| event),
                })
            })
            .collect()
    }

    /// These events of a group were looked at and do not suffice; others are used up.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn looked_at(
        &mut self,
        (workflow, group): Group,
        events: &[Id],
    ) -> Result<(), Error> {
        let events: Vec<Uuid> = events.iter().map(|id| id.uuid()).collect();
        let query = sqlx::query(LOOKED_AT).bind(workflow).bind(group.uuid());
        self.rows(query.bind(events)).await?;
        Ok(())
    }

    /// Uses up the events of a match and appends what starts the run, all or nothing; false where
    /// another node has used one of them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn use_gathered(&mut self, gathering: &Gathering) -> Result<bool, Error> {
        let (session, lane) = self.lane;
        let (workflow, group) = gathering.group;
        let events: Vec<Uuid> = gathering.events.iter().map(|id| id.uuid()).collect();
        let start = gathering.start.as_ref();
        let run_id = start.and_then(|new| match &new.target {
            Some(Target::Start { run_id, .. }) => Some(run_id.uuid()),
            _ => None,
        });
        let query = sqlx::query(USE)
            .bind(workflow)
            .bind(group.uuid())
            .bind(events)
            .bind(start.map(|new| new.key.0))
            .bind(start.map(|new| new.event.id.uuid()))
            .bind(start.map(|new| new.event.source.as_str()))
            .bind(start.map(|new| new.event.event_id.as_str()))
            .bind(start.map(|new| new.event.kind.as_str()))
            .bind(start.map(|new| new.event.body.as_ref()))
            .bind(run_id)
            .bind(session)
            .bind(lane);
        let rows = self.rows(query).await?;
        let gone: i64 = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
        Ok(gone > 0)
    }
}
