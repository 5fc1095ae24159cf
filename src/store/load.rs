//! c

use super::*;

impl Link {
    pub async fn load(&mut self, _runs: &[Id]) -> Result<Vec<Loaded>, Error> {
        todo!()
    }
}
