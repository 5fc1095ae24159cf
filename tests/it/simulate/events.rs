//! Events and sub-workflows in a rehearsal.

use std::sync::Arc;

use hookwright::simulate::{self, Mismatch};

use super::{API, definition, passes, stage};
use crate::transcript;

/// Plays one case beside these workflows; what is otherwise than expected.
async fn differs(tasks: &str, others: &[String], case: &str) -> Vec<String> {
    let suite = simulate::parse(&format!("workflow: w.yaml\ncases: [{case}]")).unwrap();
    let mut stage = stage(API);
    let parsed = |text: &String| Arc::new(hookwright::workflow::parse(text).unwrap());
    stage.workflows = others.iter().map(parsed).collect();
    let verdict = simulate::rehearse(&definition(tasks), &suite.cases[0], &stage).await;
    let message = |mismatch: Mismatch| mismatch.message;
    verdict
        .unwrap()
        .mismatches
        .into_iter()
        .map(message)
        .collect()
}

fn workflow(name: &str, version: &str, tasks: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: {name}, version: '{version}' }}\n{tasks}"
    )
}

#[tokio::test]
async fn what_listens_hears_what_comes_at_its_time() {
    let tasks = "
do:
  - pause: { wait: PT10S }
  - both:
      listen: { to: { all: [ { with: { type: a } }, { with: { type: b } } ] }, read: data }
      timeout: { after: PT1M }
";
    let cases = "
cases:
  - name: what came too soon is gone
    events:
      - { after: PT5S, type: a, data: 1 }
      - { after: PT20S, type: b, data: 2 }
      - { after: PT15S, type: a, data: 3 }
    expect: { output: [3, 2], elapsed: PT20S }
  - name: at the last moment
    events: [{ after: PT30S, type: a, data: 1 }, { after: PT1M10S, type: b, data: 2 }]
    expect: { output: [1, 2], elapsed: PT1M10S }
  - name: too late
    events: [{ after: PT30S, type: a }, { after: PT1M11S, type: b }]
    expect: { error: { type: timeout }, elapsed: PT1M10S }
";
    passes(tasks, cases).await;
}

#[tokio::test]
async fn what_is_emitted_is_told_and_heard() {
    let tasks = "
do:
  - side:
      fork:
        branches:
          - ear: { listen: { to: { one: { with: { type: own } } }, read: data } }
          - mouth: { emit: { event: { with: { type: own, data: '${ . }' } } } }
";
    let cases = "
cases:
  - name: it hears itself
    input: { a: 1 }
    expect: { output: '${ .[0] == [{a: 1}] }', emits: [{ type: own, source: /t/t/1.0.0, data: { a: 1 } }] }
";
    passes(tasks, cases).await;
    let case = "{ name: x, expect: { emits: [{ type: other }, {}] } }";
    let found = differs(tasks, &[], case).await.join("\n");
    assert!(
        found.contains("expected \"other\"\n     was \"own\""),
        "{found}"
    );
    assert!(
        found.contains("expected 2 events\n     was 1: own"),
        "{found}"
    );
}

const PARENT: &str = "
do:
  - child:
      run: { workflow: { namespace: t, name: c, version: latest, input: { of: '${ .v }' } } }
      timeout: { after: PT1M }
";

const SLOW: &str = "
do:
  - first: { call: http, with: { method: post, endpoint: 'https://x.example/1' } }
  - pause: { wait: '${ $workflow.input.of }' }
  - second: { call: http, with: { method: post, endpoint: 'https://x.example/2' } }
  - done: { set: { slept: '${ $workflow.input.of }' } }
";

#[tokio::test]
async fn a_child_is_played_from_the_same_script() {
    let child = [workflow("c", "2.0.0", SLOW)];
    let case = "{
  name: in time, input: { v: PT30S },
  answers: { first: { after: PT1S }, second: 200 },
  expect: { output: { slept: PT30S }, elapsed: PT31S,
            calls: [{ uri: 'https://x.example/1' }, { uri: 'https://x.example/2' }] } }";
    assert_eq!(differs(PARENT, &child, case).await, [""; 0]);
    let case = "{
  name: interrupted, input: { v: PT2M },
  answers: { first: { after: PT1S }, second: 200 },
  expect: { error: { type: timeout, instance: /do/0/child }, elapsed: PT1M,
            calls: [{ uri: 'https://x.example/1' }] } }";
    assert_eq!(differs(PARENT, &child, case).await, [""; 0]);
    let case = "{
  name: its fault, input: { v: PT1S }, answers: { first: 404 },
  expect: { error: { type: communication, status: 404, instance: /do/0/child } } }";
    assert_eq!(differs(PARENT, &child, case).await, [""; 0]);
}

#[tokio::test]
async fn a_child_that_cannot_be_played_is_a_fault_that_says_so() {
    let case = |detail: &str| {
        format!(
            "{{ name: x, input: {{ v: 1 }}, \
             expect: {{ error: {{ type: configuration, detail: '${{ contains(\"{detail}\") }}' }} }} }}"
        )
    };
    let found = differs(PARENT, &[], &case("is not among the definitions")).await;
    assert_eq!(found, [""; 0]);
    let two = [workflow("c", "1.0.0", SLOW), workflow("c", "2.0.0", SLOW)];
    let found = differs(PARENT, &two, &case("several versions")).await;
    assert_eq!(found, [""; 0]);
    let itself = [workflow("c", "1.0.0", PARENT)];
    let deep = "{ name: x, expect: { error: { type: runtime, title: Nested too deep } } }";
    assert_eq!(differs(PARENT, &itself, deep).await, [""; 0]);
}

#[tokio::test]
async fn a_run_over_the_network_has_no_children() {
    let definition = definition(PARENT);
    let secrets = Arc::new(hookwright::secret::Secrets::rehearsed([].into()));
    let input = transcript::json("{}");
    let played = simulate::perform(definition, input, &stage(API), ("test", secrets)).await;
    let end = format!("{:?}", played.unwrap().end);
    assert!(
        end.contains("t/c is not started: a run in memory has no sub-workflows"),
        "{end}"
    );
}
