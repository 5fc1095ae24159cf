//! T3, settle: what came of runs is written down, and their claims are kept or released.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::Row;
use uuid::Uuid;

use super::exchange::{APPROVALS, EXCHANGE, Exchanged};
use super::link::check_batch;
use super::{Error, Link, Next, Settlement};
use crate::id::Id;

/// Everything hangs on the claim: of a run whose claim is gone nothing is written. A claim that is
/// kept is locked until the commit, so nobody can sweep it while its entries are written.
///
/// Whoever holds the claim is the run's only writer. A journal row that is already there is
/// therefore one of its own whose commit was not reported, and is replaced.
///
/// `next`: 0 keep, 1 wait, 2 ready, 3 ended. Sweeps are forgotten when there is progress.
///
/// Made twice: as it is, and with what a run exchanges with others, of which most have none. There,
/// `$more` is what is written besides, `$counts` what is counted of it and `$any` when.
macro_rules! settle {
    ([$($more:tt)*] [$($counts:tt)*] [$($any:tt)*]) => {
        concat!(
            "
with places as materialized (
  select g.run_id, g.next, g.due_us, g.destination_id, g.workflow_id, g.status, c.place,
         case when g.progress then 0 else c.sweeps end as sweeps
  from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::integer[],
              $6::integer[], $7::text[], $8::boolean[])
    as g (run_id, claim_id, next, due_us, destination_id, workflow_id, status, progress)
  cross join lateral (
    select x.ctid as place, x.sweeps from claims x
    where x.run_id = g.run_id and x.claim_id = g.claim_id offset 0
  ) c
),
kept as materialized (
  select run_id from claims
  where ctid = any (array(select place from places where next = 0)) for update
),
gone as (
  delete from claims where ctid = any (array(select place from places where next <> 0))
  returning run_id
),
held as materialized (
  select run_id from kept union all select run_id from gone
),
written as (
  insert into journal (run_id, seq, entries, status, output, error)
  select j.* from (
    select unnest($1) as run_id, unnest($9::integer[]), unnest($10::bytea[]) as entries,
           unnest($7) as status, unnest($11::bytea[]), unnest($12::bytea[])
  ) j
  where (j.entries is not null or j.status is not null)
    and (j.run_id in (select run_id from held)) is true
  on conflict (run_id, seq) do update
  set at = excluded.at, entries = excluded.entries, status = excluded.status,
      output = excluded.output, error = excluded.error
),
waits as (
  insert into timers (due_at, run_id, sweeps)
  select now() + due_us * interval '1 microsecond', run_id, sweeps from places
  where next = 1 and (run_id in (select run_id from gone)) is true
),
queued as (
  insert into ready (destination_id, run_id, sweeps)
  select destination_id, run_id, sweeps from places
  where next = 2 and (run_id in (select run_id from gone)) is true
),
ended as materialized (
  select run_id, workflow_id, status from places
  where next = 3 and (run_id in (select run_id from gone)) is true
),
dead as (
  insert into faulted (run_id, workflow_id)
  select run_id, workflow_id from ended where status = 'faulted' on conflict do nothing
),",
            $($more)*,
            "
counted as (
  update ledger set
    completed = completed + (select count(*) from ended where status = 'completed'),
    faulted = faulted + (select count(*) from ended where status = 'faulted'),
    cancelled = cancelled + (select count(*) from ended where status = 'cancelled')",
            $($counts)*,
            "
  where session_id = $13::bigint and lane = $14::smallint
    and (exists (select from ended)",
            $($any)*,
            ")
)
select run_id from held"
        )
    };
}
pub(super) use settle;

/// Settlements of runs that exchange nothing.
pub(super) const SETTLE: &str = settle!([""][""][""]);

impl Link {
    /// T3. Returns the runs whose claim was lost; nothing was written for them. At most one
    /// settlement of a run in a batch, at most [`super::BATCH_MAX`] settlements.
    ///
    /// After [`Error::Unavailable`] settle the same again: a run that is then said to be lost was
    /// either settled the first time or taken over by another node; drop it in both cases.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], or [`Error::Unfit`] for an oversized batch.
    pub async fn settle(&mut self, batch: &[Settlement]) -> Result<Vec<Id>, Error> {
        check_batch(batch.len())?;
        let columns = Columns::of(batch);
        let exchanges = batch.iter().any(|settlement| settlement.exchange.is_some());
        let exchange = |settlement: &Settlement| {
            let exchange = settlement.exchange.as_ref();
            exchange.is_some_and(|exchange| !exchange.approvals.is_empty())
        };
        let approves = exchanges && batch.iter().any(exchange);
        let statement = match (exchanges, approves) {
            (false, _) => SETTLE,
            (true, false) => EXCHANGE,
            (true, true) => APPROVALS,
        };
        let query = sqlx::query(statement)
            .bind(columns.runs)
            .bind(columns.claims)
            .bind(columns.nexts)
            .bind(columns.dues_us)
            .bind(columns.destinations)
            .bind(columns.workflows)
            .bind(columns.statuses)
            .bind(columns.progress)
            .bind(columns.seqs)
            .bind(columns.entries)
            .bind(columns.outputs)
            .bind(columns.errors)
            .bind(self.lane.0)
            .bind(self.lane.1);
        let rows = if exchanges {
            let exchanged = Exchanged::of(batch);
            let query = exchanged.bind(query);
            let query = if approves {
                super::approvals::bind(batch, query)
            } else {
                query
            };
            self.rows(query).await?
        } else {
            self.rows(query).await?
        };
        let held: HashSet<Uuid> = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        let runs = batch.iter().map(|settlement| settlement.run_id);
        Ok(runs.filter(|id| !held.contains(&id.uuid())).collect())
    }
}

#[derive(Default)]
struct Columns<'a> {
    runs: Vec<Uuid>,
    claims: Vec<i64>,
    nexts: Vec<i16>,
    dues_us: Vec<Option<i64>>,
    destinations: Vec<Option<i32>>,
    workflows: Vec<i32>,
    statuses: Vec<Option<&'a str>>,
    progress: Vec<bool>,
    seqs: Vec<i32>,
    entries: Vec<Option<&'a [u8]>>,
    outputs: Vec<Option<&'a [u8]>>,
    errors: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Settlement]) -> Self {
        let mut columns = Self::default();
        // Stored times are compared with the database's clock alone: a node sends durations.
        let now = Timestamp::now();
        for settlement in batch {
            columns.runs.push(settlement.run_id.uuid());
            columns.claims.push(settlement.claim_id);
            columns.workflows.push(settlement.workflow_id);
            columns.progress.push(settlement.entries.is_some());
            columns.seqs.push(settlement.seq);
            columns.entries.push(settlement.entries.as_deref());
            let (mut due, mut destination) = (None, None);
            let (mut status, mut output, mut error) = (None, None, None);
            let next = match &settlement.next {
                Next::Keep => 0,
                Next::Wait { due_at } => {
                    due = Some(due_at.as_microsecond().saturating_sub(now.as_microsecond()));
                    1
                }
                Next::Ready { destination_id } => {
                    destination = Some(*destination_id);
                    2
                }
                Next::Ended {
                    status: end,
                    output: result,
                    error: cause,
                } => {
                    (status, output, error) = (Some(*end), result.as_deref(), cause.as_deref());
                    3
                }
            };
            columns.nexts.push(next);
            columns.dues_us.push(due);
            columns.destinations.push(destination);
            columns.statuses.push(status);
            columns.outputs.push(output);
            columns.errors.push(error);
        }
        columns
    }
}
