//! Checkpoints: what is open of a run, as bytes that stand for all entries before them.
//!
//! With one, replay costs what is open, not what has been. A checkpoint is a cache and the journal
//! the truth: a run whose checkpoint cannot be used is replayed in full, and so is one that a newer
//! or older server has written. It says where lists, loops and attempts stand; what follows from
//! that and the definition (keys, variables, deadlines around) is made again by the code of the
//! tasks. So are requests, which may hold credentials.
//!
//! A run that has evaluated `$secrets` for anything but a request has no checkpoint: the journal
//! keeps outcomes only, and what came out of a secret must not reach the database this way.

mod ear;
mod restore;
mod values;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::values::Values;
use super::Run;
use super::approval::Ask;
use super::frame::{Branches, Frame, FrameId, Phase, State, Trial};
use crate::expression::Value;
use crate::id::Id;

pub use restore::Unfit;

/// Changes with every change of meaning; a checkpoint of another form is not used.
const FORM: u32 = 3;

/// The number of a value in the table of a checkpoint.
type Place = u32;

/// A checkpoint without the table of its values.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    form: u32,
    now: Timestamp,
    started_at: Timestamp,
    deadline: Option<Timestamp>,
    suspended: bool,
    executions: u32,
    context: Place,
    root: Standing,
    frames: Vec<StoredFrame>,
    /// Addressed events that wait for a task to listen.
    kept: Vec<ear::StoredEvent>,
    #[serde(skip_serializing, borrow)]
    values: Vec<&'a RawValue>,
}

/// Where a list stands: the running task, and how often `then` has jumped back.
type Standing = (usize, u32);

#[derive(Serialize, Deserialize)]
struct StoredFrame {
    id: FrameId,
    parent: FrameId,
    slot: usize,
    /// Only to see that it fits.
    reference: String,
    raw_input: Place,
    input: Place,
    started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    state: StoredState,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredState {
    Call {
        attempts: u32,
        spent: u32,
        first_attempt_at: Option<Timestamp>,
        not_before: Option<Timestamp>,
    },
    Wait {
        until: Timestamp,
    },
    Child {
        run: Option<Id>,
    },
    Do {
        at: Standing,
    },
    For {
        items: Place,
        index: usize,
        at: Standing,
    },
    Function,
    Fork {
        outputs: Vec<Option<Place>>,
        contexts: Vec<Option<Place>>,
        open: usize,
        /// The items of a loop, and whether no more begin.
        turns: Option<(Place, bool)>,
    },
    Body {
        retries: u32,
        deadline: Option<Timestamp>,
        at: Standing,
    },
    Delay {
        retries: u32,
        until: Timestamp,
    },
    Catch {
        retries: u32,
        error: Place,
        at: Standing,
    },
    Listen(ear::StoredEar),
    Approval {
        id: Id,
        ask: Ask,
        until: Timestamp,
        decisions: Vec<Place>,
    },
}

impl Run {
    /// What [`Run::restore`] needs to go on from here without the entries so far; none where the
    /// run has not started or has ended, where one of its values may come from a secret, and where
    /// it holds what JSON cannot say.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        let (Some(started_at), Some(root), None) = (self.started_at, &self.root, &self.end) else {
            return None;
        };
        if self.secrets_seen.get().is_some() {
            return None;
        }
        // The input is in the log already.
        let mut values = Values::beginning_with(&self.input);
        let frames = self
            .frames
            .iter()
            .map(|(id, frame)| stored(*id, frame, &mut values))
            .collect::<Option<_>>()?;
        let stored = Stored {
            form: FORM,
            now: self.now,
            started_at,
            deadline: self.deadline,
            suspended: self.suspended,
            executions: self.executions,
            context: values.place(&self.context),
            root: root.position(),
            frames,
            kept: ear::kept(self, &mut values),
            values: Vec::new(),
        };
        let mut out = serde_json::to_vec(&stored).ok()?;
        // Within the object: before its closing brace.
        out.pop();
        out.extend_from_slice(b",\"values\":");
        values.write(&mut out)?;
        out.push(b'}');
        Some(out)
    }
}

fn stored<'a>(id: FrameId, frame: &'a Frame, values: &mut Values<'a>) -> Option<StoredFrame> {
    Some(StoredFrame {
        id,
        parent: frame.parent,
        slot: frame.slot,
        reference: frame.task.reference.to_string(),
        raw_input: values.place(&frame.raw_input),
        input: values.place(&frame.input),
        started_at: frame.started_at,
        context: frame.context.as_ref().map(|context| values.place(context)),
        deadline: frame.deadline,
        state: state(frame, values)?,
    })
}

fn state<'a>(frame: &'a Frame, values: &mut Values<'a>) -> Option<StoredState> {
    Some(match &frame.state {
        State::Passing => return None,
        State::Call(call) => StoredState::Call {
            attempts: call.attempts,
            spent: call.spent,
            first_attempt_at: call.first_attempt_at,
            not_before: call.not_before,
        },
        State::Wait(until) => StoredState::Wait { until: *until },
        State::Child(open) => StoredState::Child { run: open.run },
        State::Do(list) => StoredState::Do {
            at: list.position(),
        },
        State::For(open) => StoredState::For {
            items: values.place(&open.items),
            index: open.index,
            at: open.list.position(),
        },
        State::Function(_) => StoredState::Function,
        State::Fork(branches) => fork(branches, values),
        State::Try(trial) => attempt(trial, values)?,
        State::Listen(open) => StoredState::Listen(ear::stored(open, values)),
        State::Approval(ballot) => StoredState::Approval {
            id: ballot.id,
            ask: (*ballot.ask).clone(),
            until: ballot.until,
            decisions: ballot.decisions.iter().map(|it| values.place(it)).collect(),
        },
    })
}

fn fork<'a>(branches: &'a Branches, values: &mut Values<'a>) -> StoredState {
    let mut places = |of: &'a [Option<Value>]| {
        let place = |value: &'a Option<Value>| value.as_ref().map(|value| values.place(value));
        of.iter().map(place).collect()
    };
    StoredState::Fork {
        outputs: places(&branches.outputs),
        contexts: places(&branches.contexts),
        open: branches.open,
        turns: branches
            .turns
            .as_ref()
            .map(|turns| (values.place(&turns.items), turns.over)),
    }
}

fn attempt<'a>(trial: &'a Trial, values: &mut Values<'a>) -> Option<StoredState> {
    let retries = trial.retries;
    Some(match &trial.phase {
        Phase::Body(list, deadline) => StoredState::Body {
            retries,
            deadline: *deadline,
            at: list.position(),
        },
        Phase::Delay(until) => StoredState::Delay {
            retries,
            until: *until,
        },
        Phase::Catch(list) => StoredState::Catch {
            retries,
            // The innermost variable of `catch.do` is the error.
            error: values.place(&list.nest.variables.as_ref()?.value),
            at: list.position(),
        },
    })
}
