//! The engine by transcript: a workflow, scripted outcomes, and all that happens, per keyword.
//!
//! Lines are milliseconds and what happened; indented ones are calls that the run wants. The
//! decisions of the language's silences (order, chaining, merging) are pinned here.

use hookwright::expression::Value;
use hookwright::run::entry::{decode, encode};
use hookwright::run::{
    Action, Attempt, Change, Credentials, End, Entry, Key, Outcome, Pending, Run, Wait,
};
use insta::assert_snapshot;
use jiff::SignedDuration;
use secrecy::ExposeSecret;

use crate::transcript::{
    Life, definition, json, live, live_with_records, ok, start, status, surroundings, text,
};

#[test]
fn the_main_job_transforms_and_calls() {
    let body = r#"
do:
  - order:
      input: { from: '${ {id, total: (.lines | map(.price) | add)} }' }
      call: http
      with:
        method: post
        endpoint: http://api.test/orders/{id}
        body: { reference: '${ "order-\(.id)" }', total: '${ .total }' }
      output: { as: .accepted }
"#;
    let input = r#"{"id":"a/1","lines":[{"price":1.50},{"price":2}]}"#;
    let replies = [("/orders/a%2F1", ok(r#"{"accepted":12345678901234567890}"#))];
    assert_snapshot!(live_with_records(body, input, &replies), @"");
}

#[test]
fn output_and_export_see_what_the_table_says() {
    let body = r#"
do:
  - a:
      input: { from: .in }
      set: '${ {dot: ., input: $input, raw: $task.input, early: $output} }'
      output: { as: '${ . + {task: $task.output.dot, out: $output} }' }
      export: { as: '${ {transformed: $output, dot: ., raw: $task.output} }' }
  - b:
      set: '${ $context }'
output: { as: '${ {b: ., name: $task, id: $workflow.id, env: $runtime.metadata.environment} }' }
"#;
    assert_snapshot!(live(body, r#"{"in":1}"#, &[]), @"");
}

#[test]
fn the_context_starts_as_the_input() {
    let body = "do: [ { a: { set: '${ $context }' } } ]";
    assert_snapshot!(live(body, r#"{"x":1}"#, &[]), @"");
    assert_snapshot!(live(body, "7", &[]), @"");
    let body = "input: { from: .x }\ndo: [ { a: { set: '${ [., $context] }' } } ]";
    assert_snapshot!(live(body, r#"{"x":{"y":1}}"#, &[]), @"");
}

#[test]
fn a_skipped_task_continues() {
    let body = r#"
do:
  - a: { if: .no, set: { a: 1 }, then: end, export: { as: '${ {seen: true} }' } }
  - b: { if: .x == 0, set: { b: 1 } }
  - c: { set: '${ {c: ., context: $context} }' }
"#;
    assert_snapshot!(live_with_records(body, r#"{"x":0}"#, &[]), @"");
}

#[test]
fn schemas_name_the_place_and_no_data() {
    let body = r#"
do:
  - a:
      input:
        schema: { format: json, document: { type: object, properties: { n: { type: number } } } }
      set: { x: 1 }
"#;
    assert_snapshot!(live(body, r#"{"n":"secret text"}"#, &[]), @"");
    let body = r#"
do: [ { a: { set: { x: 1 } } } ]
output: { schema: { document: { required: [ y ] } } }
"#;
    assert_snapshot!(live(body, "{}", &[]), @"");
}

#[test]
fn errors_of_expressions_have_the_task_and_no_data() {
    let body = "do: [ { a: { set: { x: '${ .n + {} }' } } } ]";
    assert_snapshot!(live(body, r#"{"n":4711}"#, &[]), @"");
    let body = "do: [ { a: { if: .n.x, set: { x: 1 } } } ]";
    assert_snapshot!(live(body, r#"{"n":4711}"#, &[]), @"");
}

#[test]
fn then_goes_by_name_exit_and_end() {
    let body = r#"
do:
  - a: { set: { n: 1 }, then: c }
  - b: { set: '${ . + {b: true} }', then: end }
  - c: { set: '${ .n += 1 }', then: d }
  - d:
      switch:
        - again: { when: .n < 4, then: c }
        - done: { then: b }
"#;
    assert_snapshot!(live_with_records(body, "{}", &[]), @"");
    let body = r#"
do:
  - outer:
      do:
        - a: { set: { x: 1 }, then: exit }
        - b: { set: { x: 2 } }
  - after: { set: '${ . + {after: true} }' }
"#;
    assert_snapshot!(live(body, "{}", &[]), @"");
}

#[test]
fn end_applies_what_is_around_it() {
    let body = r#"
do:
  - outer:
      do:
        - a: { set: { x: 1 }, then: end }
        - b: { set: { x: 2 } }
      output: { as: '${ {wrapped: .} }' }
      export: { as: '${ {seen: .} }' }
  - after: { set: { never: true } }
output: { as: '${ . + $context }' }
"#;
    assert_snapshot!(live(body, "{}", &[]), @"");
}

#[test]
fn switch_takes_the_first_that_holds() {
    let body = r#"
do:
  - s:
      switch:
        - other: { then: three }
        - first: { when: .n > 1, then: two }
        - second: { when: .n > 0, then: one }
  - one: { set: one, then: end }
  - two: { set: two, then: end }
  - three: { set: three, then: end }
"#;
    assert_snapshot!(live(body, r#"{"n":2}"#, &[]), @"");
    assert_snapshot!(live(body, r#"{"n":0}"#, &[]), @"");
    let body = r#"
do:
  - s: { switch: [ { none: { when: .n > 5, then: exit } } ], then: two }
  - one: { set: one, then: end }
  - two: { set: two }
"#;
    assert_snapshot!(live(body, r#"{"n":0}"#, &[]), @"");
}

#[test]
fn for_chains_its_iterations() {
    let body = r#"
do:
  - loop:
      for: { each: fruit, at: place, in: .items }
      while: .sum < 10
      do:
        - skip: { switch: [ { odd: { when: $fruit == 2, then: exit } } ] }
        - add: { set: '${ .sum += $fruit | .places += [$place] }' }
"#;
    let input = r#"{"items":[1,2,9,5],"sum":0}"#;
    assert_snapshot!(live_with_records(body, input, &[]), @"");
    let nothing = "do: [ { loop: { for: { in: .no }, do: [ { a: { set: { ran: 1 } } } ] } } ]";
    assert_snapshot!(live(nothing, r#"{"x":1}"#, &[]), @"");
    let wrong = "do: [ { loop: { for: { in: .x }, do: [ { a: { set: { ran: 1 } } } ] } } ]";
    assert_snapshot!(live(wrong, r#"{"x":1}"#, &[]), @"");
}

#[test]
fn calls_in_loops_have_keys_of_their_own() {
    let body = r#"
do:
  - outer:
      for: { in: '[ 1, 2 ]' }
      do:
        - inner:
            for: { in: '[ 1, 2 ]' }
            do:
              - a: { call: http, with: { method: get, endpoint: 'http://api.test/x' } }
"#;
    assert_snapshot!(live(body, "{}", &[("/x", ok("{}"))]), @"");
}

#[test]
fn end_in_a_loop_ends_the_run() {
    let body = r#"
do:
  - loop:
      for: { in: '[ 1, 2 ]' }
      do: [ { a: { set: '${ {item: $item} }', then: end } } ]
      output: { as: '${ {loop: .} }' }
  - after: { set: { never: true } }
"#;
    assert_snapshot!(live(body, "{}", &[]), @"");
}

#[test]
fn fork_gives_outputs_in_the_order_of_declaration() {
    let body = r#"
do:
  - f:
      fork:
        branches:
          - one:
              do:
                - w: { wait: { milliseconds: 100 } }
                - s: { set: '${ {saw: $context} }', export: { as: '${ $context + {one: 1, both: 1} }' } }
          - two: { set: { v: 2 }, export: { as: '${ $context + {two: 2, both: 2} }' } }
output: { as: '${ {out: ., context: $context} }' }
"#;
    assert_snapshot!(live_with_records(body, r#"{"start":0}"#, &[]), @"");
}

#[test]
fn a_failed_branch_cancels_its_siblings() {
    let body = r#"
do:
  - t:
      try:
        - f:
            fork:
              branches:
                - slow:
                    do:
                      - w: { wait: { seconds: 20 } }
                      - never: { set: { x: 1 } }
                - bad:
                    do:
                      - reserve: { set: { id: 7 }, export: { as: '${ $context + {reserved: .id} }' } }
                      - w: { wait: { milliseconds: 100 } }
                      - r: { raise: { error: { type: 'https://acme.test/e', status: 400 } } }
      catch:
        do: [ { undo: { set: '${ [$error.instance, $context] }' } } ]
"#;
    assert_snapshot!(live_with_records(body, "{}", &[]), @"");
}

#[test]
fn a_competition_is_won_by_the_first_success() {
    let body = r#"
do:
  - f:
      fork:
        compete: true
        branches:
          - bad: { raise: { error: { type: 'https://acme.test/e', status: 400 } } }
          - good:
              do:
                - w: { wait: { milliseconds: 150 } }
                - g: { set: { winner: good }, export: { as: '${ {good: true} }' } }
          - slow: { wait: { seconds: 20 }, export: { as: '${ {slow: true} }' } }
output: { as: '${ [., $context] }' }
"#;
    assert_snapshot!(live_with_records(body, "{}", &[]), @"");
    let body = r#"
do:
  - f:
      fork:
        compete: true
        branches:
          - one: { raise: { error: { type: 'https://acme.test/one', status: 400 } } }
          - two: { raise: { error: { type: 'https://acme.test/two', status: 400 } } }
"#;
    assert_snapshot!(live(body, "{}", &[]), @"");
}

#[test]
fn end_in_a_branch_ends_the_run() {
    let body = r#"
do:
  - f:
      fork:
        branches:
          - slow: { wait: { seconds: 30 } }
          - quick: { do: [ { q: { set: { x: 1 }, then: end } } ] }
  - after: { set: { after: true } }
"#;
    assert_snapshot!(live_with_records(body, "{}", &[]), @"");
}

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
    assert_snapshot!(live_with_records(body, r#"{"x":1}"#, &replies), @"");
    let replies = [("/x", status(500)), ("/x", ok(r#"{"fine":true}"#))];
    assert_snapshot!(live(body, r#"{"x":1}"#, &replies), @"");
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
    assert_snapshot!(live(&body(linear), "{}", &replies), @"");
    let limited = "{ delay: PT0.3S, limit: { duration: PT0.7S } }";
    assert_snapshot!(live(&body(limited), "{}", &replies), @"");
    let picky = "{ exceptWhen: .status == 500, delay: PT0.3S, limit: { attempt: { count: 2 } } }";
    assert_snapshot!(live(&body(picky), "{}", &replies), @"");
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
    assert_snapshot!(live(body, "{}", &replies), @"");
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
    assert_snapshot!(live(body, r#"{"x":1}"#, &[]), @"");
}

#[test]
fn filters_of_catch_are_anded() {
    let body = |catch: &str| {
        format!(
            "do:
  - t:
      try: [ {{ a: {{ raise: {{ error: {{ type: 'https://acme.test/e', status: 400, title: x }} }} }} }} ]
      catch: {{ {catch}, do: [ {{ b: {{ set: {{ caught: true }} }} }} ] }}"
        )
    };
    let run = |catch: &str| live(&body(catch), "{}", &[]);
    assert_snapshot!(run("errors: { with: { instance: /do/0/t/try/0/a, status: 400 } }"), @"");
    assert_snapshot!(run("errors: { with: { status: 401 } }"), @"");
    assert_snapshot!(run("as: oops, when: $oops.title == \"y\""), @"");
    assert_snapshot!(run("exceptWhen: .title == \"x\""), @"");
    assert_snapshot!(run("when: (.title | keys) == []"), @"");
}

#[test]
fn an_error_in_the_handler_goes_outward() {
    let body = r#"
do:
  - t:
      try: [ { a: { raise: { error: { type: 'https://acme.test/first', status: 400 } } } } ]
      catch:
        do: [ { b: { raise: { error: { type: 'https://acme.test/second', status: 401 } } } } ]
"#;
    assert_snapshot!(live(body, "{}", &[]), @"");
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
    assert_snapshot!(live_with_records(body, "{}", &replies), @"");
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
    assert_snapshot!(live_with_records(body, "{}", &[]), @"");
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
    assert_snapshot!(live_with_records(body, "{}", &[]), @"");
}

#[test]
fn wait_gives_its_input() {
    let body = r#"
do:
  - a: { wait: '${ .for }' }
"#;
    assert_snapshot!(live(body, r#"{"for":"PT1.5S"}"#, &[]), @"");
    assert_snapshot!(live(body, r#"{"for":"soon"}"#, &[]), @"");
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
    assert_snapshot!(live(body, r#"{"sku":"K7"}"#, &[]), @"");
}

/// The one request that an open run wants.
fn request(body: &str, input: &str) -> std::sync::Arc<hookwright::run::Request> {
    let mut life = Life::new(body, &[]);
    life.start(input);
    match life.run.pending() {
        Pending::Open { effects, .. } => {
            let Action::Call(request) = &effects[0].action;
            std::sync::Arc::clone(request)
        }
        Pending::Ended(end) => panic!("{end:?}"),
    }
}

#[test]
fn a_request_is_made_from_templates() {
    let body = r#"
use: { secrets: [ token ] }
do:
  - a:
      call: http
      with:
        method: Put
        endpoint:
          uri: http://api.test/{id}/{n}?q={missing}
          authentication: { bearer: { token: '${ $secrets.token }' } }
        headers: { x-n: '${ .n }', x-none: '${ .missing }' }
        query: '${ {tag: ["a", "b"], none: null, n: 1.0, yes: true} }'
        body: '${ .id }'
        redirect: true
"#;
    let request = request(body, r#"{"id":"a/b c~","n":70000000000000000001}"#);
    assert_eq!(request.method, "PUT");
    assert_eq!(
        request.uri,
        "http://api.test/a%2Fb%20c~/70000000000000000001?q="
    );
    assert_eq!(
        format!("{:?}", request.headers),
        r#"[("x-n", "70000000000000000001")]"#
    );
    assert_eq!(
        format!("{:?}", request.query),
        r#"[("tag", "a"), ("tag", "b"), ("n", "1.0"), ("yes", "true")]"#
    );
    assert_eq!(
        request.body.as_ref().and_then(Value::as_str),
        Some("a/b c~")
    );
    let Some(Credentials::Bearer(token)) = &request.authentication else {
        panic!("no bearer token");
    };
    assert_eq!(token.expose_secret(), "s3cret-token");
    assert!(request.redirect);
    assert!(!format!("{request:?}").contains("s3cret"));
}

#[test]
fn an_object_has_no_place_in_a_uri() {
    let body =
        "do: [ { a: { call: http, with: { method: get, endpoint: 'http://api.test/{id}' } } } ]";
    assert_snapshot!(live(body, r#"{"id":{"x":1}}"#, &[]), @"");
}

#[test]
fn secrets_are_only_those_listed_and_known() {
    let set = "do: [ { a: { set: { x: '${ $secrets.token }' } } } ]";
    assert_snapshot!(live(set, "{}", &[]), @"");
    let keys = "use: { secrets: [ token, other ] }\ndo: [ { a: { set: '${ $secrets | keys }' } } ]";
    assert_snapshot!(live(keys, "{}", &[]), @"");
    let other = "use: { secrets: [ token, other ] }\ndo: [ { a: { set: '${ $secrets.other }' } } ]";
    assert_snapshot!(live(other, "{}", &[]), @"");
}

#[test]
fn a_loop_without_end_meets_the_guard() {
    let body = "do: [ { a: { try: [ { b: { set: { x: 1 } } } ], catch: {}, then: a } } ]";
    assert_snapshot!(live(body, "{}", &[]), @"");
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
    assert_snapshot!(format!("{}\n--\n{}", life.transcript(), life.records()), @"");
}

fn key(reference: &str, iteration: &str) -> Key {
    Key {
        reference: reference.into(),
        iteration: iteration.into(),
    }
}

fn performed(key: Key) -> Entry {
    let attempt = Attempt {
        number: 1,
        started_at: start(),
        duration_ms: 5,
        status: Some(200),
        error: None,
        retry_after_seconds: None,
    };
    Entry {
        at: start(),
        change: Change::Performed {
            key,
            attempt,
            outcome: Outcome::Completed(json("{}")),
        },
    }
}

#[test]
fn an_entry_that_does_not_fit_is_a_named_fault() {
    let body = "do: [ { a: { wait: PT1S } }, { b: { set: { x: 1 } } } ]";
    let title = |entry: Entry| {
        let mut life = Life::new(body, &[]);
        life.start("{}");
        life.apply(entry);
        match life.run.pending() {
            Pending::Ended(End::Faulted(problem)) => problem.title,
            Pending::Ended(_) | Pending::Open { .. } => None,
        }
    };
    let misfit = Some("The journal does not fit".to_owned());
    assert_eq!(title(performed(key("/do/0/a", ""))), misfit);
    assert_eq!(title(performed(key("/do/7/other", ""))), misfit);
    assert_eq!(
        title(Entry {
            at: start(),
            change: Change::Started { input: json("{}") }
        }),
        misfit
    );
    // A task that is there but not open: late, and ignored.
    assert_eq!(title(performed(key("/do/1/b", ""))), None);
    let fired = Change::Fired {
        key: key("/do/0/a#timeout", ""),
    };
    assert_eq!(
        title(Entry {
            at: start(),
            change: fired
        }),
        None
    );
}

#[test]
fn nothing_happens_before_the_start() {
    let definition = definition("do: [ { a: { wait: PT1S } } ]");
    let mut run = Run::new(definition, surroundings(10));
    assert!(matches!(&run.pending(), Pending::Open { effects, waits }
        if effects.is_empty() && waits.is_empty()));
    run.apply(performed(key("/do/0/a", "")));
    assert!(matches!(run.pending(), Pending::Ended(End::Faulted(_))));
}

#[test]
fn waits_are_ordered_and_calls_know_their_deadline() {
    let body = r#"
timeout: { after: PT10S }
do:
  - f:
      timeout: { after: PT5S }
      fork:
        branches:
          - w: { wait: PT1S }
          - c: { call: http, with: { method: get, endpoint: 'http://api.test/x' } }
"#;
    let mut life = Life::new(body, &[]);
    life.start("{}");
    let Pending::Open { effects, waits } = life.run.pending() else {
        panic!("it has ended");
    };
    let at = |seconds| start() + SignedDuration::from_secs(seconds);
    let wait = |reference, seconds| Wait {
        key: key(reference, ""),
        until: at(seconds),
    };
    let expected = [
        wait("/do/0/f/fork/branches/0/w", 1),
        wait("/do/0/f#timeout", 5),
        wait("/#timeout", 10),
    ];
    assert_eq!(waits, expected);
    assert_eq!(effects[0].deadline, Some(at(5)));
    assert_eq!(life.run.deadline(), Some(at(10)));
}

#[test]
fn a_destination_that_tries_again_keeps_the_call_open() {
    let body =
        "do: [ { a: { call: http, with: { method: get, endpoint: 'http://api.test/x' } } } ]";
    let mut life = Life::new(body, &[]);
    life.start("{}");
    let at = start() + SignedDuration::from_secs(1);
    let retry_at = start() + SignedDuration::from_secs(3);
    let Change::Performed { key, attempt, .. } = performed(key("/do/0/a", "")).change else {
        panic!("not performed");
    };
    let change = Change::Attempted {
        key,
        attempt,
        retry_at,
    };
    life.apply(Entry { at, change });
    let Pending::Open { effects, .. } = life.run.pending() else {
        panic!("it has ended");
    };
    assert_eq!(effects[0].attempt, 2);
    assert_eq!(effects[0].first_attempt_at, Some(at));
    assert_eq!(effects[0].not_before, Some(retry_at));
    assert_eq!(life.run.records()[0].status, "waiting");
    assert_eq!(life.run.records()[0].attempts.len(), 1);
}

#[test]
fn idempotency_names_outlive_the_retries_of_a_try() {
    let name = |iteration| key("/do/0/a", iteration).idempotency_name();
    assert_eq!(name(""), "/do/0/a");
    assert_eq!(name("1a3"), "/do/0/a");
    assert_eq!(name("2/1a3/0/2v1"), "/do/0/a#2/0/2v1");
}

#[test]
fn the_stored_form_keeps_digits_and_tolerates_more() {
    let entries = [
        Entry {
            at: start(),
            change: Change::Started {
                input: json("null"),
            },
        },
        performed(key("/do/0/a", "3/1a1")),
    ];
    let stored = encode(&entries);
    assert_eq!(decode(&stored).unwrap(), entries);
    let text_of = String::from_utf8(stored).unwrap();
    assert_snapshot!(text_of, @"");
    let more = r#"[{"change":"performed","at":"2026-01-01T00:00:00Z","reference":"/do/0/a","new":1,
        "attempt":{"number":1,"startedAt":"2026-01-01T00:00:00Z","durationMs":1,"more":[]},
        "output":{"n":1.000000000000000000001}}]"#;
    let decoded = decode(more.as_bytes()).unwrap();
    let Change::Performed { outcome, .. } = &decoded[0].change else {
        panic!("not performed");
    };
    let Outcome::Completed(output) = outcome else {
        panic!("not completed");
    };
    assert_eq!(text(output), r#"{"n":1.000000000000000000001}"#);
    for wrong in [
        "",
        "{}",
        "[{}]",
        r#"[{"change":"x","at":"2026-01-01T00:00:00Z"}]"#,
    ] {
        assert!(decode(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
