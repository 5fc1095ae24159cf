//! Records: what each execution of a task was given and what came of it.
//!
//! Made from the journal when somebody asks (`Run::recorded`), never stored, so the hot
//! path pays nothing for them. Redaction is the reader's business.

use std::sync::Arc;

use jiff::Timestamp;

use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;

use super::frame::{Frame, State};
use super::{Attempt, Run};

pub(super) const COMPLETED: &str = "completed";
pub(super) const FAULTED: &str = "faulted";
pub(super) const CANCELLED: &str = "cancelled";
pub(super) const SKIPPED: &str = "skipped";
const RUNNING: &str = "running";
const WAITING: &str = "waiting";

/// One execution of a task, as `GET /api/v1/runs/{id}` lists it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The task's reference (RFC 6901 pointer into the definition).
    pub reference: Arc<str>,
    /// The task's name.
    pub name: String,
    /// Path of indexes through the loops around it, such as `3/0`; empty outside loops.
    pub iteration: String,
    /// The DSL's attempt (retries of the nearest `try` around it), from 1.
    pub attempt: u32,
    /// `running waiting completed faulted cancelled skipped`.
    pub status: &'static str,
    /// When it began.
    pub started_at: Timestamp,
    /// When it completed, faulted or was cancelled.
    pub ended_at: Option<Timestamp>,
    /// Its input after `input.from`; the raw input of one that was skipped or failed before.
    pub input: Value,
    /// Its output after `output.as`.
    pub output: Option<Value>,
    /// Why it faulted.
    pub error: Option<Problem>,
    /// Attempts of a call by its destination's policy.
    pub attempts: Vec<Attempt>,
    /// The run that a sub-workflow became.
    pub child: Option<Id>,
    /// The whole iteration path, as it stands in keys.
    pub path: Arc<str>,
    /// Which of the run's task executions it is, from 1.
    pub execution: u32,
}

/// The records kept: those of a stretch of the executions.
#[derive(Debug)]
pub(super) struct Records {
    after: usize,
    most: usize,
    begun: usize,
    kept: Vec<Record>,
}

impl Records {
    pub(super) const fn new(after: usize, most: usize) -> Self {
        Self {
            after,
            most,
            begun: 0,
            kept: Vec::new(),
        }
    }

    pub(super) fn kept(&self) -> &[Record] {
        &self.kept
    }

    pub(super) const fn begun(&self) -> usize {
        self.begun
    }

    /// Keeps a record where it is within the stretch, and says where.
    fn begin(&mut self, record: impl FnOnce() -> Record) -> Option<usize> {
        self.begun += 1;
        let place = self.kept.len();
        if self.begun <= self.after || place >= self.most {
            return None;
        }
        self.kept.push(record());
        Some(place)
    }
}

impl Run {
    /// Opens the record of a frame, where records are kept.
    pub(super) fn record_start(&mut self, frame: &mut Frame) {
        // An iteration of a loop is no task of the definition.
        let around = self.frames.get(&frame.parent).map(|around| &around.state);
        if matches!(around, Some(State::Fork(branches)) if branches.turns.is_some()) {
            return;
        }
        let execution = self.executions;
        let Some(records) = &mut self.records else {
            return;
        };
        frame.record = records.begin(|| Record {
            reference: Arc::clone(&frame.task.reference),
            name: frame.task.name.clone(),
            iteration: loops(&frame.iteration),
            attempt: frame.attempt,
            status: RUNNING,
            started_at: frame.started_at,
            ended_at: None,
            input: frame.raw_input.clone(),
            output: None,
            error: None,
            attempts: Vec::new(),
            child: None,
            path: Arc::clone(&frame.iteration),
            execution,
        });
    }

    /// The record of a frame, where records are kept.
    pub(super) fn record_of(&mut self, index: Option<usize>) -> Option<&mut Record> {
        self.records.as_mut()?.kept.get_mut(index?)
    }

    /// Notes whether an open frame is running or waiting.
    pub(super) fn record_state(&mut self, frame: super::FrameId) {
        if self.records.is_none() {
            return;
        }
        let Some(frame) = self.frames.get(&frame) else {
            return;
        };
        let status = match &frame.state {
            State::Wait(_) | State::Approval(_) => WAITING,
            State::Child(open) if open.run.is_some() => WAITING,
            State::Listen(ear) if ear.each.is_none() => WAITING,
            State::Call(call) if call.not_before.is_some() => WAITING,
            State::Try(trial) if trial.is_delayed() => WAITING,
            _ => RUNNING,
        };
        let index = frame.record;
        if let Some(record) = self.record_of(index) {
            record.status = status;
        }
    }

    /// Closes the record of a frame.
    pub(super) fn record_end(&mut self, frame: &Frame, status: &'static str) {
        let now = self.now;
        if let Some(record) = self.record_of(frame.record) {
            record.status = status;
            record.ended_at = Some(now);
            record.input = frame.input.clone();
        }
    }
}

/// The indexes of loops in an iteration path, without laps and attempts.
fn loops(iteration: &str) -> String {
    let mut path = String::new();
    let is_index = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    for part in iteration.split('/').filter(is_index) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    path
}
