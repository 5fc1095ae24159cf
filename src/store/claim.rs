//! c

use super::*;

impl Link {
    pub async fn claim(
        &mut self,
        _session: i64,
        _claims: &mut ClaimIds,
        _queues: &[(i32, u32)],
    ) -> Result<Vec<Claimed>, Error> {
        todo!()
    }
    pub async fn ready_queues(&mut self) -> Result<Vec<ReadyQueue>, Error> {
        todo!()
    }
}
