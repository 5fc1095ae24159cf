//! The property the engine stands on: replaying any prefix of a journal leaves what living it left.
//!
//! Workflows, outcomes and the order in which they come are random; so are late entries, entries
//! twice, and cancellation. A checkpoint at any place, and one after another, change nothing. On
//! the way: no run is ever stuck, and no key is ever used twice.

use std::collections::HashSet;
use std::sync::Arc;

use hookwright::id::Id;
use hookwright::problem::{Kind, Problem};
use hookwright::run::{
    Attempt, Change, Child, End, Entry, Key, Outcome, Pending, Received, Run, Surroundings, before,
    begins_with,
};
use hookwright::workflow::{self, Definition};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value as Json, json};

use crate::transcript::{json as value, shown, start, surroundings, through_checkpoint};

/// Entries of one random life.
const ENTRIES_MAX: usize = 40;
/// Low enough for random backward jumps to meet the guard.
const TASKS_MAX: u32 = 60;

/// A task that holds no others.
fn leaf() -> impl Strategy<Value = Json> {
    let uri = "http://api.test/{v}";
    prop_oneof![
        3 => (0..4).prop_map(|n| json!({"set": {"v": n}})),
        1 => Just(json!({
            "set": "${ {v: (($context.count // 0) + 1)} }",
            "export": {"as": "${ {count: .v} }"},
        })),
        1 => Just(json!({"set": {"id": "${ $task.reference }", "at": "${ $task.startedAt }"}})),
        5 => (0..2).prop_map(move |n| {
            let mut call = json!({
                "call": "http",
                "with": {"method": "post", "endpoint": uri, "body": {"in": "${ . }"}},
            });
            if n == 1 {
                call["timeout"] = json!({"after": "PT1S"});
            }
            call
        }),
        2 => (0..3).prop_map(|n| json!({"wait": {"milliseconds": n * 50}})),
        1 => Just(json!({"raise": {"error": {"type": "https://acme.test/e", "status": 409}}})),
        1 => Just(json!({"set": "${ error }"})),
        2 => (0..2).prop_map(|n| json!({"run": {
            "workflow": {"namespace": "test", "name": "child", "version": "latest"},
            "await": n == 0,
        }})),
        2 => (0..3).prop_map(|n| json!({
            "emit": {"event": {"with": {"type": format!("t{n}"), "data": "${ . }"}}},
        })),
        3 => listen(),
    ]
}

/// A task that listens: for one, for all that agree, until something.
fn listen() -> impl Strategy<Value = Json> {
    let to = |n: i32| json!({"with": {"type": format!("t{n}")}});
    let agreed = |n: i32| {
        let correlate = json!({"v": {"from": ".data.v"}});
        json!({"with": {"type": format!("t{n}")}, "correlate": correlate})
    };
    let strategies = prop_oneof![
        Just(json!({"one": to(0)})),
        Just(json!({"any": []})),
        Just(json!({"any": [to(0), to(1)], "until": "length >= 2"})),
        Just(json!({"any": [to(0)], "until": {"one": to(2)}})),
        Just(json!({"all": [agreed(0), agreed(1)]})),
    ];
    (strategies, 0..3).prop_map(|(to, each)| {
        let mut task = json!({"listen": {"to": to, "read": "envelope"}});
        if each > 0 {
            task["foreach"] = json!({"do": [{"x": {"set": {"v": "${ $item.data.v }"}}}]});
        }
        if each > 1 {
            task["foreach"]["do"][0]["x"] = json!({"wait": {"milliseconds": 5}});
        }
        task
    })
}

/// A list of tasks, each with a random `if` and `then`.
fn list(task: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    let part = (task, 0..8_usize, 0..5_usize);
    proptest::collection::vec(part, 1..4).prop_map(|parts| {
        let count = parts.len();
        let named = parts
            .into_iter()
            .enumerate()
            .map(|(at, (mut task, then, when))| {
                let choice = match then {
                    0 => Some("end".to_owned()),
                    1 => Some("exit".to_owned()),
                    2 => Some(format!("t{}", (at + 2) % count)),
                    _ => None,
                };
                if let Some(then) = choice {
                    task["then"] = json!(then);
                }
                if when == 0 {
                    task["if"] = json!(".v != 2");
                }
                let mut item = serde_json::Map::new();
                item.insert(format!("t{at}"), task);
                Json::Object(item)
            });
        Json::Array(named.collect())
    })
}

/// A list with composite tasks.
fn tasks() -> impl Strategy<Value = Json> {
    let task = leaf().prop_recursive(3, 16, 3, |inner| {
        let body = || list(inner.clone()).boxed();
        prop_oneof![
            body().prop_map(|body| json!({"do": body})),
            (body(), any::<bool>(), 0..4).prop_map(|(body, checks, parallel)| {
                let mut task = json!({"for": {"in": "[ 1, 2, 3 ]"}, "do": body});
                if checks {
                    task["while"] = json!("$index < 1");
                }
                if parallel > 0 {
                    task["metadata"] = json!({"parallel": parallel});
                }
                task
            }),
            (body(), any::<bool>()).prop_map(|(body, compete)| {
                json!({"fork": {"compete": compete, "branches": body}})
            }),
            (body(), any::<bool>()).prop_map(|(body, retries)| {
                let mut catch = json!({"retry": {
                    "delay": {"milliseconds": 20},
                    "backoff": {"exponential": {}},
                    "jitter": {"from": {"milliseconds": 1}, "to": {"milliseconds": 9}},
                    "limit": {"attempt": {"count": 2, "duration": "PT2S"}},
                }});
                if !retries {
                    catch = json!({});
                }
                json!({"try": body, "catch": catch})
            }),
            (body(), body()).prop_map(|(body, handled)| {
                let catch = json!({"as": "oops", "do": handled});
                json!({"try": body, "catch": catch, "timeout": {"after": "PT5S"}})
            }),
            Just(json!({"switch": [
                {"one": {"when": ".v == 1", "then": "exit"}},
                {"other": {"then": "continue"}},
            ]})),
        ]
    });
    list(task)
}

/// Branches of a fork may jump nowhere: their `then` would name a sibling.
fn tidy_branches(value: &mut Json) {
    match value {
        Json::Object(members) => {
            if let Some(branches) = members.get_mut("branches").and_then(Json::as_array_mut) {
                branches.iter_mut().for_each(tidy_branch);
            }
            members.values_mut().for_each(tidy_branches);
        }
        Json::Array(items) => items.iter_mut().for_each(tidy_branches),
        _ => {}
    }
}

fn tidy_branch(branch: &mut Json) {
    let task = branch
        .as_object_mut()
        .and_then(|item| item.values_mut().next());
    let Some(task) = task.and_then(Json::as_object_mut) else {
        return;
    };
    let named = |then: &Json| then.as_str().is_some_and(|then| then.starts_with('t'));
    if task.get("then").is_some_and(named) {
        task.remove("then");
    }
}

/// What happens next, by three numbers from the generator.
fn happening(run: &Run, past: &[Entry], dice: (u8, u8, u8)) -> Option<Change> {
    let Pending::Open { effects, waits } = run.pending() else {
        return None;
    };
    let (which, what, rare) = dice;
    if rare == 0 {
        return Some(Change::Cancelled);
    }
    if rare < 12 {
        return Some(if rare < 6 {
            Change::Suspended
        } else {
            Change::Resumed
        });
    }
    if let Some(child) = run.starts().first() {
        return Some(started(child, what));
    }
    if rare < 30 {
        // Something that has been told already.
        let told = past.get(usize::from(which) % past.len())?;
        let told = told.change.clone();
        return (!matches!(told, Change::Started { .. })).then_some(told);
    }
    let children = run.children();
    if !run.listens().is_empty() && !what.is_multiple_of(3) {
        return Some(received(which, past.len()));
    }
    let at = usize::from(which) % (effects.len() + waits.len() + children.len()).max(1);
    if let Some(child) = children.get(at.wrapping_sub(effects.len() + waits.len())) {
        return Some(child_ended(*child, what));
    }
    if let Some(effect) = effects.get(at) {
        let attempt = attempt(effect.attempt, what);
        let key = effect.key.clone();
        return Some(outcome(key, attempt, what));
    }
    let wait = waits.get(at - effects.len())?;
    let key = wait.key.clone();
    Some(Change::Fired { key })
}

/// The start of a sub-workflow, or why it could not be.
fn started(child: &Child, what: u8) -> Change {
    if what.is_multiple_of(7) {
        return child_ended(child.run_id, 0);
    }
    Change::ChildStarted {
        key: child.key.clone(),
        child: child.run_id,
        workflow_id: 1,
    }
}

fn child_ended(child: Id, what: u8) -> Change {
    let outcome = match what % 3 {
        0 => Outcome::Faulted(Problem::new(Kind::Configuration, "no such workflow")),
        _ => Outcome::Completed(value(&format!("{{\"v\":{}}}", what % 3))),
    };
    Change::ChildEnded { child, outcome }
}

fn received(which: u8, place: usize) -> Change {
    let (kind, v) = (which % 3, which % 2);
    let envelope = format!(r#"{{"type":"t{kind}","id":"e-{place}","data":{{"v":{v}}}}}"#);
    Change::Received {
        event: Received {
            id: Id::generate(),
            addressed: which.is_multiple_of(7),
            envelope: value(&envelope),
            raw: None,
        },
    }
}

fn attempt(number: u32, what: u8) -> Attempt {
    Attempt {
        number,
        started_at: start(),
        duration_ms: u32::from(what),
        status: Some(200),
        error: None,
        retry_after_seconds: (what.is_multiple_of(5)).then_some(3),
    }
}

fn outcome(key: Key, attempt: Attempt, what: u8) -> Change {
    let refused = || Problem::new(Kind::Communication, "refused").status(503);
    match what % 8 {
        0 => Change::Attempted {
            key,
            attempt,
            retry_at: start() + SignedDuration::from_secs(1),
        },
        1..3 => Change::Performed {
            key,
            attempt,
            outcome: Outcome::Faulted(refused()),
        },
        _ => Change::Performed {
            key,
            attempt,
            outcome: Outcome::Completed(value(&format!("{{\"v\":{}}}", what % 3))),
        },
    }
}

fn check(
    definition: &Arc<Definition>,
    surroundings: &Arc<Surroundings>,
    dice: &[(u8, u8, u8)],
) -> Result<(), TestCaseError> {
    let mut run = Run::new(Arc::clone(definition), Arc::clone(surroundings));
    let mut journal = Vec::new();
    let mut seen = Vec::new();
    let (mut open, mut closed) = (HashSet::new(), HashSet::new());
    let mut at: Timestamp = start();
    let mut next = Some(Change::Started {
        input: value(r#"{"v":1}"#),
    });
    let mut dice = dice.iter();
    while let Some(change) = next {
        at += SignedDuration::from_millis(7);
        let entry = Entry { at, change };
        journal.push(entry.clone());
        run.apply(entry);
        let pending = run.pending();
        seen.push(wants(&run));
        let others = run.starts().len() + run.children().len();
        prop_assert!(others > 0 || !stuck(&pending), "nothing to wait for");
        prop_assert!(fits(&pending), "{pending:?}");
        let open_now = open_keys(&pending);
        closed.extend(open.difference(&open_now).cloned());
        prop_assert!(
            closed.is_disjoint(&open_now),
            "a key is used twice: {pending:?}"
        );
        open = open_now;
        next = dice
            .next()
            .and_then(|dice| happening(&run, &journal, *dice));
    }
    reusable(definition, surroundings, &journal)?;
    for (length, lived) in seen.iter().enumerate() {
        let prefix = journal[..=length].to_vec();
        let replayed = Run::replay(Arc::clone(definition), Arc::clone(surroundings), prefix);
        prop_assert_eq!(&wants(&replayed), lived);
        compacted(
            &replayed,
            (definition, surroundings),
            &journal,
            &seen[length..],
        )?;
    }
    Ok(())
}

/// Whatever task has failed, another run can begin with what came before.
fn reusable(
    definition: &Arc<Definition>,
    surroundings: &Arc<Surroundings>,
    journal: &[Entry],
) -> Result<(), TestCaseError> {
    let (first, second) = (Arc::clone(definition), Arc::clone(surroundings));
    let mut run = Run::new(first, second).recorded();
    journal.iter().for_each(|entry| run.apply(entry.clone()));
    let failed = run
        .records()
        .iter()
        .filter(|record| record.status == "faulted");
    for reference in failed.map(|record| &record.reference) {
        let prefix = before(definition, surroundings, journal, reference);
        let mut entries = vec![journal[0].clone()];
        entries.extend(prefix.map_err(|unfit| TestCaseError::fail(unfit.to_string()))?);
        let fits = begins_with(definition, surroundings, &entries, reference);
        prop_assert!(fits.is_ok(), "{fits:?} at {reference}: {entries:#?}");
    }
    Ok(())
}

/// A checkpoint stands for the entries before it: what is lived after it is the same, and so it is
/// where the rest goes through more of them.
fn compacted(
    run: &Run,
    (definition, surroundings): (&Arc<Definition>, &Arc<Surroundings>),
    journal: &[Entry],
    seen: &[String],
) -> Result<(), TestCaseError> {
    let restore = |run: &Run| through_checkpoint(run, definition, surroundings, journal);
    let (Some(mut once), Some(mut again)) = (restore(run), restore(run)) else {
        return Ok(());
    };
    prop_assert_eq!(once.executions(), run.executions());
    prop_assert_eq!(once.context(), run.context());
    let rest = &journal[journal.len() - seen.len() + 1..];
    for (entry, lived) in rest.iter().zip(&seen[1..]) {
        once.apply(entry.clone());
        again.apply(entry.clone());
        prop_assert_eq!(&wants(&once), lived);
        prop_assert_eq!(&wants(&again), lived);
        again = restore(&again).unwrap_or(again);
    }
    Ok(())
}

/// All that a run wants, for comparison.
fn wants(run: &Run) -> String {
    let (starts, children) = (run.starts(), run.children());
    let (listens, suspended) = (run.listens(), run.is_suspended());
    format!(
        "{}\n{listens:#?} {starts:?} {children:?} {suspended}",
        shown(&run.pending())
    )
}
fn stuck(pending: &Pending) -> bool {
    matches!(pending, Pending::Open { effects, waits } if effects.is_empty() && waits.is_empty())
}

/// What the outside may name; once closed, a key never opens again.
fn open_keys(pending: &Pending) -> HashSet<Key> {
    match pending {
        Pending::Open { effects, waits } => effects
            .iter()
            .map(|effect| effect.key.clone())
            .chain(waits.iter().map(|wait| wait.key.clone()))
            .collect(),
        Pending::Ended(_) => HashSet::new(),
    }
}

/// A run's own journal always fits.
fn fits(pending: &Pending) -> bool {
    let misfit = "The journal does not fit";
    !matches!(pending, Pending::Ended(End::Faulted(problem))
        if problem.title.as_deref() == Some(misfit))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_prefix_replays_to_what_was_lived(
        mut tasks in tasks(),
        dice in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..ENTRIES_MAX),
    ) {
        tidy_branches(&mut tasks);
        let document = json!({
            "document": {
                "dsl": "1.0.3", "namespace": "test", "name": "random", "version": "1.0.0",
            },
            "timeout": {"after": "PT1H"},
            "do": tasks,
        });
        let definition = workflow::parse(&document.to_string());
        prop_assert!(definition.is_ok(), "{:?}\n{document}", definition.err());
        let definition = Arc::new(definition.unwrap());
        check(&definition, &surroundings(TASKS_MAX), &dice)?;
    }
}
