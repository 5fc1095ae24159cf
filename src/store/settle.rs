//! c

use super::*;

impl Link {
    pub async fn settle(&mut self, _batch: &[Settlement]) -> Result<Vec<Id>, Error> {
        todo!()
    }
}
