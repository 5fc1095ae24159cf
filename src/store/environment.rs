//! The database remembers its environment, so that a production server never runs on the
//! database of another environment by a slip of configuration.

use super::{Error, Store};

/// Records `name` on the first start; afterwards checks that it is the same.
///
/// # Errors
/// [`Error::Unfit`] where the database belongs to another environment.
pub async fn claim(store: &Store, name: &str) -> Result<(), Error> {
    sqlx::query("insert into environment (name) values ($1) on conflict do nothing")
        .bind(name)
        .execute(store.pool())
        .await?;
    let recorded: String = sqlx::query_scalar("select name from environment")
        .fetch_one(store.pool())
        .await?;
    if recorded == name {
        return Ok(());
    }
    Err(Error::Unfit(format!(
        "this database belongs to environment '{recorded}', but the server was started as \
         '{name}': correct the database URL or the environment"
    )))
}
