//! The tables `approvals` and `approval_links`: what people are asked, and how it stands.
//!
//! Rows are written by settlements (T3): the run decides. Whoever decides appends an event that is
//! addressed to the run; nothing else changes a row.

use jiff::Timestamp;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::{Error, Settlement, Store};
use crate::id::Id;

/// An approval as a settlement writes it.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// Its id.
    pub id: Id,
    /// The task that asks.
    pub reference: String,
    /// Which execution of it.
    pub iteration: String,
    /// How it stands.
    pub status: &'static str,
    /// What it asks, as JSON.
    pub ask: Vec<u8>,
    /// The decisions so far, a JSON array.
    pub decisions: Vec<u8>,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
    /// When it was decided or given up.
    pub closed_at: Option<Timestamp>,
    /// SHA-256 of the token of each approver.
    pub digests: Vec<Vec<u8>>,
}

/// An approval as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredApproval {
    /// Its id.
    pub id: Uuid,
    /// The run that asks.
    pub run_id: Uuid,
    /// The workflow's namespace.
    pub namespace: String,
    /// The workflow's name.
    pub name: String,
    /// The workflow's version.
    pub version: String,
    /// The task that asks.
    pub reference: String,
    /// Which execution of it.
    pub iteration: String,
    /// How it stands; where the run has ended it is not pending.
    pub status: String,
    /// What it asks, as JSON.
    pub ask: Vec<u8>,
    /// The decisions so far, a JSON array.
    pub decisions: Vec<u8>,
    /// When it was asked.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub requested_at: Timestamp,
    /// Until when it can be decided.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub expires_at: Timestamp,
    /// When it was decided or given up, in microseconds since the Unix epoch.
    pub closed_at_us: Option<i64>,
    /// Whose link it was found by.
    pub approver: Option<i16>,
}

impl StoredApproval {
    /// When it was decided or given up.
    #[must_use]
    pub fn closed_at(&self) -> Option<Timestamp> {
        Timestamp::from_microsecond(self.closed_at_us?).ok()
    }
}

/// Which approvals to list.
#[derive(Clone, Debug, Default)]
pub struct ApprovalFilter {
    /// Only of this standing.
    pub status: Option<String>,
    /// Only of this run.
    pub run_id: Option<Id>,
    /// Only of workflows of this namespace.
    pub namespace: Option<String>,
    /// Only of workflows of this name.
    pub name: Option<String>,
}

/// What a settlement writes besides where approvals have changed; `held` are the runs whose claim
/// is good.
macro_rules! approvals {
    () => {
        "
asked as (
  insert into approvals (id, run_id, workflow_id, reference, iteration, status, ask, decisions,
                         requested_at, expires_at, closed_at)
  select a.id, a.run_id, a.workflow_id, a.reference, a.iteration, a.status, a.ask, a.decisions,
         timestamptz 'epoch' + a.requested_us * interval '1 microsecond',
         timestamptz 'epoch' + a.expires_us * interval '1 microsecond',
         timestamptz 'epoch' + a.closed_us * interval '1 microsecond'
  from unnest($42::uuid[], $43::uuid[], $44::integer[], $45::text[], $46::text[], $47::text[],
              $48::bytea[], $49::bytea[], $50::bigint[], $51::bigint[], $52::bigint[])
    as a (id, run_id, workflow_id, reference, iteration, status, ask, decisions, requested_us,
          expires_us, closed_us)
  where (a.run_id in (select run_id from held)) is true
  on conflict (id) do update
  set status = excluded.status, decisions = excluded.decisions, closed_at = excluded.closed_at
  returning id
),
linked as (
  insert into approval_links (digest, approval_id, approver)
  select l.digest, l.approval_id, l.approver
  from unnest($53::bytea[], $54::uuid[], $55::smallint[]) as l (digest, approval_id, approver)
  where (l.approval_id in (select id from asked)) is true
  on conflict do nothing
),"
    };
}
pub(super) use approvals;

/// Binds what [`approvals!`] has more.
pub(super) fn bind<'a>(
    batch: &'a [Settlement],
    query: Query<'a, Postgres, PgArguments>,
) -> Query<'a, Postgres, PgArguments> {
    let mut rows = Vec::new();
    for settlement in batch {
        let approvals = settlement.exchange.iter().flat_map(|it| &it.approvals);
        rows.extend(approvals.map(|approval| (settlement, approval)));
    }
    let us = |at: Timestamp| at.as_microsecond();
    let links = || {
        let each = |(_, approval): &(&'a Settlement, &'a NewApproval)| {
            let digests = approval.digests.iter().zip(0_i16..);
            let id = approval.id.uuid();
            digests.map(move |(digest, approver)| (digest.as_slice(), id, approver))
        };
        rows.iter().flat_map(each)
    };
    let digests: Vec<&'a [u8]> = links().map(|link| link.0).collect();
    let linked: Vec<Uuid> = links().map(|link| link.1).collect();
    let approvers: Vec<i16> = links().map(|link| link.2).collect();
    fn column<'a, T>(
        rows: &[(&'a Settlement, &'a NewApproval)],
        part: impl Fn(&'a Settlement, &'a NewApproval) -> T,
    ) -> Vec<T> {
        rows.iter().map(|(run, one)| part(run, one)).collect()
    }
    query
        .bind(column(&rows, |_, one| one.id.uuid()))
        .bind(column(&rows, |run, _| run.run_id.uuid()))
        .bind(column(&rows, |run, _| run.workflow_id))
        .bind(column(&rows, |_, one| {
            super::append::storable(&one.reference)
        }))
        .bind(column(&rows, |_, one| one.iteration.as_str()))
        .bind(column(&rows, |_, one| one.status))
        .bind(column(&rows, |_, one| one.ask.as_slice()))
        .bind(column(&rows, |_, one| one.decisions.as_slice()))
        .bind(column(&rows, |_, one| us(one.requested_at)))
        .bind(column(&rows, |_, one| us(one.expires_at)))
        .bind(column(&rows, |_, one| one.closed_at.map(us)))
        .bind(digests)
        .bind(linked)
        .bind(approvers)
}

/// The columns of [`StoredApproval`] but the approver, from `a` and `w`. A run that has ended asks
/// no more.
macro_rules! columns {
    () => {
        "select a.id, a.run_id, w.namespace, w.name, w.version, a.reference, a.iteration,
       case when a.status = 'pending' and exists (
         select from journal j where j.run_id = a.run_id and j.status is not null
       ) then 'cancelled' else a.status end as status,
       a.ask, a.decisions, a.requested_at, a.expires_at,
       (extract(epoch from a.closed_at) * 1000000)::bigint as closed_at_us"
    };
}

const BY_ID: &str = concat!(
    columns!(),
    ", null::smallint as approver
from approvals a join workflows w on w.id = a.workflow_id where a.id = $1::uuid"
);

const BY_LINK: &str = concat!(
    columns!(),
    ", l.approver
from approval_links l join approvals a on a.id = l.approval_id
join workflows w on w.id = a.workflow_id where l.digest = $1::bytea"
);

/// Pending ones are few among many that are over: they have an index of their own.
const PENDING: &str = concat!(
    columns!(),
    ", null::smallint as approver
from approvals a join workflows w on w.id = a.workflow_id
where a.status = 'pending' and a.expires_at > now()
  and not exists (select from journal j where j.run_id = a.run_id and j.status is not null)
  and ($1::text is null or $1 = 'pending') and ($2::uuid is null or a.run_id = $2)
  and ($3::text is null or w.namespace = $3) and ($4::text is null or w.name = $4)
  and ($5::uuid is null or a.id < $5) order by a.id desc limit $6::bigint"
);

const ALL: &str = concat!(
    "select * from (",
    columns!(),
    ", null::smallint as approver
  from approvals a join workflows w on w.id = a.workflow_id
  where ($2::uuid is null or a.run_id = $2)
    and ($3::text is null or w.namespace = $3) and ($4::text is null or w.name = $4)
    and ($5::uuid is null or a.id < $5)
) a where ($1::text is null or a.status = $1) order by a.id desc limit $6::bigint"
);

impl Store {
    /// An approval.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn approval(&self, id: Id) -> Result<Option<StoredApproval>, Error> {
        let query = sqlx::query_as(BY_ID).bind(id.uuid());
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// The approval that the token with this SHA-256 belongs to, with whose token it is.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn approval_of_link(&self, digest: &[u8]) -> Result<Option<StoredApproval>, Error> {
        let query = sqlx::query_as(BY_LINK).bind(digest);
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// Approvals, newest first, below `before`. Pending ones whose time has passed are not among
    /// the pending ones.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn approvals(
        &self,
        filter: &ApprovalFilter,
        before: Option<Id>,
        limit: u16,
    ) -> Result<Vec<StoredApproval>, Error> {
        let pending = filter.status.as_deref() == Some("pending");
        let query = sqlx::query_as(if pending { PENDING } else { ALL })
            .bind(filter.status.as_deref())
            .bind(filter.run_id.map(Id::uuid))
            .bind(filter.namespace.as_deref())
            .bind(filter.name.as_deref())
            .bind(before.map(Id::uuid))
            .bind(i64::from(limit));
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// How many approvals are open, up to `most`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn approvals_pending(&self, most: i64) -> Result<i64, Error> {
        let query = sqlx::query_scalar(
            "select count(*) from (select from approvals where status = 'pending' limit $1) a",
        );
        Ok(query.bind(most).fetch_one(&self.pool).await?)
    }
}
