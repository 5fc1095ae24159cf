//! The table `checkpoints`: what is open of long runs, beside the journal that it follows from.
//!
//! Written apart from the settlements it stands for, and without a fence: rows of the journal that
//! are committed never change, so whoever makes a checkpoint of them makes the same one.

use uuid::Uuid;

use super::link::check_batch;
use super::{Error, Link};
use crate::id::Id;

/// A checkpoint on its way.
#[derive(Debug)]
pub struct Checkpoint {
    /// The run.
    pub run_id: Id,
    /// Number of the journal row that comes next.
    pub seq: i32,
    /// As `run::Run::checkpoint` wrote it.
    pub state: Vec<u8>,
}

/// An older one never replaces a newer one.
const KEEP: &str = "
insert into checkpoints (run_id, seq, state)
select * from unnest($1::uuid[], $2::integer[], $3::bytea[])
on conflict (run_id) do update set seq = excluded.seq, state = excluded.state
where checkpoints.seq < excluded.seq";

const FORGET: &str = "delete from checkpoints where run_id = any ($1::uuid[])";

impl Link {
    /// Stores checkpoints, at most one of each run.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], or [`Error::Unfit`] for an oversized batch.
    pub async fn keep_checkpoints(&mut self, batch: &[Checkpoint]) -> Result<(), Error> {
        check_batch(batch.len())?;
        let runs: Vec<Uuid> = batch.iter().map(|one| one.run_id.uuid()).collect();
        let seqs: Vec<i32> = batch.iter().map(|one| one.seq).collect();
        let states: Vec<&[u8]> = batch.iter().map(|one| one.state.as_slice()).collect();
        let query = sqlx::query(KEEP).bind(runs).bind(seqs).bind(states);
        self.rows(query).await.map(drop)
    }

    /// Removes the checkpoints of these runs.
    ///
    /// # Errors
    /// As [`Link::keep_checkpoints`].
    pub async fn forget_checkpoints(&mut self, runs: &[Id]) -> Result<(), Error> {
        check_batch(runs.len())?;
        let runs: Vec<Uuid> = runs.iter().map(|id| id.uuid()).collect();
        self.rows(sqlx::query(FORGET).bind(runs)).await.map(drop)
    }
}
