//! Mail: what is addressed to one run, and how the run comes to it.
//!
//! Whoever writes mail and the settlement by which its run goes to wait do not see each other's
//! rows. So waking is a statement of its own after the commit of either side: whoever commits last
//! sees both. [`Link::deliver`] looks over all mail for what a node that died did not wake.

use std::collections::HashMap;

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::load::read_event;
use super::{Error, Link, Store, Target};
use crate::event::Event;
use crate::id::Id;

/// Letters that a run gets at once; the next ones come when it has settled these.
const LETTERS_MAX: i32 = 1_000;

/// Runs that one look over all mail takes.
const PAGE_RUNS: i32 = 1_000;

/// What kind of mail it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// An event of the log, without content.
    Event,
    /// A command of a person.
    Command,
    /// The end of a child.
    Child,
}

impl MailKind {
    /// The kind as it is stored.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Event => 0,
            Self::Command => 1,
            Self::Child => 2,
        }
    }
}

/// Mail to be written.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// Whom it is for.
    pub run_id: Id,
    /// Orders the mail of a run; the same id is the same mail. Of an event, the event's id.
    pub id: Id,
    /// What kind it is.
    pub kind: MailKind,
    /// What it says, except of an event.
    pub content: Option<Bytes>,
}

/// Mail of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// Orders the mail of a run.
    pub id: Id,
    /// What it is.
    pub letter: Letter,
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Letter {
    /// An event.
    Event {
        /// The event.
        event: Event,
        /// Whether it is addressed to this run, which then keeps it until it listens.
        addressed: bool,
    },
    /// A command of a person.
    Command(Bytes),
    /// The end of a child.
    Child(Bytes),
    /// Something that cannot be read any more, such as an event that retention has dropped.
    Lost,
}

/// What looking over mail did.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Waiting runs that became ready.
    pub woken: u64,
    /// Letters to runs that have ended, which nobody will read.
    pub undeliverable: u64,
    /// Where the next look goes on; `None`: this one has reached the end.
    pub next: Option<Id>,
}

pub(super) const MAIL: &str = "
select m.run_id, m.id, m.kind, m.content, e.*
from unnest($1::uuid[]) as g (id)
cross join lateral (
  select x.run_id, x.id, x.kind, x.content from mail x
  where x.run_id = g.id order by x.id limit $2::integer
) m
left join lateral (
  select x.id, x.source, x.event_id, x.type, x.content_type, x.attributes, x.headers, x.body,
         x.workflow_id, x.run_id
  from events x where x.id = m.id and m.kind = 0 offset 0
) e on true
order by m.run_id, m.id";

/// A row that somebody else has locked is being moved to `ready` already.
pub(super) const WAKE: &str = "
with places as materialized (
  select t.place from unnest($1::uuid[]) as g (run_id) cross join lateral (
    select x.ctid as place from timers x
    where x.run_id = g.run_id and exists (select from mail m where m.run_id = x.run_id)
    for update skip locked
  ) t
),
gone as (
  delete from timers where ctid = any (array(select place from places))
  returning run_id, sweeps
)
insert into ready (destination_id, run_id, sweeps)
select 0, run_id, sweeps from gone on conflict do nothing returning run_id";

/// A page of the runs that have mail: those that wait become ready, mail to those that have ended
/// goes. Runs that are ready or claimed get theirs from whoever has them.
pub(super) const DELIVER: &str = "
with recursive addressee as (
  (select run_id, 1 as number from mail where run_id > $1::uuid order by run_id limit 1)
  union all
  select n.run_id, a.number + 1
  from addressee a cross join lateral (
    select x.run_id from mail x where x.run_id > a.run_id order by x.run_id limit 1
  ) n
  where a.number < $2::integer
),
page as materialized (select run_id from addressee),
places as materialized (
  select t.place from page p cross join lateral (
    select x.ctid as place from timers x where x.run_id = p.run_id for update skip locked
  ) t
),
gone as (
  delete from timers where ctid = any (array(select place from places))
  returning run_id, sweeps
),
queued as (
  insert into ready (destination_id, run_id, sweeps)
  select 0, run_id, sweeps from gone on conflict do nothing
),
dropped as (
  delete from mail where ctid = any (array(
    select m.place from page p cross join lateral (
      select x.ctid as place from mail x where x.run_id = p.run_id offset 0
    ) m
    where exists (select from journal j where j.run_id = p.run_id and j.status is not null)
  )) returning 1
)
select (select count(*) from gone), (select count(*) from dropped), (select count(*) from page),
       (select run_id from page order by run_id desc limit 1)";

/// Only an open run gets mail; what it has already, it has.
pub(super) const POST: &str = "
insert into mail (run_id, id, kind, content)
select r.id, $2::uuid, $3::smallint, $4::bytea from runs r
where r.id = $1::uuid
  and not exists (select from journal j where j.run_id = $1 and j.status is not null)
on conflict (run_id, id) do update set kind = excluded.kind returning run_id";

impl Link {
    /// What these runs have not taken in yet, each at most [`LETTERS_MAX`], oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn mail(&mut self, runs: &[Id]) -> Result<HashMap<Id, Vec<Mail>>, Error> {
        let ids: Vec<Uuid> = runs.iter().map(|id| id.uuid()).collect();
        let mail = self.mail_of(&ids).await?;
        Ok(mail
            .into_iter()
            .map(|(id, mail)| (id.into(), mail))
            .collect())
    }

    pub(super) async fn mail_of(
        &mut self,
        runs: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Mail>>, Error> {
        let mut mail: HashMap<Uuid, Vec<Mail>> = HashMap::new();
        for row in self
            .rows(sqlx::query(MAIL).bind(runs).bind(LETTERS_MAX))
            .await?
        {
            let letters = mail.entry(row.try_get(0)?).or_default();
            letters.push(read(&row)?);
        }
        Ok(mail)
    }

    /// Moves those of these runs that wait and have mail to `ready`; says how many. To be called
    /// after the commit that delivered mail, and after the one by which a run that listens went
    /// to wait.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`]; [`Link::deliver`] makes up for it.
    pub async fn wake(&mut self, runs: &[Id]) -> Result<usize, Error> {
        let ids: Vec<Uuid> = runs.iter().map(|id| id.uuid()).collect();
        Ok(self.rows(sqlx::query(WAKE).bind(ids)).await?.len())
    }

    /// Looks over the mail of up to a thousand runs from `after` on: wakes those that wait, drops
    /// what is for runs that have ended. Any node does it, every second.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn deliver(&mut self, after: Option<Id>) -> Result<Delivered, Error> {
        let after = after.map_or_else(Uuid::nil, Id::uuid);
        let query = sqlx::query(DELIVER).bind(after).bind(PAGE_RUNS);
        let rows = self.rows(query).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let count = |at: usize| -> Result<i64, sqlx::Error> { row.try_get(at) };
        let full = count(2)? >= i64::from(PAGE_RUNS);
        let last: Option<Uuid> = row.try_get(3)?;
        Ok(Delivered {
            woken: u64::try_from(count(0)?).unwrap_or_default(),
            undeliverable: u64::try_from(count(1)?).unwrap_or_default(),
            next: last.filter(|_| full).map(Id::from),
        })
    }
}

/// A run that was put aside for a busy destination is claimed without its place there: it may be
/// told to end. Reads the whole queue, which a person's word is worth.
const CALL_BACK: &str = "
update ready set destination_id = 0, run_at = now()
where run_id = any ($1::uuid[]) and destination_id <> 0";

/// The same for many runs at once.
const POST_ALL: &str = "
insert into mail (run_id, id, kind, content)
select r.id, m.id, m.kind, m.content
from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::bytea[]) as m (run_id, id, kind, content)
cross join lateral (select x.id from runs x where x.id = m.run_id offset 0) r
where not exists (select from journal j where j.run_id = r.id and j.status is not null)
on conflict (run_id, id) do update set kind = excluded.kind returning run_id";

impl Store {
    /// Addresses something to many runs and wakes those that wait; which of them are open and so
    /// have got it.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn send_all(&self, mail: &[NewMail]) -> Result<Vec<Id>, Error> {
        let each = |of: fn(&NewMail) -> Uuid| mail.iter().map(of).collect::<Vec<_>>();
        let contents: Vec<Option<&[u8]>> = mail.iter().map(|it| it.content.as_deref()).collect();
        let sent: Vec<Uuid> = sqlx::query_scalar(POST_ALL)
            .bind(each(|mail| mail.run_id.uuid()))
            .bind(each(|mail| mail.id.uuid()))
            .bind(mail.iter().map(|it| it.kind.number()).collect::<Vec<_>>())
            .bind(contents)
            .fetch_all(&self.pool)
            .await?;
        self.wake(&sent).await?;
        Ok(sent.into_iter().map(Id::from).collect())
    }

    /// Whether a person has told the run something that it has not taken in yet.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn is_told(&self, run: Id) -> Result<bool, Error> {
        let told = "select exists (select from mail where run_id = $1 and kind = 1)";
        Ok(sqlx::query_scalar(told)
            .bind(run.uuid())
            .fetch_one(&self.pool)
            .await?)
    }

    /// Addresses something to a run and wakes it where it waits; false where the run is unknown or
    /// has ended. A node that has the run in memory learns of it within half a second. Sending
    /// the same mail again does nothing more.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn send(&self, mail: &NewMail) -> Result<bool, Error> {
        let sent = sqlx::query(POST)
            .bind(mail.run_id.uuid())
            .bind(mail.id.uuid())
            .bind(mail.kind.number())
            .bind(mail.content.as_deref())
            .fetch_optional(&self.pool)
            .await?;
        if sent.is_none() {
            return Ok(false);
        }
        self.wake(&[mail.run_id.uuid()]).await?;
        Ok(true)
    }

    async fn wake(&self, runs: &[Uuid]) -> Result<(), Error> {
        for statement in [WAKE, CALL_BACK] {
            sqlx::query(statement)
                .bind(runs)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}

fn read(row: &PgRow) -> Result<Mail, Error> {
    let id: Uuid = row.try_get(1)?;
    let content: Option<Vec<u8>> = row.try_get(3)?;
    let content = || Bytes::from(content.unwrap_or_default());
    let letter = match row.try_get::<i16, _>(2)? {
        0 if row.try_get::<Option<Uuid>, _>(4)?.is_some() => {
            let (event, target) = read_event(row, 4)?;
            let addressed = matches!(target, Some(Target::Run { .. }));
            Letter::Event { event, addressed }
        }
        1 => Letter::Command(content()),
        2 => Letter::Child(content()),
        _ => Letter::Lost,
    };
    Ok(Mail {
        id: id.into(),
        letter,
    })
}
