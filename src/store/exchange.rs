//! What a run exchanges with others when it settles: events it publishes, mail it sends and has
//! taken in, what it listens for from now on. All of it in the transaction of the settlement (T3).
//!
//! The log is the outbox: an event of a run is a row like any other. Its id is derived from the
//! run and the task, so a settlement that is repeated publishes nothing twice.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::append::{Columns, new_keys};
use super::approvals::{NewApproval, approvals};
use super::settle::settle;
use super::{NewEvent, NewMail, Settlement};
use crate::event::DedupeKey;
use crate::id::Id;

/// What a run exchanges with others in one settlement.
#[derive(Debug, Default)]
pub struct Exchange {
    /// Events it publishes.
    pub events: Vec<NewEvent>,
    /// Mail it sends to other runs.
    pub mail: Vec<NewMail>,
    /// Mail of its own that it has taken in: deleted.
    pub taken: Vec<Id>,
    /// The keys of all it listens for from now on; others of this run are deleted.
    pub listens: Vec<Id>,
    /// Whether mail may come that the run waits for: somebody looks again once it waits.
    pub expects: bool,
    /// Whether it is suspended from now on, where that changes.
    pub suspended: Option<bool>,
    /// The filters behind those keys, where the nodes may not know them yet.
    pub filters: Vec<Filter>,
    /// Approvals that have changed.
    pub approvals: Vec<NewApproval>,
}

/// A filter of a definition that runs listen with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The row of `workflows`.
    pub workflow_id: i32,
    /// The task's reference.
    pub reference: String,
    /// Which of the task's filters.
    pub number: i16,
}

/// What is written besides where runs exchange something.
macro_rules! exchanged {
    () => {
        concat!(
        "
given as materialized (
  select key, id, window_days
  from unnest($15::bytea[], $16::uuid[], $17::smallint[], $18::uuid[])
    as t (key, id, window_days, run_id)
  where (t.run_id in (select run_id from held)) is true
),
",
        new_keys!(),
        "
published as (
  insert into events (id, source, event_id, type, content_type, attributes, body,
                      workflow_id, run_id, published_by)
  select e.* from (
    select unnest($16) as id, unnest($19::text[]), unnest($20::text[]), unnest($21::text[]),
           unnest($22::text[]), unnest($23::bytea[]), unnest($24::bytea[]),
           unnest($25::integer[]), unnest($26::uuid[]), unnest($18)
  ) e
  where (e.id in (select event_id from today)) is true
  on conflict do nothing returning id
),
announced as (
  insert into inbox (event_id) select id from published
),
sent as (
  insert into mail (run_id, id, kind, content)
  select m.run_id, m.id, m.kind, m.content
  from unnest($27::uuid[], $28::uuid[], $29::uuid[], $30::smallint[], $31::bytea[])
    as m (sender, run_id, id, kind, content)
  where (m.sender in (select run_id from held)) is true
  on conflict do nothing
),
taken as (
  delete from mail where ctid = any (array(
    select m.place from unnest($32::uuid[], $33::uuid[]) as t (run_id, id) cross join lateral (
      select x.ctid as place from mail x where x.run_id = t.run_id and x.id = t.id offset 0
    ) m
    where (t.run_id in (select run_id from held)) is true
  ))
),
unread as (
  delete from mail where ctid = any (array(
    select m.place from ended e cross join lateral (
      select x.ctid as place, x.id from mail x where x.run_id = e.run_id offset 0
    ) m
    where (m.id in (select unnest($33))) is not true
  ))
),
listens as materialized (
  select l.run_id, l.key from unnest($35::uuid[], $36::uuid[]) as l (run_id, key)
  where (l.run_id in (select run_id from held)) is true
),
silent as (
  delete from listeners where ctid = any (array(
    select l.place from unnest($34::uuid[]) as e (run_id) cross join lateral (
      select x.ctid as place, x.key from listeners x where x.run_id = e.run_id offset 0
    ) l
    where (e.run_id in (select run_id from held)) is true
      and ((e.run_id, l.key) in (select run_id, key from listens)) is not true
  ))
),
listening as (
  insert into listeners (run_id, key) select run_id, key from listens on conflict do nothing
),
suspending as (
  insert into suspended (run_id)
  select s.run_id from unnest($40::uuid[], $41::boolean[]) as s (run_id, suspended)
  where s.suspended and (s.run_id in (select run_id from held)) is true
    and (s.run_id in (select run_id from ended)) is not true
  on conflict do nothing
),
resuming as (
  delete from suspended where ctid = any (array(
    select p.place from unnest($40, $41) as s (run_id, suspended) cross join lateral (
      select x.ctid as place from suspended x where x.run_id = s.run_id offset 0
    ) p
    where not s.suspended and (s.run_id in (select run_id from held)) is true
  ))
),
filters as (
  insert into listening (workflow_id, reference, filter)
  select distinct f.workflow_id, f.reference, f.filter
  from unnest($37::integer[], $38::text[], $39::smallint[]) as f (workflow_id, reference, filter)
  order by 1, 2, 3 on conflict do nothing returning 1
),
revised as (
  update listening_revision set number = number + 1 where exists (select from filters)
),"
        )
    };
}

/// Settlements of which at least one exchanges something. A run that has ended leaves no listeners
/// and no mail.
pub(super) const EXCHANGE: &str = settle!(
    [exchanged!()][",
    stored = stored + (select count(*) from published),
    duplicates = duplicates
      + (select count(*) from given)
      - (select count(*) from published)"][" or exists (select from given)"]
);

/// The same where approvals have changed.
pub(super) const APPROVALS: &str = settle!(
    [concat!(exchanged!(), approvals!())][",
    stored = stored + (select count(*) from published),
    duplicates = duplicates
      + (select count(*) from given)
      - (select count(*) from published)"][" or exists (select from given)"]
);

/// The exchanges of a batch turned by ninety degrees.
pub(super) struct Exchanged<'a> {
    keys: Vec<[u8; 16]>,
    publishers: Vec<Uuid>,
    events: Columns<'a>,
    senders: Vec<Uuid>,
    addressees: Vec<Uuid>,
    mails: Vec<Uuid>,
    kinds: Vec<i16>,
    contents: Vec<Option<&'a [u8]>>,
    takers: Vec<Uuid>,
    taken: Vec<Uuid>,
    runs: Vec<Uuid>,
    listeners: Vec<Uuid>,
    listens: Vec<Uuid>,
    filters: Vec<&'a Filter>,
    paused: Vec<Uuid>,
    suspended: Vec<bool>,
}

impl<'a> Exchanged<'a> {
    pub(super) fn of(batch: &'a [Settlement]) -> Self {
        // One event for each key, in the order in which all writers take keys.
        let mut events: BTreeMap<DedupeKey, (Uuid, &NewEvent)> = BTreeMap::new();
        let exchanges = || {
            let each = |settlement: &'a Settlement| {
                Some((settlement.run_id.uuid(), settlement.exchange.as_deref()?))
            };
            batch.iter().filter_map(each)
        };
        for (run_id, exchange) in exchanges() {
            for event in &exchange.events {
                events.entry(event.key).or_insert((run_id, event));
            }
        }
        let mut all = Self {
            keys: events.keys().map(|key| key.0).collect(),
            publishers: events.values().map(|(run_id, _)| *run_id).collect(),
            events: Columns::of(events.into_values().map(|(_, event)| event)),
            senders: Vec::new(),
            addressees: Vec::new(),
            mails: Vec::new(),
            kinds: Vec::new(),
            contents: Vec::new(),
            takers: Vec::new(),
            taken: Vec::new(),
            runs: Vec::new(),
            listeners: Vec::new(),
            listens: Vec::new(),
            filters: Vec::new(),
            paused: Vec::new(),
            suspended: Vec::new(),
        };
        for (run_id, exchange) in exchanges() {
            all.add(run_id, exchange);
        }
        all
    }

    fn add(&mut self, run_id: Uuid, exchange: &'a Exchange) {
        for mail in &exchange.mail {
            self.senders.push(run_id);
            self.addressees.push(mail.run_id.uuid());
            self.mails.push(mail.id.uuid());
            self.kinds.push(mail.kind.number());
            self.contents.push(mail.content.as_deref());
        }
        for id in &exchange.taken {
            self.takers.push(run_id);
            self.taken.push(id.uuid());
        }
        self.runs.push(run_id);
        for key in &exchange.listens {
            self.listeners.push(run_id);
            self.listens.push(key.uuid());
        }
        self.filters.extend(&exchange.filters);
        if let Some(suspended) = exchange.suspended {
            self.paused.push(run_id);
            self.suspended.push(suspended);
        }
    }

    /// Binds what [`EXCHANGE`] has more than [`super::settle::SETTLE`].
    pub(super) fn bind(
        self,
        query: Query<'a, Postgres, PgArguments>,
    ) -> Query<'a, Postgres, PgArguments> {
        let filters = &self.filters;
        let references: Vec<Cow<'a, str>> = filters
            .iter()
            .map(|filter| super::append::storable(&filter.reference))
            .collect();
        let (workflows, numbers): (Vec<i32>, Vec<i16>) = filters
            .iter()
            .map(|filter| (filter.workflow_id, filter.number))
            .unzip();
        query
            .bind(self.keys)
            .bind(self.events.ids)
            .bind(self.events.windows)
            .bind(self.publishers)
            .bind(self.events.sources)
            .bind(self.events.event_ids)
            .bind(self.events.types)
            .bind(self.events.content_types)
            .bind(self.events.attributes)
            .bind(self.events.bodies)
            .bind(self.events.workflows)
            .bind(self.events.runs)
            .bind(self.senders)
            .bind(self.addressees)
            .bind(self.mails)
            .bind(self.kinds)
            .bind(self.contents)
            .bind(self.takers)
            .bind(self.taken)
            .bind(self.runs)
            .bind(self.listeners)
            .bind(self.listens)
            .bind(workflows)
            .bind(references)
            .bind(numbers)
            .bind(self.paused)
            .bind(self.suspended)
    }
}
