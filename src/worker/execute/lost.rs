//! Settling a run that cannot be driven: its checkpoint is of no use, or the server failed.

use super::super::origin::Ties;
use super::super::settle::Request;
use super::super::{Shared, family};
use super::{Begun, Lease};
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::Unfit;
use crate::store::{Next, Settlement};

/// What is needed to settle a run without driving it.
pub(super) struct Lost {
    run_id: Id,
    workflow_id: i32,
    claim_id: i64,
    ties: Ties,
}

impl Lost {
    pub(super) fn of(begun: &Begun) -> Self {
        Self {
            run_id: begun.run_id,
            workflow_id: begun.workflow_id,
            claim_id: begun.claim_id,
            ties: begun.ties.clone(),
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
    /// for ever. Its number is past every row it may have written.
    pub(super) async fn settle(&self, shared: &Shared) {
        tracing::error!(run.id = %self.run_id, "the server failed while driving a run");
        shared.metrics.ended("faulted", 0.0);
        let problem = Problem::new(Kind::Runtime, "the server failed while driving this run");
        let error = serde_json::to_vec(&problem).ok().map(Into::into);
        let exchange = family::lost(&self.ties, self.run_id, problem, &shared.redactor());
        let settlement = Settlement {
            run_id: self.run_id,
            workflow_id: self.workflow_id,
            claim_id: self.claim_id,
            seq: i32::MAX,
            entries: None,
            next: Next::Ended {
                status: "faulted",
                output: None,
                error,
            },
            exchange: Some(Box::new(exchange)),
        };
        shared.settler.settle(settlement).await;
    }
}
