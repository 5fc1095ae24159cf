//! What a run hears and tells: the events it listens for, and those it has emitted.

use super::entry::Received;
use super::frame::FrameId;
use super::{Key, Listening, Run, task};
use crate::event::{DECIDED, Event};
use crate::trigger;

/// Addressed events that are kept for a task that will listen for them; beyond it the oldest go.
const KEPT_MAX: usize = 1_000;

impl Run {
    /// What the run listens for, in the order in which its tasks began.
    #[must_use]
    pub fn listens(&self) -> Vec<Listening> {
        let mut listens = Vec::new();
        if self.listens > 0 {
            let frames = self.frames.values();
            frames.for_each(|frame| task::listen::listening(frame, &mut listens));
        }
        listens
    }

    /// Whether the run would take the event now; where it would, whether it needs its data raw.
    #[must_use]
    pub fn hears(&self, event: &Received) -> Option<bool> {
        if self.listens == 0 || self.end.is_some() {
            return None;
        }
        let frames = self.frames.values();
        frames
            .filter_map(|frame| task::listen::hears(self, frame, event))
            .max()
    }

    /// An event as the run takes it in; `None` where the run has no use for it.
    #[must_use]
    pub fn heard(&self, event: &Event, addressed: bool) -> Option<Received> {
        let mut received = Received {
            id: event.id,
            addressed,
            envelope: trigger::envelope(event),
            raw: None,
        };
        let raw = match self.hears(&received) {
            Some(raw) => raw,
            None if event.kind == DECIDED => false,
            None if addressed => true,
            None => return None,
        };
        if raw {
            received.raw = Some(trigger::raw(event));
        }
        Some(received)
    }

    /// The tasks that would take the event now.
    pub(super) fn hearers(&self, event: &Received) -> impl Iterator<Item = Key> {
        let frames = self.frames.values();
        frames.filter_map(|frame| {
            let hears = task::listen::hears(self, frame, event).is_some()
                || task::approval::is_asked(frame, event);
            hears.then(|| frame.key())
        })
    }

    /// The events that the run has emitted since they were last taken.
    pub fn take_outgoing(&mut self) -> Vec<Event> {
        let outgoing = std::mem::take(&mut self.outgoing).into_iter();
        outgoing.map(|(_, event)| event).collect()
    }

    /// Whether the run has emitted events that were not taken yet.
    #[must_use]
    pub const fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Offers an event to all that listen. One that is addressed to the run and that nobody takes
    /// is kept for a task that will.
    pub(super) fn received(&mut self, event: Received) {
        if task::approval::heard(self, &event) {
            return;
        }
        let ids: Vec<FrameId> = self.frames.keys().copied().collect();
        let mut taken = false;
        for id in ids {
            taken |= self.listens > 0 && task::listen::offer(self, id, &event);
        }
        if event.addressed && !taken {
            if self.kept.len() >= KEPT_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back(event);
        }
    }
}
