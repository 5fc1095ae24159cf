//! The table `deployments`: which version of each workflow is active.
//!
//! Activating an earlier version is the rollback. Called by `store::workflows`, the API and
//! definitions from files.

use sqlx::PgConnection;

use super::{Error, Store, revision};

/// Makes a version the active one of its workflow, and takes back its retirement.
///
/// # Errors
/// Where the database is away or refuses.
pub async fn activate(connection: &mut PgConnection, id: i32) -> Result<(), Error> {
    sqlx::query("update workflows set retired_at = null where id = $1 and retired_at is not null")
        .bind(id)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "insert into deployments (namespace, name, workflow_id) \
         select namespace, name, id from workflows where id = $1 \
         on conflict (namespace, name) do update \
         set workflow_id = excluded.workflow_id, activated_at = now() \
         where deployments.workflow_id <> excluded.workflow_id",
    )
    .bind(id)
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// [`activate`] as a transaction of its own.
    ///
    /// # Errors
    /// Where the database is away or refuses.
    pub async fn activate(&self, id: i32) -> Result<(), Error> {
        self.transaction(move |connection| {
            Box::pin(async move {
                revision::raise(connection).await?;
                activate(connection, id).await
            })
        })
        .await
    }
}
