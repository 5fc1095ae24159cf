//! The destinations of origins nobody declares: made when first called, a bounded number kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::{Destination, Origin};

/// The destinations remembered, with the time of their last use as a count.
pub(super) struct Origins {
    known: Mutex<Known>,
    /// For URIs without a usable origin; also for all origins that find no room.
    unusable: Arc<Destination>,
    max: usize,
}

#[derive(Default)]
struct Known {
    destinations: HashMap<Origin, (Arc<Destination>, u64)>,
    uses: u64,
}

impl Origins {
    pub(super) fn new(unusable: Destination, max: usize) -> Self {
        Self {
            known: Mutex::default(),
            unusable: Arc::new(unusable),
            max: max.max(1),
        }
    }

    pub(super) fn unusable(&self) -> Arc<Destination> {
        Arc::clone(&self.unusable)
    }

    /// The destination of an origin. Where all that are remembered are in use, a new one is made
    /// and not kept: its limit then holds for this call only, which is better than none.
    pub(super) fn get(
        &self,
        origin: Origin,
        make: impl FnOnce(Origin) -> Destination,
    ) -> Arc<Destination> {
        let mut known = match self.known.lock() {
            Ok(known) => known,
            Err(poisoned) => poisoned.into_inner(),
        };
        known.uses += 1;
        let uses = known.uses;
        if let Some((destination, used)) = known.destinations.get_mut(&origin) {
            *used = uses;
            return Arc::clone(destination);
        }
        let destination = Arc::new(make(origin.clone()));
        if known.destinations.len() >= self.max {
            known.forget_oldest();
        }
        if known.destinations.len() < self.max {
            let kept = Arc::clone(&destination);
            known.destinations.insert(origin, (kept, uses));
        }
        destination
    }
}

impl Known {
    /// Forgets the idle destination that was used longest ago; nothing where none is idle.
    fn forget_oldest(&mut self) {
        let oldest = self
            .destinations
            .iter()
            .filter(|(_, (destination, _))| is_idle(destination))
            .min_by_key(|(_, (_, used))| *used)
            .map(|(origin, _)| origin.clone());
        if let Some(origin) = oldest {
            self.destinations.remove(&origin);
        }
    }
}

/// Whether nobody holds the destination or one of its permits.
fn is_idle(destination: &Arc<Destination>) -> bool {
    Arc::strong_count(destination) == 1 && Arc::strong_count(&destination.gate) == 1
}
