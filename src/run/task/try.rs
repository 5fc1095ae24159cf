//! `try`: its list, again by the retry policy, and `catch.do` once when that is exhausted.
//!
//! | doing   | what happens                    | next                                   |
//! |---------|---------------------------------|----------------------------------------|
//! | body    | completes                       | completed                              |
//! | body    | fails, not caught               | faulted                                |
//! | body    | fails, caught, may retry        | delay, or body at once                 |
//! | body    | fails, caught, no retry left    | catch; swallowed without `catch.do`    |
//! | delay   | passes                          | body                                   |
//! | catch   | completes                       | completed, by `catch.then`             |
//! | catch   | fails                           | faulted                                |
//!
//! Every attempt starts with the same input; what was exported before a failure stays.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::expression::Value;
use crate::run::fault::{self, Fault};
use crate::run::flow::{Move, after, nearest};
use crate::run::frame::{ATTEMPT, Frame, FrameId, List, Nest, Phase, RETRY, State, Trial};
use crate::run::scope::{Moment, View};
use crate::run::{Door, Run, Wait};
use crate::workflow::definition::{Backoff, Kind, Retry, Try};

/// Longest delay before a retry.
const DELAY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest delay that an answer may ask for with `Retry-After`.
const RETRY_AFTER_SECONDS_MAX: u32 = 60 * 60;
/// Retries of a policy that sets no limit.
const RETRIES_MAX: u32 = 1_000;
/// How long after its start a `try` whose policy sets no limit may start a retry.
const RETRYING_MAX: Duration = DELAY_MAX;

impl Trial {
    /// Whether its tasks are running, so that their errors may be caught.
    pub(in crate::run) const fn is_trying(&self) -> bool {
        matches!(self.phase, Phase::Body(..))
    }

    /// Whether it waits for its next attempt.
    pub(in crate::run) const fn is_delayed(&self) -> bool {
        matches!(self.phase, Phase::Delay(_))
    }
}

pub(super) fn begin(run: &mut Run, id: FrameId, task: &Try) -> Result<(), Fault> {
    attempt(run, id, task, 0)
}

/// Starts the list, for the first time or again.
fn attempt(run: &mut Run, id: FrameId, task: &Try, retries: u32) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let limit = task
        .retry
        .as_ref()
        .and_then(|it| it.attempt_duration.as_ref());
    let deadline = match limit {
        Some(span) => {
            let view = View::of(run, frame, Moment::Task);
            Some(after(run.now, view.span(span, &frame.input)?))
        }
        None => None,
    };
    let phase = Phase::Body(body(frame, retries, deadline), deadline);
    let input = frame.input.clone();
    set_phase(run, id, Trial { phase, retries });
    run.begin_list(id, &task.body, input);
    Ok(())
}

/// The list of an attempt, at its first task.
pub(in crate::run) fn body(frame: &Frame, retries: u32, deadline: Option<Timestamp>) -> List {
    let nest = Nest {
        iteration: frame.trial_iteration(retries),
        attempt: retries.saturating_add(1),
        deadline: nearest(frame.nearest, deadline),
        ..Nest::of(frame)
    };
    List::new(nest, frame.depth + 1)
}

/// The list of `catch.do`, at its first task.
pub(in crate::run) fn recovery(frame: &Frame, task: &Try, error: Value) -> List {
    let nest = Nest::of(frame).binding(&task.variable, error);
    List::new(nest, frame.depth + 1)
}

/// Replaces what the `try` is doing, and with it what it waits for.
fn set_phase(run: &mut Run, id: FrameId, trial: Trial) {
    let Some(frame) = run.frames.get_mut(&id) else {
        return;
    };
    if let State::Try(trial) = &frame.state
        && let Some(wait) = wait(frame, trial)
    {
        run.open.remove(&wait.key);
    }
    if let Some(wait) = wait(frame, &trial) {
        run.open.insert(wait.key, door(id, &trial));
    }
    frame.state = State::Try(Box::new(trial));
    run.record_state(id);
}

/// What the time opens that a `try` itself waits for.
pub(in crate::run) const fn door(id: FrameId, trial: &Trial) -> Door {
    match &trial.phase {
        Phase::Delay(_) => Door::Retry(id),
        Phase::Body(..) | Phase::Catch(_) => Door::Attempt(id),
    }
}

/// The time a `try` itself waits for: its delay, or the deadline of its attempt.
pub(in crate::run) fn wait(frame: &Frame, trial: &Trial) -> Option<Wait> {
    match &trial.phase {
        Phase::Body(_, Some(deadline)) => Some(Wait {
            key: frame.trial_key(ATTEMPT, trial.retries),
            until: *deadline,
        }),
        Phase::Delay(until) => Some(Wait {
            key: frame.trial_key(RETRY, trial.retries),
            until: *until,
        }),
        Phase::Body(_, None) | Phase::Catch(_) => None,
    }
}

/// The delay has passed.
pub(in crate::run) fn retry(run: &mut Run, id: FrameId) {
    let Some(frame) = run.frames.get(&id) else {
        return;
    };
    let task = Arc::clone(&frame.task);
    if let (State::Try(trial), Kind::Try(tried)) = (&frame.state, &task.kind) {
        let retries = trial.retries;
        if let Err(fault) = attempt(run, id, tried, retries) {
            run.moves.push(Move::Fault { frame: id, fault });
        }
    }
}

/// The deadline of an attempt has passed: an error of the attempt, which may be caught.
pub(in crate::run) fn expired(run: &mut Run, id: FrameId) {
    run.cancel_inside(id);
    if let Some(frame) = run.frames.get(&id) {
        let fault = Fault::timeout(&frame.task.reference);
        caught(run, id, fault);
    }
}

/// The list that was running has been left.
pub(super) fn left(run: &mut Run, id: FrameId, task: &Try, output: Value) {
    let then = match run.frames.get(&id).map(|frame| &frame.state) {
        Some(State::Try(trial)) if !trial.is_trying() => task.then.clone(),
        _ => None,
    };
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then,
    });
}

/// A task of the body has failed.
pub(super) fn caught(run: &mut Run, id: FrameId, fault: Fault) {
    let Some(frame) = run.frames.get(&id) else {
        return;
    };
    let task = Arc::clone(&frame.task);
    if let Kind::Try(tried) = &task.kind
        && let Err(fault) = decide(run, id, tried, fault)
    {
        run.moves.push(Move::Fault { frame: id, fault });
    }
}

/// Retries, handles, swallows or passes on; the error is the one that goes outward.
fn decide(run: &mut Run, id: FrameId, task: &Try, fault: Fault) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let State::Try(trial) = &frame.state else {
        return Ok(());
    };
    let error = fault::to_value(&fault.problem);
    let recovery = recovery(frame, task, error.clone());
    let filter = Filter {
        view: View::of(run, frame, Moment::Task).binding(recovery.nest.variables.as_ref()),
        error,
    };
    if !fault::filter_matches(task, &fault.problem)
        || !filter.accepts(task.when.as_ref(), task.except_when.as_ref())?
    {
        return Err(fault);
    }
    let retries = trial.retries;
    if let Some(policy) = &task.retry
        && filter.accepts(policy.when.as_ref(), policy.except_when.as_ref())?
        && let Some(delay) = filter.delay(run, (frame, retries), policy, &fault)?
    {
        return again(run, id, task, (retries + 1, delay));
    }
    let input = frame.input.clone();
    if let Some(tasks) = &task.recovery {
        let phase = Phase::Catch(recovery);
        set_phase(run, id, Trial { phase, retries });
        run.begin_list(id, tasks, input);
        return Ok(());
    }
    if task.retry.is_some() && task.then.is_none() {
        // A retry that is exhausted is no handled error.
        return Err(fault);
    }
    run.moves.push(Move::Complete {
        frame: id,
        output: input,
        then: task.then.clone(),
    });
    Ok(())
}

fn again(
    run: &mut Run,
    id: FrameId,
    task: &Try,
    (retries, delay): (u32, Duration),
) -> Result<(), Fault> {
    if delay.is_zero() {
        return attempt(run, id, task, retries);
    }
    let phase = Phase::Delay(after(run.now, delay));
    set_phase(run, id, Trial { phase, retries });
    Ok(())
}

/// Expressions about an error: it is their `.` and a variable.
struct Filter<'a> {
    view: View<'a>,
    error: Value,
}

impl Filter<'_> {
    fn accepts(
        &self,
        when: Option<&crate::expression::Expression>,
        except_when: Option<&crate::expression::Expression>,
    ) -> Result<bool, Fault> {
        let holds = match when {
            Some(when) => self.view.condition(when, &self.error)?,
            None => true,
        };
        let excepted = match except_when {
            Some(except_when) if holds => self.view.condition(except_when, &self.error)?,
            _ => false,
        };
        Ok(holds && !excepted)
    }

    /// How long to wait before the next retry; none where the limits allow no more.
    fn delay(
        &self,
        run: &Run,
        (frame, retries): (&Frame, u32),
        policy: &Retry,
        fault: &Fault,
    ) -> Result<Option<Duration>, Fault> {
        let unlimited = policy.attempts_max.is_none() && policy.duration.is_none();
        let retries_max = match policy.attempts_max {
            Some(retries_max) => retries_max,
            None if unlimited => RETRIES_MAX,
            None => u32::MAX,
        };
        if retries >= retries_max {
            return Ok(None);
        }
        let number = retries + 1;
        let base = match &policy.delay {
            Some(span) => self.view.span(span, &self.error)?,
            None => Duration::ZERO,
        };
        let jitter = match &policy.jitter {
            Some((from, to)) => {
                let from = self.view.span(from, &self.error)?;
                let to = self.view.span(to, &self.error)?;
                from.saturating_add(to.saturating_sub(from).mul_f64(chance(run, frame, number)))
            }
            None => Duration::ZERO,
        };
        let delay = grown(base, &policy.backoff, number)
            .saturating_add(jitter)
            .max(asked_for(fault))
            .min(DELAY_MAX);
        let limit = match &policy.duration {
            Some(span) => self.view.span(span, &self.error)?,
            None if unlimited => RETRYING_MAX,
            None => return Ok(Some(delay)),
        };
        let elapsed = elapsed(frame.started_at, run.now);
        Ok((elapsed.saturating_add(delay) <= limit).then_some(delay))
    }
}

/// The delay before the retry of this number, from 1, by the backoff alone.
fn grown(base: Duration, backoff: &Backoff, number: u32) -> Duration {
    match backoff {
        Backoff::Constant => base,
        Backoff::Linear { increment: None } => base.saturating_mul(number),
        Backoff::Linear {
            increment: Some(increment),
        } => base.saturating_add(increment.saturating_mul(number - 1)),
        Backoff::Exponential { factor, max_delay } => {
            let exponent = i32::try_from(number - 1).unwrap_or(i32::MAX);
            let seconds = base.as_secs_f64() * factor.unwrap_or(2.0).powi(exponent);
            let most = max_delay.unwrap_or(DELAY_MAX).min(DELAY_MAX);
            // Not finite, or beyond what a duration holds: as long as may be.
            Duration::try_from_secs_f64(seconds).map_or(most, |delay| delay.min(most))
        }
    }
}

/// What the answer asked for with `Retry-After`; heard from 429 and 503 only.
fn asked_for(fault: &Fault) -> Duration {
    let seconds = match fault.problem.status {
        429 | 503 => fault.retry_after_seconds.unwrap_or(0),
        _ => 0,
    };
    Duration::from_secs(u64::from(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    let elapsed: SignedDuration = to.duration_since(from);
    Duration::try_from(elapsed).unwrap_or(Duration::ZERO)
}

/// A number from 0 up to 1 that is the same on every replay.
fn chance(run: &Run, frame: &Frame, number: u32) -> f64 {
    let name = format!(
        "jitter {} {} {number}",
        frame.task.reference, frame.iteration
    );
    let bits = run.surroundings.id.derive(&name).uuid().as_u128() >> 96;
    bits as f64 / f64::from(u32::MAX)
}
