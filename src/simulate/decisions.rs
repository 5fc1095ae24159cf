//! Scripted decisions on approvals: what people say, and how long they take.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::document::place;
use crate::event::DECIDED;
use crate::expression::Value;
use crate::run::approval::{Approval, voter};
use crate::run::{Change, Received};
use crate::workflow::document::Place;

/// Decisions of one case at most.
const DECISIONS_MAX: usize = 1_000;

/// One decision; it is given once, to the first open approval that it fits.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Where it is written.
    pub place: (u32, u32),
    task: Option<String>,
    after: Duration,
    approves: bool,
    by: Option<String>,
    comment: Option<String>,
    form: Option<Value>,
}

/// Reads `decisions`.
pub fn read(at: &Place<'_>) -> Vec<Decision> {
    let Some(places) = at.array() else {
        return Vec::new();
    };
    if places.len() > DECISIONS_MAX {
        at.fault(format!("there are at most {DECISIONS_MAX} decisions"));
    }
    places.iter().filter_map(decision).collect()
}

fn decision(at: &Place<'_>) -> Option<Decision> {
    let object = at.object()?;
    let text = |name| object.optional_string(name).map(str::to_owned);
    let word = object.required("decision");
    let decision = Decision {
        place: place(at),
        task: text("task"),
        after: object.optional_duration("after").unwrap_or_default(),
        approves: word.and_then(|at| at.one_of(&["approved", "rejected"]))? == 0,
        by: text("by"),
        comment: text("comment"),
        form: object.optional("form").map(|at| at.value()),
    };
    object.finish();
    Some(decision)
}

/// The decisions that were not given yet, and what they may be given to.
#[derive(Debug, Default)]
pub struct Script {
    left: Vec<Decision>,
    open: Vec<Approval>,
}

impl Script {
    /// These decisions, in their order.
    #[must_use]
    pub fn new(decisions: &[Decision]) -> Self {
        Self {
            left: decisions.to_vec(),
            open: Vec::new(),
        }
    }

    /// These approvals are open now.
    pub fn asks(&mut self, open: Vec<Approval>) {
        self.open = open;
    }

    /// The decisions that nobody asked for.
    #[must_use]
    pub fn left(&self) -> &[Decision] {
        &self.left
    }

    /// When the next decision is made.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        self.next().map(|(at, ..)| at)
    }

    fn next(&self) -> Option<(Timestamp, usize, &Approval)> {
        let mut next: Option<(Timestamp, usize, &Approval)> = None;
        for (index, decision) in self.left.iter().enumerate() {
            let Some(approval) = self.open.iter().find(|open| decision.fits(open)) else {
                continue;
            };
            let after = SignedDuration::try_from(decision.after).unwrap_or(SignedDuration::MAX);
            let at = approval.requested_at.saturating_add(after);
            let at = at.unwrap_or(Timestamp::MAX);
            if next.is_none_or(|(sooner, ..)| at < sooner) {
                next = Some((at, index, approval));
            }
        }
        next
    }

    /// Gives the next decision, at a time that is not before it.
    pub fn give(&mut self, now: Timestamp) -> Option<Change> {
        let (_, index, approval) = self.next()?;
        let (asked, voted) = (approval.clone(), approval.decisions.len());
        let by = self.left[index].by.clone();
        let next = approval.ask.approvers.get(voted).cloned();
        let by = by.or(next).unwrap_or_else(|| "somebody".to_owned());
        let decision = self.left.remove(index);
        Some(Change::Received {
            event: decision.event(&asked, &by, now),
        })
    }
}

impl Decision {
    fn fits(&self, approval: &Approval) -> bool {
        let name = super::rehearsal::name(&approval.key.reference);
        self.task.as_ref().is_none_or(|task| *task == name)
    }

    fn event(self, asked: &Approval, by: &str, now: Timestamp) -> Received {
        let approval = asked.id;
        let text = |name: &str, text: &str| (name.to_owned(), Value::string(text));
        let word = if self.approves {
            "approved"
        } else {
            "rejected"
        };
        let comment = self.comment.map_or_else(Value::null, Value::string);
        let data = [
            text("approval", &approval.to_string()),
            text("reference", &asked.key.reference),
            text("iteration", &asked.key.iteration),
            text("decision", word),
            text("by", by),
            ("comment".to_owned(), comment),
            text("at", &now.to_string()),
        ];
        let form = self.form.map(|form| ("form".to_owned(), form));
        let ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let id = approval.derive_at(ms, &voter(by));
        let envelope = Value::object([
            text("specversion", "1.0"),
            text("id", &id.to_string()),
            text("source", &format!("/approvals/{approval}")),
            text("type", DECIDED),
            (
                "data".to_owned(),
                Value::object(data.into_iter().chain(form)),
            ),
        ]);
        Received {
            id,
            addressed: true,
            envelope,
            raw: None,
        }
    }
}
