//! Approvals as the world sees them: what is asked, how it stands, who has decided.
//!
//! The run decides; the worker writes how its approvals stand down beside the run, so that people
//! find them; a decision comes as an event that is addressed to the run.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Key, Run};
use crate::expression::Value;
use crate::id::Id;

/// What an approval asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// The question, in one line.
    pub title: String,
    /// What there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who is asked; empty: whoever has the link.
    pub approvers: Vec<String>,
    /// How many must approve.
    pub quorum: usize,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// Whether who asks may decide.
    pub self_approval: bool,
    /// The JSON Schema of the form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<serde_json::Value>,
}

impl Ask {
    /// Whether this person may not decide because they ask.
    #[must_use]
    pub fn is_own(&self, by: &str) -> bool {
        let asks = |name: &String| voter(name) == voter(by);
        !self.self_approval && self.requested_by.as_ref().is_some_and(asks)
    }

    /// How many links there are: one for each approver, one where nobody is named.
    #[must_use]
    pub fn links(&self) -> usize {
        self.approvers.len().max(1)
    }
}

/// Who decides, as it is compared: one person has one voice, however they write their name.
#[must_use]
pub fn voter(name: &str) -> String {
    name.trim().to_lowercase()
}

/// How an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not decided.
    Pending,
    /// Enough have approved.
    Approved,
    /// Somebody has rejected.
    Rejected,
    /// Its time has passed.
    Expired,
    /// Its run no longer waits for it.
    Cancelled,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// What the word stands for.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// An approval of a run, as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    /// Its id, of version 7; the same whenever the run is replayed.
    pub id: Id,
    /// The task and iteration that asks.
    pub key: Key,
    /// What it asks.
    pub ask: Arc<Ask>,
    /// How it stands.
    pub standing: Standing,
    /// The decisions that count, in order: the data of their events.
    pub decisions: Vec<Value>,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
    /// When it was decided or given up.
    pub closed_at: Option<Timestamp>,
}

/// Makes the links by which approvers decide. A token is as good as the person it is sent to: it
/// stays out of journals and checkpoints, and is made again whenever it is needed.
pub struct Links {
    base: String,
    token: Box<Token>,
}

type Token = dyn Fn(Id, usize) -> String + Send + Sync;

impl Links {
    /// Links below `base`, with what makes the token of the approver at an index.
    #[must_use]
    pub fn new(base: &str, token: impl Fn(Id, usize) -> String + Send + Sync + 'static) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            token: Box::new(token),
        }
    }

    /// For whoever only looks at a run: no link works.
    #[must_use]
    pub fn hidden() -> Self {
        Self::new("", |_, _| "***".to_owned())
    }

    /// The token of an approver.
    #[must_use]
    pub fn token(&self, approval: Id, approver: usize) -> String {
        (self.token)(approval, approver)
    }

    /// The address at which an approver decides.
    #[must_use]
    pub fn link(&self, approval: Id, approver: usize) -> String {
        format!("{}/approvals/{}", self.base, self.token(approval, approver))
    }
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").field("base", &self.base).finish()
    }
}

impl Run {
    /// Approvals that have changed since they were last taken, as they stand now.
    pub fn take_approvals(&mut self) -> Vec<Approval> {
        std::mem::take(&mut self.approvals).into_values().collect()
    }

    /// Whether there are approvals that have changed since they were last taken.
    #[must_use]
    pub fn has_approvals(&self) -> bool {
        !self.approvals.is_empty()
    }

    /// The approvals that are open, in the order in which they were asked.
    #[must_use]
    pub fn open_approvals(&self) -> Vec<Approval> {
        if self.ballots == 0 {
            return Vec::new();
        }
        let frames = self.frames.values();
        frames
            .filter_map(|frame| super::task::approval::seen(frame))
            .collect()
    }

    /// Whether decisions are waited for.
    #[must_use]
    pub const fn awaits_decisions(&self) -> bool {
        self.ballots > 0
    }
}
