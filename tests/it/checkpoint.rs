//! What stands for the journal of a long run: what is in it, what never is, and what refuses it.

use std::sync::Arc;

use hookwright::expression::Value;
use hookwright::run::{Action, Attempt, Change, Effect, End, Entry, Outcome, Pending, Run};
use jiff::SignedDuration;
use serde_json::Value as Json;

use crate::transcript::{definition, json, start, surroundings};

/// One call for each item.
const CALLS: &str = r#"
do:
  - loop:
      for: { in: '.items' }
      do:
        - call:
            call: http
            with: { method: post, endpoint: 'http://api.test/x', body: '${ $item }' }
            output: { as: '${ $input }' }
"#;

fn begun(body: &str, input: &Value) -> Run {
    let mut run = Run::new(definition(body), surroundings(u32::MAX));
    run.apply(Entry {
        at: start(),
        change: Change::Started {
            input: input.clone(),
        },
    });
    run
}

fn restored(body: &str, input: &Value, checkpoint: &[u8]) -> Run {
    let definition = definition(body);
    let run = Run::restore(
        definition,
        surroundings(u32::MAX),
        input.clone(),
        checkpoint,
    );
    run.unwrap()
}

fn effects(run: &Run) -> Vec<Effect> {
    match run.pending() {
        Pending::Open { effects, .. } => effects,
        Pending::Ended(end) => panic!("{end:?}"),
    }
}

fn performed(effect: &Effect, output: Value) -> Entry {
    let attempt = Attempt {
        number: effect.attempt,
        started_at: start(),
        duration_ms: 1,
        status: Some(200),
        error: None,
        retry_after_seconds: None,
    };
    let (key, outcome) = (effect.key.clone(), Outcome::Completed(output));
    Entry {
        at: start() + SignedDuration::from_secs(1),
        change: Change::Performed {
            key,
            attempt,
            outcome,
        },
    }
}

fn items(count: usize) -> Value {
    let item = |at| {
        json(&format!(
            r#"{{"number":{at},"text":"{}"}}"#,
            "x".repeat(100)
        ))
    };
    let items = Value::array((0..count).map(item).collect());
    Value::object([("items".to_owned(), items)])
}

#[test]
fn ten_thousand_calls_leave_no_more_than_one() {
    let input = items(10_000);
    let mut run = begun(CALLS, &input);
    let mut lengths = Vec::new();
    for number in 0..10_000 {
        let open = effects(&run);
        assert_eq!(open.len(), 1, "one call at a time");
        if number % 1_000 == 0 {
            // What is written down does not grow; nor does what is kept in memory, which it shows.
            lengths.push(run.checkpoint().unwrap().len());
            run = restored(CALLS, &input, &run.checkpoint().unwrap());
        }
        run.apply(performed(&open[0], Value::null()));
    }
    let Pending::Ended(End::Completed(_)) = run.pending() else {
        panic!("it has not ended");
    };
    let (shortest, longest) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert!(longest - shortest < 200, "{lengths:?}");
    assert!(
        *longest < 2 * input.to_json().len(),
        "the items once, the input not at all: {lengths:?}"
    );
}

#[test]
fn branches_share_what_they_share_in_memory() {
    let branch = |at| {
        format!(
            "          - b{at}:\n              call: http\n              \
             with: {{ method: get, endpoint: 'http://api.test/{at}' }}\n"
        )
    };
    let branches: String = (0..500).map(branch).collect();
    let body = format!("do:\n  - f:\n      fork:\n        branches:\n{branches}");
    let input = items(1_000);
    let run = begun(&body, &input);
    let checkpoint = run.checkpoint().unwrap();
    assert!(
        checkpoint.len() < 200 * 1_024,
        "{} bytes for 500 branches whose input is in the log",
        checkpoint.len()
    );
    let again = restored(&body, &input, &checkpoint);
    assert_eq!(again.checkpoint().unwrap(), checkpoint);
    assert_eq!(effects(&again).len(), 500);
}

#[test]
fn credentials_are_made_again_and_never_stored() {
    let body = r#"
use: { secrets: [ token ] }
do:
  - a:
      call: http
      with:
        method: get
        endpoint:
          uri: http://api.test/x
          authentication: { bearer: { token: '${ $secrets.token }' } }
"#;
    let input = json("{}");
    let run = begun(body, &input);
    let checkpoint = run.checkpoint().unwrap();
    let text = String::from_utf8(checkpoint.clone()).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let again = effects(&restored(body, &input, &checkpoint));
    let Action::Call(request) = &again[0].action;
    assert!(request.authentication.is_some());
}

#[test]
fn what_may_come_out_of_a_secret_has_no_checkpoint() {
    let after = "  - b: { wait: PT1H }\n";
    for set in [
        "set: '${ $secrets.token }'",
        "set: '${ $secrets.token | length }'",
        "set: { a: 1 }, export: { as: '${ $secrets }' }",
        "set: { a: 1 }, if: '${ $secrets.token == null }'",
    ] {
        let body = format!("use: {{ secrets: [ token ] }}\ndo:\n  - a: {{ {set} }}\n{after}");
        let run = begun(&body, &json("{}"));
        assert!(matches!(run.pending(), Pending::Open { .. }), "{set}");
        assert!(run.checkpoint().is_none(), "{set}");
    }
}

#[test]
fn what_json_cannot_say_has_no_checkpoint() {
    let waits =
        |set: &str| format!("do:\n  - a: {{ set: '${{ {set} }}' }}\n  - b: {{ wait: PT1H }}\n");
    for set in ["nan", "[1, {a: infinite}]", "{a: [nan]}"] {
        assert!(
            begun(&waits(set), &json("{}")).checkpoint().is_none(),
            "{set}"
        );
    }
    let digits = "[1.000000000000000000001, 123456789012345678901234567890, -0.0, 1e400]";
    let run = begun(&waits(digits), &json("{}"));
    let checkpoint = String::from_utf8(run.checkpoint().unwrap()).unwrap();
    assert!(checkpoint.contains("1.000000000000000000001,123456789012345678901234567890"));
}

#[test]
fn a_run_that_is_not_open_has_none() {
    let ended = begun("do: [ { a: { set: { x: 1 } } } ]", &json("{}"));
    assert!(ended.checkpoint().is_none());
    let new = Run::new(definition(CALLS), surroundings(10));
    assert!(new.checkpoint().is_none());
}

/// Makes a good checkpoint lie.
type Falsify = fn(&mut Json);

/// A call and a wait in a fork, in a loop, in a `try`.
const NESTED: &str = r#"
do:
  - outer:
      try:
        - loop:
            for: { in: '.items' }
            do:
              - f:
                  fork:
                    branches:
                      - call:
                          call: http
                          with: { method: get, endpoint: 'http://api.test/{id}' }
                      - wait: { wait: PT1H }
      catch: { do: [ { a: { set: { x: 1 } } } ] }
"#;

#[test]
fn a_falsified_checkpoint_is_refused_as_a_whole() {
    let input = items(2);
    let checkpoint = begun(NESTED, &input).checkpoint().unwrap();
    let falsified: [(&str, Falsify); 14] = [
        ("of form 99", |it| it["form"] = 99.into()),
        ("missing field `now`", |it| {
            it.as_object_mut().unwrap().remove("now");
        }),
        ("beyond its tasks", |it| it["root"][0] = 1.into()),
        ("out of order", |it| it["executions"] = 3.into()),
        ("no task `/do/0/outer/try/0/loop`", |it| {
            it["frames"].as_array_mut().unwrap().swap(0, 1)
        }),
        ("no task `/do/0/outer`", |it| {
            it["frames"][0]["parent"] = 9.into()
        }),
        ("no task `/do/0/other`", |it| {
            it["frames"][0]["reference"] = "/do/0/other".into()
        }),
        ("no task", |it| it["frames"][4]["slot"] = 2.into()),
        ("a value is missing", |it| {
            it["frames"][1]["input"] = 99.into()
        }),
        ("beyond its tasks", |it| {
            it["frames"][0]["state"]["body"]["at"][0] = 7.into()
        }),
        ("beyond its items", |it| {
            it["frames"][1]["state"]["for"]["index"] = 2.into()
        }),
        ("other branches", |it| {
            it["frames"][2]["state"]["fork"]["outputs"] = Json::Array(vec![])
        }),
        ("of another kind", |it| {
            it["frames"][4]["state"] = it["frames"][1]["state"].clone()
        }),
        ("cannot be made again", |it| {
            // `{id}` of the endpoint becomes an object.
            it["values"]
                .as_array_mut()
                .unwrap()
                .push(serde_json::json!({"id": {}}));
            let last = it["values"].as_array().unwrap().len();
            it["frames"][3]["input"] = last.into();
        }),
    ];
    for (expected, falsify) in falsified {
        let mut lie: Json = serde_json::from_slice(&checkpoint).unwrap();
        falsify(&mut lie);
        let lie = serde_json::to_vec(&lie).unwrap();
        let outcome = Run::restore(definition(NESTED), surroundings(9), input.clone(), &lie);
        let unfit = outcome.map(drop).expect_err(expected).to_string();
        assert!(unfit.contains(expected), "{expected}: {unfit}");
    }
    for cut in [0, 1, checkpoint.len() / 2, checkpoint.len() - 1] {
        let (definition, input) = (definition(NESTED), input.clone());
        let outcome = Run::restore(definition, surroundings(9), input, &checkpoint[..cut]);
        assert!(outcome.is_err(), "{cut}");
    }
    let other = definition(&NESTED.replace("outer", "inner"));
    assert!(Run::restore(other, surroundings(9), input, &checkpoint).is_err());
}

#[test]
fn an_entry_that_does_not_fit_is_a_named_fault_behind_a_checkpoint_too() {
    let input = items(2);
    let mut run = begun(CALLS, &input);
    let open = effects(&run);
    let mut run_again = restored(CALLS, &input, &run.checkpoint().unwrap());
    let mut other = performed(&open[0], Value::null());
    if let Change::Performed { key, .. } = &mut other.change {
        key.reference = Arc::from("/do/0/nowhere");
    }
    for run in [&mut run, &mut run_again] {
        run.apply(other.clone());
        let Pending::Ended(End::Faulted(problem)) = run.pending() else {
            panic!("it goes on");
        };
        assert_eq!(problem.title.as_deref(), Some("The journal does not fit"));
    }
}
