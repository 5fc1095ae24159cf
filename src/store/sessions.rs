//! c

use super::*;

impl Link {
    pub async fn open_session(&mut self, _node: &str) -> Result<i64, Error> {
        todo!()
    }
    pub async fn beat(&mut self, _session: i64) -> Result<bool, Error> {
        todo!()
    }
    pub async fn close_session(&mut self, _session: i64) -> Result<(), Error> {
        todo!()
    }
}
