//! Test documents: their faults, and that the schema for editors says the same.

use hookwright::simulate;
use serde_json::{Value, json};

fn faults(text: &str) -> Vec<String> {
    let faults = simulate::parse(text).unwrap_err();
    let line = |fault: &hookwright::workflow::Fault| {
        let hint = fault.hint.as_deref().unwrap_or("");
        format!("{}:{} {} {hint}", fault.line, fault.pointer, fault.message)
    };
    faults.iter().map(line).collect()
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let text = "\
workflow: w.yaml
at: yesterday
chance: 2
answers: { x: 700 }
cases:
  - name: one
    input: {}
    event: { type: a }
    answers:
      a: timeouts
      b: { status: 200, body: 1, text: 2 }
      c: { times: 0 }
      d: []
      e: { body: '${ .x | }' }
    expect:
      statu: completed
      error: { type: comunication }
      elapsed: 3
      output: '${ nope }'
  - name: one
    event: { Type: a }
    expect: { status: done }
";
    let found = faults(text);
    let starts = [
        "2:/at this is no time",
        "3:/chance this must be a number from 0 to 1",
        "4:/answers/x this must be a whole number from 200 to 599",
        "8:/cases/0/event a case has an `input` or an `event`, not both",
        "10:/cases/0/answers/a `timeouts` is not one of the words known here \
         did you mean `timeout`?",
        "11:/cases/0/answers/b/text an answer has a `body` or a `text`, not both",
        "12:/cases/0/answers/c/times this must be a whole number from 1",
        "13:/cases/0/answers/d there must be at least one answer",
        "14:/cases/0/answers/e/body",
        "16:/cases/0/expect/statu unknown key `statu` did you mean `status`?",
        "17:/cases/0/expect/error/type `comunication` is no type of error \
         did you mean `communication`?",
        "18:/cases/0/expect/elapsed this is a number, not a duration",
        "19:/cases/0/expect/output",
        "21:/cases/1/event `type` is missing here",
        "21:/cases/1/event/Type `Type` is no name of an attribute",
        "22:/cases/1/expect/status `done` is not one of the words known here",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}\n{start}");
    }
    assert!(faults("cases: []")[0].contains("`workflow` is missing"));
    assert!(faults("workflow: w\ncases: []")[0].contains("there must be 1 to 1000 cases"));
    let twice = "workflow: w\ncases: [{name: a, expect: {}}, {name: a, expect: {}}]";
    assert!(faults(twice)[0].contains("a case is named \"a\" already"));
}

fn schema() -> jsonschema::Validator {
    let text = include_str!("../../../docs/test.schema.json");
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

/// A document in which every member is used, and variations of it.
fn full() -> Value {
    json!({
        "workflow": "w.yaml", "definitions": ".", "environment": "staging",
        "at": "2026-01-01T00:00:00Z", "chance": 0.5, "secrets": {"a": "text", "b": {"c": "d"}},
        "answers": {"GET https://a.example/*": 200},
        "cases": [
            {
                "name": "all", "environment": "e", "at": "2026-01-02T00:00:00Z", "chance": 1,
                "secrets": {}, "input": [1],
                "answers": {
                    "x": [404, "timeout", {"fails": "reset", "after": "PT1S", "times": 2}],
                    "/do/0/y": {"status": 201, "headers": {"Retry-After": 3}, "body": {"a": null}},
                    "z": {"text": "cut", "after": {"seconds": 1}},
                },
                "expect": {
                    "status": "faulted", "output": {"a": 1}, "error": {"type": "timeout"},
                    "calls": [{
                        "task": "x", "method": "GET", "uri": "https://*", "headers": {"a": null},
                        "body": [1], "times": 3,
                    }],
                    "elapsed": {"min": "PT1S", "max": {"minutes": 2}},
                },
            },
            {
                "name": "event",
                "event": {"type": "a", "source": "/b", "id": "c", "subject": "d", "data": 1},
                "expect": {"ignored": "why", "elapsed": "PT0S"},
            },
            {
                "name": "events",
                "events": [
                    {"after": "PT1S", "type": "a", "source": "/b", "id": "c", "d": "e", "data": 1},
                    {"type": "a"},
                ],
                "expect": {"emits": [{"type": "x", "data": {"a": 1}}]},
            },
            {"name": "ignored", "event": [{"type": "a"}], "expect": {"ignored": true}},
        ],
    })
}

#[test]
fn the_schema_for_editors_says_what_the_reader_says() {
    let schema = schema();
    let good = full();
    assert!(schema.is_valid(&good), "{:?}", schema.validate(&good).err());
    assert!(simulate::parse(&good.to_string()).is_ok());
    let wrong: [(&str, Value); 20] = [
        ("/workflow", json!(1)),
        ("/definitions", json!([])),
        ("/chance", json!(2)),
        ("/secrets/a", json!(1)),
        ("/answers/GET https:~1~1a.example~1*", json!(700)),
        ("/cases", json!([])),
        ("/cases/0/name", json!(null)),
        ("/cases/0/answers/x", json!([])),
        ("/cases/0/answers/x/1", json!("timeouts")),
        ("/cases/0/answers/x/2/times", json!(0)),
        ("/cases/0/answers/z/after", json!("1 second")),
        ("/cases/0/expect/status", json!("done")),
        ("/cases/0/expect/calls", json!({})),
        ("/cases/0/expect/elapsed/min", json!(1)),
        ("/cases/1/event/type", json!(1)),
        ("/cases/1/expect/ignored", json!([])),
        ("/cases/2/events/0/after", json!("1 second")),
        ("/cases/2/events/1/type", json!(1)),
        ("/cases/2/expect/emits", json!({})),
        ("/cases/3/event", json!([])),
    ];
    for (pointer, value) in wrong {
        let mut document = good.clone();
        *document.pointer_mut(pointer).unwrap() = value;
        assert!(!schema.is_valid(&document), "{pointer}");
        assert!(simulate::parse(&document.to_string()).is_err(), "{pointer}");
    }
    for pointer in [
        "",
        "/cases/0",
        "/cases/0/answers/z",
        "/cases/0/expect/calls/0",
        "/cases/0/expect",
    ] {
        let mut document = good.clone();
        document.pointer_mut(pointer).unwrap()["unknown"] = json!(1);
        assert!(!schema.is_valid(&document), "{pointer}");
        assert!(simulate::parse(&document.to_string()).is_err(), "{pointer}");
    }
}
