//! Reads what a run needs to be replayed and go on: its event, its checkpoint, the journal behind
//! that, and its mail.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::link::check_batch;
use super::{Error, Link, Loaded, Target};
use crate::event::Event;
use crate::id::Id;

/// The sub-queries with `offset 0` stay loops of key probes whatever the planner believes about
/// the size of the tables; the id in hand picks the partition.
pub(super) const RUNS: &str = "
select r.id, r.workflow_id, e.*, k.seq, k.state
from unnest($1::uuid[]) as g (id)
cross join lateral (
  select x.id, x.workflow_id, x.event_id from runs x where x.id = g.id offset 0
) r
cross join lateral (
  select x.id, x.source, x.event_id, x.type, x.content_type, x.attributes, x.headers, x.body,
         x.workflow_id, x.run_id
  from events x where x.id = r.event_id offset 0
) e
left join lateral (
  select x.seq, x.state from checkpoints x where x.run_id = g.id offset 0
) k on true";

/// From a number on for each run. Rows without entries only close a run.
pub(super) const JOURNALS: &str = "
select g.id, j.seq, j.entries
from unnest($1::uuid[], $2::integer[]) as g (id, seq)
cross join lateral (
  select x.seq, x.entries from journal x
  where x.run_id = g.id and x.seq >= g.seq and x.entries is not null order by x.seq
) j";

/// The column of [`RUNS`] behind those of the event.
const CHECKPOINT: usize = 12;

impl Link {
    /// Everything needed to replay these runs, in no particular order. A run whose row or event is
    /// gone (dropped by retention, restored from an older backup) is missing from the answer: the
    /// caller, who holds its claim, should end it as faulted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], or [`Error::Unfit`] for an oversized batch.
    pub async fn load(&mut self, runs: &[Id]) -> Result<Vec<Loaded>, Error> {
        check_batch(runs.len())?;
        let ids: Vec<Uuid> = runs.iter().map(|id| id.uuid()).collect();
        let rows = self.rows(sqlx::query(RUNS).bind(&ids)).await?;
        let mut loaded = rows
            .iter()
            .map(without_journal)
            .collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<Uuid> = loaded.iter().map(|run| run.run_id.uuid()).collect();
        let seqs: Vec<i32> = loaded.iter().map(|run| run.seq).collect();
        let mut journals: HashMap<Uuid, (i32, Vec<Bytes>)> = HashMap::new();
        let query = sqlx::query(JOURNALS).bind(&ids).bind(seqs);
        for row in self.rows(query).await? {
            let (seq, entries): (i32, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
            let (next, journal) = journals.entry(row.try_get(0)?).or_default();
            *next = seq.saturating_add(1);
            journal.push(entries.into());
        }
        let mut mail = self.mail_of(&ids).await?;
        for run in &mut loaded {
            let id = run.run_id.uuid();
            if let Some((next, journal)) = journals.remove(&id) {
                (run.seq, run.journal) = (next, journal);
            }
            run.mail = mail.remove(&id).unwrap_or_default();
        }
        Ok(loaded)
    }
}

fn without_journal(row: &PgRow) -> Result<Loaded, Error> {
    let id: Uuid = row.try_get(0)?;
    let (event, target) = read_event(row, 2)?;
    let checkpoint: Option<Vec<u8>> = row.try_get(CHECKPOINT + 1)?;
    let seq: Option<i32> = row.try_get(CHECKPOINT)?;
    Ok(Loaded {
        run_id: id.into(),
        workflow_id: row.try_get(1)?,
        created_at: created_at(id.into(), event.id),
        event,
        target,
        checkpoint: checkpoint.map(Bytes::from),
        journal: Vec::new(),
        seq: seq.unwrap_or_default(),
        mail: Vec::new(),
    })
}

/// The time a run's id was made, or its event's where the run has a derived id.
fn created_at(run: Id, event: Id) -> Timestamp {
    let made_at_ms = match run.made_at_ms() {
        0 => event.made_at_ms(),
        made_at_ms => made_at_ms,
    };
    let made_at_ms = i64::try_from(made_at_ms).unwrap_or_default();
    Timestamp::from_millisecond(made_at_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Reads an event from ten columns, the first of them at `at`.
pub(super) fn read_event(row: &PgRow, at: usize) -> Result<(Event, Option<Target>), Error> {
    let id = Id::from(row.try_get::<Uuid, _>(at)?);
    let body: Vec<u8> = row.try_get(at + 7)?;
    let event = Event {
        id,
        source: row.try_get(at + 1)?,
        event_id: row.try_get(at + 2)?,
        kind: row.try_get(at + 3)?,
        content_type: row.try_get(at + 4)?,
        attributes: json(id, "attributes", row.try_get(at + 5)?),
        headers: json(id, "headers", row.try_get(at + 6)?),
        body: body.into(),
    };
    let workflow: Option<i32> = row.try_get(at + 8)?;
    let run: Option<Uuid> = row.try_get(at + 9)?;
    let target = run.map(|run| match workflow {
        Some(workflow_id) => Target::Start {
            workflow_id,
            run_id: run.into(),
        },
        None => Target::Run { run_id: run.into() },
    });
    Ok((event, target))
}

/// Reads a JSON column. One damaged row must not stop the batch it is in, so it reads as empty.
fn json<T: Default + serde::de::DeserializeOwned>(
    event: Id,
    column: &str,
    text: Option<Vec<u8>>,
) -> T {
    let Some(text) = text else {
        return T::default();
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::error!(%event, column, %error, "a stored event cannot be read in full");
        T::default()
    })
}
