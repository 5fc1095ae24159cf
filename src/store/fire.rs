//! c

use super::*;

impl Link {
    pub async fn fire(&mut self, _limit: u32) -> Result<Fired, Error> {
        todo!()
    }
}
