//! A connection owned by one task, for the stages of the journey.
//!
//! The connection is taken out before a statement and put back after its answer. A deadline or a
//! dropped future therefore closes it: a connection whose state is not known is never used again.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, PgConnection, Postgres};

use super::{BATCH_MAX, Error};

/// A Postgres connection owned by one task. Connects when first used and again after a failure;
/// every statement has a deadline after which the connection is dropped, never reused.
pub struct Link {
    options: PgConnectOptions,
    deadline: Duration,
    connection: Option<PgConnection>,
    /// The ledger row this connection counts in: session and lane.
    pub(super) lane: (i64, i16),
}

impl Link {
    pub(super) const fn new(options: PgConnectOptions, deadline: Duration) -> Self {
        Self {
            options,
            deadline,
            connection: None,
            lane: (0, 0),
        }
    }

    /// Makes this connection the writer of a ledger row of its own. Each link of a session that
    /// appends, routes, settles or sweeps takes another `lane`; without one nothing is counted.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn open_lane(&mut self, session: i64, lane: i16) -> Result<(), Error> {
        self.rows(
            sqlx::query(
                "insert into ledger (session_id, lane) values ($1, $2) on conflict do nothing",
            )
            .bind(session)
            .bind(lane),
        )
        .await?;
        self.lane = (session, lane);
        Ok(())
    }

    /// Runs one statement within the deadline, connecting first where needed.
    pub(super) async fn rows(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Error> {
        let held = self.connection.take();
        let options = &self.options;
        let work = async move {
            let mut connection = match held {
                Some(connection) => connection,
                None => PgConnection::connect_with(options).await?,
            };
            let outcome = query.fetch_all(&mut connection).await;
            Ok::<_, sqlx::Error>((connection, outcome))
        };
        let (connection, outcome) = tokio::time::timeout(self.deadline, work)
            .await
            .map_err(|elapsed| Error::Unavailable(elapsed.into()))??;
        let outcome = outcome.map_err(Error::from);
        if !matches!(outcome, Err(Error::Unavailable(_))) {
            self.connection = Some(connection);
        }
        outcome
    }
}

/// Refuses a batch that no caller should make.
pub(super) fn check_batch(length: usize) -> Result<(), Error> {
    if length <= BATCH_MAX {
        return Ok(());
    }
    Err(Error::Unfit(format!(
        "a batch of {length} is too large: at most {BATCH_MAX} go into one statement"
    )))
}
