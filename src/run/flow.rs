//! The data flow around every task, and the moves by which control goes from one to the next.
//!
//! A move is what is left to do in the moment of an entry. Moves are taken from a stack in one
//! loop, never by recursion, so neither a long list nor a backward `then` can exhaust the stack.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jsonschema::error::{TypeKind, ValidationErrorKind};

use crate::expression::Value;
use crate::problem::{Kind, Problem};
use crate::workflow::definition::{Flow, Schema, Task, TaskList, Then};

use super::fault::Fault;
use super::frame::{Frame, FrameId, List, Nest, Next, ROOT, State};
use super::scope::{Moment, View};
use super::{Door, End, Run, record, task, workflow_timeout_key};

/// Something left to do in the moment of an entry.
#[derive(Debug)]
pub(super) enum Move {
    /// A task begins.
    Begin {
        parent: FrameId,
        /// Which branch of a fork; 0 elsewhere.
        slot: usize,
        task: Arc<Task>,
        input: Value,
    },
    /// A task has its raw output.
    Complete {
        frame: FrameId,
        output: Value,
        /// Where control goes; the task's own `then` where absent.
        then: Option<Then>,
    },
    /// A task has failed.
    Fault { frame: FrameId, fault: Fault },
}

/// A task that has completed, as the one around it sees it.
#[derive(Debug)]
pub(super) struct Completed {
    pub slot: usize,
    pub output: Value,
    pub then: Then,
    /// Its context, where it is a branch of a fork.
    pub context: Option<Value>,
}

/// A time so much later, at most the end of time.
pub(super) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    at.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// The earlier of two deadlines.
pub(super) fn nearest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Run {
    /// Starts the workflow.
    pub(super) fn start(&mut self, input: Value) {
        self.started_at = Some(self.now);
        self.input = input;
        if let Err(fault) = self.open_workflow() {
            self.finish(End::Faulted(fault.at("/").problem));
        }
    }

    fn open_workflow(&mut self) -> Result<(), Fault> {
        let definition = Arc::clone(&self.definition);
        let view = View::workflow(self, Moment::Entry);
        let deadline = match &definition.timeout {
            Some(timeout) => Some(after(self.now, view.span(&timeout.after, &self.input)?)),
            None => None,
        };
        check(definition.input.schema.as_ref(), &self.input, "the input")?;
        let input = filter(&view, &definition.input, &self.input)?;
        if deadline.is_some() {
            self.deadline = deadline;
            self.open
                .insert(workflow_timeout_key(), Door::Timeout(ROOT));
        }
        self.context = if input.is_object() {
            input.clone()
        } else {
            Value::object([])
        };
        let nest = Nest {
            iteration: Arc::from(""),
            variables: None,
            attempt: 1,
            deadline,
        };
        self.root = Some(List::new(nest, 1));
        match definition.tasks.tasks.first() {
            Some(task) => self.moves.push(Move::Begin {
                parent: ROOT,
                slot: 0,
                task: Arc::clone(task),
                input,
            }),
            None => self.conclude(&input),
        }
        Ok(())
    }

    /// The last task has given its output.
    fn conclude(&mut self, output: &Value) {
        let definition = Arc::clone(&self.definition);
        let view = View::workflow(self, Moment::Output(output));
        let result = filter(&view, &definition.output, output).and_then(|output| {
            check(definition.output.schema.as_ref(), &output, "the output")?;
            Ok(output)
        });
        self.finish(match result {
            Ok(output) => End::Completed(output),
            Err(fault) => End::Faulted(fault.at("/").problem),
        });
    }

    /// Does everything that is left to do in this moment.
    pub(super) fn settle(&mut self) {
        while let Some(next) = self.moves.pop() {
            match next {
                Move::Begin {
                    parent,
                    slot,
                    task,
                    input,
                } => self.begin(parent, slot, task, input),
                Move::Complete {
                    frame,
                    output,
                    then,
                } => self.complete(frame, &output, then),
                Move::Fault { frame, fault } => self.fault(frame, fault),
            }
        }
    }

    fn begin(&mut self, parent: FrameId, slot: usize, task: Arc<Task>, input: Value) {
        // A branch of a fork may be cancelled before its turn comes.
        let Some(mut frame) = self.frame(parent, slot, task, input) else {
            return;
        };
        if self.executions >= self.surroundings.tasks_max {
            let problem = guard(self.surroundings.tasks_max, &frame.task.reference);
            self.finish(End::Faulted(problem));
            return;
        }
        self.executions += 1;
        let id = self.executions;
        if frame.context.is_some() {
            frame.home = id;
        }
        self.record_start(&mut frame);
        let entered = enter(self, &mut frame);
        if frame.deadline.is_some() {
            let key = frame.timeout_key();
            self.open.insert(key, Door::Timeout(id));
        }
        let index = frame.record;
        if let Some(record) = self.record_of(index) {
            record.input = frame.input.clone();
        }
        self.frames.insert(id, frame);
        let begun = match entered {
            Ok(true) => task::begin(self, id),
            Ok(false) => {
                self.skip(id);
                Ok(())
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = begun {
            self.moves.push(Move::Fault { frame: id, fault });
        }
        self.record_state(id);
    }

    /// The frame of a task that begins; `None` where what is around it has gone.
    pub(super) fn frame(
        &self,
        parent: FrameId,
        slot: usize,
        task: Arc<Task>,
        input: Value,
    ) -> Option<Box<Frame>> {
        let (nest, depth, home, context) = if parent == ROOT {
            (self.root.as_ref()?.nest.clone(), 1, ROOT, None)
        } else {
            let around = self.frames.get(&parent)?;
            let context = matches!(around.state, State::Fork(_))
                .then(|| self.context_at(around.home).clone());
            (around.nest(slot)?, around.depth + 1, around.home, context)
        };
        Some(Box::new(Frame {
            parent,
            slot,
            depth,
            home,
            context,
            task,
            iteration: nest.iteration,
            attempt: nest.attempt,
            variables: nest.variables,
            input: input.clone(),
            raw_input: input,
            started_at: self.now,
            deadline: None,
            nearest: nest.deadline,
            record: None,
            state: State::Passing,
        }))
    }

    /// A task whose `if` does not hold: its output is its raw input, and flow continues.
    fn skip(&mut self, id: FrameId) {
        let Some(frame) = self.close(id) else {
            return;
        };
        self.record_end(&frame, record::SKIPPED);
        let frame = *frame;
        if let Some(record) = self.record_of(frame.record) {
            record.output = Some(frame.raw_input.clone());
        }
        let completed = Completed {
            slot: frame.slot,
            output: frame.raw_input,
            then: Then::Continue,
            context: frame.context,
        };
        self.child_completed(frame.parent, completed);
    }

    fn complete(&mut self, id: FrameId, output: &Value, then: Option<Then>) {
        let Some(frame) = self.frames.get(&id) else {
            return;
        };
        let (output, exported) = match leave(self, frame, output) {
            Ok(left) => left,
            Err(fault) => {
                self.moves.push(Move::Fault { frame: id, fault });
                return;
            }
        };
        let Some(frame) = self.close(id) else {
            return;
        };
        self.record_end(&frame, record::COMPLETED);
        let mut frame = *frame;
        if let Some(record) = self.record_of(frame.record) {
            record.output = Some(output.clone());
        }
        match (exported, frame.context.is_some()) {
            (Some(context), true) => frame.context = Some(context),
            (Some(context), false) => self.set_context(frame.home, context),
            (None, _) => {}
        }
        let completed = Completed {
            slot: frame.slot,
            output,
            then: then.unwrap_or_else(|| frame.task.then.clone()),
            context: frame.context,
        };
        self.child_completed(frame.parent, completed);
    }

    fn fault(&mut self, id: FrameId, fault: Fault) {
        let Some(frame) = self.close(id) else {
            return;
        };
        let fault = fault.at(&frame.task.reference);
        self.record_end(&frame, record::FAULTED);
        if let Some(record) = self.record_of(frame.record) {
            record.error = Some(fault.problem.clone());
        }
        if frame.parent == ROOT {
            self.finish(End::Faulted(fault.problem));
        } else {
            task::child_faulted(self, *frame, fault);
        }
    }

    fn child_completed(&mut self, parent: FrameId, completed: Completed) {
        if parent != ROOT {
            task::child_completed(self, parent, completed);
            return;
        }
        let definition = Arc::clone(&self.definition);
        let Some(list) = &mut self.root else {
            return;
        };
        match list.advance(&completed.then, definition.tasks.tasks.len()) {
            Next::Task(index) => self.moves.push(Move::Begin {
                parent: ROOT,
                slot: 0,
                task: Arc::clone(&definition.tasks.tasks[index]),
                input: completed.output,
            }),
            Next::Leave | Next::End => self.conclude(&completed.output),
        }
    }

    /// Begins the first task of a list; a list without tasks gives its input.
    pub(super) fn begin_list(&mut self, id: FrameId, tasks: &TaskList, input: Value) {
        self.moves.push(match tasks.tasks.first() {
            Some(task) => Move::Begin {
                parent: id,
                slot: 0,
                task: Arc::clone(task),
                input,
            },
            None => Move::Complete {
                frame: id,
                output: input,
                then: None,
            },
        });
    }
}

/// `if`, `input`, `timeout`; false where the task is skipped.
fn enter(run: &Run, frame: &mut Frame) -> Result<bool, Fault> {
    let task = Arc::clone(&frame.task);
    if let Some(condition) = &task.condition {
        let view = View::of(run, frame, Moment::Entry);
        if !view.condition(condition, &frame.raw_input)? {
            return Ok(false);
        }
    }
    check(task.input.schema.as_ref(), &frame.raw_input, "the input")?;
    let view = View::of(run, frame, Moment::Entry);
    let input = filter(&view, &task.input, &frame.raw_input)?;
    frame.input = input;
    if let Some(timeout) = &task.timeout {
        let view = View::of(run, frame, Moment::Task);
        let duration = view.span(&timeout.after, &frame.input)?;
        frame.deadline = Some(after(run.now, duration));
        frame.nearest = nearest(frame.nearest, frame.deadline);
    }
    Ok(true)
}

/// `output`, `export`: the transformed output and the new context, where there is one.
fn leave(run: &Run, frame: &Frame, raw: &Value) -> Result<(Value, Option<Value>), Fault> {
    let task = &frame.task;
    let view = View::of(run, frame, Moment::Output(raw));
    let output = filter(&view, &task.output, raw)?;
    check(task.output.schema.as_ref(), &output, "the output")?;
    let Some(export) = &task.export.filter else {
        if task.export.schema.is_some() {
            let context = frame.context.as_ref();
            let context = context.unwrap_or_else(|| run.context_at(frame.home));
            check(task.export.schema.as_ref(), context, "the context")?;
        }
        return Ok((output, None));
    };
    let view = View::of(run, frame, Moment::Export(raw, &output));
    let context = view.template(export, &output)?;
    check(task.export.schema.as_ref(), &context, "the context")?;
    Ok((output, Some(context)))
}

pub(super) fn filter(view: &View<'_>, flow: &Flow, value: &Value) -> Result<Value, Fault> {
    match &flow.filter {
        Some(template) => view.template(template, value),
        None => Ok(value.clone()),
    }
}

/// Validates against a schema; the error names the place and the rule, never the data.
pub(super) fn check(schema: Option<&Schema>, value: &Value, what: &str) -> Result<(), Fault> {
    let Some(schema) = schema else {
        return Ok(());
    };
    let value = value.to_serde();
    let Err(error) = schema.0.validate(&value) else {
        return Ok(());
    };
    let path = error.instance_path().as_str();
    let path = if path.is_empty() { "the top" } else { path };
    let rule = rule(error.kind());
    let detail = format!("{what} does not fit its schema: at {path}, {rule}");
    Err(Fault::new(Kind::Validation, detail))
}

/// What a schema asks for and did not get, in words of the schema alone.
fn rule(kind: &ValidationErrorKind) -> String {
    match kind {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            format!("the member `{name}` is missing (`required`)")
        }
        ValidationErrorKind::Type { kind } => {
            let types = match kind {
                TypeKind::Single(one) => one.to_string(),
                TypeKind::Multiple(set) => {
                    let names: Vec<_> = set.iter().map(|one| one.to_string()).collect();
                    names.join(" or ")
                }
            };
            format!("the value must be of type {types}")
        }
        other => format!("`{}` does not hold", other.keyword()),
    }
}

fn guard(tasks_max: u32, reference: &str) -> Problem {
    let detail = format!(
        "the run has executed {tasks_max} tasks, its limit; \
         end the loop earlier or split the work"
    );
    Problem::new(Kind::Runtime, detail)
        .title("Too many task executions")
        .at(reference)
}
