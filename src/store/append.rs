//! T1.

use super::*;

impl Link {
    pub async fn append(&mut self, _events: &[NewEvent]) -> Result<Vec<Option<Id>>, Error> {
        todo!()
    }
}
