//! The filters that runs have ever listened with, for the routers of all nodes.

use sqlx::Row;

use super::{Error, Filter, Link};

/// All filters, as of one revision.
#[derive(Debug, Default)]
pub struct Listened {
    /// Changes whenever one is added.
    pub revision: i64,
    /// A few for each definition that listens.
    pub filters: Vec<Filter>,
}

/// One statement has one snapshot: the revision belongs to these filters.
const FILTERS: &str = "
select r.number, f.workflow_id, f.reference, f.filter
from listening_revision r left join listening f on true";

impl Link {
    /// The revision of all filters now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn listening_revision(&mut self) -> Result<i64, Error> {
        let query = sqlx::query("select number from listening_revision");
        let rows = self.rows(query).await?;
        Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
    }

    /// Reads all filters that runs have ever listened with.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Refused`].
    pub async fn listened(&mut self) -> Result<Listened, Error> {
        let mut listened = Listened::default();
        for row in self.rows(sqlx::query(FILTERS)).await? {
            listened.revision = row.try_get(0)?;
            let Some(workflow_id) = row.try_get(1)? else {
                continue;
            };
            listened.filters.push(Filter {
                workflow_id,
                reference: row.try_get(2)?,
                number: row.try_get(3)?,
            });
        }
        Ok(listened)
    }
}
