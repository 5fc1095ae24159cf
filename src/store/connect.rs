//! How the database is reached: connection options, the management pool and its transactions, and
//! what an error of the driver means to us.
//!
//! The driver does not notice a `BEGIN` whose future was dropped; the connection then swallows
//! later writes. So a transaction runs in a task of its own that nobody can cancel, and the pool
//! closes any connection that comes back inside a transaction.

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Acquire, ConnectOptions, PgConnection};

use super::{Config, Error, Link};

/// The work of a transaction: a boxed future that borrows the connection.
pub type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

/// The oldest major version of Postgres that is supported.
const POSTGRES_VERSION_MIN: i32 = 14;

/// The database: a pool for management, and the way to open [`Link`]s. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(super) pool: PgPool,
    pub(super) options: Arc<PgConnectOptions>,
    pub(super) config: Arc<Config>,
}

impl Store {
    /// Connects and checks that this Postgres can keep what we promise (version, durability).
    /// Does not migrate: see [`Store::prepare`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it does not answer, [`Error::Unfit`] where the URL or the
    /// database's settings are unusable.
    pub async fn connect(url: &str, config: &Config) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| {
                Error::Unfit(
                    "the database URL cannot be read: it must look like \
                 postgres://user:password@host:5432/name"
                        .to_owned(),
                )
            })?
            .disable_statement_logging();
        let pool = pool(&options, config).await?;
        let store = Self {
            pool,
            options: Arc::new(options),
            config: Arc::new(config.clone()),
        };
        store.check().await?;
        Ok(store)
    }

    /// Migrates, records or checks the environment, and creates the partitions of the next days.
    ///
    /// # Errors
    /// [`Error::Unfit`] where the schema or the environment is not ours.
    pub async fn prepare(&self, environment: &str) -> Result<(), Error> {
        super::migrate::run(self).await?;
        super::environment::claim(self, environment).await?;
        super::partitions::ensure(self, super::partitions::DAYS_AHEAD).await
    }

    /// Asks for an answer, for readiness.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where there is none.
    pub async fn ping(&self) -> Result<(), Error> {
        let _row = sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    /// The pool for single statements outside the journey.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection for one task; it connects when first used. `name` shows in
    /// `pg_stat_activity`.
    #[must_use]
    pub fn link(&self, name: &str) -> Link {
        Link::new(self.hot_options(name), self.deadline())
    }

    /// Runs `work` in a transaction that commits where it returns `Ok`. It goes on to its end even
    /// if the caller is dropped; a failure or the statement timeout rolls it back.
    ///
    /// # Errors
    /// Whatever `work` returns; [`Error::Unavailable`] where the database does not answer in time.
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
    {
        let pool = self.pool.clone();
        let timeout = Duration::from_millis(self.config.pool_statement_timeout_ms.into());
        let task = tokio::spawn(async move {
            let mut connection = pool.acquire().await?;
            let outcome = tokio::time::timeout(timeout, async {
                let mut transaction = connection.begin().await?;
                let value = work(&mut transaction).await?;
                transaction.commit().await?;
                Ok(value)
            })
            .await
            .unwrap_or_else(|elapsed| Err(Error::Unavailable(elapsed.into())));
            if outcome.is_err() {
                connection.close_on_drop();
            }
            outcome
        });
        task.await
            .map_err(|failure| Error::Unavailable(failure.into()))?
    }

    pub(super) fn deadline(&self) -> Duration {
        Duration::from_millis(self.config.deadline_ms.into())
    }

    /// Options of a connection that does other work than the pool's, with its own settings.
    pub(super) fn options(&self, name: &str, settings: &[(&str, &str)]) -> PgConnectOptions {
        (*self.options)
            .clone()
            .application_name(&format!("hookwright {name}"))
            .options(settings.iter().copied())
    }

    /// Hot statements are key probes over batches, planned once. The planner may think a hot
    /// table empty when it plans, so plans that read a whole table are ruled out here.
    pub(super) fn hot_options(&self, name: &str) -> PgConnectOptions {
        let timeout_ms = self.config.deadline_ms.saturating_mul(3) / 4;
        self.options(
            name,
            &[
                ("synchronous_commit", "on"),
                ("statement_timeout", &timeout_ms.to_string()),
                ("idle_in_transaction_session_timeout", "10s"),
                ("plan_cache_mode", "force_generic_plan"),
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("jit", "off"),
            ],
        )
    }

    async fn check(&self) -> Result<(), Error> {
        let (version, fsync, pages, commit): (i32, String, String, String) = sqlx::query_as(
            "select current_setting('server_version_num')::integer, current_setting('fsync'),
             current_setting('full_page_writes'), current_setting('synchronous_commit')",
        )
        .fetch_one(&self.pool)
        .await?;
        if version / 10_000 < POSTGRES_VERSION_MIN {
            return Err(Error::Unfit(format!(
                "PostgreSQL {} is too old: version {POSTGRES_VERSION_MIN} or newer is needed",
                version / 10_000
            )));
        }
        let lossy: Vec<&str> = [("fsync", fsync), ("full_page_writes", pages)]
            .into_iter()
            .chain([("synchronous_commit", commit)])
            .filter(|(_, value)| value == "off")
            .map(|(name, _)| name)
            .collect();
        if lossy.is_empty() || self.config.accept_losing_acknowledged_events {
            return Ok(());
        }
        Err(Error::Unfit(format!(
            "Postgres has {} off and would lose acknowledged events in a crash: turn it on, or \
             set store.accept_losing_acknowledged_events = true",
            lossy.join(" and ")
        )))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

async fn pool(options: &PgConnectOptions, config: &Config) -> Result<PgPool, Error> {
    let timeout_ms = config.pool_statement_timeout_ms.to_string();
    let options = options
        .clone()
        .application_name("hookwright management")
        .options([
            ("statement_timeout", timeout_ms.as_str()),
            ("lock_timeout", "2s"),
            ("idle_in_transaction_session_timeout", "10s"),
        ]);
    let pool = PgPoolOptions::new()
        .max_connections(config.pool_connections_max)
        .acquire_timeout(Duration::from_millis(config.pool_acquire_timeout_ms.into()))
        .after_release(|connection, _| Box::pin(is_idle(connection)))
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// Whether the connection is outside any transaction: inside one, `now()` stays at its start.
async fn is_idle(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select now() = statement_timestamp()")
        .fetch_one(connection)
        .await
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if !is_outage(cause.code().as_deref()) => {
                Self::Refused(error)
            }
            sqlx::Error::RowNotFound
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::InvalidArgument(_) => Self::Refused(error),
            _ => Self::Unavailable(error.into()),
        }
    }
}

/// Whether a SQLSTATE means "not now" rather than "not so": connection failures (08), read-only
/// after a failover (25006), serialisation and deadlock (40), no resources or disk (53), a lock
/// not available (55P03), shutdown and cancelled statements (57), I/O errors (58).
fn is_outage(code: Option<&str>) -> bool {
    let code = code.unwrap_or_default();
    code == "25006"
        || code == "55P03"
        || ["08", "40", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class))
}
