//! Reading the table `events` for people: lists, one event, its body, and what became of it.
//!
//! The hot statements that write events and load them for runs are in `append`, `route` and
//! `load`; this file only reads, through the pool.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use super::{Error, Store};
use crate::event::{Event, LIFECYCLE};
use crate::id::Id;

/// How many events one page of a filtered list looks at. There is no index on type or source
/// (every event would pay for it), so a page that finds fewer goes on from where it stopped.
const SCANNED_MAX: i64 = 10_000;

/// How many runs made after an event are looked at to find those it started.
const RUNS_SCANNED_MAX: i64 = 100_000;

/// What a list shows of an event; its time of receipt is in its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// Our id.
    pub id: Id,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `id`.
    pub event_id: String,
    /// CloudEvents `type`.
    pub kind: String,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Size of the body in bytes.
    pub body_bytes: u64,
}

/// Which events a list is about; `None` = all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// CloudEvents `type`, exactly.
    pub kind: Option<String>,
    /// CloudEvents `source`, exactly.
    pub source: Option<String>,
}

/// A page of a list that goes from new to old.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What it found, newest first.
    pub items: Vec<T>,
    /// Where the next page starts (exclusive); `None` = this was the last.
    pub next: Option<Id>,
}

/// What became of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// It is still in the inbox.
    pub undecided: bool,
    /// It is kept back while its source is paused.
    pub held: bool,
    /// Why it started nothing.
    pub ignored: Option<String>,
    /// The runs it started, with the keys of their workflows.
    pub runs: Vec<(Id, i32)>,
}

impl Decision {
    /// `inbox`, `held`, `ignored` or `routed`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self {
                undecided: true, ..
            } => "inbox",
            Self { held: true, .. } => "held",
            Self {
                ignored: Some(_), ..
            } => "ignored",
            _ => "routed",
        }
    }
}

/// An event with what it is addressed to.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// Key of the workflow it was to start, and the run it was to start as.
    pub target: Option<(i32, Id)>,
}

#[derive(sqlx::FromRow)]
struct LineRow {
    id: Uuid,
    source: String,
    event_id: String,
    #[sqlx(rename = "type")]
    kind: String,
    content_type: Option<String>,
    body_bytes: i32,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    id: Uuid,
    source: String,
    event_id: String,
    #[sqlx(rename = "type")]
    kind: String,
    content_type: Option<String>,
    attributes: Option<Vec<u8>>,
    headers: Option<Vec<u8>>,
    body: Vec<u8>,
    workflow_id: Option<i32>,
    run_id: Option<Uuid>,
}

impl Store {
    /// Events older than `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn events(
        &self,
        filter: &EventFilter,
        before: Option<Id>,
        limit: u16,
    ) -> Result<Page<EventLine>, Error> {
        let before = before.map_or(Uuid::max(), Id::uuid);
        let rows: Vec<LineRow> = sqlx::query_as(
            "select id, source, event_id, type, content_type, length(body) as body_bytes \
             from (select * from events where id < $1 order by id desc limit $2) e \
             where ($3::text is null or type = $3) and ($4::text is null or source = $4) \
             order by id desc limit $5",
        )
        .bind(before)
        .bind(SCANNED_MAX)
        .bind(&filter.kind)
        .bind(&filter.source)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let next = if rows.len() == usize::from(limit) {
            rows.last().map(|row| row.id)
        } else {
            sqlx::query_scalar(
                "select id from events where id < $1 order by id desc offset $2 limit 1",
            )
            .bind(before)
            .bind(SCANNED_MAX - 1)
            .fetch_optional(&self.pool)
            .await?
        };
        Ok(Page {
            items: rows.into_iter().map(line).collect(),
            next: next.map(Id::from),
        })
    }

    /// One event.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn event(&self, id: Id) -> Result<Option<StoredEvent>, Error> {
        let row: Option<EventRow> = sqlx::query_as(
            "select id, source, event_id, type, content_type, attributes, headers, body, \
                    workflow_id, run_id from events where id = $1",
        )
        .bind(id.uuid())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(stored))
    }

    /// Events that runs have emitted, oldest first, without those of their lifecycle; at most
    /// `limit`, beginning after `after`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn emitted(&self, after: Option<Id>, limit: u16) -> Result<Vec<Event>, Error> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "select id, source, event_id, type, content_type, attributes, headers, body, \
                    workflow_id, run_id from events \
             where published_by is not null and id > $1 and not starts_with(type, $2) \
             order by id limit $3",
        )
        .bind(after.map_or_else(Uuid::nil, Id::uuid))
        .bind(LIFECYCLE)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| stored(row).event).collect())
    }

    /// What became of an event, with at most 100 runs. They are looked for among the 100,000 made
    /// after it; an event that was addressed knows its run.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn decision(&self, event: &StoredEvent) -> Result<Decision, Error> {
        let id = event.event.id.uuid();
        let (undecided, held, ignored): (bool, bool, Option<String>) = sqlx::query_as(
            "select exists (select from inbox where event_id = $1), \
                    exists (select from held where source = $2 and event_id = $1), \
                    (select reason from ignored where event_id = $1)",
        )
        .bind(id)
        .bind(&event.event.source)
        .fetch_one(&self.pool)
        .await?;
        let runs = if undecided || held || ignored.is_some() {
            Vec::new()
        } else {
            self.runs_of(event).await?
        };
        Ok(Decision {
            undecided,
            held,
            ignored,
            runs,
        })
    }

    async fn runs_of(&self, event: &StoredEvent) -> Result<Vec<(Id, i32)>, Error> {
        if let Some((workflow_id, run_id)) = event.target {
            return Ok(vec![(run_id, workflow_id)]);
        }
        let rows: Vec<(Uuid, i32)> = sqlx::query_as(
            "select id, workflow_id \
             from (select * from runs where id >= $1 order by id limit $2) r \
             where event_id = $1 order by id limit 100",
        )
        .bind(event.event.id.uuid())
        .bind(RUNS_SCANNED_MAX)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(id, workflow_id)| (id.into(), workflow_id))
            .collect())
    }
}

fn line(row: LineRow) -> EventLine {
    EventLine {
        id: row.id.into(),
        source: row.source,
        event_id: row.event_id,
        kind: row.kind,
        content_type: row.content_type,
        body_bytes: u64::try_from(row.body_bytes).unwrap_or_default(),
    }
}

fn stored(row: EventRow) -> StoredEvent {
    let attributes: BTreeMap<String, String> = read(row.attributes.as_deref());
    let headers: Vec<(String, String)> = read(row.headers.as_deref());
    StoredEvent {
        event: Event {
            id: row.id.into(),
            event_id: row.event_id,
            source: row.source,
            kind: row.kind,
            attributes,
            content_type: row.content_type,
            headers,
            body: Bytes::from(row.body),
        },
        target: row.workflow_id.zip(row.run_id.map(Id::from)),
    }
}

/// Reads a column this server wrote as JSON; what cannot be read is shown as absent.
fn read<T: serde::de::DeserializeOwned + Default>(column: Option<&[u8]>) -> T {
    column
        .and_then(|json| serde_json::from_slice(json).ok())
        .unwrap_or_default()
}
