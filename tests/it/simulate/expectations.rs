//! Expectations that do not hold: each is told with its line, its place, and both values.

use hookwright::simulate::Mismatch;

use super::{GET, definition, play};

async fn mismatches(tasks: &str, cases: &str) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for verdict in play(&definition(tasks), cases).await {
        found.extend(verdict.mismatches);
    }
    found
}

/// Lines (the document has one before the cases), pointers and messages.
fn told(found: &[Mismatch]) -> Vec<String> {
    let line = |found: &Mismatch| {
        let message = found.message.replace("\n     ", ", ");
        format!("{} {} {message}", found.place.0, found.pointer)
    };
    found.iter().map(line).collect()
}

#[tokio::test]
async fn data_differs_member_by_member() {
    let tasks = "do: [{make: {set: {a: 1, b: [1, {c: x}], d: null, e: 59.80}}}]";
    let cases = "\
cases:
  - name: equal, and in other words
    expect: { output: { e: 59.8, a: '${ . < 2 }', b: [1.0, '${ .c == \"x\" }'], d: null } }
  - name: otherwise
    expect:
      output:
        a: 2
        b: [1, { c: y }]
        f: 3
        e: ${ . > 60 }
  - name: another number of items
    expect: { output: { a: 1, b: [1], d: null, e: '${ true }' } }
  - name: another status
    expect: { error: { status: 500 } }
";
    let found = told(&mismatches(tasks, cases).await);
    let wanted = [
        "8 /cases/1/expect/output/a expected 2, was 1",
        "9 /cases/1/expect/output/b/1/c expected \"y\", was \"x\"",
        "10 /cases/1/expect/output/f there is no such member",
        "11 /cases/1/expect/output/e expected what makes `. > 60` true, was 59.80",
        "8 /cases/1/expect/output/d not expected: null",
        "13 /cases/2/expect/output/b expected a list of 1, was [1,{\"c\":\"x\"}]",
    ];
    assert_eq!(found[..wanted.len()], wanted, "{found:#?}");
    assert!(found[6].contains("expected faulted, was completed with {"));
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[tokio::test]
async fn calls_differ_in_order_number_and_content() {
    let tasks = "
do:
  - one: { call: http, with: { method: post, endpoint: 'https://a.example/x?q=1', body: { a: 1 } } }
  - two: { call: http, with: { method: get, endpoint: 'https://b.example/y' } }
";
    let cases = "\
answers: { '*': 200 }
cases:
  - name: as they are
    expect:
      calls:
        - { task: one, method: post, uri: 'https://a.example/x', body: { a: 1 } }
        - { uri: 'https://*/y', headers: { X-None: null } }
  - name: content
    expect:
      calls:
        - { uri: 'https://a.example/x?q=2', method: PUT, body: { a: 2 }, headers: { x-a: b } }
        - {}
  - name: one too few
    expect:
      calls: [{}]
  - name: one too many
    expect:
      calls: [{}, {}, { times: 2 }]
  - name: another order
    expect:
      calls: [{ task: two }, { task: one }]
  - name: too quick
    expect: { elapsed: PT1S }
";
    let found = told(&mismatches(tasks, cases).await);
    let wanted = [
        "12  expected PUT, was POST https://a.example/x?q=1",
        "12  expected https://a.example/x?q=2, was POST https://a.example/x?q=1",
        "12 /cases/1/expect/calls/0/headers/x-a expected \"b\", was null",
        "12 /cases/1/expect/calls/0/body/a expected 2, was 1",
        "16  not expected: GET https://b.example/y of task `two`",
        "19  expected this call 2 times, was 0",
        "22  expected a call of task two, was POST https://a.example/x?q=1 of task one",
        "24  expected 1s, was 0s",
    ];
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_call_without_an_answer_and_an_answer_without_a_call_fail() {
    let cases = "\
cases:
  - name: nothing fits
    answers: { other: 200 }
    expect: { status: completed }
  - name: used up
    answers: { get: [503] }
    expect: {}
  - name: left over
    answers:
      get:
        - 200
        - { status: 500, times: 3 }
    expect: {}
  - name: never asked
    answers: { get: 200, POST *: 201 }
    expect: {}
  - name: the wrong expression
    answers: { get: { body: '${ .body + 1 | keys }' } }
    expect: {}
";
    let found = told(&mismatches(GET, cases).await);
    let starts = [
        "5  no answer for GET https://api.example/v1/x of task `get` (/do/0/get): nothing under",
        "8  no answer for GET https://api.example/v1/x of task `get` (/do/0/get): `get` on line 7",
        "13  expected that this answer of `get` is asked for 3 times, was 0",
        "16  expected that this answer of `POST *` is asked for 1 times, was 0",
        "20  no answer for GET https://api.example/v1/x of task `get` (/do/0/get): `.body + 1",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}\n{start}");
    }
}

#[tokio::test]
async fn an_event_that_starts_nothing_fails_with_the_reason() {
    let tasks = "\
schedule: { on: { one: { with: { type: a } } } }
do: [{x: {set: {a: 1}}}]";
    let cases = "\
cases:
  - name: it should have
    event: { type: b }
    expect: {}
  - name: it should not have
    event: { type: a }
    expect: { ignored: true }
  - name: for another reason
    event: { type: b }
    expect: { ignored: because of the moon }
";
    let found = told(&mismatches(tasks, cases).await);
    let wanted = [
        "4  the event starts no run: no active workflow listens for type b",
        "8  expected that the event is ignored, was a run",
        "11  expected a reason with \"because of the moon\", \
         was \"no active workflow listens for type b\"",
    ];
    assert_eq!(found, wanted);
    let none = "do: [{x: {set: {a: 1}}}]";
    let found = told(&mismatches(none, "cases: [{name: x, event: {type: a}, expect: {}}]").await);
    assert!(
        found[0].contains("the workflow has no `schedule.on`"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_decision_that_nobody_asked_for_fails_the_case() {
    let tasks = "
do:
  - first: { call: 'approval:1.0.0@default', with: { title: A, approvers: [ada] } }
  - second:
      call: approval:1.0.0@default
      with: { title: B, timeout: PT1H, onTimeout: rejected }
";
    let cases = "\
cases:
  - name: each takes what is for it
    decisions:
      - { task: second, decision: approved, by: bob, after: PT2M }
      - { decision: approved, after: PT1M, comment: fine }
    expect:
      output: { decision: approved, by: bob, comment: null }
      elapsed: PT3M
  - name: too late
    decisions:
      - { task: first, decision: approved }
      - { task: second, decision: approved, after: PT1H }
    expect: { output: { decision: rejected, by: timeout, comment: null } }
  - name: nobody
    expect: { error: { type: timeout, instance: /do/0/first } }
";
    let found = told(&mismatches(tasks, cases).await);
    let wanted = ["13  expected that this decision is asked for, was never"];
    assert_eq!(found, wanted, "{found:#?}");
}
