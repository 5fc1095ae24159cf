//! T1, append: events enter the log. Called by the writer tasks behind the receiving doors.
//!
//! One statement stores a batch: dedupe keys decide which events are new, those go into the log and
//! the inbox, and the ledger counts both sides. It is committed when it returns; only then may a
//! sender be told that its event is stored.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::link::check_batch;
use super::{Error, Link, NewEvent, Target, WINDOW_DAYS_MAX};
use crate::event::DedupeKey;
use crate::id::Id;

/// The keys of `given (key, id, window_days)` that are new, as `today`; `probed` has the others.
///
/// Two partitions cannot share a unique index, so deliveries on both sides of midnight would not
/// see each other: during the first minute of a day a key must win in the day before as well.
macro_rules! new_keys {
    () => {
        "probed as materialized (
  select g.key, g.id, d.event_id as earlier
  from given g left join lateral (
    select x.event_id from dedupe x
    where x.key = g.key
      and x.day between current_date - g.window_days::integer and current_date
    limit 1
  ) d on true
),
yesterday as (
  insert into dedupe (key, day, event_id)
  select key, current_date - 1, id from probed
  where earlier is null and localtime < time '00:01' order by key
  on conflict do nothing returning event_id
),
today as (
  insert into dedupe (key, day, event_id)
  select key, current_date, id from probed
  where earlier is null
    and (localtime >= time '00:01' or id in (select event_id from yesterday)) order by key
  on conflict do nothing returning event_id
),"
    };
}
pub(super) use new_keys;

/// Keys are narrow and copied around; bodies are not: they are unnested only where they are
/// inserted. `(x in (…)) is true` keeps the planner from turning the test into a join.
pub(super) const APPEND: &str = concat!(
    "
with given as materialized (
  select * from unnest($1::bytea[], $2::uuid[], $3::smallint[]) as t (key, id, window_days)
),
",
    new_keys!(),
    "
stored as (
  insert into events (id, source, event_id, type, content_type, attributes, headers, body,
                      workflow_id, run_id)
  select e.* from (
    select unnest($2) as id, unnest($4::text[]), unnest($5::text[]), unnest($6::text[]),
           unnest($7::text[]), unnest($8::bytea[]), unnest($9::bytea[]), unnest($10::bytea[]),
           unnest($11::integer[]), unnest($12::uuid[])
  ) e
  where (e.id in (select event_id from today)) is true
  returning id
),
queued as (
  insert into inbox (event_id) select id from stored
),
counted as (
  update ledger set
    stored = stored + (select count(*) from stored),
    duplicates = duplicates + $15::bigint - (select count(*) from stored)
  where session_id = $13::bigint and lane = $14::smallint
)
select id, earlier, id in (select id from stored) as stored from probed"
);

/// The event that a key belongs to, newest day first.
pub(super) const FIND: &str = "
select g.key, d.event_id
from unnest($1::bytea[]) as g (key) cross join lateral (
  select x.event_id from dedupe x where x.key = g.key order by x.day desc limit 1
) d";

impl Link {
    /// T1. Appends events, their dedupe keys and inbox rows in one autocommit statement.
    /// For each event: `None` = stored, `Some(id)` = duplicate of that event. At most
    /// [`super::BATCH_MAX`] events; two with the same key in one batch count as duplicates.
    ///
    /// After [`Error::Unavailable`] the events may or may not be stored; appending them again is
    /// safe and answers with their own ids where they were.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Refused`], or [`Error::Unfit`] for an oversized batch.
    pub async fn append(&mut self, events: &[NewEvent]) -> Result<Vec<Option<Id>>, Error> {
        check_batch(events.len())?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        // Sorted by key, so that two writers meet in the same order and cannot deadlock.
        let mut firsts: BTreeMap<DedupeKey, &NewEvent> = BTreeMap::new();
        for event in events {
            firsts.entry(event.key).or_insert(event);
        }
        let mut owners = self.insert(&firsts, events.len()).await?;
        let lost: Vec<DedupeKey> = firsts
            .keys()
            .copied()
            .filter(|key| !owners.contains_key(key))
            .collect();
        if !lost.is_empty() {
            owners.extend(self.find(&lost).await?);
        }
        events
            .iter()
            .map(|event| match owners.get(&event.key) {
                Some(Owner { id, stored: true }) if *id == event.event.id => Ok(None),
                Some(Owner { id, .. }) => Ok(Some(*id)),
                None => Err(Error::Unavailable(anyhow::anyhow!(
                    "a key was taken and released"
                ))),
            })
            .collect()
    }

    async fn insert(
        &mut self,
        firsts: &BTreeMap<DedupeKey, &NewEvent>,
        given: usize,
    ) -> Result<BTreeMap<DedupeKey, Owner>, Error> {
        let keys: BTreeMap<Id, DedupeKey> = firsts
            .iter()
            .map(|(key, event)| (event.event.id, *key))
            .collect();
        let columns = Columns::of(firsts.values().copied());
        let rows = self
            .rows(
                sqlx::query(APPEND)
                    .bind(firsts.keys().map(|key| key.0).collect::<Vec<_>>())
                    .bind(columns.ids)
                    .bind(columns.windows)
                    .bind(columns.sources)
                    .bind(columns.event_ids)
                    .bind(columns.types)
                    .bind(columns.content_types)
                    .bind(columns.attributes)
                    .bind(columns.headers)
                    .bind(columns.bodies)
                    .bind(columns.workflows)
                    .bind(columns.runs)
                    .bind(self.lane.0)
                    .bind(self.lane.1)
                    .bind(i64::try_from(given).unwrap_or(i64::MAX)),
            )
            .await?;
        let mut owners = BTreeMap::new();
        for row in rows {
            let id = Id::from(row.try_get::<Uuid, _>(0)?);
            let stored: bool = row.try_get(2)?;
            let owner = if stored { Some(id) } else { earlier(&row)? };
            if let (Some(key), Some(id)) = (keys.get(&id), owner) {
                owners.insert(*key, Owner { id, stored });
            }
        }
        Ok(owners)
    }

    /// Who owns keys that another writer took while our statement ran.
    async fn find(&mut self, keys: &[DedupeKey]) -> Result<Vec<(DedupeKey, Owner)>, Error> {
        let keys: Vec<[u8; 16]> = keys.iter().map(|key| key.0).collect();
        let rows = self.rows(sqlx::query(FIND).bind(keys)).await?;
        rows.iter()
            .map(|row| {
                let id = Id::from(row.try_get::<Uuid, _>(1)?);
                Ok((DedupeKey(row.try_get(0)?), Owner { id, stored: false }))
            })
            .collect()
    }
}

/// The event a key belongs to, and whether this very batch stored it.
struct Owner {
    id: Id,
    stored: bool,
}

fn earlier(row: &PgRow) -> Result<Option<Id>, Error> {
    Ok(row.try_get::<Option<Uuid>, _>(1)?.map(Id::from))
}

/// The batch turned by ninety degrees, as Postgres wants it.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub ids: Vec<Uuid>,
    pub windows: Vec<i16>,
    pub sources: Vec<Cow<'a, str>>,
    pub event_ids: Vec<Cow<'a, str>>,
    pub types: Vec<Cow<'a, str>>,
    pub content_types: Vec<Option<Cow<'a, str>>>,
    pub attributes: Vec<Option<Vec<u8>>>,
    headers: Vec<Option<Vec<u8>>>,
    pub bodies: Vec<&'a [u8]>,
    pub workflows: Vec<Option<i32>>,
    pub runs: Vec<Option<Uuid>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(events: impl Iterator<Item = &'a NewEvent>) -> Self {
        let mut columns = Self::default();
        for new in events {
            let event = &new.event;
            let window = new.window_days.clamp(1, WINDOW_DAYS_MAX);
            columns.ids.push(event.id.uuid());
            columns.windows.push(i16::try_from(window).unwrap_or(1));
            columns.sources.push(storable(&event.source));
            columns.event_ids.push(storable(&event.event_id));
            columns.types.push(storable(&event.kind));
            columns
                .content_types
                .push(event.content_type.as_deref().map(storable));
            columns
                .attributes
                .push(json(&event.attributes, event.attributes.is_empty()));
            columns
                .headers
                .push(json(&event.headers, event.headers.is_empty()));
            columns.bodies.push(&event.body);
            let (workflow, run) = match &new.target {
                Some(Target::Start {
                    workflow_id,
                    run_id,
                }) => (Some(*workflow_id), Some(run_id.uuid())),
                Some(Target::Run { run_id }) => (None, Some(run_id.uuid())),
                None => (None, None),
            };
            columns.workflows.push(workflow);
            columns.runs.push(run);
        }
        columns
    }
}

fn json(value: &impl serde::Serialize, absent: bool) -> Option<Vec<u8>> {
    if absent {
        None
    } else {
        serde_json::to_vec(value).ok()
    }
}

/// Postgres refuses NUL in text, and one refused row would refuse its whole batch for ever.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}
