//! The table `changes`: what APIs announce about themselves, and which tasks that concerns.
//!
//! Written by the loop in `worker`, read by the API.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;

use super::{Error, Link, Store};
use crate::id::Id;

/// Whether exactly this is known of the task.
const KNOWN: &str = "
select 1 from runs r join changes c
  on c.host = $2 and c.kind = $3 and c.workflow_id = r.workflow_id and c.reference = $4
where r.id = $1 and c.text = $5";

/// Another text is another change: it is first seen now.
const PUT: &str = "
insert into changes as c (host, kind, workflow_id, reference, destination, text, link, effective_at)
select $2, $3, r.workflow_id, $4, $6, $5, $7, $8 from runs r where r.id = $1
on conflict (host, kind, workflow_id, reference) do update
set destination = excluded.destination, text = excluded.text, link = excluded.link,
    effective_at = excluded.effective_at, last_seen_at = now(),
    first_seen_at = case when c.text = excluded.text then c.first_seen_at else now() end";

/// A change to write down.
#[derive(Clone, Debug)]
pub struct NewChange {
    /// The run whose call was answered so.
    pub run_id: Id,
    /// Who said so.
    pub host: String,
    /// `deprecation`, `sunset` or `warning`.
    pub kind: &'static str,
    /// The task.
    pub reference: String,
    /// The destination's name, where it is declared.
    pub destination: Option<String>,
    /// What was said.
    pub text: String,
    /// Where more is said.
    pub link: Option<String>,
    /// Since when it is deprecated, or when it ends.
    pub effective_at: Option<Timestamp>,
}

/// A change with the task it concerns.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ApiChange {
    /// `deprecation`, `sunset` or `warning`.
    pub kind: String,
    /// Who said so.
    pub host: String,
    /// The destination's name, where it is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// What was said.
    pub text: String,
    /// Where more is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Since when it is deprecated, or when it ends.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub effective_at: Option<jiff_sqlx::Timestamp>,
    /// The workflow that calls: namespace, name and version.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The task that calls.
    pub reference: String,
    /// When it was first said.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub first_seen_at: Timestamp,
    /// When it was last said, to the hour.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub last_seen_at: Timestamp,
}

fn time<S: serde::Serializer>(
    time: &Option<jiff_sqlx::Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(jiff_sqlx::Timestamp::to_jiff)
        .serialize(serializer)
}

impl Link {
    /// Whether exactly this is known already.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn knows_change(&mut self, change: &NewChange) -> Result<bool, Error> {
        let query = sqlx::query(KNOWN)
            .bind(change.run_id.uuid())
            .bind(&change.host)
            .bind(change.kind)
            .bind(&change.reference)
            .bind(&change.text);
        Ok(!self.rows(query).await?.is_empty())
    }

    /// Writes a change down, or that it was said again.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn put_change(&mut self, change: &NewChange) -> Result<(), Error> {
        let query = sqlx::query(PUT)
            .bind(change.run_id.uuid())
            .bind(&change.host)
            .bind(change.kind)
            .bind(&change.reference)
            .bind(&change.text)
            .bind(&change.destination)
            .bind(&change.link)
            .bind(change.effective_at.map(|at| at.to_sqlx()));
        self.rows(query).await?;
        Ok(())
    }
}

impl Store {
    /// The changes that were said last, the newest first.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn changes(&self, limit: u16) -> Result<Vec<ApiChange>, Error> {
        Ok(sqlx::query_as(
            "select c.kind, c.host, c.destination, c.text, c.link, c.effective_at, \
               w.namespace, w.name, w.version, c.reference, c.first_seen_at, c.last_seen_at \
             from changes c join workflows w on w.id = c.workflow_id \
             order by c.first_seen_at desc, c.host, c.kind, c.workflow_id, c.reference limit $1",
        )
        .bind(i32::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }
}
