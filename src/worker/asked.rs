//! Approvals of a run on their way into the database, and the tokens that must not get there.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::exchange::publish;
use crate::event::Event;
use crate::expression::Value;
use crate::run::approval::{Approval, Standing};
use crate::run::{Links, Run};
use crate::secret::Redactor;
use crate::store::NewEvent;
use crate::store::approvals::NewApproval;

/// How an approval is found by its link: the SHA-256 of its token.
#[must_use]
pub fn digest_of(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

/// Approvals as they are stored.
#[must_use]
pub fn rows(approvals: &[Approval], links: &Links, redactor: &Redactor) -> Vec<NewApproval> {
    let row = |approval| row(approval, links, redactor);
    approvals.iter().map(row).collect()
}

/// Links are stored with the question, before any of them is told.
fn row(approval: &Approval, links: &Links, redactor: &Redactor) -> NewApproval {
    let opened = approval.standing == Standing::Pending && approval.decisions.is_empty();
    let approvers = 0..if opened { approval.ask.links() } else { 0 };
    let ask = serde_json::to_vec(&*approval.ask).unwrap_or_default();
    let decisions = Value::array(approval.decisions.clone()).to_json();
    NewApproval {
        id: approval.id,
        reference: approval.key.reference.to_string(),
        iteration: approval.key.iteration.to_string(),
        status: approval.standing.word(),
        ask: redactor.redact_json(ask),
        decisions: redactor.redact_json(decisions),
        requested_at: approval.requested_at,
        expires_at: approval.expires_at,
        closed_at: approval.closed_at,
        digests: approvers
            .map(|approver| digest_of(&links.token(approval.id, approver)))
            .collect(),
    }
}

/// Hides secrets, and the tokens of a run's open approvals: a destination may have sent back what
/// it was told. Those of approvals that are over open nothing.
pub struct Hiding {
    /// Hides secrets.
    pub redactor: Arc<Redactor>,
    tokens: Option<Redactor>,
}

impl Hiding {
    /// What is to be hidden now.
    #[must_use]
    pub fn of(run: &Run, links: &Links, redactor: Arc<Redactor>) -> Self {
        let tokens = run.awaits_decisions().then(|| {
            let token = |id, asked| (0..asked).map(move |approver| links.token(id, approver));
            let open = run.open_approvals();
            let tokens = open.iter().flat_map(|it| token(it.id, it.ask.links()));
            let tokens: Vec<String> = tokens.collect();
            Redactor::new(tokens.iter().map(String::as_str))
        });
        Self { redactor, tokens }
    }

    /// Whether nothing is to be hidden in this text.
    #[must_use]
    pub fn is_clean(&self, text: &[u8]) -> bool {
        let tokens = self.tokens.as_ref();
        self.redactor.is_clean(text) && tokens.is_none_or(|tokens| tokens.is_clean(text))
    }

    /// JSON text without it.
    #[must_use]
    pub fn json(&self, text: Vec<u8>) -> Vec<u8> {
        let text = self.redactor.redact_json(text);
        match &self.tokens {
            Some(tokens) => tokens.redact_json(text),
            None => text,
        }
    }

    /// An event of the run on its way into the log.
    #[must_use]
    pub fn publish(&self, event: Event) -> NewEvent {
        let mut new = publish(event, &self.redactor);
        if let Some(tokens) = &self.tokens {
            new.event.body = tokens.redact_json(new.event.body.to_vec()).into();
        }
        new
    }
}
