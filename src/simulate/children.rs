//! Sub-workflows in a rehearsal: played when they are started, by the same script and from the
//! same time on, to their end; what came of them reaches their parent at its time.
//!
//! A child is played ahead of its parent. So it hears the events of the test, but not what its
//! parent emits while it runs.

use std::sync::Arc;

use jiff::Timestamp;

use super::drive::{self, Played};
use super::rehearsal::{Call, Scripted};
use crate::id::Id;
use crate::problem::{Kind, Problem};
use crate::run::{Change, Child, End, Outcome, Run};

/// How deep sub-workflows may be nested, as in the server.
const DEPTH_MAX: u32 = 16;

/// A child that was played.
pub(super) struct Apart {
    child: Id,
    /// The requests that it and its own children made.
    calls: Vec<Call>,
}

impl Scripted<'_> {
    /// Plays a child; what its parent is to journal of its start.
    pub(super) async fn play(&mut self, child: &Child) -> Change {
        let refused = |problem: Problem| Change::ChildEnded {
            child: child.run_id,
            outcome: Outcome::Faulted(problem),
        };
        if self.depth >= DEPTH_MAX {
            let detail = format!("sub-workflows are nested more than {DEPTH_MAX} deep");
            return refused(Problem::new(Kind::Runtime, detail).title("Nested too deep"));
        }
        let identity = (&*child.namespace, &*child.name, &*child.version);
        let definition = match self.stage.workflow(identity) {
            Ok(definition) => definition,
            Err(detail) => return refused(Problem::new(Kind::Configuration, detail)),
        };
        let around = self.surroundings(child.run_id);
        let run = Run::new(Arc::clone(definition), around).recorded();
        let input = child.input.clone();
        let mut hands = self.apart(child.run_id);
        // A run within a run within a run: each has its place on the heap.
        let played: std::pin::Pin<Box<dyn Future<Output = Played>>> =
            Box::pin(drive::drive(run, Change::Started { input }, &mut hands));
        let played = played.await;
        self.rejoin(hands, child, &played);
        Change::ChildStarted {
            key: child.key.clone(),
            child: child.run_id,
            // Versions have no numbers here, and nobody looks.
            workflow_id: 0,
        }
    }

    /// What a child has used of the script is used, and what it has done comes at its time.
    fn rejoin(&mut self, hands: Self, child: &Child, played: &Played) {
        let mut calls = hands.calls;
        calls.extend(hands.apart.into_iter().flat_map(|apart| apart.calls));
        (self.rules, self.granted) = (hands.rules, hands.granted);
        self.decisions = hands.decisions;
        self.unanswered = self.unanswered.take().or(hands.unanswered);
        for (at, event) in &played.emitted {
            self.comes(*at, Some(child.run_id), event.clone());
        }
        self.apart.push(Apart {
            child: child.run_id,
            calls,
        });
        let outcome = match &played.end {
            Some(End::Completed(output)) => Outcome::Completed(output.clone()),
            Some(End::Faulted(problem)) => Outcome::Faulted(problem.clone()),
            Some(End::Cancelled) => {
                let problem = Problem::new(Kind::Runtime, "the sub-workflow was cancelled");
                Outcome::Faulted(problem.title("The sub-workflow was cancelled"))
            }
            None => return,
        };
        if child.awaited {
            self.ends(played.ended_at, child.run_id, outcome);
        }
    }

    /// A child ends now: what it did later has not happened.
    pub(super) fn interrupt(&mut self, child: Id, now: Timestamp) {
        self.forget(child);
        for apart in self.apart.iter_mut().filter(|apart| apart.child == child) {
            apart.calls.retain(|call| call.at <= now);
        }
    }

    /// All requests, in the order of their times.
    pub(super) fn all_calls(calls: Vec<Call>, apart: Vec<Apart>) -> Vec<Call> {
        let mut calls = calls;
        calls.extend(apart.into_iter().flat_map(|apart| apart.calls));
        calls.sort_by_key(|call| call.at);
        calls
    }
}
