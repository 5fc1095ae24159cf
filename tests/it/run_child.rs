//! Sub-workflows, suspending, and what of a journal another run can begin with.

use std::sync::Arc;

use hookwright::id::Id;
use hookwright::problem::{Kind, Problem};
use hookwright::run::{
    Change, End, Entry, Errand, Outcome, Pending, Received, Run, Surroundings, Unusable, before,
    begins_with,
};
use insta::assert_snapshot;
use jiff::SignedDuration;

use crate::transcript::{
    Life, definition, json, live, live_with_records, ok, start, status, surroundings,
};

const CHILD: &str =
    "run: { workflow: { namespace: n, name: c, version: 1.0.0, input: { of: '${ .v }' } } }";

fn child(task: &str) -> String {
    format!("do: [ {{ a: {{ {CHILD}{task} }} }}, {{ z: {{ set: {{ got: '${{ . }}' }} }} }} ]")
}

#[test]
fn the_output_of_a_child_is_the_output_of_the_task() {
    let replies = [("n/c/1.0.0", ok(r#"{"x":1}"#))];
    assert_snapshot!(live_with_records(&child(""), r#"{"v":7}"#, &replies), @r#"
    0       run n/c/1.0.0 {"of":7}
    10    its sub-workflow completed
    10    = completed {"got":{"x":1}}
    --
    /do/0/a completed
    /do/1/z completed
    "#);
}

#[test]
fn a_child_that_is_not_awaited_holds_nothing_up() {
    let latest = "run: { await: false, workflow: { namespace: n, name: c, version: latest } }";
    let body = child("").replace(CHILD, latest);
    let replies = [("n/c/latest", ok("1").after_ms(90_000))];
    assert_snapshot!(live(&body, r#"{"v":7}"#, &replies), @r#"
    0       run n/c/latest {"v":7} and go on
    0     = completed {"got":{"v":7}}
    "#);
}

#[test]
fn the_fault_of_a_child_is_one_of_the_task_and_can_be_caught() {
    let problem = Problem::new(Kind::Validation, "the input does not fit").at("/do/3/inner");
    let mut reply = status(500);
    reply.outcome = Outcome::Faulted(problem);
    let replies = [("n/c/1.0.0", reply)];
    assert_snapshot!(live(&child(""), r#"{"v":7}"#, &replies), @r#"
    0       run n/c/1.0.0 {"of":7}
    10    its sub-workflow faulted 400
    10    = faulted 400 validation at /do/0/a
          | the input does not fit
    "#);
    let tried = format!(
        "do: [ {{ t: {{ try: [ {{ a: {{ {CHILD} }} }} ], \
         catch: {{ errors: {{ with: {{ status: 400 }} }}, \
         do: [ {{ c: {{ set: '${{ $error.instance }}' }} }} ] }} }} }} ]"
    );
    assert_snapshot!(live(&tried, r#"{"v":7}"#, &replies), @r#"
    0       run n/c/1.0.0 {"of":7}
    10    its sub-workflow faulted 400
    10    = completed "/do/0/t/try/0/a"
    "#);
}

#[test]
fn a_timeout_cancels_the_child_it_interrupts() {
    let replies = [("n/c/1.0.0", ok("1").after_ms(60_000))];
    assert_snapshot!(live(&child(", timeout: { after: PT1S }"), r#"{"v":7}"#, &replies), @r#"
    0       run n/c/1.0.0 {"of":7}
    1000    cancels its sub-workflow
    1000  fired /do/0/a#timeout
    1000  = faulted 408 timeout at /do/0/a
          | the task did not finish within its timeout
    "#);
}

#[test]
fn each_retry_is_another_child_and_each_loop_too() {
    let body = format!(
        "do: [ {{ t: {{ try: [ {{ a: {{ {CHILD} }} }} ], \
         catch: {{ retry: {{ limit: {{ attempt: {{ count: 2 }} }} }} }} }} }} ]"
    );
    let replies = [("n/c/1.0.0", status(500)), ("n/c/1.0.0", ok("1"))];
    let mut life = Life::new(&body, &replies);
    life.start(r#"{"v":7}"#);
    life.finish();
    let mut children: Vec<Id> = life
        .run
        .records()
        .iter()
        .filter_map(|it| it.child)
        .collect();
    assert_eq!(children.len(), 2);
    children.dedup();
    assert_eq!(children.len(), 2, "two runs");
    let made_at = children[1].made_at_ms();
    assert_eq!(
        i64::try_from(made_at).unwrap(),
        start().as_millisecond() + 10
    );
}

fn apply(life: &mut Life, change: Change) {
    let at = start() + SignedDuration::from_secs(1);
    life.apply(Entry { at, change });
}

#[test]
fn cancelling_cancels_what_is_awaited_and_nothing_else() {
    let mut run = Run::new(definition(&child("")), surroundings(100));
    let at = start();
    let input = json(r#"{"v":7}"#);
    run.apply(Entry {
        at,
        change: Change::Started { input },
    });
    let wanted = run.starts().remove(0);
    let (key, child) = (wanted.key.clone(), wanted.run_id);
    run.apply(Entry {
        at,
        change: Change::ChildStarted {
            key,
            child,
            workflow_id: 3,
        },
    });
    assert!(matches!(
        &run.take_errands()[..],
        [Errand::Start { workflow_id: 3, .. }]
    ));
    assert_eq!(run.children(), [child]);
    run.apply(Entry {
        at,
        change: Change::Cancelled,
    });
    assert!(matches!(&run.take_errands()[..], [Errand::Cancel(id)] if *id == child));
    assert!(matches!(run.pending(), Pending::Ended(End::Cancelled)));
}

#[test]
fn a_suspended_run_keeps_its_effects_and_its_times_run_on() {
    let body = "do: [ { w: { wait: { seconds: 5 } } }, { z: { set: { done: true } } } ]";
    let mut life = Life::new(body, &[]);
    life.start("{}");
    apply(&mut life, Change::Suspended);
    assert!(life.run.is_suspended());
    life.finish();
    assert!(
        life.transcript().contains("5000  fired /do/0/w"),
        "{}",
        life.transcript()
    );
}

/// The same surroundings for another run.
fn another() -> Arc<Surroundings> {
    let first = surroundings(10_000);
    Arc::new(Surroundings {
        id: "01930000-0000-7000-8000-000000000002".parse().unwrap(),
        environment: Arc::clone(&first.environment),
        secrets: Arc::clone(&first.secrets),
        tasks_max: first.tasks_max,
        links: Arc::new(hookwright::run::Links::hidden()),
    })
}

/// What a run of `other` wants that begins with what a failed run of `body` did before `task`.
fn again(life: &Life, task: &str, other: &str) -> Result<String, Unusable> {
    let prefix = before(&life.definition, &life.surroundings, &life.journal, task)?;
    let mut entries = vec![life.journal[0].clone()];
    entries.extend(prefix);
    let other = definition(other);
    begins_with(&other, &another(), &entries, task)?;
    match Run::replay(other, another(), entries).pending() {
        Pending::Open { effects, .. } => {
            let uris = effects.iter().map(|effect| match &effect.action {
                hookwright::run::Action::Call(request) => request.uri.clone(),
            });
            Ok(uris.collect::<Vec<_>>().join(" "))
        }
        Pending::Ended(end) => Ok(format!("{end:?}")),
    }
}

fn call(name: &str) -> String {
    format!(
        "{{ {name}: {{ call: http, \
         with: {{ method: post, endpoint: 'http://api.test/{name}' }} }} }}"
    )
}

#[test]
fn a_failed_task_is_done_again_and_what_came_before_is_not() {
    let body = format!("do: [ {}, {}, {} ]", call("a"), call("b"), call("c"));
    let replies = [("/a", ok("{}")), ("/b", status(500))];
    let mut life = Life::new(&body, &replies);
    life.start("{}");
    life.finish();
    assert_eq!(again(&life, "/do/1/b", &body).unwrap(), "http://api.test/b");
    let newer = body.replace("test/b", "test/mended");
    assert_eq!(
        again(&life, "/do/1/b", &newer).unwrap(),
        "http://api.test/mended"
    );
    let shorter = format!("do: [ {}, {} ]", call("b"), call("c"));
    let misfit = Unusable::Misfit("/do/0/a".to_owned());
    assert_eq!(again(&life, "/do/1/b", &shorter).unwrap_err(), misfit);
    let ended = format!("do: [ {} ]", call("a"));
    let not_reached = Unusable::NotReached("/do/1/b".to_owned());
    assert_eq!(again(&life, "/do/1/b", &ended).unwrap_err(), not_reached);
    for task in ["/do/0/a", "/do/2/c", "/do/9/x"] {
        let not_failed = Unusable::NotFailed(task.to_owned());
        assert_eq!(again(&life, task, &body).unwrap_err(), not_failed);
    }
}

#[test]
fn a_failed_branch_is_done_again_and_its_siblings_keep_what_they_have() {
    let body = format!(
        "do: [ {{ f: {{ fork: {{ branches: [ {}, {}, {} ] }} }} }} ]",
        call("a"),
        call("b"),
        call("c")
    );
    let replies = [
        ("/a", ok("1")),
        ("/b", status(500).after_ms(20)),
        ("/c", ok("3").after_ms(30)),
    ];
    let mut life = Life::new(&body, &replies);
    life.start("{}");
    life.finish();
    let of_branch = "/do/0/f/fork/branches/1/b";
    let wanted = "http://api.test/b http://api.test/c";
    assert_eq!(again(&life, of_branch, &body).unwrap(), wanted);
    let all = "http://api.test/a http://api.test/b http://api.test/c";
    assert_eq!(
        again(&life, "/do/0/f", &body).unwrap(),
        all,
        "the fork itself"
    );
}

#[test]
fn an_iteration_or_an_attempt_alone_is_done_again() {
    let body = format!(
        "do: [ {{ l: {{ for: {{ in: '[1, 2, 3]' }}, do: [ {}, {{ t: {{ try: [ {} ], \
         catch: {{ retry: {{ delay: PT1S, \
         limit: {{ attempt: {{ count: 1 }} }} }} }} }} }} ] }} }} ]",
        call("a"),
        call("b")
    );
    let replies = [("/a", ok("{}")), ("/b", ok("{}")), ("/b", status(503))];
    let mut life = Life::new(&body, &replies);
    life.start("{}");
    life.finish();
    let of_body = "/do/0/l/do/1/t/try/0/b";
    assert_eq!(again(&life, of_body, &body).unwrap(), "http://api.test/b");
    let prefix = before(&life.definition, &life.surroundings, &life.journal, of_body).unwrap();
    assert_eq!(
        prefix.len(),
        5,
        "a, b, a, the first b of the second item, its delay: {prefix:#?}"
    );
    let of_try = "/do/0/l/do/1/t";
    let prefix = before(&life.definition, &life.surroundings, &life.journal, of_try).unwrap();
    assert_eq!(prefix.len(), 3, "a, b, a: {prefix:#?}");
    assert_eq!(again(&life, "/do/0/l", &body).unwrap(), "http://api.test/a");
}

/// What a run publishes that begins with what a failed run did before `task`.
fn published(life: &Life, task: &str, other: &str) -> Vec<String> {
    let mut journal = before(&life.definition, &life.surroundings, &life.journal, task).unwrap();
    let entries = vec![life.journal[0].clone()];
    let prefix = (std::mem::take(&mut journal), task);
    let mut run = Run::resumed(definition(other), another(), entries, prefix);
    assert!(run.take_errands().is_empty(), "the old run has done them");
    let outgoing = run.take_outgoing().into_iter();
    outgoing.map(|event| event.kind).collect()
}

#[test]
fn what_the_old_run_has_published_is_not_published_again() {
    let emit = |name: &str| {
        format!("{{ {name}: {{ emit: {{ event: {{ with: {{ type: {name} }} }} }} }} }}")
    };
    let bad = "{ x: { emit: { event: { with: { type: '${ .no }' } } } } }";
    let (one, two, three) = (emit("one"), emit("two"), emit("three"));
    let body = format!("do: [ {one}, {}, {two}, {bad}, {three} ]", call("a"));
    let mut life = Life::new(&body, &[("/a", ok("{}"))]);
    life.start("{}");
    life.finish();
    let mended = body.replace(bad, &emit("x"));
    assert_eq!(published(&life, "/do/3/x", &mended), ["x", "three"]);
}

#[test]
fn events_come_with_the_journal_but_not_those_of_the_task() {
    let listen = "listen: { to: { one: { with: { type: e } } }, read: data }";
    let body = format!(
        "do: [ {{ first: {{ {listen} }} }}, \
         {{ second: {{ do: [ {{ l: {{ {listen} }} }}, {} ] }} }} ]",
        call("b")
    );
    let mut life = Life::new(&body, &[("/b", status(500))]);
    life.start("{}");
    for number in [1, 2] {
        let envelope = format!(r#"{{"type":"e","id":"{number}","source":"/s","data":{number}}}"#);
        let event = Received {
            id: Id::generate(),
            addressed: false,
            envelope: json(&envelope),
            raw: None,
        };
        apply(&mut life, Change::Received { event });
    }
    life.finish();
    let of_call = "/do/1/second/do/1/b";
    assert_eq!(again(&life, of_call, &body).unwrap(), "http://api.test/b");
    let prefix = before(
        &life.definition,
        &life.surroundings,
        &life.journal,
        "/do/1/second",
    );
    assert_eq!(prefix.unwrap().len(), 1, "what the first task heard");
    assert_eq!(
        again(&life, "/do/1/second", &body).unwrap(),
        "",
        "it listens again"
    );
}
