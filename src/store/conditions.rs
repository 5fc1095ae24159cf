//! The table `conditions`: which destinations are down or asked to be left alone, for all nodes.
//!
//! Written and read by the loop in `worker` that keeps nodes agreed, and read by the API. All times
//! are the database's; nodes send and get durations. Each write tells the other nodes at once,
//! over the channel [`CHANNEL`].

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Error, Link, Store};

/// The channel on which nodes hear of changes.
pub const CHANNEL: &str = "hookwright_conditions";

/// Runs with mail that are called from the queues of destinations in one statement.
const CALLED_MAX: i32 = 500;

/// It goes down once, whoever says so first.
const DOWN: &str = "
with changed as (
  insert into conditions as c (destination_id, changes, cause, retry_at)
  values ($1, 1, $2, now() + $3 * interval '1 millisecond')
  on conflict (destination_id) do update
  set changes = c.changes + 1, since = now(), cause = excluded.cause, probes = 0,
      retry_at = excluded.retry_at, probe_session = null, probe_until = null
  where c.changes % 2 = 0
  returning 1
)
select pg_notify('hookwright_conditions', '') from changed";

/// Only the node that has the probe may say what came of it.
const STILL_DOWN: &str = "
update conditions set probes = probes + 1, cause = $3, probe_session = null, probe_until = null,
  retry_at = now() + least($5::bigint, $4::bigint * (1 << least(probes + 1, 20)))
    * interval '1 millisecond'
where destination_id = $1 and probe_session = $2 and changes % 2 = 1";

const UP: &str = "
with changed as (
  update conditions set changes = changes + 1, since = now(), probes = 0, retry_at = null,
    probe_session = null, probe_until = null
  where destination_id = $1 and probe_session = $2 and changes % 2 = 1
  returning 1
)
select pg_notify('hookwright_conditions', '') from changed";

const HELD: &str = "
with changed as (
  insert into conditions as c (destination_id, held_until)
  values ($1, now() + $2 * interval '1 millisecond')
  on conflict (destination_id) do update set held_until = excluded.held_until
  where c.held_until is null or c.held_until < excluded.held_until
  returning 1
)
select pg_notify('hookwright_conditions', '') from changed";

/// Nodes that find the same at the same time slow it down once. A node only knows its own calls.
const SLOWED: &str = "
with changed as (
  insert into conditions as c (destination_id, limited_rate, limited_at)
  select $1::integer, $2::double precision * case when $3::boolean then 1 else greatest(1, (
    select count(*) from sessions where beat_at > now() - interval '30 seconds')) end, now()
  on conflict (destination_id) do update
  set limited_rate = excluded.limited_rate, limited_at = excluded.limited_at
  where c.limited_at is null or c.limited_at < now() - interval '1 second'
  returning 1
)
select pg_notify('hookwright_conditions', '') from changed";

/// Tried at once, by whoever has a call for it.
const CHANGED: &str = "
update conditions set retry_at = now() where destination_id = $1 and changes % 2 = 1
  and retry_at > now()";

/// One node at a time may let a call through. One that died leaves it to another.
const PROBE: &str = "
update conditions set probe_session = $2, probe_until = now() + $3 * interval '1 millisecond'
where destination_id = $1 and changes % 2 = 1 and retry_at <= now()
  and (probe_until is null or probe_until <= now())
returning 1";

macro_rules! look {
    ($where:literal) => {
        concat!(
            "
select destination_id, changes, told, since, cause, probes, retry_at,
  (changes % 2 = 1) as down,
  greatest(0, extract(epoch from retry_at - now()) * 1000)::bigint as retry_ms,
  greatest(0, extract(epoch from held_until - now()) * 1000)::bigint as held_ms, held_until,
  limited_rate, (extract(epoch from now() - limited_at) * 1000)::bigint as limited_ms
from conditions where ",
            $where
        )
    };
}

/// Rows that say something; the others only keep count.
const LOOK: &str = look!(
    "changes % 2 = 1 or told < changes or held_until > now() \
                           or limited_at > now() - interval '5 minutes'"
);

const ONE: &str = look!("destination_id = $1");

/// Runs that wait for a destination and have mail go to the common queue, so that whoever claims
/// them takes it in: it may say that they are to end.
pub(super) const CALL: &str = "
with letters as materialized (
  select distinct run_id from (select run_id from mail order by run_id, id limit 10000) m
),
places as materialized (
  select r.place from letters l cross join lateral (
    select x.ctid as place from ready x
    where x.run_id = l.run_id and x.destination_id <> 0 for update skip locked
  ) r
  limit $1::integer
),
gone as (
  delete from ready where ctid = any (array(select place from places)) returning run_id, sweeps
)
insert into ready (destination_id, run_id, sweeps)
select 0, run_id, sweeps from gone on conflict do nothing returning run_id";

/// What is known about a destination.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its number.
    pub destination_id: i32,
    /// How often it went down or came up.
    pub changes: i32,
    /// How many of these changes are in the log.
    pub told: i32,
    /// When the last change was.
    pub since: Timestamp,
    /// Why it is down, or was.
    pub cause: Option<String>,
    /// Calls that were let through since and failed.
    pub probes: i32,
    /// Whether it is down.
    pub down: bool,
    /// When a call is let through.
    pub retry_at: Option<Timestamp>,
    /// How long until a call is let through.
    pub retry_in: Duration,
    /// When it may be called again, where it asked to be left alone.
    pub held_until: Option<Timestamp>,
    /// How much longer it asked to be left alone.
    pub held_for: Duration,
    /// So many calls a second are let through since so long ago, and more with time.
    pub slowed: Option<(f64, Duration)>,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2_000_000)
}

fn condition(row: &PgRow) -> Result<Condition, Error> {
    let time = |name: &str| -> Result<Option<Timestamp>, Error> {
        let time: Option<jiff_sqlx::Timestamp> = row.try_get(name)?;
        Ok(time.map(jiff_sqlx::Timestamp::to_jiff))
    };
    let pause = |name: &str| -> Result<Duration, Error> {
        let ms: Option<i64> = row.try_get(name)?;
        Ok(Duration::from_millis(
            u64::try_from(ms.unwrap_or_default()).unwrap_or_default(),
        ))
    };
    Ok(Condition {
        destination_id: row.try_get("destination_id")?,
        changes: row.try_get("changes")?,
        told: row.try_get("told")?,
        since: time("since")?.unwrap_or(Timestamp::UNIX_EPOCH),
        cause: row.try_get("cause")?,
        probes: row.try_get("probes")?,
        down: row.try_get("down")?,
        retry_at: time("retry_at")?,
        retry_in: pause("retry_ms")?,
        held_until: time("held_until")?,
        held_for: pause("held_ms")?,
        slowed: row
            .try_get::<Option<f64>, _>("limited_rate")?
            .map(|rate| Ok::<_, Error>((rate, pause("limited_ms")?)))
            .transpose()?,
    })
}

impl Link {
    /// A destination is down; where another node has said so already nothing changes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`], as of all that follow.
    pub async fn destination_down(
        &mut self,
        destination: i32,
        cause: &str,
        pause: Duration,
    ) -> Result<(), Error> {
        let query = sqlx::query(DOWN).bind(destination).bind(cause);
        self.rows(query.bind(milliseconds(pause))).await?;
        Ok(())
    }

    /// The call that `session` let through has failed: the next one comes later, twice as long as
    /// before, from `pause` on and up to `pause_max`.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn destination_still_down(
        &mut self,
        (destination, session): (i32, i64),
        cause: &str,
        (pause, pause_max): (Duration, Duration),
    ) -> Result<(), Error> {
        let query = sqlx::query(STILL_DOWN).bind(destination).bind(session);
        let query = query.bind(cause).bind(milliseconds(pause));
        self.rows(query.bind(milliseconds(pause_max))).await?;
        Ok(())
    }

    /// The call that `session` let through was answered.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn destination_up(&mut self, destination: i32, session: i64) -> Result<(), Error> {
        let query = sqlx::query(UP).bind(destination).bind(session);
        self.rows(query).await?;
        Ok(())
    }

    /// A destination asked to be left alone for so long.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn destination_held(&mut self, destination: i32, by: Duration) -> Result<(), Error> {
        let query = sqlx::query(HELD).bind(destination).bind(milliseconds(by));
        self.rows(query).await?;
        Ok(())
    }

    /// A destination refused calls and did not say when to come back: so many are let through in
    /// a second, `shared` by all nodes or by each.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn destination_slowed(
        &mut self,
        destination: i32,
        rate: f64,
        shared: bool,
    ) -> Result<(), Error> {
        let query = sqlx::query(SLOWED).bind(destination).bind(rate);
        self.rows(query.bind(shared)).await?;
        Ok(())
    }

    /// The document of a destination has changed; where it is down it is tried at once.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn destination_changed(&mut self, destination: i32) -> Result<(), Error> {
        self.rows(sqlx::query(CHANGED).bind(destination)).await?;
        Ok(())
    }

    /// Asks to be the one that lets a call through, for so long at most. False where it is not
    /// time, or another node is.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn probe_destination(
        &mut self,
        destination: i32,
        session: i64,
        lease: Duration,
    ) -> Result<bool, Error> {
        let query = sqlx::query(PROBE).bind(destination).bind(session);
        Ok(!self.rows(query.bind(milliseconds(lease))).await?.is_empty())
    }

    /// All destinations about which there is something to know.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn conditions(&mut self) -> Result<Vec<Condition>, Error> {
        self.rows(sqlx::query(LOOK))
            .await?
            .iter()
            .map(condition)
            .collect()
    }

    /// So many changes of a destination are in the log.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn told_condition(&mut self, destination: i32, changes: i32) -> Result<(), Error> {
        let query =
            sqlx::query("update conditions set told = $2 where destination_id = $1 and told < $2");
        self.rows(query.bind(destination).bind(changes)).await?;
        Ok(())
    }

    /// Calls runs that have mail out of the queues of destinations; how many.
    ///
    /// # Errors
    /// As [`Link::destination_down`].
    pub async fn call_parked(&mut self) -> Result<usize, Error> {
        Ok(self.rows(sqlx::query(CALL).bind(CALLED_MAX)).await?.len())
    }
}

/// A destination's condition, and what waits for it.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known; none where it never had trouble.
    pub condition: Option<Condition>,
    /// Runs in its queue.
    pub waiting: i64,
    /// Nodes that are alive.
    pub nodes: i64,
    /// Calls that its rate limit had left when it was last asked; none where it has no limit.
    pub rate_left: Option<i64>,
}

impl Store {
    /// What is known about a destination, and how many runs wait in its queue, counted up to
    /// `count_max`.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn condition(&self, destination: i32, count_max: i32) -> Result<Found, Error> {
        let row = sqlx::query(ONE).bind(destination);
        let row = row.fetch_optional(&self.pool).await?;
        let (waiting, nodes, rate_left) = sqlx::query_as(
            "select (select count(*) from \
                      (select from ready where destination_id = $1 limit $2) r), \
                    (select count(*) from sessions \
                     where beat_at > now() - interval '30 seconds'), \
                    (select floor(min(left_over))::bigint from rates, unnest(tokens) as left_over \
                     where destination_id = $1)",
        )
        .bind(destination)
        .bind(count_max)
        .fetch_one(&self.pool)
        .await?;
        Ok(Found {
            condition: row.as_ref().map(condition).transpose()?,
            waiting,
            nodes,
            rate_left,
        })
    }
}
