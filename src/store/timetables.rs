//! The table `schedules` as people see it, and its agreement with what is deployed.
//!
//! Called when definitions are loaded and by the API, each in short transactions of the pool.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;

use super::{Error, Store};

/// A deployment whose row is missing or about an earlier deployment.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Outdated {
    /// The active version.
    pub workflow_id: i32,
    /// When it was activated.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub activated_at: Timestamp,
    #[sqlx(rename = "due_at")]
    due: Option<jiff_sqlx::Timestamp>,
    #[sqlx(rename = "last_due_at")]
    last_due: Option<jiff_sqlx::Timestamp>,
}

impl Outdated {
    /// The tick the version before was waiting for.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.due.map(jiff_sqlx::Timestamp::to_jiff)
    }

    /// The last tick that started a run.
    #[must_use]
    pub fn last_due_at(&self) -> Option<Timestamp> {
        self.last_due.map(jiff_sqlx::Timestamp::to_jiff)
    }
}

/// A row for a deployment.
#[derive(Debug, Serialize)]
pub struct NewSchedule {
    /// The active version.
    pub workflow_id: i32,
    /// When it was activated; where it has been again since, nothing is written.
    pub activated_at: Timestamp,
    /// Its first tick.
    pub due_at: Option<Timestamp>,
    /// From the end of a run to the next tick, in microseconds.
    pub after_us: Option<i64>,
}

/// A schedule of an active version.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Schedule {
    /// Namespace of the workflow.
    pub namespace: String,
    /// Name of the workflow.
    pub name: String,
    /// The active version ...
    pub workflow_id: i32,
    /// ... and what it is called.
    pub version: String,
    /// Whether its tick is due and waits for the end of a run.
    pub held: bool,
    /// The last run a tick started.
    #[sqlx(rename = "last_run_id")]
    pub last_run: Option<uuid::Uuid>,
    /// Ticks that started runs.
    pub started: i64,
    /// Ticks that started none because a run was open.
    pub skipped: i64,
    /// Ticks that were missed.
    pub missed: i64,
    /// The time.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub now: Timestamp,
    due_at: Option<jiff_sqlx::Timestamp>,
    paused_at: Option<jiff_sqlx::Timestamp>,
    last_due_at: Option<jiff_sqlx::Timestamp>,
    last_started_at: Option<jiff_sqlx::Timestamp>,
}

impl Schedule {
    /// Its next tick; none while a run has to end first.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.due_at.map(jiff_sqlx::Timestamp::to_jiff)
    }

    /// Since when it is paused.
    #[must_use]
    pub fn paused_at(&self) -> Option<Timestamp> {
        self.paused_at.map(jiff_sqlx::Timestamp::to_jiff)
    }

    /// When the last tick that started a run was due, and when it started it.
    #[must_use]
    pub fn last_at(&self) -> Option<(Timestamp, Timestamp)> {
        let (due, started) = self.last_due_at.zip(self.last_started_at)?;
        Some((due.to_jiff(), started.to_jiff()))
    }
}

/// The columns of [`Schedule`], with the clauses given.
macro_rules! select {
    ($clauses:literal) => {
        concat!(
            "select s.*, w.version, now() as now from schedules s \
             join deployments d on d.namespace = s.namespace and d.name = s.name \
              and d.workflow_id = s.workflow_id and d.activated_at = s.activated_at \
             join workflows w on w.id = s.workflow_id ",
            $clauses
        )
    };
}

impl Store {
    /// Of these active versions, all of which time starts, those whose rows are not about them.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn outdated_schedules(&self, ids: &[i32]) -> Result<Vec<Outdated>, Error> {
        Ok(sqlx::query_as(
            "select d.workflow_id, d.activated_at, s.due_at, s.last_due_at \
             from deployments d \
             left join schedules s on s.namespace = d.namespace and s.name = d.name \
             where d.workflow_id = any ($1) \
               and (s.workflow_id, s.activated_at) \
                 is distinct from (d.workflow_id, d.activated_at)",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Writes rows for deployments, each unless another node has. A pause stays.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn put_schedules(&self, new: &[NewSchedule]) -> Result<(), Error> {
        let rows = serde_json::to_string(new).map_err(|error| Error::Unfit(error.to_string()))?;
        sqlx::query(
            "insert into schedules (namespace, name, workflow_id, activated_at, due_at, after_us) \
             select d.namespace, d.name, d.workflow_id, d.activated_at, g.due_at, g.after_us \
             from json_to_recordset($1::text::json) as g (workflow_id integer, \
               activated_at timestamptz, due_at timestamptz, after_us bigint) \
             join deployments d \
               on d.workflow_id = g.workflow_id and d.activated_at = g.activated_at \
             order by d.namespace, d.name \
             on conflict (namespace, name) do update \
             set workflow_id = excluded.workflow_id, activated_at = excluded.activated_at, \
                 due_at = excluded.due_at, after_us = excluded.after_us, held = false \
             where (schedules.workflow_id, schedules.activated_at) \
               is distinct from (excluded.workflow_id, excluded.activated_at)",
        )
        .bind(rows)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Schedules of active versions, by namespace and name, after the one given, at most `limit`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn schedules(&self, after: (&str, &str), limit: u16) -> Result<Vec<Schedule>, Error> {
        Ok(sqlx::query_as(select!(
            "where (s.namespace, s.name) > ($1, $2) order by s.namespace, s.name limit $3"
        ))
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }

    /// The schedule of a workflow's active version.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn schedule(&self, namespace: &str, name: &str) -> Result<Option<Schedule>, Error> {
        Ok(
            sqlx::query_as(select!("where s.namespace = $1 and s.name = $2"))
                .bind(namespace)
                .bind(name)
                .fetch_optional(&self.pool)
                .await?,
        )
    }

    /// Pauses a schedule: no tick is due until it is resumed.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn pause_schedule(&self, namespace: &str, name: &str) -> Result<(), Error> {
        sqlx::query(
            "update schedules set paused_at = coalesce(paused_at, now()) \
             where namespace = $1 and name = $2",
        )
        .bind(namespace)
        .bind(name)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Resumes a schedule that was read as paused, at the tick `next_at`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn resume_schedule(
        &self,
        paused: &Schedule,
        next_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        sqlx::query(
            "update schedules set paused_at = null, due_at = $4, held = false \
             where namespace = $1 and name = $2 and workflow_id = $3 and paused_at is not null",
        )
        .bind(&paused.namespace)
        .bind(&paused.name)
        .bind(paused.workflow_id)
        .bind(next_at.map(|at| at.to_sqlx()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
