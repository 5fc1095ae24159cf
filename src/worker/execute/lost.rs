//! Settling a run that is not driven: it cannot begin, its checkpoint is of no use, or the server
//! failed.

use super::super::lifecycle::{Lifecycle, Moment};
use super::super::origin::Ties;
use super::super::settle::Request;
use super::super::{Shared, exchange, family};
use super::{Begun, Lease};
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::{End, Unfit};
use crate::store::{Next, Settlement};

/// What is needed to settle a run without driving it.
pub struct Lost {
    /// The run.
    pub run_id: Id,
    /// Its workflow.
    pub workflow_id: i32,
    /// The claim it is held under.
    pub claim_id: i64,
    /// What its lifecycle events have in common, where its workflow can be read.
    pub lifecycle: Option<Lifecycle>,
    /// Who started it.
    pub ties: Ties,
}

impl Lost {
    /// What is needed to settle this run.
    #[must_use]
    pub fn of(begun: &Begun) -> Self {
        Self {
            run_id: begun.run_id,
            workflow_id: begun.workflow_id,
            claim_id: begun.claim_id,
            lifecycle: Some(begun.lifecycle.clone()),
            ties: begun.origin.ties.clone(),
        }
    }

    /// A checkpoint that cannot be used is removed and the run given back: whoever claims it next
    /// reads its whole journal.
    pub(super) async fn replay_in_full(&self, shared: &Shared, unfit: &Unfit, lease: Lease) {
        tracing::warn!(run.id = %self.run_id, %unfit, "a run is replayed from its whole journal");
        shared.checkpoints.discard(self.run_id).await;
        let settlement = Settlement {
            run_id: self.run_id,
            workflow_id: self.workflow_id,
            claim_id: self.claim_id,
            seq: i32::MAX,
            entries: None,
            next: Next::Ready { destination_id: 0 },
            exchange: None,
        };
        let request = Request::release(settlement, lease);
        shared.settler.send(request).await;
    }

    /// A panic is a fault of ours: the run is faulted with it, so that it is seen and not tried
    /// for ever.
    pub(super) async fn settle(&self, shared: &Shared) {
        tracing::error!(run.id = %self.run_id, "the server failed while driving a run");
        let problem = Problem::new(Kind::Runtime, "the server failed while driving this run");
        self.fault(shared, problem).await;
    }

    /// Ends the run as faulted.
    pub async fn fault(&self, shared: &Shared, problem: Problem) {
        let error = serde_json::to_vec(&problem).ok();
        self.end(shared, End::Faulted(problem), error).await;
    }

    /// Ends the run as cancelled, with a word why.
    pub async fn cancel(&self, shared: &Shared, problem: &Problem) {
        let error = serde_json::to_vec(problem).ok();
        self.end(shared, End::Cancelled, error).await;
    }

    async fn end(&self, shared: &Shared, end: End, error: Option<Vec<u8>>) {
        let (status, moment, problem) = match &end {
            End::Completed(_) => ("completed", Moment::Completed, None),
            End::Faulted(problem) => ("faulted", Moment::Faulted, Some(problem)),
            End::Cancelled => ("cancelled", Moment::Cancelled, None),
        };
        shared.metrics.ended(status, 0.0);
        let lifecycle = self.lifecycle.as_ref();
        let event = lifecycle.and_then(|it| it.event(shared, moment, problem));
        let redactor = shared.redactor();
        let mut told = family::lost(&self.ties, self.run_id, &end, &redactor);
        let event = event.map(|event| exchange::publish(event, &redactor));
        told.events.extend(event);
        let settlement = Settlement {
            run_id: self.run_id,
            workflow_id: self.workflow_id,
            claim_id: self.claim_id,
            // Past every row it may have written.
            seq: i32::MAX,
            entries: None,
            next: Next::Ended {
                status,
                output: None,
                error: error.map(Into::into),
            },
            exchange: Some(Box::new(told)),
        };
        shared.settler.settle(settlement).await;
    }
}
