//! The engine by transcript: a workflow, scripted outcomes, and all that happens, per keyword.
//!
//! Lines are milliseconds and what happened; indented ones are calls that the run wants. The
//! decisions of the language's silences (order, chaining, merging) are pinned here.

use insta::assert_snapshot;

use crate::transcript::{live, live_with_records, ok};

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
    assert_snapshot!(live_with_records(body, input, &replies), @r#"
    0       POST /orders/a%2F1 {"reference":"order-a/1","total":3.5}
    10    completed /do/0/order
    10    = completed 12345678901234567890
    --
    /do/0/order completed
    "#);
}

#[test]
fn output_and_export_see_what_the_table_says() {
    let body = r#"
do:
  - a:
      input: { from: .in }
      set: '${ {dot: ., input: $input, raw: $task.input, early: $output} }'
      output: { as: '${ {dot: .dot, raw: $task.output.raw} }' }
      export: { as: '${ {same: ($output == .), input: $task.output.input} }' }
output: { as: '${ [., $context, $task, $runtime.name] }' }
"#;
    assert_snapshot!(
        live(body, r#"{"in":1}"#, &[]),
        @r#"0     = completed [{"dot":1,"raw":{"in":1}},{"same":true,"input":1},null,"hookwright"]"#
    );
}

#[test]
fn the_context_starts_as_the_input() {
    let body = "do: [ { a: { set: '${ $context }' } } ]";
    assert_snapshot!(live(body, r#"{"x":1}"#, &[]), @r#"0     = completed {"x":1}"#);
    assert_snapshot!(live(body, "7", &[]), @r#"0     = completed {}"#);
    let body = "input: { from: .x }\ndo: [ { a: { set: '${ [., $context] }' } } ]";
    assert_snapshot!(
        live(body, r#"{"x":{"y":1}}"#, &[]),
        @r#"0     = completed [{"y":1},{"y":1}]"#
    );
}

#[test]
fn a_skipped_task_continues() {
    let body = r#"
do:
  - a: { if: .no, set: { a: 1 }, then: end, export: { as: '${ {seen: true} }' } }
  - b: { if: .x == 0, set: { b: 1 } }
  - c: { set: '${ {c: ., context: $context} }' }
"#;
    assert_snapshot!(live_with_records(body, r#"{"x":0}"#, &[]), @r#"
    0     = completed {"c":{"b":1},"context":{"x":0}}
    --
    /do/0/a skipped
    /do/1/b completed
    /do/2/c completed
    "#);
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
    assert_snapshot!(live(body, r#"{"n":"secret text"}"#, &[]), @r#"
    0     = faulted 400 validation at /do/0/a
          | the input does not fit its schema: at /n, the value must be of type number
    "#);
    let body = r#"
do: [ { a: { set: { x: 1 } } } ]
output: { schema: { document: { required: [ y ] } } }
"#;
    assert_snapshot!(live(body, "{}", &[]), @r#"
    0     = faulted 400 validation at /
          | the output does not fit its schema: at the top, the member `y` is missing (`required`)
    "#);
}

#[test]
fn errors_of_expressions_have_the_task_and_no_data() {
    let body = "do: [ { a: { set: { x: '${ .n + {} }' } } } ]";
    assert_snapshot!(live(body, r#"{"n":4711}"#, &[]), @r#"
    0     = faulted 400 expression at /do/0/a
          | `.n + {}`: cannot calculate number + object
    "#);
    let body = "do: [ { a: { if: .n.x, set: { x: 1 } } } ]";
    assert_snapshot!(live(body, r#"{"n":4711}"#, &[]), @r#"
    0     = faulted 400 expression at /do/0/a
          | `.n.x`: cannot index number with string
    "#);
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
    assert_snapshot!(live_with_records(body, "{}", &[]), @r#"
    0     = completed {"n":4,"b":true}
    --
    /do/0/a completed
    /do/2/c completed
    /do/3/d completed
    /do/2/c completed
    /do/3/d completed
    /do/2/c completed
    /do/3/d completed
    /do/1/b completed
    "#);
    let body = r#"
do:
  - outer:
      do:
        - a: { set: { x: 1 }, then: exit }
        - b: { set: { x: 2 } }
  - after: { set: '${ . + {after: true} }' }
"#;
    assert_snapshot!(live(body, "{}", &[]), @r#"0     = completed {"x":1,"after":true}"#);
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
    assert_snapshot!(
        live(body, "{}", &[]),
        @r#"0     = completed {"wrapped":{"x":1},"seen":{"wrapped":{"x":1}}}"#
    );
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
  - one: { set: { got: one }, then: end }
  - two: { set: { got: two }, then: end }
  - three: { set: { got: three }, then: end }
"#;
    assert_snapshot!(live(body, r#"{"n":2}"#, &[]), @r#"0     = completed {"got":"two"}"#);
    assert_snapshot!(live(body, r#"{"n":0}"#, &[]), @r#"0     = completed {"got":"three"}"#);
    let body = r#"
do:
  - s: { switch: [ { none: { when: .n > 5, then: exit } } ], then: two }
  - one: { set: { got: one }, then: end }
  - two: { set: { got: two } }
"#;
    assert_snapshot!(live(body, r#"{"n":0}"#, &[]), @r#"0     = completed {"got":"two"}"#);
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
    assert_snapshot!(live_with_records(body, input, &[]), @r#"
    0     = completed {"items":[1,2,9,5],"sum":10,"places":[0,2]}
    --
    /do/0/loop completed
    /do/0/loop/do/0/skip completed [0]
    /do/0/loop/do/1/add completed [0]
    /do/0/loop/do/0/skip completed [1]
    /do/0/loop/do/0/skip completed [2]
    /do/0/loop/do/1/add completed [2]
    "#);
    let nothing = "do: [ { loop: { for: { in: .no }, do: [ { a: { set: { ran: 1 } } } ] } } ]";
    assert_snapshot!(live(nothing, r#"{"x":1}"#, &[]), @r#"0     = completed {"x":1}"#);
    let wrong = "do: [ { loop: { for: { in: .x }, do: [ { a: { set: { ran: 1 } } } ] } } ]";
    assert_snapshot!(live(wrong, r#"{"x":1}"#, &[]), @r#"
    0     = faulted 400 expression at /do/0/loop
          | `for.in` gave neither an array nor null
    "#);
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
    assert_snapshot!(live(body, "{}", &[("/x", ok("{}"))]), @r#"
    0       GET /x
    10    completed /do/0/outer/do/0/inner/do/0/a [0/0]
    10      GET /x
    20    completed /do/0/outer/do/0/inner/do/0/a [0/1]
    20      GET /x
    30    completed /do/0/outer/do/0/inner/do/0/a [1/0]
    30      GET /x
    40    completed /do/0/outer/do/0/inner/do/0/a [1/1]
    40    = completed {}
    "#);
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
    assert_snapshot!(live(body, "{}", &[]), @r#"0     = completed {"loop":{"item":1}}"#);
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
                - s:
                    set: '${ {saw: $context} }'
                    export: { as: '${ $context + {one: 1, both: 1} }' }
          - two: { set: { v: 2 }, export: { as: '${ $context + {two: 2, both: 2} }' } }
output: { as: '${ [., $context] }' }
"#;
    assert_snapshot!(live_with_records(body, r#"{"start":0}"#, &[]), @r#"
    100   fired /do/0/f/fork/branches/0/one/do/0/w
    100   = completed [[{"saw":{"start":0}},{"v":2}],{"start":0,"one":1,"both":2,"two":2}]
    --
    /do/0/f completed
    /do/0/f/fork/branches/0/one completed
    /do/0/f/fork/branches/0/one/do/0/w completed
    /do/0/f/fork/branches/1/two completed
    /do/0/f/fork/branches/0/one/do/1/s completed
    "#);
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
                      - reserve:
                          set: { id: 7 }
                          export: { as: '${ $context + {reserved: .id} }' }
                      - w: { wait: { milliseconds: 100 } }
                      - r: { raise: { error: { type: 'https://acme.test/e', status: 400 } } }
      catch:
        do: [ { undo: { set: '${ [$error.instance, $context] }' } } ]
"#;
    assert_snapshot!(live_with_records(body, "{}", &[]), @r#"
    100   fired /do/0/t/try/0/f/fork/branches/1/bad/do/1/w
    100   = completed ["/do/0/t/try/0/f/fork/branches/1/bad/do/2/r",{"reserved":7}]
    --
    /do/0/t completed
    /do/0/t/try/0/f faulted
    /do/0/t/try/0/f/fork/branches/0/slow cancelled
    /do/0/t/try/0/f/fork/branches/0/slow/do/0/w cancelled
    /do/0/t/try/0/f/fork/branches/1/bad faulted
    /do/0/t/try/0/f/fork/branches/1/bad/do/0/reserve completed
    /do/0/t/try/0/f/fork/branches/1/bad/do/1/w completed
    /do/0/t/try/0/f/fork/branches/1/bad/do/2/r faulted
    /do/0/t/catch/do/0/undo completed
    "#);
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
    assert_snapshot!(live_with_records(body, "{}", &[]), @r#"
    150   fired /do/0/f/fork/branches/1/good/do/0/w
    150   = completed [{"winner":"good"},{"good":true}]
    --
    /do/0/f completed
    /do/0/f/fork/branches/0/bad faulted
    /do/0/f/fork/branches/1/good completed
    /do/0/f/fork/branches/1/good/do/0/w completed
    /do/0/f/fork/branches/2/slow cancelled
    /do/0/f/fork/branches/1/good/do/1/g completed
    "#);
    let body = r#"
do:
  - f:
      fork:
        compete: true
        branches:
          - one: { raise: { error: { type: 'https://acme.test/one', status: 400 } } }
          - two: { raise: { error: { type: 'https://acme.test/two', status: 400 } } }
"#;
    assert_snapshot!(
        live(body, "{}", &[]),
        @r#"0     = faulted 400 https://acme.test/two at /do/0/f/fork/branches/1/two"#
    );
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
    assert_snapshot!(live_with_records(body, "{}", &[]), @r#"
    0     = completed {"x":1}
    --
    /do/0/f completed
    /do/0/f/fork/branches/0/slow cancelled
    /do/0/f/fork/branches/1/quick completed
    /do/0/f/fork/branches/1/quick/do/0/q completed
    "#);
}

#[test]
fn wait_gives_its_input() {
    let body = r#"
do:
  - a: { wait: '${ .for }' }
"#;
    assert_snapshot!(live(body, r#"{"for":"PT1.5S"}"#, &[]), @r#"
    1500  fired /do/0/a
    1500  = completed {"for":"PT1.5S"}
    "#);
    assert_snapshot!(live(body, r#"{"for":"soon"}"#, &[]), @r#"
    0     = faulted 400 expression at /do/0/a
          | not an ISO 8601 duration; write it like PT1.5S, PT10M or P1DT2H, or as {seconds: 5}
    "#);
}
