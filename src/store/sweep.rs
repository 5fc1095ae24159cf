//! c

use super::*;

impl Link {
    pub async fn sweep(&mut self, _dead_after: Duration) -> Result<Swept, Error> {
        todo!()
    }
}
