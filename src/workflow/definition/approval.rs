//! `call: approval:1.0.0@default`: a question that people answer.

use std::sync::Arc;

use super::{Schema, Span, Task};
use crate::expression::{Template, Value};

/// An approval as its definition has it.
#[derive(Debug)]
pub struct Approval {
    /// `title`: the question, in one line.
    pub title: Template,
    /// `message`: what there is to know.
    pub message: Option<Template>,
    /// `approvers`: who is asked; each gets a link of their own.
    pub approvers: Option<Template>,
    /// `quorum`: how many must approve; 1 where absent.
    pub quorum: Option<Template>,
    /// `requestedBy`: who asks, and may not answer unless `self_approval`.
    pub requested_by: Option<Template>,
    /// `selfApproval`.
    pub self_approval: bool,
    /// `form`: what an approver fills in.
    pub form: Option<Form>,
    /// `timeout`: how long there is to answer.
    pub timeout: Option<Span>,
    /// `onTimeout`: what comes of silence.
    pub on_timeout: OnTimeout,
    /// `notify`: the task that tells each approver, with `$approval`.
    pub notify: Option<Arc<Task>>,
}

/// The form of an approval: a flat object.
#[derive(Clone, Debug)]
pub struct Form {
    /// What it must fit.
    pub schema: Schema,
    /// The schema as it was written, for whoever shows the form.
    pub document: Value,
}

/// What comes of an approval that nobody has decided in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// The timeout error, which a `try` can catch.
    Fault,
    /// It counts as rejected.
    Rejected,
}
