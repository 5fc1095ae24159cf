//! What of one run's journal another run can begin with, so that a failed task is tried again
//! without repeating what succeeded before it.
//!
//! The prefix is what happened until the task ended, without the task itself and without what was
//! still open beside it. It fits a run where every entry meets a task that waits for it.

use std::collections::HashSet;
use std::sync::Arc;

use super::approval::{Approval, Standing};
use super::frame::FrameId;
use super::{Change, End, Entry, Errand, Key, Record, Run, Surroundings, record};
use crate::id::Id;
use crate::workflow::Definition;

/// Why a journal cannot be reused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The run has no such failure to go back to.
    #[error("the task {0} has not faulted or been cancelled in that run")]
    NotFailed(String),
    /// An entry has no place in the other run.
    #[error(
        "the journal does not fit this version: nothing waits for what happened at {0}; \
         replay from the start"
    )]
    Misfit(String),
    /// The other run does not come to the task.
    #[error("the journal does not lead this version to the task {0}; replay from the start")]
    NotReached(String),
}

/// What happened before the latest failure of the task `reference`, from a journal whose first
/// entry is the start. Only what is finished is kept.
///
/// # Errors
/// [`Unusable::NotFailed`] where no execution of the task has faulted or been cancelled.
pub fn before(
    definition: &Arc<Definition>,
    surroundings: &Arc<Surroundings>,
    journal: &[Entry],
    reference: &str,
) -> Result<Vec<Entry>, Unusable> {
    let fresh = || Run::new(Arc::clone(definition), Arc::clone(surroundings)).recorded();
    let mut whole = fresh();
    journal.iter().for_each(|entry| whole.apply(entry.clone()));
    let has_failed = |record: &Record| {
        record.reference.as_ref() == reference
            && matches!(record.status, record::FAULTED | record::CANCELLED)
    };
    let failed = whole.records().iter().rposition(has_failed);
    let failed = failed.ok_or_else(|| Unusable::NotFailed(reference.to_owned()))?;
    let path = Arc::clone(&whole.records()[failed].path);
    let mut run = fresh();
    let mut kept = Vec::new();
    for entry in journal {
        let was_open = run.records().len() > failed;
        let is_outside = run.is_outside(&entry.change, reference, &path);
        let change = run.consumed(entry);
        run.apply(entry.clone());
        let record = run.records().get(failed);
        let has_ended = record.is_some_and(|record| record.ended_at.is_some());
        // What began the task and failed it at once led to it; what only ended it did not.
        if has_ended && was_open {
            break;
        }
        if let Some(change) = change
            && is_outside
        {
            let at = entry.at;
            kept.push(Entry { at, change });
        }
        if has_ended {
            break;
        }
    }
    Ok(finished(kept, &run))
}

/// Whether a run that begins with these entries comes to the task `reference`. The first entry is
/// the start.
///
/// # Errors
/// [`Unusable::Misfit`] at the first entry that nothing waits for, or [`Unusable::NotReached`].
pub fn begins_with(
    definition: &Arc<Definition>,
    surroundings: &Arc<Surroundings>,
    entries: &[Entry],
    reference: &str,
) -> Result<(), Unusable> {
    let mut run = Run::new(Arc::clone(definition), Arc::clone(surroundings)).recorded();
    for entry in entries {
        let misfit = |run: &Run| {
            let at = entry.change.key().map(|key| key.reference.to_string());
            let problem = match &run.end {
                Some(End::Faulted(problem)) => problem.instance.clone(),
                _ => None,
            };
            Unusable::Misfit(at.or(problem).unwrap_or_else(|| "/".to_owned()))
        };
        if run.end.is_some() || run.consumed(entry).is_none() {
            return Err(misfit(&run));
        }
        run.apply(entry.clone());
    }
    let is_there = |record: &Record| record.reference.as_ref() == reference;
    if run.records().iter().any(is_there) {
        Ok(())
    } else {
        Err(Unusable::NotReached(reference.to_owned()))
    }
}

/// Whether a key belongs to this execution of a task or to one inside it.
fn is_inside(key: &Key, reference: &str, path: &str) -> bool {
    let below = |text: &str, of: &str, marks: &[char]| match text.strip_prefix(of) {
        Some(rest) => rest.is_empty() || of.is_empty() || rest.starts_with(marks),
        None => false,
    };
    below(&key.reference, reference, &['/', '#']) && below(&key.iteration, path, &['/'])
}

/// Leaves out the start, attempts without an outcome, and sub-workflows that were still awaited:
/// the other run makes its own.
fn finished(entries: Vec<Entry>, run: &Run) -> Vec<Entry> {
    let performed: HashSet<Key> = entries
        .iter()
        .filter_map(|entry| match &entry.change {
            Change::Performed { key, .. } => Some(key.clone()),
            _ => None,
        })
        .collect();
    let cancelled = run.errands.iter().filter_map(|errand| match errand {
        Errand::Cancel(child) => Some(*child),
        Errand::Start { .. } => None,
    });
    let unfinished: HashSet<Id> = cancelled.chain(run.children.keys().copied()).collect();
    let is_finished = |entry: &Entry| match &entry.change {
        Change::Started { .. } => false,
        Change::Attempted { key, .. } => performed.contains(key),
        Change::ChildStarted { child, .. } => !unfinished.contains(child),
        _ => true,
    };
    entries.into_iter().filter(is_finished).collect()
}

impl Run {
    /// A run whose journal, behind the start, begins with that of another one up to the task
    /// `from`. What it has said to others until that task began, the other run has said already.
    #[must_use]
    pub fn resumed(
        definition: Arc<Definition>,
        surroundings: Arc<Surroundings>,
        journal: Vec<Entry>,
        (prefix, from): (Vec<Entry>, &str),
    ) -> Self {
        let mut run = Self::new(definition, surroundings).recorded();
        let mut journal = journal.into_iter();
        journal
            .by_ref()
            .take(1)
            .chain(prefix)
            .for_each(|entry| run.apply(entry));
        let is_there = |record: &&Record| record.reference.as_ref() == from;
        let begun = run.records().iter().rfind(is_there);
        let begun = begun.map_or(FrameId::MAX, |record| record.execution);
        run.outgoing.retain(|(execution, _)| *execution >= begun);
        run.errands.clear();
        // What was decided in the other run is on record there.
        let is_open = |_: &Id, it: &mut Approval| it.standing == Standing::Pending;
        run.approvals.retain(is_open);
        run.records = None;
        journal.for_each(|entry| run.apply(entry));
        run
    }

    /// Whether a change is about something else than this execution of a task.
    fn is_outside(&self, change: &Change, reference: &str, path: &str) -> bool {
        let is_outside = |key: Key| !is_inside(&key, reference, path);
        if let Change::Received { event } = change {
            let mut hearers = self.hearers(event).peekable();
            return hearers.peek().is_none() || hearers.any(is_outside);
        }
        let key = self.brings_to(change).or_else(|| change.key().cloned());
        key.is_none_or(is_outside)
    }

    /// What an entry means to the run as it is now: itself, the deadline that had passed before it,
    /// or nothing, where nothing waits for it or it is only a person's.
    fn consumed(&self, entry: &Entry) -> Option<Change> {
        if self.end.is_some() {
            return None;
        }
        if let Some(key) = self.overdue(entry) {
            return Some(Change::Fired { key });
        }
        let is_consumed = match &entry.change {
            Change::Started { .. } => self.started_at.is_none(),
            Change::Attempted { key, .. }
            | Change::Performed { key, .. }
            | Change::ChildStarted { key, .. }
            | Change::Fired { key } => self.open.contains_key(key),
            Change::ChildEnded { child, .. } => self.children.contains_key(child),
            Change::Received { event } => event.addressed || self.hears(event).is_some(),
            Change::Suspended | Change::Resumed | Change::Cancelled => false,
        };
        is_consumed.then(|| entry.change.clone())
    }
}
