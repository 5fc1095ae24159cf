//! The table `workflows`: every version of every definition, never changed once stored.
//!
//! Written by the API and by definitions from files, read by whoever loads definitions. It holds
//! texts; what they mean is `workflow`'s business. Which version is active is `deployments`'.

use jiff::Timestamp;
use sqlx::PgConnection;

use super::{Error, Store, deployments, revision};

/// A stored version of a workflow.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Workflow {
    /// Key of the row; runs name their workflow by it.
    pub id: i32,
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`.
    pub version: String,
    /// The document as it was sent.
    pub text: String,
    /// SHA-256 of the document as data, members sorted.
    pub digest: Vec<u8>,
    /// The operations of API documents it calls, as they were when it was deployed.
    pub pins: Option<Vec<u8>>,
    /// When it was stored.
    #[sqlx(try_from = "jiff_sqlx::Timestamp")]
    pub created_at: Timestamp,
    /// Whether it was retired: it starts no run any more.
    pub retired: bool,
    /// Whether it is the active version: the one that events and `latest` start.
    pub active: bool,
}

/// A version to store.
#[derive(Clone, Debug)]
pub struct NewWorkflow {
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`.
    pub version: String,
    /// The document as it was sent.
    pub text: String,
    /// SHA-256 of the document as data, members sorted.
    pub digest: [u8; 32],
    /// The operations of API documents it calls, where it calls any.
    pub pins: Option<Vec<u8>>,
}

/// What storing a version came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// It is new, and active now.
    Created(i32),
    /// It was stored before and is active now, but was not.
    Activated(i32),
    /// It was stored before and was active already.
    Unchanged(i32),
}

impl Deployed {
    /// Key of the version's row.
    #[must_use]
    pub const fn id(self) -> i32 {
        match self {
            Self::Created(id) | Self::Activated(id) | Self::Unchanged(id) => id,
        }
    }
}

/// The columns of [`Workflow`], with the clauses given.
macro_rules! select {
    ($clauses:literal $(,)?) => {
        concat!(
            "select w.id, w.namespace, w.name, w.version, w.text, w.digest, w.pins, w.created_at, \
             w.retired_at is not null as retired, d.workflow_id is not null as active \
             from workflows w left join deployments d on d.workflow_id = w.id ",
            $clauses
        )
    };
}

/// Stores a version unless it is there, and makes it the active one.
///
/// # Errors
/// [`Error::Conflict`] where the version is stored with other content.
pub async fn deploy(connection: &mut PgConnection, new: &NewWorkflow) -> Result<Deployed, Error> {
    let stored: Option<Workflow> = sqlx::query_as(select!(
        "where w.namespace = $1 and w.name = $2 and w.version = $3",
    ))
    .bind(&new.namespace)
    .bind(&new.name)
    .bind(&new.version)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(stored) = stored else {
        return create(connection, new).await;
    };
    if stored.digest != new.digest {
        return Err(Error::Conflict(format!(
            "version {} of {}/{} is stored with other content; raise document.version",
            new.version, new.namespace, new.name
        )));
    }
    if stored.active && !stored.retired {
        return Ok(Deployed::Unchanged(stored.id));
    }
    deployments::activate(connection, stored.id).await?;
    Ok(Deployed::Activated(stored.id))
}

async fn create(connection: &mut PgConnection, new: &NewWorkflow) -> Result<Deployed, Error> {
    let id = insert(connection, new).await?;
    deployments::activate(connection, id).await?;
    Ok(Deployed::Created(id))
}

/// Stores a version that is not there yet, without making it the active one.
///
/// # Errors
/// Where it is there, or the database is away or refuses.
pub async fn insert(connection: &mut PgConnection, new: &NewWorkflow) -> Result<i32, Error> {
    Ok(sqlx::query_scalar(
        "insert into workflows (namespace, name, version, text, digest, pins) \
         values ($1, $2, $3, $4, $5, $6) returning id",
    )
    .bind(&new.namespace)
    .bind(&new.name)
    .bind(&new.version)
    .bind(&new.text)
    .bind(new.digest.as_slice())
    .bind(&new.pins)
    .fetch_one(connection)
    .await?)
}

/// Retires a version: it starts no run any more; runs that have begun go on. Where it was the
/// active one, no version is.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn retire(connection: &mut PgConnection, id: i32) -> Result<(), Error> {
    sqlx::query("update workflows set retired_at = coalesce(retired_at, now()) where id = $1")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    sqlx::query("delete from deployments where workflow_id = $1")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    // What comes due from here on is nobody's, also where the version is activated again.
    sqlx::query("update schedules set due_at = null where workflow_id = $1")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// The active version of every workflow, by namespace and name.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn active(connection: &mut PgConnection) -> Result<Vec<Workflow>, Error> {
    Ok(sqlx::query_as(select!(
        "where d.workflow_id is not null order by w.namespace, w.name"
    ))
    .fetch_all(connection)
    .await?)
}

/// A version by its identity, where `latest` means the active one.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn find(
    connection: &mut PgConnection,
    identity: (&str, &str, &str),
) -> Result<Option<Workflow>, Error> {
    let (namespace, name, version) = identity;
    Ok(sqlx::query_as(select!(
        "where w.namespace = $1 and w.name = $2 and \
         (w.version = $3 or ($3 = 'latest' and d.workflow_id is not null))",
    ))
    .bind(namespace)
    .bind(name)
    .bind(version)
    .fetch_optional(connection)
    .await?)
}

impl Store {
    /// [`deploy`] as a transaction of its own.
    ///
    /// # Errors
    /// As [`deploy`].
    pub async fn deploy(&self, new: NewWorkflow) -> Result<Deployed, Error> {
        self.transaction(move |connection| {
            Box::pin(async move {
                revision::raise(connection).await?;
                deploy(connection, &new).await
            })
        })
        .await
    }

    /// [`retire`] as a transaction of its own.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn retire(&self, id: i32) -> Result<(), Error> {
        self.transaction(move |connection| {
            Box::pin(async move {
                revision::raise(connection).await?;
                retire(connection, id).await
            })
        })
        .await
    }

    /// The active version of every workflow, by namespace and name.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn deployed_workflows(&self) -> Result<Vec<Workflow>, Error> {
        active(&mut *self.pool.acquire().await?).await
    }

    /// A version by its key, whether active, superseded or retired: runs go on under their own.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn workflow_by_id(&self, id: i32) -> Result<Option<Workflow>, Error> {
        Ok(sqlx::query_as(select!("where w.id = $1"))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// A version by its identity; `latest` means the active one.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn workflow(&self, identity: (&str, &str, &str)) -> Result<Option<Workflow>, Error> {
        find(&mut *self.pool.acquire().await?, identity).await
    }

    /// Versions with keys above `after`, in the order they were stored, at most `limit`; of one
    /// namespace, or of one workflow, where named.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn workflows(
        &self,
        of: (Option<&str>, Option<&str>),
        after: i32,
        limit: u16,
    ) -> Result<Vec<Workflow>, Error> {
        Ok(sqlx::query_as(select!(
            "where w.id > $1 and ($2::text is null or w.namespace = $2) \
             and ($3::text is null or w.name = $3) order by w.id limit $4",
        ))
        .bind(after)
        .bind(of.0)
        .bind(of.1)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }
}
