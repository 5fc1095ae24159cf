//! The tables `gates` and `gate_runs`: which runs of workflows with `concurrency` may be open.
//!
//! Called by the claim loop for runs that want in, and by the gate loop for those that have ended.
//! Each call is a short transaction that locks the gates first, always in the same order; what
//! it decides about is read under that lock. A run that waits stands in `ready` at a time far off,
//! so it costs those who claim nothing.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{Error, Store};
use crate::id::Id;

/// Most runs that wait at one gate; more are turned away.
pub const WAITING_MAX: i32 = 100_000;

/// Members of gates looked at in one round of [`Store::look_over_gates`].
const ROUND_MAX: i64 = 1_000;

/// Makes the gates and locks them; a row that is updated is read as it is now.
const LOCK: &str = "
insert into gates (namespace, name, key, runs_max)
select namespace, name, key, runs_max from json_to_recordset($1::text::json)
  as g (namespace text, name text, key uuid, runs_max integer)
order by namespace, name, key
on conflict (namespace, name, key) do update
set runs_max = excluded.runs_max, touched_at = now()
returning id, namespace, name, key, running, waiting";

/// Writes down who is in and who waits. Those who wait leave their claims, unless they were lost.
const ADMIT: &str = "
with given as (
  select * from json_to_recordset($1::text::json)
    as g (run_id uuid, claim_id bigint, gate_id bigint, entered boolean, priority smallint)
),
written as (
  insert into gate_runs (run_id, gate_id, entered, priority)
  select run_id, gate_id, entered, priority from given
  on conflict do nothing returning gate_id, entered
),
counted as (
  update gates g set running = g.running + n.running, waiting = g.waiting + n.waiting
  from (
    select gate_id, count(*) filter (where entered)::integer as running,
           count(*) filter (where not entered)::integer as waiting
    from written group by gate_id
  ) n
  where g.id = n.gate_id
),
gone as (
  delete from claims c using given w
  where not w.entered and c.run_id = w.run_id and c.claim_id = w.claim_id
  returning c.run_id, c.sweeps
)
insert into ready (destination_id, run_at, run_id, sweeps)
select 0, timestamptz '9999-01-01 00:00:00Z', run_id, sweeps from gone on conflict do nothing";

const LEAVE: &str = "
with gone as (
  delete from gate_runs where run_id = any ($1::uuid[]) returning gate_id, entered
)
update gates g set running = g.running - n.running, waiting = g.waiting - n.waiting,
  touched_at = now()
from (
  select gate_id, count(*) filter (where entered)::integer as running,
         count(*) filter (where not entered)::integer as waiting
  from gone group by gate_id
) n
where g.id = n.gate_id";

/// Lets in as many of those who wait as there are places.
const PROMOTE: &str = "
with next as materialized (
  select r.run_id, g.id as gate_id
  from gates g cross join lateral (
    select x.run_id from gate_runs x where x.gate_id = g.id and not x.entered
    order by x.priority desc, x.run_id limit greatest(g.runs_max - g.running, 0)
  ) r
  where g.id = any ($1::bigint[]) and g.waiting > 0
),
promoted as (
  update gate_runs m set entered = true from next n where m.run_id = n.run_id
),
counted as (
  update gates g set running = g.running + n.runs, waiting = g.waiting - n.runs
  from (select gate_id, count(*)::integer as runs from next group by gate_id) n
  where g.id = n.gate_id
),
woken as (
  update ready r set run_at = now() from next n
  where r.destination_id = 0 and r.run_at = timestamptz '9999-01-01 00:00:00Z'
    and r.run_id = n.run_id
)
select count(*) from next";

/// Those who wait and have got mail are claimed to take it in: it may say that they are to end.
const CALL: &str = "
update ready r set run_at = now()
from (
  select m.run_id from mail m join gate_runs g on g.run_id = m.run_id
  where not g.entered limit 100
) w
where r.destination_id = 0 and r.run_at = timestamptz '9999-01-01 00:00:00Z'
  and r.run_id = w.run_id";

/// Tells the oldest members of gates, beyond the number of runs that may be open, to end; those
/// who have been told already are left out, and those who wait are claimed to hear of it.
const DISPLACE: &str = "
with displaced as materialized (
  select m.run_id from (
    select r.run_id, row_number() over (partition by r.gate_id order by r.run_id desc) as place,
           g.runs_max
    from gate_runs r join gates g on g.id = r.gate_id where r.gate_id = any ($1::bigint[])
  ) m
  where m.place > m.runs_max and not exists (
    select from mail x where x.run_id = m.run_id and x.kind = 1 and x.content = $2::bytea)
),
told as (
  insert into mail (run_id, id, kind, content)
  select run_id, gen_random_uuid(), 1::smallint, $2 from displaced
),
called as (
  update ready r set run_at = now() from displaced d
  where r.destination_id = 0 and r.run_at = timestamptz '9999-01-01 00:00:00Z'
    and r.run_id = d.run_id
)
select run_id from displaced";

/// Members whose runs have ended, and whose nodes did not live to say so.
const ENDED: &str = "
select w.run_id,
       exists (select from journal j where j.run_id = w.run_id and j.status is not null)
       or not exists (select from runs r where r.id = w.run_id) as ended
from (select run_id from gate_runs where run_id > $1 order by run_id limit $2) w
order by w.run_id";

/// A claimed run that wants in.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// The run.
    pub run_id: Id,
    /// The claim this node holds.
    pub claim_id: i64,
    /// Namespace of its workflow.
    pub namespace: String,
    /// Name of its workflow.
    pub name: String,
    /// Stands for the value of the key.
    pub key: Id,
    /// Most runs that are in at once.
    pub runs_max: i32,
    /// The highest number goes first among those who wait.
    pub priority: i16,
    /// Whether it may wait.
    pub waits: bool,
    /// Whether, where it has to wait, the oldest runs are told to end.
    pub displaces: bool,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is in, now or from before.
    In,
    /// It waits; this node's claim of it is gone.
    Waits,
    /// Neither; it is to end.
    TurnedAway,
}

/// What was decided about runs that want in.
#[derive(Debug, Default)]
pub struct Entered {
    /// What the gate says to each of them.
    pub places: HashMap<Id, Place>,
    /// Runs that were told to end.
    pub displaced: Vec<Id>,
}

#[derive(Serialize)]
struct Gate<'a> {
    namespace: &'a str,
    name: &'a str,
    key: Uuid,
    runs_max: i32,
}

#[derive(Serialize)]
struct Admitted {
    run_id: Uuid,
    claim_id: i64,
    gate_id: i64,
    entered: bool,
    priority: i16,
}

struct Locked {
    id: i64,
    running: i32,
    waiting: i32,
}

type GateKey = (String, String, Uuid);

impl Entrant {
    fn gate(&self) -> GateKey {
        (self.namespace.clone(), self.name.clone(), self.key.uuid())
    }
}

/// What a round over all gates did.
#[derive(Debug, Default)]
pub struct Round {
    /// Where the next round begins; `None`: at the start.
    pub next: Option<Id>,
    /// Runs that had ended and have left.
    pub left: usize,
    /// Runs that were let in, or called to take in mail.
    pub woken: u64,
}

impl Store {
    /// Decides about runs that this node has claimed. Asking again is safe: who is in stays in.
    /// `cancel` is what runs are told that are displaced.
    ///
    /// # Errors
    /// Where the database is away or refuses; nothing is decided then.
    pub async fn enter_gates(
        &self,
        entrants: Vec<Entrant>,
        cancel: Vec<u8>,
    ) -> Result<Entered, Error> {
        self.transaction(move |connection| {
            Box::pin(async move {
                let mut gates = lock(connection, &entrants).await?;
                let ids: Vec<Uuid> = entrants.iter().map(|one| one.run_id.uuid()).collect();
                let known: Vec<(Uuid, bool)> =
                    sqlx::query_as("select run_id, entered from gate_runs where run_id = any ($1)")
                        .bind(ids)
                        .fetch_all(&mut *connection)
                        .await?;
                let known: HashMap<Uuid, bool> = known.into_iter().collect();
                let (places, admitted) = decide(&entrants, &known, &mut gates);
                sqlx::query(ADMIT)
                    .bind(json(&admitted)?)
                    .execute(&mut *connection)
                    .await?;
                let displacing = displacing(&entrants, &places, &gates);
                let mut displaced: Vec<Uuid> = Vec::new();
                if !displacing.is_empty() {
                    displaced = sqlx::query_scalar(DISPLACE)
                        .bind(displacing)
                        .bind(cancel)
                        .fetch_all(&mut *connection)
                        .await?;
                }
                Ok(Entered {
                    places,
                    displaced: displaced.into_iter().map(Id::from).collect(),
                })
            })
        })
        .await
    }

    /// Runs that have ended leave, others are let in; returns how many were.
    ///
    /// # Errors
    /// Where the database is away or refuses; nothing has changed then.
    pub async fn leave_gates(&self, ended: Vec<Id>) -> Result<u64, Error> {
        let ended: Vec<Uuid> = ended.iter().map(|id| id.uuid()).collect();
        self.transaction(move |connection| {
            Box::pin(async move {
                let gates: Vec<i64> = sqlx::query_scalar(
                    "select g.id from gates g where g.id in \
                       (select m.gate_id from gate_runs m where m.run_id = any ($1)) \
                     order by g.namespace, g.name, g.key for update",
                )
                .bind(&ended)
                .fetch_all(&mut *connection)
                .await?;
                sqlx::query(LEAVE)
                    .bind(&ended)
                    .execute(&mut *connection)
                    .await?;
                promote(connection, &gates).await
            })
        })
        .await
    }

    /// Looks over the members of all gates, so many at a time from `from` on: lets leave whose run
    /// has ended, lets in whom there is place for, and forgets gates that nobody has come to for
    /// an hour.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn look_over_gates(&self, from: Option<Id>) -> Result<Round, Error> {
        let from = from.map_or(Uuid::nil(), Id::uuid);
        let rows: Vec<(Uuid, bool)> = sqlx::query_as(ENDED)
            .bind(from)
            .bind(ROUND_MAX)
            .fetch_all(&self.pool)
            .await?;
        let full = i64::try_from(rows.len()).is_ok_and(|count| count == ROUND_MAX);
        let next = rows.last().filter(|_| full).map(|(id, _)| Id::from(*id));
        let ended = rows.into_iter().filter(|(_, ended)| *ended);
        let ended: Vec<Id> = ended.map(|(id, _)| id.into()).collect();
        let mut round = Round {
            next,
            left: ended.len(),
            woken: 0,
        };
        if !ended.is_empty() {
            round.woken += self.leave_gates(ended).await?;
        }
        round.woken += self.fill_gates().await?;
        let called = sqlx::query(CALL).execute(&self.pool).await?;
        round.woken += called.rows_affected();
        sqlx::query(
            "delete from gates where id in \
               (select id from gates where running = 0 and waiting = 0 \
                  and touched_at < now() - interval '1 hour' limit 1000 for update skip locked)",
        )
        .execute(&self.pool)
        .await?;
        Ok(round)
    }

    /// Gates whose limit was raised have places that nobody's end has made.
    async fn fill_gates(&self) -> Result<u64, Error> {
        let find = "select id from gates where waiting > 0 and running < runs_max limit 100";
        let found: Vec<i64> = sqlx::query_scalar(find).fetch_all(&self.pool).await?;
        if found.is_empty() {
            return Ok(0);
        }
        self.transaction(move |connection| {
            Box::pin(async move {
                let gates: Vec<i64> = sqlx::query_scalar(
                    "select id from gates where id = any ($1) \
                     order by namespace, name, key for update",
                )
                .bind(found)
                .fetch_all(&mut *connection)
                .await?;
                promote(connection, &gates).await
            })
        })
        .await
    }
}

async fn lock(
    connection: &mut PgConnection,
    entrants: &[Entrant],
) -> Result<HashMap<GateKey, Locked>, Error> {
    let mut wanted = BTreeMap::new();
    for one in entrants {
        wanted.insert(one.gate(), one);
    }
    let wanted: Vec<Gate<'_>> = wanted
        .values()
        .map(|one| Gate {
            namespace: &one.namespace,
            name: &one.name,
            key: one.key.uuid(),
            runs_max: one.runs_max,
        })
        .collect();
    let rows = sqlx::query(LOCK)
        .bind(json(&wanted)?)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let locked = Locked {
                id: row.try_get(0)?,
                running: row.try_get(4)?,
                waiting: row.try_get(5)?,
            };
            Ok(((row.try_get(1)?, row.try_get(2)?, row.try_get(3)?), locked))
        })
        .collect()
}

/// Those who were in stay in, those who waited go on waiting; new ones get the places there are,
/// unless others wait for them.
fn decide(
    entrants: &[Entrant],
    known: &HashMap<Uuid, bool>,
    gates: &mut HashMap<GateKey, Locked>,
) -> (HashMap<Id, Place>, Vec<Admitted>) {
    let mut places = HashMap::new();
    let mut admitted = Vec::new();
    let mut sorted: Vec<&Entrant> = entrants.iter().collect();
    sorted.sort_by_key(|one| (std::cmp::Reverse(one.priority), one.run_id));
    for one in sorted {
        let Some(gate) = gates.get_mut(&one.gate()) else {
            continue;
        };
        let place = match known.get(&one.run_id.uuid()) {
            Some(true) => Place::In,
            Some(false) => Place::Waits,
            None if gate.waiting == 0 && gate.running < one.runs_max => {
                gate.running += 1;
                Place::In
            }
            None if one.waits && gate.waiting < WAITING_MAX => {
                gate.waiting += 1;
                Place::Waits
            }
            None => Place::TurnedAway,
        };
        places.insert(one.run_id, place);
        let settled = known.get(&one.run_id.uuid()) == Some(&true);
        if place != Place::TurnedAway && !settled {
            admitted.push(Admitted {
                run_id: one.run_id.uuid(),
                claim_id: one.claim_id,
                gate_id: gate.id,
                entered: place == Place::In,
                priority: one.priority,
            });
        }
    }
    (places, admitted)
}

/// The gates at which somebody waits who displaces the oldest.
fn displacing(
    entrants: &[Entrant],
    places: &HashMap<Id, Place>,
    gates: &HashMap<GateKey, Locked>,
) -> Vec<i64> {
    let waiting = entrants
        .iter()
        .filter(|one| one.displaces && places.get(&one.run_id).copied() == Some(Place::Waits));
    let found = waiting.filter_map(|one| gates.get(&one.gate()));
    found.map(|gate| gate.id).collect()
}

async fn promote(connection: &mut PgConnection, gates: &[i64]) -> Result<u64, Error> {
    let entered: i64 = sqlx::query_scalar(PROMOTE)
        .bind(gates)
        .fetch_one(connection)
        .await?;
    Ok(u64::try_from(entered).unwrap_or_default())
}

fn json(rows: &[impl Serialize]) -> Result<String, Error> {
    serde_json::to_string(rows).map_err(|error| Error::Unfit(error.to_string()))
}
