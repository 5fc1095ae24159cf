//! `listen`: events are consumed until the strategy is met; the output is always an array.
//!
//! An event that a filter lets through is consumed in the order of arrival: read, given to
//! `foreach`, and put into the output before the next one. Events that come while `foreach` is at
//! work wait for their turn. What a filter correlates without saying what it expects, the first
//! event decides for all filters of the task.

use std::collections::{BTreeMap, VecDeque};

use crate::expression::{Scope, Value};
use crate::problem::Kind as ProblemKind;
use crate::run::entry::Received;
use crate::run::fault::Fault;
use crate::run::flow::{self, Move};
use crate::run::frame::{Binding, Frame, FrameId, List, Nest, State};
use crate::run::scope::{Moment, View};
use crate::run::{Listening, Run};
use crate::trigger::{Candidate, Verdict};
use crate::workflow::definition::{
    Consume, EventFilter, Foreach, Kind, Listen, Read, Strategy, Until,
};

/// Most events that one `listen` consumes.
const EVENTS_MAX: usize = 10_000;

/// A `listen` that is open.
#[derive(Debug, Default)]
pub(in crate::run) struct Ear {
    /// What the filters expect, evaluated when the listen began: filter by filter, `None` where
    /// the definition does not say.
    pub expected: Vec<Vec<Option<Value>>>,
    /// What the first event has decided, by the name of the correlation.
    pub learnt: BTreeMap<String, Value>,
    /// Filters that have had their event: those of the strategy, then those of `until`.
    pub met: Vec<bool>,
    /// Consumed and read, waiting for `foreach`.
    pub waiting: VecDeque<Value>,
    /// The output so far.
    pub events: Vec<Value>,
    /// How many were consumed.
    pub consumed: usize,
    /// The event that `foreach.do` is at work on, and where that stands.
    pub each: Option<(Value, List)>,
    /// Whether the strategy is met: nothing more is consumed.
    pub closed: bool,
}

/// The task of a frame that listens.
fn task(frame: &Frame) -> Option<(&Listen, &Ear)> {
    match (&frame.task.kind, &frame.state) {
        (Kind::Listen(task), State::Listen(ear)) => Some((task, ear)),
        _ => None,
    }
}

fn ear(run: &mut Run, id: FrameId) -> Option<&mut Ear> {
    match &mut run.frames.get_mut(&id)?.state {
        State::Listen(ear) => Some(ear),
        _ => None,
    }
}

pub(super) fn begin(run: &mut Run, id: FrameId, task: &Listen) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let view = View::of(run, frame, Moment::Task);
    let mut expected = Vec::new();
    for filter in task.to.all_filters() {
        let mut values = Vec::with_capacity(filter.correlate.len());
        for correlation in &filter.correlate {
            values.push(match &correlation.expect {
                Some(expect) => Some(view.template(expect, &frame.input)?),
                None => None,
            });
        }
        expected.push(values);
    }
    let ear = Ear {
        met: vec![false; expected.len()],
        expected,
        ..Ear::default()
    };
    if let Some(frame) = run.frames.get_mut(&id) {
        frame.state = State::Listen(Box::new(ear));
    }
    run.listens += 1;
    // What was addressed to the run before it listened.
    for event in std::mem::take(&mut run.kept) {
        if !offer(run, id, &event) {
            run.kept.push_back(event);
        }
    }
    Ok(())
}

/// What the frame listens for now; nothing once its strategy is met.
pub(in crate::run) fn listening(frame: &Frame, out: &mut Vec<Listening>) {
    let Some((task, ear)) = task(frame) else {
        return;
    };
    if ear.closed {
        return;
    }
    for (number, filter) in task.to.all_filters().enumerate() {
        if !is_open(task, ear, number) {
            continue;
        }
        let values = (0..filter.correlate.len()).map(|at| expectation(ear, filter, number, at));
        let values: Option<Vec<Value>> = values.map(|value| value.cloned()).collect();
        out.push(Listening {
            reference: frame.task.reference.clone(),
            number,
            values: values.filter(|values| !values.is_empty()),
        });
    }
}

/// Whether a filter still waits for events.
fn is_open(task: &Listen, ear: &Ear, number: usize) -> bool {
    let own = number < task.to.filters.len();
    let consume = match (own, &task.to.until) {
        (true, _) => task.to.consume,
        (false, Some(Until::Events(until))) => until.consume,
        (false, _) => return false,
    };
    consume != Consume::All || !ear.met.get(number).copied().unwrap_or(true)
}

fn expectation<'a>(
    ear: &'a Ear,
    filter: &EventFilter,
    number: usize,
    at: usize,
) -> Option<&'a Value> {
    let given = ear.expected.get(number)?.get(at)?.as_ref();
    given.or_else(|| ear.learnt.get(&filter.correlate.get(at)?.name))
}

/// The first filter that would consume the event, with what it says of the correlations.
fn consumer(run: &Run, frame: &Frame, event: &Received) -> Option<(usize, Vec<Value>)> {
    let (task, ear) = task(frame)?;
    if ear.closed || ear.consumed >= EVENTS_MAX {
        return None;
    }
    let view = View::of(run, frame, Moment::Task);
    let attribute = |name: &str| {
        let value = event.envelope.get(name)?;
        value.as_str().map(|text| text.to_owned().into())
    };
    let scope: &dyn Scope = &view;
    let candidate = Candidate {
        attribute: &attribute,
        envelope: &|| event.envelope.clone(),
        scope,
        is_run: true,
    };
    // What ends the listen comes first: such an event is not consumed.
    let own = task.to.filters.len();
    let all: Vec<&EventFilter> = task.to.all_filters().collect();
    (own..all.len()).chain(0..own).find_map(|number| {
        if !is_open(task, ear, number) || !matches!(candidate.judge(all[number]), Verdict::Matches)
        {
            return None;
        }
        let values: Option<Vec<Value>> = candidate.correlated(all[number])?.into_iter().collect();
        let values = values?;
        let fits = values.iter().enumerate().all(|(at, value)| {
            expectation(ear, all[number], number, at).is_none_or(|expected| expected == value)
        });
        fits.then_some((number, values))
    })
}

/// Whether a frame would take the event; where it would, whether it reads the data raw.
pub(in crate::run) fn hears(run: &Run, frame: &Frame, event: &Received) -> Option<bool> {
    let (task, _) = task(frame)?;
    consumer(run, frame, event).map(|_| task.read == Read::Raw)
}

/// Offers an event to a frame that listens; whether it took it.
pub(in crate::run) fn offer(run: &mut Run, id: FrameId, event: &Received) -> bool {
    let Some(frame) = run.frames.get(&id) else {
        return false;
    };
    let (Some((number, values)), Kind::Listen(task)) =
        (consumer(run, frame, event), &frame.task.clone().kind)
    else {
        return false;
    };
    let filters: Vec<&EventFilter> = task.to.all_filters().collect();
    let Some(ear) = ear(run, id) else {
        return false;
    };
    for (correlation, value) in filters[number].correlate.iter().zip(values) {
        if correlation.expect.is_none() {
            ear.learnt.entry(correlation.name.clone()).or_insert(value);
        }
    }
    ear.met[number] = true;
    let own = task.to.filters.len();
    if number < own {
        ear.consumed += 1;
        ear.waiting.push_back(read(task.read, event));
        ear.closed = match task.to.consume {
            Consume::One => true,
            Consume::Any => task.to.until.is_none(),
            Consume::All => ear.met[..own].iter().all(|met| *met),
        };
    } else if let Some(Until::Events(until)) = &task.to.until {
        ear.closed = is_met(until, &ear.met[own..]);
    }
    if ear.each.is_none()
        && let Err(fault) = proceed(run, id, task)
    {
        run.moves.push(Move::Fault { frame: id, fault });
    }
    true
}

fn is_met(strategy: &Strategy, met: &[bool]) -> bool {
    match strategy.consume {
        Consume::One | Consume::Any => met.contains(&true),
        Consume::All => met.iter().all(|met| *met),
    }
}

fn read(read: Read, event: &Received) -> Value {
    match read {
        Read::Envelope => event.envelope.clone(),
        Read::Data => event.envelope.get("data").unwrap_or_default(),
        Read::Raw => event.raw.clone().unwrap_or_default(),
    }
}

/// Takes the next event that waits; completes where the strategy is met and none is left.
fn proceed(run: &mut Run, id: FrameId, task: &Listen) -> Result<(), Fault> {
    loop {
        let Some(ear) = ear(run, id) else {
            return Ok(());
        };
        let Some(item) = ear.waiting.pop_front() else {
            if ear.closed {
                let output = Value::array(std::mem::take(&mut ear.events));
                run.moves.push(Move::Complete {
                    frame: id,
                    output,
                    then: None,
                });
            } else if ear.consumed >= EVENTS_MAX {
                let detail = format!("a listen consumes at most {EVENTS_MAX} events");
                return Err(Fault::new(ProblemKind::Runtime, detail));
            }
            return Ok(());
        };
        let Some(each) = &task.foreach else {
            keep(run, id, task, item)?;
            continue;
        };
        let index = ear.events.len();
        let Some(frame) = run.frames.get(&id) else {
            return Ok(());
        };
        let nest = nest(frame, each, index, item.clone());
        let depth = frame.depth;
        if each.body.tasks.is_empty() {
            let element = leave(run, id, task, (&nest, &item))?;
            keep(run, id, task, element)?;
            continue;
        }
        if let Some(ear) = self::ear(run, id) {
            ear.each = Some((item.clone(), List::new(nest, depth + 1)));
        }
        run.begin_list(id, &each.body, item);
        run.record_state(id);
        return Ok(());
    }
}

/// What the tasks of `foreach` inherit.
pub(in crate::run) fn nest(frame: &Frame, each: &Foreach, index: usize, item: Value) -> Nest {
    let at = i64::try_from(index).unwrap_or(i64::MAX);
    Nest::of(frame)
        .deeper(&index.to_string())
        .binding(&each.item, item)
        .binding(&each.at, Value::int(at))
}

/// `foreach.do` has ended with an output.
pub(super) fn left(run: &mut Run, id: FrameId, task: &Listen, output: &Value) {
    let Some((_, list)) = ear(run, id).and_then(|ear| ear.each.take()) else {
        return;
    };
    run.record_state(id);
    let kept = leave(run, id, task, (&list.nest, output))
        .and_then(|element| keep(run, id, task, element))
        .and_then(|()| proceed(run, id, task));
    if let Err(fault) = kept {
        run.moves.push(Move::Fault { frame: id, fault });
    }
}

/// `foreach.output` and `foreach.export`: the element of the output.
fn leave(
    run: &mut Run,
    id: FrameId,
    task: &Listen,
    (nest, raw): (&Nest, &Value),
) -> Result<Value, Fault> {
    let (Some(frame), Some(each)) = (run.frames.get(&id), &task.foreach) else {
        return Ok(raw.clone());
    };
    let variables: Option<&std::sync::Arc<Binding>> = nest.variables.as_ref();
    let view = View::of(run, frame, Moment::Output(raw)).binding(variables);
    let output = flow::filter(&view, &each.output, raw)?;
    flow::check(each.output.schema.as_ref(), &output, "the output")?;
    let Some(export) = &each.export.filter else {
        return Ok(output);
    };
    let view = View::of(run, frame, Moment::Export(raw, &output)).binding(variables);
    let context = view.template(export, &output)?;
    flow::check(each.export.schema.as_ref(), &context, "the context")?;
    let home = frame.home;
    match run.frames.get_mut(&id) {
        Some(frame) if frame.context.is_some() => frame.context = Some(context),
        _ => run.set_context(home, context),
    }
    Ok(output)
}

/// Puts an element into the output, and asks `until`.
fn keep(run: &mut Run, id: FrameId, task: &Listen, element: Value) -> Result<(), Fault> {
    let Some(ear) = ear(run, id) else {
        return Ok(());
    };
    ear.events.push(element);
    let Some(Until::Condition(condition)) = &task.to.until else {
        return Ok(());
    };
    let events = Value::array(ear.events.clone());
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    if View::of(run, frame, Moment::Task).condition(condition, &events)?
        && let Some(ear) = self::ear(run, id)
    {
        ear.closed = true;
        ear.waiting.clear();
    }
    Ok(())
}
