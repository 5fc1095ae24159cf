//! `call: approval:1.0.0@default`: people are asked, and the run waits for what they decide.
//!
//! Each approver is told by `notify`, where there is one, with a link of their own. One rejection
//! ends it, and so do as many approvals as the quorum says. Who has decided once is not heard
//! again. The output is `{decision, by, comment}` of who decided last, with `form` where there is
//! one, and `decisions` where more than one must approve.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::event::DECIDED;
use crate::expression::{Template, Value};
use crate::id::Id;
use crate::problem::Kind as ProblemKind;
use crate::run::approval::{Approval as Seen, Ask, Standing, voter};
use crate::run::entry::Received;
use crate::run::fault::Fault;
use crate::run::flow::{Move, after, nearest};
use crate::run::frame::{Frame, FrameId, Nest, State};
use crate::run::scope::{Moment, View};
use crate::run::{Door, Run};
use crate::workflow::definition::{Approval, Kind, OnTimeout};

/// How long there is to decide where the definition does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longest title, in bytes.
const TITLE_BYTES_MAX: usize = 500;
/// Longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Longest name of a person, in bytes.
pub const NAME_BYTES_MAX: usize = 200;
/// Most people that are asked.
const APPROVERS_MAX: usize = 100;

/// An approval that is open.
#[derive(Debug)]
pub(in crate::run) struct Ballot {
    pub id: Id,
    pub ask: Arc<Ask>,
    pub until: Timestamp,
    /// The data of the decisions that count.
    pub decisions: Vec<Value>,
    /// The link of each approver.
    pub links: Vec<Value>,
    pub standing: Standing,
}

fn ballot(frame: &Frame) -> Option<(&Approval, &Ballot)> {
    match (&frame.task.kind, &frame.state) {
        (Kind::Approval(task), State::Approval(ballot)) => Some((task, ballot)),
        _ => None,
    }
}

fn ballot_mut(run: &mut Run, id: FrameId) -> Option<&mut Ballot> {
    match &mut run.frames.get_mut(&id)?.state {
        State::Approval(ballot) => Some(ballot),
        _ => None,
    }
}

pub(super) fn begin(run: &mut Run, id: FrameId, task: &Approval) -> Result<(), Fault> {
    let Some(frame) = run.frames.get(&id) else {
        return Ok(());
    };
    let view = View::of(run, frame, Moment::Task);
    let ask = Arc::new(ask(&view, task, &frame.input)?);
    let patience = match &task.timeout {
        Some(span) => view.span(span, &frame.input)?,
        None => TIMEOUT_DEFAULT,
    };
    let (key, input) = (frame.key(), frame.input.clone());
    let made_at_ms = u64::try_from(run.now.as_millisecond()).unwrap_or_default();
    let name = format!("approval {}#{}", key.reference, key.iteration);
    let approval = run.surroundings.id.derive_at(made_at_ms, &name);
    let ballot = Ballot {
        id: approval,
        until: after(run.now, patience),
        decisions: Vec::new(),
        links: links(run, approval, &ask),
        standing: Standing::Pending,
        ask: Arc::clone(&ask),
    };
    if let Some(frame) = run.frames.get_mut(&id) {
        frame.state = State::Approval(Box::new(ballot));
        run.open.insert(key, Door::Leaf(id));
    }
    run.ballots += 1;
    tell(run, id);
    if let Some(notify) = &task.notify {
        // The stack gives back the last first.
        for slot in (0..ask.links()).rev() {
            run.moves.push(Move::Begin {
                parent: id,
                slot,
                task: Arc::clone(notify),
                input: input.clone(),
            });
        }
    }
    Ok(())
}

/// The links of the approvers.
pub(in crate::run) fn links(run: &Run, approval: Id, ask: &Ask) -> Vec<Value> {
    let link = |approver| run.surroundings.links.link(approval, approver);
    (0..ask.links()).map(|it| Value::string(link(it))).collect()
}

fn ask(view: &View<'_>, task: &Approval, input: &Value) -> Result<Ask, Fault> {
    let text = |name: &str, template: &Option<Template>, bytes_max: usize| match template {
        None => Ok(None),
        Some(template) => {
            let value = view.template(template, input)?;
            match value.as_str() {
                _ if value.is_null() => Ok(None),
                Some(text) if text.len() <= bytes_max => Ok(Some(text.to_owned())),
                _ => {
                    let wanted = format!("`{name}` must be a text of at most {bytes_max} bytes");
                    Err(view.wrong(wanted))
                }
            }
        }
    };
    let title = view.template(&task.title, input)?;
    let title = title
        .as_str()
        .filter(|title| !title.trim().is_empty() && title.len() <= TITLE_BYTES_MAX);
    let title = title.ok_or_else(|| {
        view.wrong(format!(
            "`title` must be a text of 1 to {TITLE_BYTES_MAX} bytes"
        ))
    })?;
    let approvers = match &task.approvers {
        Some(template) => approvers(view, &view.template(template, input)?)?,
        None => Vec::new(),
    };
    let quorum = match &task.quorum {
        Some(template) => quorum(view, &view.template(template, input)?, approvers.len())?,
        None => 1,
    };
    Ok(Ask {
        title: title.to_owned(),
        message: text("message", &task.message, MESSAGE_BYTES_MAX)?,
        approvers,
        quorum,
        requested_by: text("requestedBy", &task.requested_by, NAME_BYTES_MAX)?,
        self_approval: task.self_approval,
        form: task.form.as_ref().map(|form| form.document.to_serde()),
    })
}

fn approvers(view: &View<'_>, value: &Value) -> Result<Vec<String>, Fault> {
    let wanted = || {
        let wanted = format!(
            "`approvers` must be a list of at most {APPROVERS_MAX} names that differ, each of 1 \
             to {NAME_BYTES_MAX} bytes"
        );
        view.wrong(wanted)
    };
    let items = value.items().ok_or_else(wanted)?;
    let mut names: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let name = item.as_str().map(str::trim).unwrap_or_default();
        let known = names.iter().any(|other| voter(other) == voter(name));
        if name.is_empty() || name.len() > NAME_BYTES_MAX || known {
            return Err(wanted());
        }
        names.push(name.to_owned());
    }
    if names.len() > APPROVERS_MAX {
        return Err(wanted());
    }
    Ok(names)
}

fn quorum(view: &View<'_>, value: &Value, asked: usize) -> Result<usize, Fault> {
    let most = if asked == 0 { APPROVERS_MAX } else { asked };
    let quorum = value
        .as_i64()
        .and_then(|quorum| usize::try_from(quorum).ok());
    let quorum = quorum.filter(|quorum| (1..=most).contains(quorum));
    quorum.ok_or_else(|| view.wrong(format!("`quorum` must be a number from 1 to {most}")))
}

/// What the task that tells one approver inherits: `$approval`, and the time there is.
pub(in crate::run) fn nest(frame: &Frame, ballot: &Ballot, approver: usize) -> Nest {
    let ask = &ballot.ask;
    let optional = |text: Option<&String>| text.map_or_else(Value::null, Value::string);
    let text = |name: &str, value: Value| (name.to_owned(), value);
    let link = ballot.links.get(approver).cloned().unwrap_or_default();
    let variable = Value::object([
        text("id", Value::string(ballot.id.to_string())),
        text("title", Value::string(ask.title.as_str())),
        text("message", optional(ask.message.as_ref())),
        text("approver", optional(ask.approvers.get(approver))),
        text("link", link),
        text("expiresAt", Value::string(ballot.until.to_string())),
    ]);
    let nest = Nest {
        deadline: nearest(frame.nearest, Some(ballot.until)),
        ..Nest::of(frame)
    };
    nest.deeper(&approver.to_string())
        .binding("approval", variable)
}

/// How an open approval is seen from outside.
pub(in crate::run) fn seen(frame: &Frame) -> Option<Seen> {
    let (_, ballot) = ballot(frame)?;
    Some(Seen {
        id: ballot.id,
        key: frame.key(),
        ask: Arc::clone(&ballot.ask),
        standing: ballot.standing,
        decisions: ballot.decisions.clone(),
        requested_at: frame.started_at,
        expires_at: ballot.until,
        closed_at: None,
    })
}

/// Makes known how the approval stands.
fn tell(run: &mut Run, id: FrameId) {
    let closed_at = run.now;
    let Some(mut seen) = run.frames.get(&id).and_then(|frame| seen(frame)) else {
        return;
    };
    seen.closed_at = (seen.standing != Standing::Pending).then_some(closed_at);
    run.approvals.insert(seen.id, seen);
}

/// The frame of an approval has gone. One that was not decided says so: its links are dead.
pub(in crate::run) fn closed(run: &mut Run, frame: &Frame) {
    run.ballots -= 1;
    let Some(mut seen) = seen(frame).filter(|seen| seen.standing == Standing::Pending) else {
        return;
    };
    let over = frame.nearest.is_some_and(|until| until <= run.now);
    seen.standing = if over {
        Standing::Expired
    } else {
        Standing::Cancelled
    };
    seen.closed_at = Some(run.now);
    run.approvals.insert(seen.id, seen);
}

/// Takes an event that may be a decision; false where it is none.
pub(in crate::run) fn heard(run: &mut Run, event: &Received) -> bool {
    let kind = event.envelope.get("type").unwrap_or_default();
    if !event.addressed || kind.as_str() != Some(DECIDED) {
        return false;
    }
    let data = event.envelope.get("data").unwrap_or_default();
    let found = run.frames.iter().find(|(_, frame)| is_asked(frame, event));
    // A decision that comes when all is over changes nothing.
    if let Some(id) = found.map(|(id, _)| *id) {
        decided(run, id, data);
    }
    true
}

/// Whether an event is a decision of what this frame asks. Found by the task and its iteration, not
/// by the approval's id: a run that begins with the journal of another has approvals of its own.
pub(in crate::run) fn is_asked(frame: &Frame, event: &Received) -> bool {
    if ballot(frame).is_none() {
        return false;
    }
    let data = event.envelope.get("data").unwrap_or_default();
    let is = |name: &str, text: &str| data.get(name).unwrap_or_default().as_str() == Some(text);
    let key = frame.key();
    is("reference", &key.reference) && is("iteration", &key.iteration)
}

fn decided(run: &mut Run, id: FrameId, data: Value) {
    let Some(ballot) = ballot_mut(run, id) else {
        return;
    };
    let by = by(&data);
    let again = ballot.decisions.iter().any(|one| self::by(one) == by);
    if by.is_empty() || again || ballot.ask.is_own(&by) {
        return;
    }
    let approves = data.get("decision").unwrap_or_default().as_str() == Some("approved");
    ballot.decisions.push(data);
    ballot.standing = if !approves {
        Standing::Rejected
    } else if ballot.decisions.len() >= ballot.ask.quorum {
        Standing::Approved
    } else {
        Standing::Pending
    };
    let (standing, output) = (ballot.standing, output(ballot));
    tell(run, id);
    if standing == Standing::Pending {
        return;
    }
    // Whoever was not told yet need not be told any more.
    run.cancel_inside(id);
    run.moves.push(Move::Complete {
        frame: id,
        output,
        then: None,
    });
}

fn by(data: &Value) -> String {
    voter(
        data.get("by")
            .unwrap_or_default()
            .as_str()
            .unwrap_or_default(),
    )
}

fn output(ballot: &Ballot) -> Value {
    let last = ballot.decisions.last().cloned().unwrap_or_default();
    let part = |of: &Value, names: &[&str]| {
        let member = |name: &&str| ((*name).to_owned(), of.get(name).unwrap_or_default());
        Value::object(names.iter().map(member))
    };
    let mut output = part(&last, &["decision", "by", "comment"]);
    if ballot.ask.form.is_some() {
        output = output.with("form", last.get("form").unwrap_or_default());
    }
    if ballot.ask.quorum > 1 {
        let each = |one: &Value| part(one, &["decision", "by", "comment", "at"]);
        let all = ballot.decisions.iter().map(each).collect();
        output = output.with("decisions", Value::array(all));
    }
    output
}

/// The time to decide has passed.
pub(in crate::run) fn expired(run: &mut Run, id: FrameId) {
    let Some((task, _)) = run.frames.get(&id).and_then(|frame| ballot(frame)) else {
        return;
    };
    let on_timeout = task.on_timeout;
    if let Some(ballot) = ballot_mut(run, id) {
        ballot.standing = Standing::Expired;
    }
    tell(run, id);
    run.cancel_inside(id);
    run.moves.push(match on_timeout {
        OnTimeout::Fault => {
            let detail = "nobody decided within the time there was";
            Move::Fault {
                frame: id,
                fault: Fault::new(ProblemKind::Timeout, detail),
            }
        }
        OnTimeout::Rejected => Move::Complete {
            frame: id,
            output: Value::object([
                ("decision".to_owned(), Value::string("rejected")),
                ("by".to_owned(), Value::string("timeout")),
                ("comment".to_owned(), Value::null()),
            ]),
            then: None,
        },
    });
}
