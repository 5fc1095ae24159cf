//! Functions of `use.functions`, by transcript.

use insta::assert_snapshot;

use crate::transcript::{live, ok, status};

#[test]
fn a_function_is_a_task_with_arguments() {
    let body = r#"
use:
  functions:
    price:
      input: { from: '${ .net * 2 }' }
      set: '${ {gross: ., seen: $context.rate} }'
      output: { as: .gross }
do:
  - a: { call: price, with: { net: '${ .n }' } }
  - b: { call: price, input: { from: '{net: .}' } }
"#;
    assert_snapshot!(live(body, r#"{"n":3,"rate":7}"#, &[]), @"0     = completed 12");
}

#[test]
fn it_exports_to_the_context_of_its_caller_and_sees_no_loop() {
    let body = r#"
use:
  functions:
    note: { set: '${ . }', export: { as: '${ $context + {note: .} }' } }
do:
  - all:
      for: { in: '[1, 2]' }
      do: [ { one: { call: note, with: { at: '${ $index }' } } } ]
  - end: { set: '${ $context.note }' }
"#;
    assert_snapshot!(live(body, "{}", &[]), @r#"0     = completed {"at":1}"#);
}

#[test]
fn calls_of_one_function_side_by_side_are_told_apart() {
    let body = r#"
use:
  functions:
    ask: { call: http, with: { method: get, endpoint: 'http://api.test/{name}' } }
do:
  - both:
      fork:
        branches:
          - a: { call: ask, with: { name: a } }
          - b: { call: ask, with: { name: b } }
"#;
    let replies = [("/a", ok("1").after_ms(20)), ("/b", ok("2"))];
    let transcript = live(body, "{}", &replies);
    assert!(transcript.ends_with("= completed [1,2]"), "{transcript}");
}

#[test]
fn its_error_names_the_function_and_can_be_caught_outside() {
    let body = r#"
use:
  functions:
    ask: { call: http, with: { method: get, endpoint: http://api.test/x } }
do:
  - tried:
      try: [ { a: { call: ask } } ]
      catch: { as: e, do: [ { told: { set: '${ [$e.status, $e.instance] }' } } ] }
"#;
    let transcript = live(body, "{}", &[("/x", status(404))]);
    let end = r#"= completed [404,"/use/functions/ask"]"#;
    assert!(transcript.ends_with(end), "{transcript}");
}

#[test]
fn functions_that_call_each_other_end() {
    let body = r#"
use:
  functions:
    down:
      do:
        - next: { if: '. > 0', call: down, with: '${ . - 1 }' }
do:
  - a: { call: down, with: '${ . }' }
"#;
    assert_snapshot!(live(body, "15", &[]), @"0     = completed 0");
    let transcript = live(body, "16", &[]);
    assert!(transcript.contains("faulted"), "{transcript}");
    assert!(transcript.contains("more than 16 deep"), "{transcript}");
}
