//! Commands: what a person, or the run that awaits it, tells a run to do.

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::run::{Change, Run};
use crate::store::{MailKind, NewMail};

/// What a run is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// Start nothing any more until told to go on.
    Suspend,
    /// Go on.
    Resume,
    /// End now.
    Cancel,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Content {
    command: Command,
}

impl Command {
    /// The command as mail to a run.
    #[must_use]
    pub fn to(self, run_id: Id) -> NewMail {
        NewMail {
            run_id,
            id: Id::generate(),
            kind: MailKind::Command,
            content: Some(self.content().into()),
        }
    }

    /// What such mail says.
    #[must_use]
    pub fn content(self) -> Vec<u8> {
        serde_json::to_vec(&Content { command: self }).unwrap_or_default()
    }

    /// What [`Command::to`] wrote.
    #[must_use]
    pub fn of(content: &[u8]) -> Option<Self> {
        let content: Content = serde_json::from_slice(content).ok()?;
        Some(content.command)
    }

    /// What to journal of it; nothing where the run is as it is told to be.
    #[must_use]
    pub const fn change(self, run: &Run) -> Option<Change> {
        match (self, run.is_suspended()) {
            (Self::Suspend, false) => Some(Change::Suspended),
            (Self::Resume, true) => Some(Change::Resumed),
            (Self::Suspend, true) | (Self::Resume, false) => None,
            (Self::Cancel, _) => Some(Change::Cancelled),
        }
    }
}
