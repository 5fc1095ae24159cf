//! The tables `batches` and `batch_events`: events that wait to start a run together.
//!
//! The router gathers them before it routes them, the batch loop takes what is due. An event is
//! taken only once it is out of the inbox: until then another router may gather it again, which
//! changes nothing as long as it is there.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row;
use uuid::Uuid;

use super::load::read_event;
use super::{Error, Link, Store};
use crate::event::Event;
use crate::id::Id;

/// Most batches taken up at one look.
const LOOK_MAX: i32 = 64;

/// Bytes of events at which a batch is due, however few they are, and most of one run.
pub const BATCH_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// Makes the batches and locks them; one that had been emptied begins anew.
const LOCK: &str = "
insert into batches (namespace, name, key, workflow_id)
select namespace, name, key, workflow_id from json_to_recordset($1::text::json)
  as g (namespace text, name text, key uuid, workflow_id integer)
order by namespace, name, key
on conflict (namespace, name, key) do update
set workflow_id = excluded.workflow_id,
    begun_at = case when batches.events = 0 then now() else batches.begun_at end
returning id, namespace, name, key";

/// Only events of the inbox are gathered, and their rows are held, so that nobody has routed them
/// by the time this is committed.
const GATHER: &str = "
with given as (
  select * from json_to_recordset($1::text::json)
    as g (batch_id bigint, event_id uuid, bytes bigint, events_max integer, wait_us bigint,
          quiet_us bigint)
),
held as materialized (
  select i.event_id from inbox i where i.event_id in (select event_id from given)
  order by i.event_id for key share
),
written as (
  insert into batch_events (batch_id, event_id)
  select g.batch_id, g.event_id from given g
  where g.event_id in (select event_id from held)
  on conflict do nothing returning batch_id, event_id
),
sums as (
  select w.batch_id, count(*)::integer as events, sum(g.bytes)::bigint as bytes,
         max(g.events_max) as events_max, max(g.wait_us) as wait_us, max(g.quiet_us) as quiet_us
  from written w join given g on g.batch_id = w.batch_id and g.event_id = w.event_id
  group by w.batch_id
)
update batches b set events = b.events + s.events, bytes = b.bytes + s.bytes,
  due_at = case
    when s.quiet_us is not null then least(
      now() + s.quiet_us * interval '1 microsecond',
      b.begun_at + s.wait_us * interval '1 microsecond')
    when b.events + s.events >= s.events_max or b.bytes + s.bytes >= $2::bigint then now()
    else b.begun_at + s.wait_us * interval '1 microsecond' end
from sums s where b.id = s.batch_id
returning b.due_at <= now()";

pub(super) const DUE: &str = "
select now(), (extract(epoch from (select min(x.due_at) from batches x
                 where x.events > 0 and x.due_at > now()) - now()) * 1000)::bigint,
       w.*
from (select) one left join lateral (
  select b.id, b.version, b.workflow_id from batches b
  where b.events > 0 and b.due_at <= now() order by b.due_at limit $1::integer
) w on true";

const MEMBERS: &str = "
select b.event_id, e.bytes
from batch_events b cross join lateral (
  select length(x.body)::bigint as bytes from events x where x.id = b.event_id offset 0
) e
where b.batch_id = $1 and not exists (select from inbox i where i.event_id = b.event_id)
order by b.event_id limit $2";

const EVENTS: &str = "
select e.* from unnest($1::uuid[]) as g (id) cross join lateral (
  select x.id, x.source, x.event_id, x.type, x.content_type, x.attributes, x.headers, x.body,
         x.workflow_id, x.run_id
  from events x where x.id = g.id offset 0
) e order by e.id";

/// Batches that are long due wait for events that retention has dropped.
const LOST: &str = "
with lost as (
  delete from batch_events b
  where b.batch_id in (
      select id from batches where events > 0 and due_at < now() - interval '1 hour' limit 100
    )
    and not exists (select from events e where e.id = b.event_id)
  returning batch_id
)
update batches b set events = greatest(b.events - n.events, 0)
from (select batch_id, count(*)::integer as events from lost group by batch_id) n
where b.id = n.batch_id";

/// Takes events out of a batch that nobody else has taken from, and appends what they have become.
/// The batch goes on with those that have come since.
pub(super) const TAKE: &str = "
with moved as (
  update batches b set version = b.version + 1,
    events = greatest(b.events - $4::integer, 0), bytes = greatest(b.bytes - $5::bigint, 0),
    begun_at = now(),
    due_at = case when b.events - $4 >= $6::integer then now()
                  else now() + $7::bigint * interval '1 microsecond' end
  where b.id = $1::bigint and b.version = $2::integer
  returning b.id
),
gone as (
  delete from batch_events
  where batch_id = $1 and event_id = any ($3::uuid[]) and exists (select from moved)
),
stored as (
  insert into events (id, source, event_id, type, content_type, body, workflow_id, run_id)
  select $8::uuid, $9::text, ($8::uuid)::text, $10::text, 'application/json', $11::bytea,
         $12::integer, $13::uuid
  from moved
),
queued as (
  insert into inbox (event_id) select $8 from moved
),
counted as (
  update ledger set stored = stored + (select count(*) from moved)
  where session_id = $14::bigint and lane = $15::smallint
)
select id from moved";

/// An event to gather.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// Namespace of the workflow.
    pub namespace: String,
    /// Name of the workflow.
    pub name: String,
    /// Stands for the value of the key.
    pub key: Id,
    /// The version that matched.
    pub workflow_id: i32,
    /// The event.
    pub event_id: Id,
    /// Length of its body.
    pub bytes: i64,
    /// Events at which the batch is due.
    pub events_max: u32,
    /// Longest wait of an event.
    pub wait_max: Duration,
    /// How long none must come, where that is asked for.
    pub quiet: Option<Duration>,
}

#[derive(Serialize)]
struct Batch<'a> {
    namespace: &'a str,
    name: &'a str,
    key: Uuid,
    workflow_id: i32,
}

#[derive(Serialize)]
struct Member {
    batch_id: i64,
    event_id: Uuid,
    bytes: i64,
    events_max: u32,
    wait_us: i64,
    quiet_us: Option<i64>,
}

impl Gathered {
    fn member(&self, batch_id: i64) -> Member {
        Member {
            batch_id,
            event_id: self.event_id.uuid(),
            bytes: self.bytes,
            events_max: self.events_max,
            wait_us: micros(self.wait_max),
            quiet_us: self.quiet.map(micros),
        }
    }
}

/// What is due at one look.
#[derive(Debug)]
pub struct Look {
    /// The time.
    pub now: Timestamp,
    /// How long until a batch is due that is not due now.
    pub next_in: Option<Duration>,
    /// Batches that are due.
    pub due: Vec<DueBatch>,
}

/// A batch that is due.
#[derive(Clone, Copy, Debug)]
pub struct DueBatch {
    /// The batch.
    pub id: i64,
    /// How often it has been taken from.
    pub version: i32,
    /// The version whose run it starts.
    pub workflow_id: i32,
}

/// The run that gathered events start.
#[derive(Debug)]
pub struct Start {
    /// The event that stands for them.
    pub event_id: Id,
    /// Its CloudEvents `source`.
    pub source: String,
    /// Its CloudEvents `type`.
    pub kind: &'static str,
    /// Its body: the run's input.
    pub input: Vec<u8>,
    /// The run.
    pub run_id: Id,
    /// Events at which the batch is due again.
    pub events_max: u32,
    /// Longest wait of an event.
    pub wait: Duration,
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn json(rows: &[impl Serialize]) -> Result<String, Error> {
    serde_json::to_string(rows).map_err(|error| Error::Unfit(error.to_string()))
}

impl Store {
    /// Gathers events that are in the inbox; whether a batch is due now. Doing it again is safe.
    ///
    /// # Errors
    /// Where the database is away or refuses; nothing is gathered then.
    pub async fn gather(&self, gathered: Vec<Gathered>) -> Result<bool, Error> {
        self.transaction(move |connection| {
            Box::pin(async move {
                let of = |one: &Gathered| (one.namespace.clone(), one.name.clone(), one.key.uuid());
                let batches: BTreeMap<_, _> = gathered.iter().map(|one| (of(one), one)).collect();
                let batches: Vec<Batch<'_>> = batches
                    .values()
                    .map(|one| Batch {
                        namespace: &one.namespace,
                        name: &one.name,
                        key: one.key.uuid(),
                        workflow_id: one.workflow_id,
                    })
                    .collect();
                let rows: Vec<(i64, String, String, Uuid)> = sqlx::query_as(LOCK)
                    .bind(json(&batches)?)
                    .fetch_all(&mut *connection)
                    .await?;
                let ids: BTreeMap<_, _> = rows
                    .into_iter()
                    .map(|(id, namespace, name, key)| ((namespace, name, key), id))
                    .collect();
                let member = |one: &Gathered| ids.get(&of(one)).map(|id| one.member(*id));
                let members: Vec<Member> = gathered.iter().filter_map(member).collect();
                let due: Vec<bool> = sqlx::query_scalar(GATHER)
                    .bind(json(&members)?)
                    .bind(BATCH_BYTES_MAX)
                    .fetch_all(connection)
                    .await?;
                Ok(due.contains(&true))
            })
        })
        .await
    }
}

impl Link {
    /// Batches that are due now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn due_batches(&mut self) -> Result<Look, Error> {
        let rows = self.rows(sqlx::query(DUE).bind(LOOK_MAX)).await?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let now: jiff_sqlx::Timestamp = first.try_get(0)?;
        let next_ms: Option<i64> = first.try_get(1)?;
        let mut due = Vec::new();
        for row in &rows {
            if let Some(id) = row.try_get(2)? {
                due.push(DueBatch {
                    id,
                    version: row.try_get(3)?,
                    workflow_id: row.try_get(4)?,
                });
            }
        }
        Ok(Look {
            now: now.to_jiff(),
            next_in: next_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default())),
            due,
        })
    }

    /// The oldest events of a batch that are out of the inbox, at most so many, and the lengths of
    /// their bodies.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn batch_members(&mut self, batch: i64, limit: u32) -> Result<Vec<(Id, i64)>, Error> {
        let query = sqlx::query(MEMBERS).bind(batch).bind(i64::from(limit));
        let rows = self.rows(query).await?;
        rows.iter()
            .map(|row| Ok((row.try_get::<Uuid, _>(0)?.into(), row.try_get(1)?)))
            .collect()
    }

    /// These events, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn events_of(&mut self, ids: &[Id]) -> Result<Vec<Event>, Error> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let rows = self.rows(sqlx::query(EVENTS).bind(ids)).await?;
        let event = |row| read_event(row, 0).map(|(event, _)| event);
        rows.iter().map(event).collect()
    }

    /// Takes events out of a batch and starts a run for them, unless another node has taken from
    /// it since it was read; whether it did.
    ///
    /// After [`Error::Unavailable`] look again: what was committed is gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn take_batch(
        &mut self,
        batch: DueBatch,
        members: &[(Id, i64)],
        start: &Start,
    ) -> Result<bool, Error> {
        let ids: Vec<Uuid> = members.iter().map(|(id, _)| id.uuid()).collect();
        let bytes: i64 = members.iter().map(|(_, bytes)| bytes).sum();
        let query = sqlx::query(TAKE)
            .bind(batch.id)
            .bind(batch.version)
            .bind(&ids)
            .bind(i32::try_from(ids.len()).unwrap_or(i32::MAX))
            .bind(bytes)
            .bind(i32::try_from(start.events_max).unwrap_or(i32::MAX))
            .bind(micros(start.wait))
            .bind(start.event_id.uuid())
            .bind(&start.source)
            .bind(start.kind)
            .bind(&start.input)
            .bind(batch.workflow_id)
            .bind(start.run_id.uuid())
            .bind(self.lane.0)
            .bind(self.lane.1);
        Ok(!self.rows(query).await?.is_empty())
    }

    /// Forgets batches that have been empty for a while, and events that are gone from the log.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn forget_batches(&mut self) -> Result<(), Error> {
        self.rows(sqlx::query(LOST)).await?;
        let query = sqlx::query(
            "delete from batches where id in \
               (select id from batches where events = 0 and due_at < now() - interval '1 hour' \
                limit 1000 for update skip locked)",
        );
        self.rows(query).await.map(drop)
    }
}
