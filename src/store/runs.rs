//! Reading the table `runs` for people: lists, one run with what is needed to replay it, journals.
//!
//! The hot statements that make, claim and settle runs are in `route`, `claim` and `settle`; this
//! file only reads, through the pool. A run's row never changes, so its status is derived: how its
//! journal ends, else who holds it, else where it waits.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::events::{Page, StoredEvent};
use super::{Error, Store};
use crate::id::Id;

/// How many runs one page of a filtered list looks at. There is no index on workflow or status
/// (every run would pay for it), so a page that finds fewer goes on from where it stopped.
const SCANNED_MAX: i64 = 10_000;

/// The status of a run, in the words of the workflow language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not begun.
    Pending,
    /// A node holds it.
    Running,
    /// It waits for a time, an event or its turn to go on.
    Waiting,
    /// A person has paused it.
    Suspended,
    /// A person has ended it.
    Cancelled,
    /// It ended with an error.
    Faulted,
    /// It ended as it should.
    Completed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Suspended,
        Self::Cancelled,
        Self::Faulted,
        Self::Completed,
    ];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
            Self::Faulted => "faulted",
            Self::Completed => "completed",
        }
    }

    /// The status of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether a run of this status never changes again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Faulted | Self::Completed)
    }
}

/// What a list shows of a run; when it was made is in its id.
#[derive(Clone, Debug)]
pub struct RunLine {
    /// The run.
    pub id: Id,
    /// Key of its version of the workflow.
    pub workflow_id: i32,
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`.
    pub version: String,
    /// The event that started it.
    pub event_id: Id,
    /// Its status now.
    pub status: Status,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A run with what is needed to replay it, but for its journal.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// What lists show.
    pub line: RunLine,
    /// The event that started it.
    pub event: StoredEvent,
    /// How it ended: its output as JSON.
    pub output: Option<Bytes>,
    /// How it ended: its error as JSON.
    pub error: Option<Bytes>,
}

/// Which runs a list is about; `None` = all.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of these versions of workflows, by key.
    pub workflow_ids: Option<Vec<i32>>,
    /// Of this status.
    pub status: Option<Status>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    workflow_id: i32,
    namespace: String,
    name: String,
    version: String,
    event_id: Uuid,
    status: Option<String>,
    at: Option<jiff_sqlx::Timestamp>,
    claimed: bool,
    begun: bool,
    suspended: bool,
}

#[derive(sqlx::FromRow)]
struct JournalRow {
    status: Option<String>,
    at: jiff_sqlx::Timestamp,
    output: Option<Vec<u8>>,
    error: Option<Vec<u8>>,
}

/// Runs older than $1 of workflows $2, newest first, at most $3.
mod candidates {
    /// $4 of them are looked at; $5 = how their journals end.
    pub const ANY: &str = "select id from \
         (select id, workflow_id from runs where id < $1 order by id desc limit $4) r \
         where ($2::int[] is null or workflow_id = any($2)) and ($5::text is null or exists \
             (select from journal j where j.run_id = r.id and j.status = $5)) \
         order by id desc limit $3";
    pub const FAULTED: &str = "select run_id from faulted \
         where run_id < $1 and ($2::int[] is null or workflow_id = any($2)) \
         order by run_id desc limit $3";
    pub const RUNNING: &str = "select c.run_id from claims c join runs r on r.id = c.run_id \
         where c.run_id < $1 and ($2::int[] is null or r.workflow_id = any($2)) \
         order by c.run_id desc limit $3";
    pub const SUSPENDED: &str = "select s.run_id from suspended s join runs r on r.id = s.run_id \
         where s.run_id < $1 and ($2::int[] is null or r.workflow_id = any($2)) \
         order by s.run_id desc limit $3";
    pub const PENDING: &str = "select q.run_id from ready q join runs r on r.id = q.run_id \
         where q.run_id < $1 and ($2::int[] is null or r.workflow_id = any($2)) \
           and not exists (select from journal j where j.run_id = q.run_id) \
         order by q.run_id desc limit $3";
    pub const WAITING: &str = "select q.run_id from \
         (select run_id from timers union \
          select run_id from ready where exists \
             (select from journal j where j.run_id = ready.run_id)) q \
         join runs r on r.id = q.run_id \
         where q.run_id < $1 and ($2::int[] is null or r.workflow_id = any($2)) \
         order by q.run_id desc limit $3";
}

impl Store {
    /// Runs older than `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<Id>,
        limit: u16,
    ) -> Result<Page<RunLine>, Error> {
        let before = before.map_or(Uuid::max(), Id::uuid);
        let (ids, scans) = self.candidates(filter, before, limit).await?;
        let next = if ids.len() == usize::from(limit) {
            ids.last().copied()
        } else if scans {
            self.scanned_to(before).await?
        } else {
            None
        };
        let mut items = self.lines(&ids).await?;
        // Between the two statements a run may have moved on.
        items.retain(|line| filter.status.is_none_or(|status| line.status == status));
        Ok(Page {
            items,
            next: next.map(Id::from),
        })
    }

    /// Open runs of these workflows, newest first, at most `limit`. An open run is in one place at
    /// any moment, and one statement sees one moment: none is missed because it moves.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn open_runs(&self, workflow_ids: &[i32], limit: u16) -> Result<Vec<Id>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "select q.run_id from (select run_id from claims union all select run_id from timers \
                                   union all select run_id from ready) q \
             join runs r on r.id = q.run_id where r.workflow_id = any($1) \
             order by q.run_id desc limit $2",
        )
        .bind(workflow_ids)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(Id::from).collect())
    }

    async fn candidates(
        &self,
        filter: &RunFilter,
        before: Uuid,
        limit: u16,
    ) -> Result<(Vec<Uuid>, bool), Error> {
        let (statement, ending) = match filter.status {
            None => (candidates::ANY, Some(None)),
            Some(status @ (Status::Completed | Status::Cancelled)) => {
                (candidates::ANY, Some(Some(status.word())))
            }
            Some(Status::Faulted) => (candidates::FAULTED, None),
            Some(Status::Running) => (candidates::RUNNING, None),
            Some(Status::Pending) => (candidates::PENDING, None),
            Some(Status::Waiting) => (candidates::WAITING, None),
            Some(Status::Suspended) => (candidates::SUSPENDED, None),
        };
        let mut query = sqlx::query_scalar(statement)
            .bind(before)
            .bind(&filter.workflow_ids)
            .bind(i64::from(limit));
        if let Some(ending) = ending {
            query = query.bind(SCANNED_MAX).bind(ending);
        }
        Ok((query.fetch_all(&self.pool).await?, ending.is_some()))
    }

    async fn scanned_to(&self, before: Uuid) -> Result<Option<Uuid>, Error> {
        Ok(sqlx::query_scalar(
            "select id from runs where id < $1 order by id desc offset $2 limit 1",
        )
        .bind(before)
        .bind(SCANNED_MAX - 1)
        .fetch_optional(&self.pool)
        .await?)
    }

    async fn lines(&self, ids: &[Uuid]) -> Result<Vec<RunLine>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = sqlx::query_as(
            "select r.id, r.workflow_id, w.namespace, w.name, w.version, r.event_id, \
                    j.status, j.at, \
                    exists (select from claims c where c.run_id = r.id) as claimed, \
                    exists (select from journal b where b.run_id = r.id) as begun, \
                    exists (select from suspended s where s.run_id = r.id) as suspended \
             from runs r join workflows w on w.id = r.workflow_id \
             left join lateral (select status, at from journal \
                                where run_id = r.id order by seq desc limit 1) j on true \
             where r.id = any($1) order by r.id desc",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        let timed = self.timed(&rows).await?;
        Ok(rows.into_iter().map(|row| line(row, &timed)).collect())
    }

    /// Which of these wait for a time though their journals are empty. `timers` has no index on
    /// runs (the hot path would pay for it): it is read once a page, and only if there are such.
    async fn timed(&self, rows: &[Row]) -> Result<Vec<Uuid>, Error> {
        let unknown: Vec<Uuid> = rows
            .iter()
            .filter(|row| row.status.is_none() && !row.claimed && !row.begun)
            .map(|row| row.id)
            .collect();
        if unknown.is_empty() {
            return Ok(unknown);
        }
        Ok(
            sqlx::query_scalar("select run_id from timers where run_id = any($1)")
                .bind(unknown)
                .fetch_all(&self.pool)
                .await?,
        )
    }

    /// What a list shows of one run.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn run_line(&self, id: Id) -> Result<Option<RunLine>, Error> {
        Ok(self.lines(&[id.uuid()]).await?.pop())
    }

    /// One run with what is needed to replay it, but for its journal ([`Store::journal`]).
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn run(&self, id: Id) -> Result<Option<StoredRun>, Error> {
        let Some(line) = self.run_line(id).await? else {
            return Ok(None);
        };
        let Some(event) = self.event(line.event_id).await? else {
            return Ok(None);
        };
        let rows: Vec<JournalRow> = sqlx::query_as(
            "select status, at, output, error from journal \
             where run_id = $1 and status is not null order by seq",
        )
        .bind(id.uuid())
        .fetch_all(&self.pool)
        .await?;
        let mut run = StoredRun {
            line,
            event,
            output: None,
            error: None,
        };
        for row in rows {
            if let Some(status) = row.status.as_deref().and_then(Status::of) {
                // It may have ended since its line was read.
                run.line.status = status;
                run.line.ended_at = Some(row.at.to_jiff());
            }
            run.output = row.output.map(Bytes::from).or(run.output);
            run.error = row.error.map(Bytes::from).or(run.error);
        }
        Ok(Some(run))
    }

    /// Journal rows of a run in order, at most `limit` from the number `from` on: their numbers,
    /// and their entries as `run::entry::encode` wrote them.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn journal(
        &self,
        id: Id,
        from: i32,
        limit: u16,
    ) -> Result<Vec<(i32, Vec<u8>)>, Error> {
        Ok(sqlx::query_as(
            "select seq, entries from journal \
             where run_id = $1 and seq >= $2 and entries is not null order by seq limit $3",
        )
        .bind(id.uuid())
        .bind(from)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }
}

fn line(row: Row, timed: &[Uuid]) -> RunLine {
    let ended = row.status.as_deref().and_then(Status::of);
    let status = match ended {
        Some(status) => status,
        None if row.suspended => Status::Suspended,
        None if row.claimed => Status::Running,
        None if row.begun || timed.contains(&row.id) => Status::Waiting,
        None => Status::Pending,
    };
    RunLine {
        id: row.id.into(),
        workflow_id: row.workflow_id,
        namespace: row.namespace,
        name: row.name,
        version: row.version,
        event_id: row.event_id.into(),
        status,
        ended_at: ended.and(row.at).map(jiff_sqlx::Timestamp::to_jiff),
    }
}
