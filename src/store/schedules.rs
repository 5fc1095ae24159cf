//! The table `schedules`: when each workflow that time starts is due next.
//!
//! Called by the schedule loop in `worker`, which decides, and by the API. Time is the database's
//! alone: what a node compares with came from here.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Error, Link};
use crate::id::Id;

/// Most schedules taken up at one look.
pub const LOOK_MAX: usize = 256;

/// When the run of the last tick has ended; null while it is open. A run that is in no table any
/// more has ended long ago.
macro_rules! ended_at {
    () => {
        "(select coalesce(
           (select j.at from journal j
            where j.run_id = s.last_run_id and j.status is not null order by j.seq desc limit 1),
           case when s.last_run_id is null then s.activated_at
                when not exists (select from runs r where r.id = s.last_run_id)
                 and not exists (select from inbox i where i.event_id = s.last_event_id)
                then now() end) as ended_at)"
    };
}

/// The time, how long until the next tick, and what is due. Ticks that wait for the end of a run
/// are left out until it has come.
pub(super) const DUE: &str = concat!(
    "
select now() as now,
       (select (extract(epoch from min(x.due_at) - now()) * 1000)::bigint from schedules x
        where x.due_at > now() and x.paused_at is null) as next_ms,
       w.*
from (select) one left join lateral (
  select s.namespace, s.name, s.workflow_id, s.due_at, s.held, e.ended_at is null as open
  from schedules s
  join deployments d on d.namespace = s.namespace and d.name = s.name
    and d.workflow_id = s.workflow_id and d.activated_at = s.activated_at
  cross join lateral ",
    ended_at!(),
    " e
  where s.due_at <= now() and s.paused_at is null and (not s.held or e.ended_at is not null)
  order by s.due_at limit $1::integer
) w on true"
);

/// `after`: where the run before has ended, its end says when the next tick is due.
pub(super) const REST: &str = concat!(
    "
update schedules t set due_at = w.ended_at + t.after_us * interval '1 microsecond'
from (
  select s.namespace, s.name, e.ended_at from schedules s
  cross join lateral ",
    ended_at!(),
    " e
  where s.due_at is null and s.after_us is not null and s.paused_at is null
    and e.ended_at is not null
  for update of s skip locked
) w
where t.namespace = w.namespace and t.name = w.name"
);

/// Moves schedules on, each from the tick it stood at and under the deployment that was looked at;
/// who finds it elsewhere changes nothing. What that tick came to is appended with it: an event
/// addressed to its run, or an event that is ignored for a reason.
pub(super) const TICK: &str = "
with given as (
  select * from json_to_recordset($1::text::json) as g (
    namespace text, name text, workflow_id integer, due_at timestamptz, next_at timestamptz,
    held boolean, started bigint, skipped bigint, missed bigint, cancel uuid)
),
places as materialized (
  select g.*, case when g.cancel is not null then s.last_run_id end as cancelled from given g
  join schedules s on s.namespace = g.namespace and s.name = g.name
  join deployments d on d.namespace = s.namespace and d.name = s.name
  where s.due_at = g.due_at and s.workflow_id = g.workflow_id and s.paused_at is null
    and d.workflow_id = s.workflow_id and d.activated_at = s.activated_at
  order by g.namespace, g.name for update of s skip locked for share of d skip locked
),
appended as materialized (
  select a.* from json_to_recordset($2::text::json) as a (
    namespace text, name text, id uuid, source text, event_id text, due_at timestamptz,
    workflow_id integer, run_id uuid, reason text)
  where (a.namespace, a.name) in (select namespace, name from places)
),
latest as (
  select distinct on (namespace, name) * from appended where run_id is not null
  order by namespace, name, due_at desc
),
moved as (
  update schedules s set due_at = p.next_at, held = p.held,
    last_due_at = coalesce(l.due_at, s.last_due_at),
    last_started_at = case when l.id is null then s.last_started_at else now() end,
    last_event_id = coalesce(l.id, s.last_event_id),
    last_run_id = coalesce(l.run_id, s.last_run_id),
    started = s.started + p.started, skipped = s.skipped + p.skipped, missed = s.missed + p.missed
  from places p left join latest l on l.namespace = p.namespace and l.name = p.name
  where s.namespace = p.namespace and s.name = p.name
),
stored as (
  insert into events (id, source, event_id, type, content_type, attributes, body, workflow_id,
                      run_id)
  select id, source, event_id, $3::text, 'application/json',
         convert_to(json_build_object('time', event_id)::text, 'UTF8'), '{}', workflow_id, run_id
  from appended
),
queued as (
  insert into inbox (event_id) select id from appended where reason is null
),
told as (
  insert into mail (run_id, id, kind, content)
  select cancelled, cancel, 1::smallint, $6::bytea from places where cancelled is not null
),
passed as (
  insert into ignored (event_id, reason)
  select id, reason from appended where reason is not null
),
counted as (
  update ledger set
    stored = stored + (select count(*) from appended),
    routed = routed + (select count(*) from appended where reason is not null),
    ignored = ignored + (select count(*) from appended where reason is not null)
  where session_id = $4::bigint and lane = $5::smallint and exists (select from appended)
)
select namespace, name, cancelled from places";

/// What is due at one look.
#[derive(Debug)]
pub struct Look {
    /// The time.
    pub now: Timestamp,
    /// How long until a tick is due that is not due now.
    pub next_in: Option<Duration>,
    /// The schedules that are due, the longest due first; at most [`LOOK_MAX`].
    pub due: Vec<Due>,
}

/// A schedule that is due.
#[derive(Debug)]
pub struct Due {
    /// Namespace of the workflow.
    pub namespace: String,
    /// Name of the workflow.
    pub name: String,
    /// The active version.
    pub workflow_id: i32,
    /// When its tick was due.
    pub due_at: Timestamp,
    /// Whether the tick has waited for the end of the run before.
    pub held: bool,
    /// Whether that run is open.
    pub open: bool,
}

/// What becomes of a schedule that was due: it stood at `due_at` under the version `workflow_id`.
#[derive(Debug, Serialize)]
pub struct Move {
    /// Namespace of the workflow.
    pub namespace: String,
    /// Name of the workflow.
    pub name: String,
    /// The version it was found under.
    pub workflow_id: i32,
    /// The tick it was found at.
    pub due_at: Timestamp,
    /// Its next tick.
    pub next_at: Option<Timestamp>,
    /// Whether that waits for the end of a run.
    pub held: bool,
    /// Ticks that start runs.
    pub started: u64,
    /// Ticks that start none because a run is open.
    pub skipped: u64,
    /// Ticks that were missed.
    pub missed: u64,
    /// The letter by which the run of the tick before is cancelled, where it is to be.
    pub cancel: Option<Id>,
}

/// A tick as an event; its CloudEvents `time` is its id.
#[derive(Debug, Serialize)]
pub struct Tick {
    /// Namespace of the workflow; with the name, that of a [`Move`].
    pub namespace: String,
    /// Name of the workflow.
    pub name: String,
    /// The event.
    pub id: Id,
    /// Its CloudEvents `source`.
    pub source: String,
    /// Its CloudEvents `id`.
    pub event_id: String,
    /// When it was due.
    pub due_at: Timestamp,
    /// The version it starts ...
    pub workflow_id: Option<i32>,
    /// ... as this run ...
    pub run_id: Option<Id>,
    /// ... or why it starts none.
    pub reason: Option<String>,
}

impl Link {
    /// What is due now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn due_schedules(&mut self) -> Result<Look, Error> {
        let limit = i32::try_from(LOOK_MAX).unwrap_or(i32::MAX);
        let rows = self.rows(sqlx::query(DUE).bind(limit)).await?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let next_ms: Option<i64> = first.try_get(1)?;
        Ok(Look {
            now: time(first, 0)?.ok_or(sqlx::Error::RowNotFound)?,
            next_in: next_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default())),
            due: rows
                .iter()
                .filter_map(|row| due(row).transpose())
                .collect::<Result<_, _>>()?,
        })
    }

    /// Gives schedules of the kind `after` whose run has ended their next time.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn rest_schedules(&mut self) -> Result<(), Error> {
        self.rows(sqlx::query(REST)).await.map(drop)
    }

    /// Moves schedules on and appends the events of their ticks, of the CloudEvents type `kind`,
    /// in one statement; returns the namespaces and names of those that were still where they were
    /// found, with the run that has got a letter saying `cancel`. For all others another node was
    /// first, and nothing is written.
    ///
    /// After [`Error::Unavailable`] look again: what was committed is not due any more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn tick(
        &mut self,
        (moves, ticks): (&[Move], &[Tick]),
        (kind, cancel): (&str, &[u8]),
    ) -> Result<HashMap<(String, String), Option<Id>>, Error> {
        let query = sqlx::query(TICK)
            .bind(json(moves)?)
            .bind(json(ticks)?)
            .bind(kind)
            .bind(self.lane.0)
            .bind(self.lane.1)
            .bind(cancel);
        let rows = self.rows(query).await?;
        rows.iter()
            .map(|row| {
                let told: Option<uuid::Uuid> = row.try_get(2)?;
                Ok(((row.try_get(0)?, row.try_get(1)?), told.map(Id::from)))
            })
            .collect()
    }
}

fn json(rows: &[impl Serialize]) -> Result<String, Error> {
    serde_json::to_string(rows).map_err(|error| Error::Unfit(error.to_string()))
}

/// A due schedule; nothing where the row carries the time only.
fn due(row: &PgRow) -> Result<Option<Due>, Error> {
    let Some(namespace) = row.try_get(2)? else {
        return Ok(None);
    };
    Ok(Some(Due {
        namespace,
        name: row.try_get(3)?,
        workflow_id: row.try_get(4)?,
        due_at: time(row, 5)?.ok_or(sqlx::Error::RowNotFound)?,
        held: row.try_get(6)?,
        open: row.try_get(7)?,
    }))
}

fn time(row: &PgRow, at: usize) -> Result<Option<Timestamp>, sqlx::Error> {
    let time: Option<jiff_sqlx::Timestamp> = row.try_get(at)?;
    Ok(time.map(jiff_sqlx::Timestamp::to_jiff))
}
