//! `for` with `metadata.parallel`: side by side, in order, bounded.

use hookwright::workflow;
use insta::assert_snapshot;

use crate::transcript::{live, live_with_records, ok, status};

#[test]
fn iterations_run_side_by_side_and_give_an_array_in_order() {
    let body = r#"
do:
  - loop:
      metadata: { parallel: 2 }
      for: { in: '.items' }
      do:
        - get: { call: http, with: { method: get, endpoint: '${ "http://api.test/\($item)" }' } }
        - set: { set: '${ [$index, .n] }' }
"#;
    let replies = [
        ("/a", ok(r#"{"n":1}"#).after_ms(50)),
        ("/b", ok(r#"{"n":2}"#)),
        ("/c", ok(r#"{"n":3}"#)),
    ];
    assert_snapshot!(live_with_records(body, r#"{"items":["a","b","c"]}"#, &replies), @r#"
    0       GET /a
    0       GET /b
    10    completed /do/0/loop/do/0/get [1]
    10      GET /c
    20    completed /do/0/loop/do/0/get [2]
    50    completed /do/0/loop/do/0/get [0]
    50    = completed [[0,1],[1,2],[2,3]]
    --
    /do/0/loop completed
    /do/0/loop/do/0/get completed [0]
    /do/0/loop/do/0/get completed [1]
    /do/0/loop/do/1/set completed [1]
    /do/0/loop/do/0/get completed [2]
    /do/0/loop/do/1/set completed [2]
    /do/0/loop/do/1/set completed [0]
    "#);
}

#[test]
fn each_begins_with_the_input_of_the_loop_and_a_copy_of_the_context() {
    let body = r#"
do:
  - loop:
      metadata: { parallel: 3 }
      for: { in: '[ 1, 2, 3 ]' }
      do:
        - a:
            set: '${ {seen: ., context: $context} }'
            export: { as: '${ $context + {"\($item)": true} }' }
        - b: { set: '${ [.seen.x, ($context | keys | length)] }' }
  - after: { set: '${ [., $context] }' }
"#;
    assert_snapshot!(
        live(body, r#"{"x":7}"#, &[]),
        @r#"0     = completed [[[7,2],[7,2],[7,2]],{"x":7,"1":true,"2":true,"3":true}]"#
    );
}

#[test]
fn the_first_fault_cancels_the_others() {
    let body = r#"
do:
  - t:
      try:
        - loop:
            metadata: { parallel: 3 }
            for: { in: '[ 1, 2, 3, 4 ]' }
            do:
              - get:
                  call: http
                  with: { method: get, endpoint: '${ "http://api.test/\($item)" }' }
      catch: { do: [ { a: { set: '${ $error.instance }' } } ] }
"#;
    let replies = [
        ("/1", ok("{}").after_ms(50)),
        ("/2", status(500)),
        ("/3", ok("{}").after_ms(50)),
    ];
    assert_snapshot!(live_with_records(body, "{}", &replies), @r#"
    0       GET /1
    0       GET /2
    0       GET /3
    10    faulted 500 /do/0/t/try/0/loop/do/0/get [1]
    10    = completed "/do/0/t/try/0/loop/do/0/get"
    --
    /do/0/t completed
    /do/0/t/try/0/loop faulted
    /do/0/t/try/0/loop/do/0/get cancelled [0]
    /do/0/t/try/0/loop/do/0/get faulted [1]
    /do/0/t/try/0/loop/do/0/get cancelled [2]
    /do/0/t/catch/do/0/a completed
    "#);
}

#[test]
fn exit_ends_an_iteration_and_end_ends_the_run() {
    let body = r#"
do:
  - loop:
      metadata: { parallel: 2 }
      for: { in: '[ 1, 2, 3 ]' }
      do:
        - a: { set: '${ $item }', then: exit }
        - b: { set: { never: true } }
"#;
    assert_snapshot!(live(body, "{}", &[]), @r#"0     = completed [1,2,3]"#);
    let body = body.replace("exit", "end");
    assert_snapshot!(live(&body, "{}", &[]), @r#"0     = completed 1"#);
}

#[test]
fn while_keeps_more_from_beginning() {
    let body = r#"
do:
  - loop:
      metadata: { parallel: 2 }
      for: { in: '[ 1, 2, 3, 4 ]' }
      while: $item < .most
      do: [ { a: { wait: PT1S } }, { b: { set: '${ $item }' } } ]
"#;
    assert_snapshot!(live(body, r#"{"most":3}"#, &[]), @r#"
    1000  fired /do/0/loop/do/0/a [0]
    1000  fired /do/0/loop/do/0/a [1]
    1000  = completed [1,2]
    "#);
    assert_snapshot!(live(body, r#"{"most":0}"#, &[]), @r#"0     = completed []"#);
    let wrong = body.replace(".most", "error");
    assert_snapshot!(live(&wrong, "{}", &[]), @r#"
    0     = faulted 400 expression at /do/0/loop
          | `$item < error`: error raised with an object
    "#);
}

#[test]
fn no_items_give_an_empty_array() {
    let body = r#"
do:
  - l:
      metadata: { parallel: 9 }
      for: { in: .items }
      do: [ { a: { set: { x: 1 } } } ]
"#;
    assert_snapshot!(live(body, r#"{"items":[]}"#, &[]), @r#"0     = completed []"#);
    assert_snapshot!(live(body, r#"{"items":null}"#, &[]), @r#"0     = completed []"#);
}

#[test]
fn loops_nest_side_by_side() {
    let body = r#"
do:
  - outer:
      metadata: { parallel: 2 }
      for: { each: x, in: '[ 1, 2 ]' }
      do:
        - inner:
            metadata: { parallel: 2 }
            for: { each: y, in: '[ 1, 2 ]' }
            do:
              - get:
                  call: http
                  with: { method: get, endpoint: '${ "http://api.test/\($x)\($y)" }' }
"#;
    let replies = ["/11", "/12", "/21", "/22"].map(|path| (path, ok(&format!("\"{path}\""))));
    assert_snapshot!(live(body, "{}", &replies), @r#"
    0       GET /11
    0       GET /12
    0       GET /21
    0       GET /22
    10    completed /do/0/outer/do/0/inner/do/0/get [0/0]
    10    completed /do/0/outer/do/0/inner/do/0/get [0/1]
    10    completed /do/0/outer/do/0/inner/do/0/get [1/0]
    10    completed /do/0/outer/do/0/inner/do/0/get [1/1]
    10    = completed [["/11","/12"],["/21","/22"]]
    "#);
}

#[test]
fn the_width_is_a_number_within_its_bounds() {
    for (width, fits) in [
        ("1", true),
        ("1000", true),
        ("0", false),
        ("1001", false),
        ("many", false),
    ] {
        let text = format!(
            "document: {{dsl: '1.0.3', namespace: test, name: test, version: '1.0.0'}}\n\
             do: [ {{ l: {{ metadata: {{ parallel: {width} }}, for: {{ in: .x }}, \
             do: [ {{ a: {{ set: {{ x: 1 }} }} }} ] }} }} ]"
        );
        match workflow::parse(&text) {
            Ok(_) => assert!(fits, "{width}"),
            Err(faults) => {
                assert!(!fits, "{width}");
                assert_eq!(faults[0].pointer, "/do/0/l/metadata/parallel");
                assert!(faults[0].message.contains("from 1 to 1000"), "{faults:?}");
            }
        }
    }
}
