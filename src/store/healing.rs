//! The tables `healing` and `healed`: whose turn it is to ask a sender for what was missed, and
//! what was asked for.
//!
//! Used by `webhook::heal`, off the way of deliveries. Times are the database's.

use std::time::Duration;

use super::{Error, Store};

/// How long it is remembered what was asked for.
const REMEMBERED_DAYS: i32 = 30;

const TURN: &str = "
insert into healing as h (source, due_at) values ($1, now() + $2 * interval '1 millisecond')
on conflict (source) do update set due_at = excluded.due_at where h.due_at <= now()";

const FORGET: &str = "
delete from healed where source = $1 and at < now() - make_interval(days => $2)";

impl Store {
    /// Takes the turn of a source for `period`; false where it is not due, or another node's.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn healing_turn(&self, source: &str, period: Duration) -> Result<bool, Error> {
        let period_ms = i64::try_from(period.as_millis()).unwrap_or(i64::MAX / 2);
        let turn = sqlx::query(TURN).bind(source).bind(period_ms);
        let turn = turn.execute(&self.pool).await?.rows_affected() > 0;
        if turn {
            let forget = sqlx::query(FORGET).bind(source).bind(REMEMBERED_DAYS);
            forget.execute(&self.pool).await?;
        }
        Ok(turn)
    }

    /// Whether this was asked for already.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn is_healed(&self, source: &str, key: &[u8]) -> Result<bool, Error> {
        let query = "select exists (select from healed where source = $1 and key = $2)";
        let query = sqlx::query_scalar(query).bind(source).bind(key);
        Ok(query.fetch_one(&self.pool).await?)
    }

    /// Notes that this was asked for.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn note_healed(&self, source: &str, key: &[u8]) -> Result<(), Error> {
        sqlx::query("insert into healed (source, key) values ($1, $2) on conflict do nothing")
            .bind(source)
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
