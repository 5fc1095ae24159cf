//! Sweeping up after nodes that died: any node does it for all.

use std::time::Duration;

use sqlx::Row;

use super::{Error, Link, SWEEPS_MAX, Swept};
use crate::problem::{Kind, Problem};

/// Claims without a live session: its row is old, or gone (a node that was declared dead may still
/// have created claims). A run that was swept too often is poison and ends as faulted; a run that
/// awaits it gets mail of that (`worker::origin` has the attributes, `worker::family` the mail).
pub(super) const SWEEP: &str = "
with places as materialized (
  select c.ctid as place from claims c
  where not exists (
    select from sessions s
    where s.id = c.session_id and s.beat_at >= now() - $1::bigint * interval '1 millisecond'
  )
  order by c.run_id limit 500 for update of c skip locked
),
gone as (
  delete from claims where ctid = any (array(select place from places))
  returning run_id, sweeps + 1 as sweeps
),
back as (
  insert into ready (destination_id, run_id, sweeps)
  select 0, run_id, sweeps from gone where sweeps < $2::smallint on conflict do nothing
),
poison as materialized (
  select g.run_id, r.event_id, coalesce(r.workflow_id, 0) as workflow_id,
         coalesce(j.seq + 1, 0) as seq
  from gone g
  left join lateral (
    select x.workflow_id, x.event_id from runs x where x.id = g.run_id offset 0
  ) r on true
  left join lateral (
    select x.seq from journal x where x.run_id = g.run_id order by x.seq desc limit 1
  ) j on true
  where g.sweeps >= $2
),
written as (
  insert into journal (run_id, seq, status, error)
  select run_id, seq, 'faulted', $3::bytea from poison
),
dead as (
  insert into faulted (run_id, workflow_id)
  select run_id, workflow_id from poison on conflict do nothing
),
parents as (
  insert into mail (run_id, id, kind, content)
  select (e.says ->> 'parentrun')::uuid, gen_random_uuid(), 2::smallint,
         convert_to(jsonb_build_object(
           'child', p.run_id, 'error', convert_from($3, 'UTF8')::jsonb)::text, 'UTF8')
  from poison p cross join lateral (
    select convert_from(x.attributes, 'UTF8')::jsonb as says from events x
    where x.id = p.event_id and x.run_id = p.run_id and x.attributes is not null offset 0
  ) e
  where e.says ->> 'parentawaits' = 'true'
),
resumed as (
  delete from suspended where run_id in (select run_id from poison)
),
counted as (
  update ledger set faulted = faulted + (select count(*) from poison)
  where session_id = $4::bigint and lane = $5::smallint and exists (select from poison)
),
ended as (
  delete from sessions s
  where s.beat_at < now() - $1 * interval '1 millisecond'
    and not exists (select from claims c where c.session_id = s.id)
  returning s.id
)
select (select count(*) from gone), (select count(*) from poison), (select count(*) from ended)";

impl Link {
    /// Returns claims of dead sessions (no beat for `dead_after` by the database's clock) to
    /// `ready`, at most 500 a call; runs swept [`SWEEPS_MAX`] times are faulted; dead sessions
    /// without claims go.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn sweep(&mut self, dead_after: Duration) -> Result<Swept, Error> {
        let problem = Problem::new(
            Kind::Runtime,
            format!("claimed {SWEEPS_MAX} times without finishing: every node that ran it ended"),
        );
        let error = serde_json::to_vec(&problem).expect("a problem is strings and a number");
        let dead_after_ms = i64::try_from(dead_after.as_millis()).unwrap_or(i64::MAX / 1_000_000);
        let query = sqlx::query(SWEEP)
            .bind(dead_after_ms)
            .bind(SWEEPS_MAX)
            .bind(error)
            .bind(self.lane.0)
            .bind(self.lane.1);
        let rows = self.rows(query).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let count = |at: usize| -> Result<u64, sqlx::Error> {
            Ok(u64::try_from(row.try_get::<i64, _>(at)?).unwrap_or_default())
        };
        let poisoned = count(1)?;
        Ok(Swept {
            returned: count(0)?.saturating_sub(poisoned),
            poisoned,
            sessions: count(2)?,
        })
    }
}
