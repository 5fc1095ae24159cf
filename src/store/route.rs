//! T2.

use super::*;

impl Link {
    pub async fn route(&mut self, _batch: &Routing) -> Result<Vec<Id>, Error> {
        todo!()
    }
    pub async fn unrouted(
        &mut self,
        _older_than: Duration,
        _limit: u32,
    ) -> Result<Vec<Unrouted>, Error> {
        todo!()
    }
}
