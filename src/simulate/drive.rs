//! The loop around a run: the same for scripted hands and for real ones.
//!
//! It does what `worker::execute` does with a run in memory, without a journal that is stored.

use std::sync::Arc;

use jiff::Timestamp;

use crate::call::{Identity, Performed};
use crate::event::Event;
use crate::expression::Value;
use crate::id::Id;
use crate::problem::Problem;
use crate::run::approval::Approval;
use crate::run::{
    Change, Child, Effect, End, Entry, Errand, Key, Links, Pending, Record, Run, Surroundings,
};
use crate::secret::Secrets;

/// Entries of one run at most; the bound of tasks ends any real loop long before.
const ENTRIES_MAX: usize = 1_000_000;

/// Levels of a value that is read again; as many as `Value` can have.
const LEVELS_MAX: usize = 1_000;

/// A run that was played to where it stands.
#[derive(Debug)]
pub struct Played {
    /// How it ended; none where it waits for what does not come.
    pub end: Option<End>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Every execution of a task, in order of start.
    pub records: Vec<Record>,
    /// The events it has emitted, and when.
    pub emitted: Vec<(Timestamp, Event)>,
}

/// What comes next.
pub(super) enum Happening {
    /// Something of which the journal knows.
    Change(Change),
    /// An event, which the run may not want.
    Event(Event),
}

/// What performs effects and lets time pass.
pub(super) trait Hands {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Drops what the run no longer wants.
    fn keep_only(&mut self, effects: &[Effect]);

    /// Whether the effect of this key is being performed.
    fn performs(&self, key: &Key) -> bool;

    /// These approvals are open.
    fn asks(&mut self, _: Vec<Approval>) {}

    /// Begins to perform an effect.
    fn start(&mut self, effect: &Effect);

    /// Whether nothing is being performed.
    fn is_idle(&self) -> bool;

    /// Starts a sub-workflow; what to journal of it.
    async fn begin(&mut self, child: &Child) -> Change;

    /// A sub-workflow is to end.
    fn cancel(&mut self, child: Id);

    /// The run has emitted an event.
    fn publish(&mut self, event: &Event);

    /// Waits for what comes next, at the latest until that time. `Err` = there is no going on.
    async fn next(&mut self, until: Option<Timestamp>) -> Result<Option<Happening>, ()>;
}

/// Drives a run to its end, or to where nothing more comes.
pub(super) async fn drive(mut run: Run, input: Change, hands: &mut impl Hands) -> Played {
    let started_at = hands.now();
    let entry = |at, change| Entry { at, change };
    run.apply(entry(started_at, input));
    let mut end = None;
    let mut emitted = Vec::new();
    for _ in 0..ENTRIES_MAX {
        tell(&mut run, hands, &mut emitted);
        let (effects, waits) = match run.pending() {
            Pending::Ended(ended) => {
                end = Some(ended);
                break;
            }
            Pending::Open { effects, waits } => (effects, waits),
        };
        let starts = run.starts();
        for child in &starts {
            let change = hands.begin(child).await;
            run.apply(entry(hands.now(), change));
        }
        if !starts.is_empty() {
            continue;
        }
        let now = hands.now();
        if let Some(wait) = waits.iter().find(|wait| wait.until <= now) {
            let key = wait.key.clone();
            run.apply(entry(now, Change::Fired { key }));
            continue;
        }
        hands.keep_only(&effects);
        let is_due = |effect: &&Effect| effect.not_before.is_none_or(|at| at <= now);
        for effect in effects.iter().filter(is_due) {
            if !hands.performs(&effect.key) {
                hands.start(effect);
            }
        }
        let delays = effects.iter().filter_map(|effect| effect.not_before);
        let times = waits.iter().map(|wait| wait.until).chain(delays);
        let until = times.filter(|at| *at > now).min();
        if hands.is_idle() && until.is_none() {
            break;
        }
        hands.asks(run.open_approvals());
        match hands.next(until).await {
            Ok(Some(Happening::Change(change))) => run.apply(entry(hands.now(), change)),
            Ok(Some(Happening::Event(event))) => {
                if let Some(event) = run.heard(&event, false) {
                    run.apply(entry(hands.now(), Change::Received { event }));
                }
            }
            Ok(None) => {}
            Err(()) => break,
        }
    }
    Played {
        end,
        started_at,
        ended_at: hands.now(),
        records: run.records().to_vec(),
        emitted,
    }
}

/// What the run tells others.
fn tell(run: &mut Run, hands: &mut impl Hands, emitted: &mut Vec<(Timestamp, Event)>) {
    for event in run.take_outgoing() {
        hands.publish(&event);
        emitted.push((hands.now(), event));
    }
    for errand in run.take_errands() {
        match errand {
            Errand::Cancel(child) => hands.cancel(child),
            // It was begun before the entry that says so.
            Errand::Start { .. } => {}
        }
    }
}

/// Links of approvals that are the same in every play.
fn links() -> Links {
    Links::new("http://localhost", |_, approver| {
        format!("approver-{approver}")
    })
}

/// What surrounds a run that is played.
pub(super) fn surroundings(
    id: Id,
    environment: &str,
    secrets: &Arc<Secrets>,
    tasks_max: u32,
) -> Arc<Surroundings> {
    Arc::new(Surroundings {
        id,
        environment: Arc::from(environment),
        secrets: crate::run::named_secrets(secrets),
        tasks_max,
        links: Arc::new(links()),
    })
}

/// What identifies a call of a run.
pub(super) fn identity(run_id: Id, effect: &Effect) -> Identity {
    Identity {
        run_id,
        idempotency_key: run_id.derive(&effect.key.idempotency_name()),
    }
}

/// What a run hears of an attempt that ended at `now`.
pub(super) fn change(key: Key, performed: Performed, now: Timestamp) -> Change {
    match performed {
        Performed::Done { attempt, outcome } => Change::Performed {
            key,
            attempt,
            outcome,
        },
        Performed::Retry { attempt, after } => {
            let after = jiff::SignedDuration::try_from(after).unwrap_or(jiff::SignedDuration::MAX);
            Change::Attempted {
                key,
                attempt,
                retry_at: now.saturating_add(after).unwrap_or(Timestamp::MAX),
            }
        }
    }
}

/// The same with the secrets hidden that a server hides in what it stores and shows.
pub(super) fn redacted(mut played: Played, secrets: &Secrets) -> Played {
    let redactor = secrets.redactor();
    let value = |value: &mut Value| {
        let hidden = redactor.redact_json(value.to_json());
        // Hiding keeps JSON readable; the most levels there are is more than any value has.
        if let Ok(hidden) = Value::from_json_deep(&hidden, LEVELS_MAX) {
            *value = hidden;
        }
    };
    let problem = |problem: &mut Problem| {
        for text in [&mut problem.title, &mut problem.detail] {
            let hidden = text
                .as_deref()
                .map(|text| redactor.redact(text).into_owned());
            *text = hidden;
        }
    };
    match &mut played.end {
        Some(End::Completed(output)) => value(output),
        Some(End::Faulted(fault)) => problem(fault),
        Some(End::Cancelled) | None => {}
    }
    for (_, event) in &mut played.emitted {
        event.body = redactor.redact_json(event.body.to_vec()).into();
    }
    for record in &mut played.records {
        value(&mut record.input);
        record.output.iter_mut().for_each(value);
        record.error.iter_mut().for_each(problem);
    }
    played
}
