//! Takes tokens for calls to destinations that have a rate limit, and brings back what is left.
//!
//! One question for each destination and batch, not for each call; none where nobody calls.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::append::chain;
use crate::store::Link;

/// Longest pause between two looks for tokens to give back.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How long calls wait where the database does not answer: without it none may begin.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks for what calls have asked for, for ever.
pub async fn run(shared: Arc<Shared>, mut link: Link) {
    loop {
        let pause = shared.destinations.next_demand(LOOK_PERIOD);
        let _asked = tokio::time::timeout(pause, shared.destinations.asked()).await;
        for (destination, demand) in shared.destinations.demands() {
            let (wanted, returned) = (demand.wanted, demand.returned);
            let taking = link.take_rate(destination, &demand.windows, (wanted, returned));
            let (granted, next_in) = match taking.await {
                Ok(taken) => (taken.granted, taken.next_in),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "a rate limit could not be asked");
                    (0, AGAIN)
                }
            };
            let got = (granted, wanted);
            shared.destinations.grant(destination, got, next_in);
            if granted > 0 {
                shared.wake_claims.notify_one();
            }
        }
    }
}
