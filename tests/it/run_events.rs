//! `emit` and `listen`, lived with scripted events.

use insta::assert_snapshot;

use crate::transcript::{live, live_with_events, ok};

#[test]
fn emit_gives_the_event_and_publishes_it() {
    let body = r#"
do:
  - a:
      emit:
        event:
          with: { type: shop.sold, n: 7, b: true, none: '${ .no }', data: { n: '${ .n }' } }
  - b: { set: '${ [ (.id | length), .source, .datacontenttype, .time, .b, .n ] }' }
"#;
    assert_snapshot!(live(body, r#"{"n":1}"#, &[]), @r#"
    0       emits shop.sold {"n":1}
    0     = completed [36,"/test/test/1.0.0","application/json","2026-01-01T00:00:00Z","true","7"]
    "#);
}

#[test]
fn emit_refuses_what_is_no_cloudevent() {
    let body = "do: [ { a: { emit: { event: { with: { type: '${ .t }' } } } } } ]";
    assert_snapshot!(live(body, "{}", &[]), @r#"
    0     = faulted 400 expression at /do/0/a
          | `emit` gave an event without a `type`
    "#);
    assert_snapshot!(live(body, r#"{"t":{}}"#, &[]), @r#"
    0     = faulted 400 expression at /do/0/a
          | `type` of the event gave no string, boolean or integer
    "#);
    let body = "do: [ { a: { emit: { event: { with: { type: t, time: '${ .t }' } } } } } ]";
    assert_snapshot!(live(body, r#"{"t":"noon"}"#, &[]), @r#"
    0     = faulted 400 expression at /do/0/a
          | `time` of the event gave what CloudEvents does not allow there
    "#);
}

#[test]
fn one_and_any_take_the_first_that_fits() {
    let body = "do: [ { l: { listen: { to: { one: { with: { type: a, data: '${ .n > \
        $context.min }' } } } } } } ]";
    let events = [
        (5, "b", "1"),
        (10, "a", r#"{"n":1}"#),
        (20, "a", r#"{"n":9}"#),
        (30, "a", r#"{"n":10}"#),
    ];
    assert_snapshot!(live_with_events(body, r#"{"min":5}"#, &[], &events), @r#"
    0     does not hear b
    0     does not hear a
    20    hears a
    20    = completed [{"n":9}]
    "#);
    let body = "do: [ { l: { listen: { to: { any: [ { with: { type: 'x\\..+' } }, { with: { \
        type: b } } ] }, read: raw } } } ]";
    let events = [(5, "ax.1", "1"), (10, "x.1", r#"{ "n":1.0 }"#)];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    0     does not hear ax.1
    10    hears x.1
    10    = completed ["{ \"n\":1.0 }"]
    "#);
}

#[test]
fn any_of_nothing_is_every_event_but_those_of_the_lifecycle() {
    let body = "do: [ { l: { listen: { to: { any: [] }, read: envelope } } }, { t: { set: '${ \
        .[0].type }' } } ]";
    let events = [
        (5, "io.serverlessworkflow.workflow.started.v1", "{}"),
        (10, "whatever", "{}"),
    ];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    0     does not hear io.serverlessworkflow.workflow.started.v1
    10    hears whatever
    10    = completed "whatever"
    "#);
}

#[test]
fn all_takes_one_event_for_each_filter() {
    let body = "do: [ { l: { listen: { to: { all: [ { with: { type: a } }, { with: { type: a } \
        }, { with: { type: b } } ] } } } } ]";
    let events = [
        (5, "b", "1"),
        (6, "b", "2"),
        (7, "a", "3"),
        (8, "a", "4"),
        (9, "a", "5"),
    ];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    5     hears b
    5     does not hear b
    7     hears a
    8     hears a
    8     = completed [1,3,4]
    "#);
}

#[test]
fn until_ends_by_an_expression_or_by_other_events() {
    let body = "do: [ { l: { listen: { to: { any: [ { with: { type: a } } ], until: '(map(.n) | \
        add) >= 5' } } } } ]";
    let events = [(5, "a", r#"{"n":2}"#), (6, "a", r#"{"n":3}"#)];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    5     hears a
    6     hears a
    6     = completed [{"n":2},{"n":3}]
    "#);
    let body = "do: [ { l: { listen: { to: { any: [ { with: { type: a } } ], until: { all: [ { \
        with: { type: stop } }, { with: { type: now } } ] } } } } } ]";
    let events = [
        (5, "a", "1"),
        (6, "stop", "{}"),
        (7, "a", "2"),
        (8, "stop", "{}"),
        (9, "now", "{}"),
    ];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    5     hears a
    6     hears stop
    7     hears a
    7     does not hear stop
    9     hears now
    9     = completed [1,2]
    "#);
}

#[test]
fn correlation_is_given_or_learnt_from_the_first_event() {
    let body = "do: [ { l: { listen: { to: { one: { with: { type: a }, correlate: { order: { \
        from: .data.id, expect: .want } } } } } } } ]";
    let events = [
        (5, "a", r#"{"id":2}"#),
        (6, "a", "{}"),
        (7, "a", r#"{"id":1.0}"#),
    ];
    assert_snapshot!(live_with_events(body, r#"{"want":1}"#, &[], &events), @r#"
    0     does not hear a
    0     does not hear a
    7     hears a
    7     = completed [{"id":1.0}]
    "#);
    let body = r#"
do:
  - l:
      listen:
        to:
          all:
            - { with: { type: paid }, correlate: { order: { from: .data.order } } }
            - { with: { type: shipped }, correlate: { order: { from: .data.id } } }
"#;
    let events = [
        (5, "shipped", r#"{"id":1}"#),
        (6, "paid", r#"{"order":2}"#),
        (7, "paid", r#"{"order":1}"#),
    ];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    5     hears shipped
    5     does not hear paid
    7     hears paid
    7     = completed [{"id":1},{"order":1}]
    "#);
}

#[test]
fn foreach_takes_events_one_after_the_other() {
    let body = r#"
do:
  - l:
      listen:
        to: { any: [ { with: { type: a } } ], until: 'length >= 2' }
      foreach:
        item: e
        at: i
        do:
          - call:
              call: http
              with: { method: post, endpoint: 'http://api.test/{n}', body: '${ $e }' }
        output: { as: '${ {i: $i, n: $e.n, got: .} }' }
        export: { as: '${ {last: .i} }' }
  - c: { set: '${ {l: ., c: $context} }' }
"#;
    let replies = [("/1", ok(r#""one""#).after_ms(100)), ("/2", ok(r#""two""#))];
    let events = [
        (5, "a", r#"{"n":1}"#),
        (6, "a", r#"{"n":2}"#),
        (7, "a", r#"{"n":3}"#),
    ];
    assert_snapshot!(live_with_events(body, "{}", &replies, &events), @r#"
    5     hears a
    5       POST /1 {"n":1}
    6     hears a
    7     hears a
    105   completed /do/0/l/foreach/do/0/call [0]
    105     POST /2 {"n":2}
    115   completed /do/0/l/foreach/do/0/call [1]
    115   = completed {"l":[{"i":0,"n":1,"got":"one"},{"i":1,"n":2,"got":"two"}],"c":{"last":1}}
    "#);
}

#[test]
fn a_timeout_ends_a_listen() {
    let body = r#"
do:
  - t:
      try:
        - l: { listen: { to: { one: { with: { type: a } } } }, timeout: { after: PT1S } }
      catch: { errors: { with: { status: 408 } }, do: [ { x: { set: { late: true } } } ] }
"#;
    assert_snapshot!(live_with_events(body, "{}", &[], &[(2_000, "a", "1")]), @r#"
    1000  fired /do/0/t/try/0/l#timeout
    1000  = completed {"late":true}
    "#);
}

#[test]
fn addressed_events_are_kept_until_a_task_listens() {
    let body = r#"
do:
  - w: { wait: { seconds: 1 } }
  - l: { listen: { to: { one: { with: { type: a } } } } }
"#;
    let events = [(5, "a", "1"), (6, "@b", "2"), (7, "@a", "3")];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    0     does not hear a
    6     hears b
    7     hears a
    1000  fired /do/0/w
    1000  = completed [3]
    "#);
}

#[test]
fn an_event_reaches_every_task_that_listens() {
    let body = r#"
do:
  - f:
      fork:
        branches:
          - x: { listen: { to: { one: { with: { type: a } } } } }
          - y: { listen: { to: { any: [ { with: { type: b } }, { with: { type: a } } ] } } }
          - z: { listen: { to: { one: { with: { type: c } } } } }
"#;
    assert_snapshot!(live_with_events(body, "{}", &[], &[(5, "a", "1"), (6, "c", "2")]), @r#"
    5     hears a
    6     hears c
    6     = completed [[1],[1],[2]]
    "#);
    assert_snapshot!(live_with_events(body, "{}", &[], &[(5, "a", "1")]), @r#"
    5     hears a
    5     listens with 1 filters
    "#);
}
