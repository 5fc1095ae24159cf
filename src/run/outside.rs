//! A run and what is around it: whether it may act, whom it waits for, what it says to other runs,
//! and whether what is brought to it comes in time.

use std::sync::Arc;

use crate::id::Id;

use super::{
    Change, Child, Door, Entry, Errand, Key, Run, State, Wait, task, workflow_timeout_key,
};

impl Run {
    /// Whether it is suspended: its effects are not to be started, its times run on.
    #[must_use]
    pub const fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// The sub-workflows it wants started.
    #[must_use]
    pub fn starts(&self) -> Vec<Arc<Child>> {
        if self.children.is_empty() {
            return Vec::new();
        }
        let starts = self.frames.values().filter_map(|frame| match &frame.state {
            State::Child(open) if open.run.is_none() => Some(Arc::clone(&open.child)),
            _ => None,
        });
        starts.collect()
    }

    /// Whether it awaits other runs.
    #[must_use]
    pub fn awaits_others(&self) -> bool {
        let mut frames = self.frames.values();
        frames.any(|frame| matches!(&frame.state, State::Child(open) if open.run.is_some()))
    }

    /// The runs it awaits, in the order of their ids.
    #[must_use]
    pub fn children(&self) -> Vec<Id> {
        let started = self.frames.values().filter_map(|frame| match &frame.state {
            State::Child(open) => open.run,
            _ => None,
        });
        let mut children: Vec<Id> = started.collect();
        children.sort_unstable();
        children
    }

    /// Takes what other runs are to do, since the last time. It is done together with the entries
    /// that said it; what was said by entries that are stored already has been done.
    pub fn take_errands(&mut self) -> Vec<Errand> {
        std::mem::take(&mut self.errands)
    }

    /// Whether other runs are to do something that was not taken yet.
    #[must_use]
    pub const fn has_errands(&self) -> bool {
        !self.errands.is_empty()
    }

    /// The key of the task that an entry brings something to from outside.
    pub(super) fn brings_to(&self, change: &Change) -> Option<Key> {
        match change {
            Change::Attempted { key, .. }
            | Change::Performed { key, .. }
            | Change::ChildStarted { key, .. } => Some(key.clone()),
            Change::ChildEnded { child, .. } => {
                let frame = self.frames.get(self.children.get(child)?)?;
                Some(frame.key())
            }
            _ => None,
        }
    }

    /// The deadline that had passed when an outcome came: it counts, the outcome does not. A late
    /// answer must not win against its timeout, nor may the timeout of what is around a call look
    /// like an error of the call, which a `catch` inside could swallow.
    pub(super) fn overdue(&self, entry: &Entry) -> Option<Key> {
        let key = self.brings_to(&entry.change)?;
        let now = self.now.max(entry.at);
        let Some(Door::Leaf(leaf)) = self.open.get(&key).copied() else {
            return None;
        };
        let mut next = self.frames.get(&leaf);
        if next?.nearest.is_none_or(|until| until > now) {
            return None;
        }
        let mut waits = Vec::new();
        while let Some(frame) = next {
            if let State::Approval(ballot) = &frame.state {
                let (key, until) = (frame.key(), ballot.until);
                waits.push(Wait { key, until });
            }
            if let State::Try(trial) = &frame.state {
                waits.extend(task::r#try::wait(frame, trial));
            }
            if let Some(until) = frame.deadline {
                let key = frame.timeout_key();
                waits.push(Wait { key, until });
            }
            next = self.frames.get(&frame.parent);
        }
        if let Some(until) = self.deadline {
            let key = workflow_timeout_key();
            waits.push(Wait { key, until });
        }
        // From the outside: where times are equal an enclosing deadline counts.
        let first = waits.into_iter().rev().min_by_key(|wait| wait.until)?;
        Some(first.key)
    }
}
