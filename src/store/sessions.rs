//! Sessions: one row a node, whose beat keeps all of its claims alive.

use sqlx::Row;

use super::{Error, Link};

/// Claims go back as they came: a node that ends in order has broken nothing.
pub(super) const CLOSE: &str = "
with ended as (
  delete from sessions where id = $1::bigint
),
gone as (
  delete from claims where session_id = $1 returning run_id, sweeps
)
insert into ready (destination_id, run_id, sweeps)
select 0, run_id, sweeps from gone on conflict do nothing";

impl Link {
    /// Registers this node; returns the session id. `node` is for people only.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn open_session(&mut self, node: &str) -> Result<i64, Error> {
        let query = sqlx::query("insert into sessions (node) values ($1) returning id").bind(node);
        let rows = self.rows(query).await?;
        Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
    }

    /// Renews the session; false = it was declared dead: its claims are lost, open another.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn beat(&mut self, session: i64) -> Result<bool, Error> {
        let query = sqlx::query("update sessions set beat_at = now() where id = $1 returning id");
        Ok(!self.rows(query.bind(session)).await?.is_empty())
    }

    /// Ends the session: claims it still has go back to `ready`, their sweeps unchanged.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn close_session(&mut self, session: i64) -> Result<(), Error> {
        self.rows(sqlx::query(CLOSE).bind(session)).await?;
        Ok(())
    }
}
