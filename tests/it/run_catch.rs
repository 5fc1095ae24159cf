//! What goes wrong in a run, by transcript: `raise`, `try`, retries, timeouts, cancellation.

use hookwright::run::{Change, Entry};
use insta::assert_snapshot;
use jiff::SignedDuration;

use crate::transcript::{Life, live, live_with_records, ok, start, status};

#[test]
fn try_retries_then_handles_once() {
    let body = r#"
do:
  - t:
      try: [ { a: { call: http, with: { method: get, endpoint: 'http://api.test/x' } } } ]
      catch:
        errors:
          with: { type: 'https://open-workflow-specification.org/spec/1.0.0/errors/communication' }
        retry:
          delay: { milliseconds: 300 }
          backoff: { exponential: {} }
          limit: { attempt: { count: 2 } }
        do: [ { dead: { set: { dead: true, status: '${ $error.status }', in: '${ . }' } } } ]
        then: last
  - between: { set: { never: true } }
  - last: { set: '${ . + {last: true} }' }
"#;
    let replies = [("/x", status(500))];
    assert_snapshot!(live_with_records(body, r#"{"x":1}"#, &replies), @r#"
    0       GET /x
    10    faulted 500 /do/0/t/try/0/a
    310   fired /do/0/t#retry [1a1]
    310     GET /x
    320   faulted 500 /do/0/t/try/0/a [1a1]
    920   fired /do/0/t#retry [1a2]
    920     GET /x
    930   faulted 500 /do/0/t/try/0/a [1a2]
    930   = completed {"dead":true,"status":500,"in":{"x":1},"last":true}
    --
    /do/0/t completed
    /do/0/t/try/0/a faulted
    /do/0/t/try/0/a faulted attempt 2
    /do/0/t/try/0/a faulted attempt 3
    /do/0/t/catch/do/0/dead completed
    /do/2/last completed
    "#);
    let replies = [("/x", status(500)), ("/x", ok(r#"{"fine":true}"#))];
    assert_snapshot!(live(body, r#"{"x":1}"#, &replies), @r#"
    0       GET /x
    10    faulted 500 /do/0/t/try/0/a
    310   fired /do/0/t#retry [1a1]
    310     GET /x
    320   completed /do/0/t/try/0/a [1a1]
    320   = completed {"never":true,"last":true}
    "#);
}

#[test]
fn a_retry_that_is_exhausted_goes_outward() {
    let body = |policy: &str| {
        format!(
            "do:
  - t:
      try: [ {{ a: {{ call: http, with: {{ method: get, endpoint: 'http://api.test/x' }} }} }} ]
      catch: {{ retry: {policy} }}"
        )
    };
    let replies = [("/x", status(500))];
    let linear = "{ delay: PT0.1S, backoff: { linear: {} }, limit: { attempt: { count: 2 } } }";
    assert_snapshot!(live(&body(linear), "{}", &replies), @r#"
    0       GET /x
    10    faulted 500 /do/0/t/try/0/a
    110   fired /do/0/t#retry [1a1]
    110     GET /x
    120   faulted 500 /do/0/t/try/0/a [1a1]
    320   fired /do/0/t#retry [1a2]
    320     GET /x
    330   faulted 500 /do/0/t/try/0/a [1a2]
    330   = faulted 500 communication at /do/0/t/try/0/a
          | refused
    "#);
    let limited = "{ delay: PT0.3S, limit: { duration: PT0.7S } }";
    assert_snapshot!(live(&body(limited), "{}", &replies), @r#"
    0       GET /x
    10    faulted 500 /do/0/t/try/0/a
    310   fired /do/0/t#retry [1a1]
    310     GET /x
    320   faulted 500 /do/0/t/try/0/a [1a1]
    620   fired /do/0/t#retry [1a2]
    620     GET /x
    630   faulted 500 /do/0/t/try/0/a [1a2]
    630   = faulted 500 communication at /do/0/t/try/0/a
          | refused
    "#);
    let picky = "{ exceptWhen: .status == 500, delay: PT0.3S, limit: { attempt: { count: 2 } } }";
    assert_snapshot!(live(&body(picky), "{}", &replies), @r#"
    0       GET /x
    10    faulted 500 /do/0/t/try/0/a
    10    = faulted 500 communication at /do/0/t/try/0/a
          | refused
    "#);
}

#[test]
fn retry_after_is_honoured() {
    let body = r#"
do:
  - t:
      try: [ { a: { call: http, with: { method: get, endpoint: 'http://api.test/x' } } } ]
      catch: { retry: { delay: { milliseconds: 10 }, limit: { attempt: { count: 2 } } } }
"#;
    let replies = [("/x", status(429).retry_after(1)), ("/x", ok("{}"))];
    assert_snapshot!(live(body, "{}", &replies), @r#"
    0       GET /x
    10    faulted 429 /do/0/t/try/0/a
    1010  fired /do/0/t#retry [1a1]
    1010    GET /x
    1020  completed /do/0/t/try/0/a [1a1]
    1020  = completed {}
    "#);
}

#[test]
fn a_caught_error_is_swallowed() {
    let body = r#"
do:
  - t:
      try:
        - a: { set: { changed: true } }
        - b: { raise: { error: { type: 'https://acme.test/e', status: 400 } } }
      catch: {}
  - after: { set: '${ . + {after: true} }' }
"#;
    assert_snapshot!(
        live(body, r#"{"x":1}"#, &[]),
        @r#"0     = completed {"x":1,"after":true}"#
    );
}

#[test]
fn filters_of_catch_are_anded() {
    let body = |catch: &str| {
        format!(
            "do:
  - t:
      try:
        - a:
            raise: {{ error: {{ type: 'https://acme.test/e', status: 400, title: x }} }}
      catch: {{ {catch}, do: [ {{ b: {{ set: {{ caught: true }} }} }} ] }}"
        )
    };
    let run = |catch: &str| live(&body(catch), "{}", &[]);
    assert_snapshot!(
        run("errors: { with: { instance: /do/0/t/try/0/a, status: 400 } }"),
        @r#"0     = completed {"caught":true}"#
    );
    assert_snapshot!(run("errors: { with: { status: 401 } }"), @r#"
    0     = faulted 400 https://acme.test/e at /do/0/t/try/0/a
          | x
    "#);
    assert_snapshot!(run("as: oops, when: '$oops.title == \"y\"'"), @r#"
    0     = faulted 400 https://acme.test/e at /do/0/t/try/0/a
          | x
    "#);
    assert_snapshot!(run("exceptWhen: '.title == \"x\"'"), @r#"
    0     = faulted 400 https://acme.test/e at /do/0/t/try/0/a
          | x
    "#);
    assert_snapshot!(run("when: '(.title | keys) == []'"), @r#"
    0     = faulted 400 expression at /do/0/t
          | `(.title | keys) == []`: cannot iterate over string
    "#);
}

#[test]
fn an_error_in_the_recovery_goes_outward() {
    let body = r#"
do:
  - t:
      try: [ { a: { raise: { error: { type: 'https://acme.test/first', status: 400 } } } } ]
      catch:
        do: [ { b: { raise: { error: { type: 'https://acme.test/second', status: 401 } } } } ]
"#;
    assert_snapshot!(
        live(body, "{}", &[]),
        @r#"0     = faulted 401 https://acme.test/second at /do/0/t/catch/do/0/b"#
    );
}

#[test]
fn attempts_have_a_deadline_that_may_be_caught() {
    let body = r#"
do:
  - t:
      try: [ { a: { call: http, with: { method: get, endpoint: 'http://api.test/x' } } } ]
      catch: { retry: { limit: { attempt: { count: 1, duration: PT0.5S } } } }
"#;
    let slow = ok("{}").after_ms(10_000);
    let replies = [("/x", slow), ("/x", ok(r#"{"second":true}"#))];
    assert_snapshot!(live_with_records(body, "{}", &replies), @r#"
    0       GET /x
    500   fired /do/0/t#attempt
    500     GET /x
    510   completed /do/0/t/try/0/a [1a1]
    510   = completed {"second":true}
    --
    /do/0/t completed
    /do/0/t/try/0/a cancelled
    /do/0/t/try/0/a completed attempt 2
    "#);
}

#[test]
fn timeouts_interrupt_and_are_caught_outside() {
    let body = r#"
do:
  - outer:
      try:
        - inner:
            try: [ { a: { wait: { seconds: 30 } } } ]
            catch: {}
            timeout: { after: { milliseconds: 100 } }
      catch: { do: [ { b: { set: '${ $error.instance }' } } ] }
"#;
    assert_snapshot!(live_with_records(body, "{}", &[]), @r#"
    100   fired /do/0/outer/try/0/inner#timeout
    100   = completed "/do/0/outer/try/0/inner"
    --
    /do/0/outer completed
    /do/0/outer/try/0/inner faulted
    /do/0/outer/try/0/inner/try/0/a cancelled
    /do/0/outer/catch/do/0/b completed
    "#);
}

#[test]
fn the_timeout_of_the_workflow_is_not_catchable() {
    let body = r#"
timeout: { after: { milliseconds: 300 } }
do:
  - t:
      try: [ { a: { wait: { seconds: 30 } } } ]
      catch: { do: [ { b: { wait: { seconds: 30 } } } ] }
"#;
    assert_snapshot!(live_with_records(body, "{}", &[]), @r#"
    300   fired /#timeout
    300   = faulted 408 timeout at /
          | the workflow did not finish within its timeout
    --
    /do/0/t cancelled
    /do/0/t/try/0/a cancelled
    "#);
}

#[test]
fn raise_evaluates_its_members() {
    let body = r#"
do:
  - a:
      raise:
        error:
          type: https://acme.test/out-of-stock
          status: 409
          title: ${ "No \(.sku)" }
          detail: plain
          instance: /custom
"#;
    assert_snapshot!(live(body, r#"{"sku":"K7"}"#, &[]), @r#"
    0     = faulted 409 https://acme.test/out-of-stock at /custom
          | No K7
          | plain
    "#);
}

#[test]
fn a_loop_without_end_meets_the_guard() {
    let body = "do: [ { a: { try: [ { b: { set: { x: 1 } } } ], catch: {}, then: a } } ]";
    assert_snapshot!(live(body, "{}", &[]), @r#"
    0     = faulted 500 runtime at /do/0/a
          | Too many task executions
          | the run has executed 10000 tasks, its limit; end the loop earlier or split the work
    "#);
}

#[test]
fn a_person_cancels_what_is_open() {
    let body = r#"
do:
  - t:
      try: [ { a: { wait: { seconds: 30 } } } ]
      catch: { do: [ { b: { set: { caught: true } } } ] }
"#;
    let mut life = Life::new(body, &[]);
    life.start("{}");
    let at = start() + SignedDuration::from_secs(1);
    life.apply(Entry {
        at,
        change: Change::Cancelled,
    });
    assert!(!life.go_on());
    assert_snapshot!(format!("{}\n--\n{}", life.transcript(), life.records()), @r#"
    1000  = cancelled
    --
    /do/0/t cancelled
    /do/0/t/try/0/a cancelled
    "#);
}
