//! Rehearsals of workflows: scripted answers, virtual time, expectations and their faults.

mod commands;
mod documents;
mod events;
mod expectations;

use std::sync::Arc;

use hookwright::call;
use hookwright::config::{Layers, embedded};
use hookwright::expression::Value;
use hookwright::run::End;
use hookwright::secret::Secrets;
use hookwright::server::Settings;
use hookwright::simulate::{self, Stage, Verdict};
use hookwright::workflow::{self, Definition};
use serde_json::json;

use crate::world::destination::{Destination, Reply};

/// A destination whose policy the cases meet.
const API: &str = "\
destination: api
baseUrl: https://api.example/v1
timeout: PT5S
retry: { delay: PT1S, backoff: { exponential: {} }, limit: { attempt: { count: 2 } } }
";

fn definition(tasks: &str) -> Arc<Definition> {
    let head = "document: { dsl: '1.0.3', namespace: t, name: t, version: '1.0.0' }\n";
    Arc::new(workflow::parse(&format!("{head}{tasks}")).unwrap())
}

fn stage(destination: &str) -> Stage {
    let layers = Layers::new(embedded::DEFAULT).unwrap();
    let settings: Settings = layers.load().unwrap();
    Stage {
        workflows: Vec::new(),
        destinations: vec![Arc::new(call::parse(destination).unwrap())],
        call: settings.call,
        tasks_max: settings.run.tasks_max,
    }
}

/// Plays all cases of a document.
async fn play(definition: &Arc<Definition>, cases: &str) -> Vec<Verdict> {
    let suite = simulate::parse(&format!("workflow: w.yaml\n{cases}")).unwrap();
    let stage = stage(API);
    let mut verdicts = Vec::new();
    for case in &suite.cases {
        let verdict = simulate::rehearse(definition, case, &stage).await;
        verdicts.push(verdict.unwrap());
    }
    verdicts
}

/// Plays all cases; all must pass.
async fn passes(tasks: &str, cases: &str) {
    for verdict in play(&definition(tasks), cases).await {
        assert!(verdict.mismatches.is_empty(), "{:#?}", verdict.mismatches);
    }
}

const GET: &str = "do: [{get: {call: http, with: {method: get, endpoint: 'destination://api/x'}}}]";

#[tokio::test]
async fn a_month_passes_in_no_time_and_each_time_the_same() {
    let tasks = "
do:
  - month: { wait: P30D }
  - twice:
      try:
        - ask:
            call: http
            with: { method: post, endpoint: 'https://else.example/', body: { a: 1 } }
      catch:
        retry: { delay: PT1H, jitter: { from: PT0S, to: PT1H }, limit: { attempt: { count: 3 } } }
";
    let cases = "
at: 2026-03-01T00:00:00Z
cases:
  - name: a month
    answers: { ask: [500, { status: 500, after: PT2S }, 200] }
    expect:
      calls: [{ method: POST, uri: 'https://else.example/', body: { a: 1 }, times: 3 }]
      elapsed: { min: P30DT2H2S, max: P30DT4H2S }
";
    let definition = definition(tasks);
    let mut played = Vec::new();
    for _ in 0..2 {
        let verdict = play(&definition, cases).await.remove(0);
        assert!(verdict.mismatches.is_empty(), "{:#?}", verdict.mismatches);
        played.push(format!("{:?} {:?}", verdict.calls, verdict.played));
    }
    assert_eq!(played[0], played[1]);
}

#[tokio::test]
async fn the_policy_of_the_destination_is_the_real_one() {
    let cases = "
cases:
  - name: the delays double, at their longest
    answers: { get: [502, 503, 200] }
    expect: { calls: [{ times: 3 }], elapsed: PT3S }
  - name: half of each delay
    chance: 0.5
    answers: { get: [502, 503, 200] }
    expect: { elapsed: PT1.5S }
  - name: three attempts and no more
    answers: { get: { status: 502 } }
    expect: { error: { type: communication, status: 502 }, calls: [{ times: 3 }] }
  - name: no answer for as long as the destination allows
    answers: { get: timeout }
    expect: { error: { status: 503 }, elapsed: PT18S, calls: [{ times: 3 }] }
  - name: an answer that takes longer than that is none
    answers: { get: [{ after: PT6S }, { after: PT4S }] }
    expect: { elapsed: PT10S }
  - name: no connection, and a broken one
    answers: { get: [refused, reset, 200] }
    expect: { elapsed: PT3S }
  - name: Retry-After is longer than the own delay
    answers: { get: [{ status: 429, headers: { Retry-After: 90 } }, 200] }
    expect: { elapsed: PT90S }
  - name: Retry-After as a date of the run's own time
    at: 2026-01-01T00:00:00Z
    answers:
      get: [{ status: 503, headers: { Retry-After: 'Thu, 01 Jan 2026 00:10:00 GMT' } }, 200]
    expect: { elapsed: PT10M }
  - name: what will not pass is not tried again
    answers: { get: 404 }
    expect: { error: { status: 404, title: Not Found }, calls: [{}] }
  - name: half an answer
    answers: { get: malformed }
    expect: { error: { type: communication, status: 500 }, calls: [{}] }
";
    passes(GET, cases).await;
}

#[tokio::test]
async fn one_layer_retries() {
    let tasks = "
do:
  - attempt:
      try: [{get: {call: http, with: {method: get, endpoint: 'destination://api/x'}}}]
      catch: { retry: { delay: PT10S, limit: { attempt: { count: 1 } } } }
";
    let cases = "
cases:
  - name: the workflow's own policy takes the place of the destination's
    answers: { get: 503 }
    expect: { error: { status: 503 }, calls: [{ times: 2 }], elapsed: PT10S }
";
    passes(tasks, cases).await;
}

#[tokio::test]
async fn deadlines_and_races_go_by_the_virtual_clock() {
    let tasks = "
do:
  - race:
      fork:
        compete: true
        branches:
          - slow: { call: http, with: { method: get, endpoint: 'https://slow.example/' } }
          - quick: { call: http, with: { method: get, endpoint: 'https://quick.example/' } }
  - late:
      timeout: { after: PT3S }
      call: http
      with: { method: get, endpoint: 'https://late.example/' }
";
    let cases = "
answers:
  GET https://slow.example/: { after: PT9S, body: slow }
  GET https://quick.example/: { after: PT2S, body: quick }
cases:
  - name: the quicker branch wins
    answers: { late: { after: PT1S, body: '${ .uri }' } }
    expect: { output: 'https://late.example/', elapsed: PT3S }
  - name: the deadline of the task passes
    answers: { late: { after: PT4S } }
    expect: { error: { type: timeout, status: 408, instance: /do/1/late }, elapsed: PT5S }
";
    passes(tasks, cases).await;
}

#[tokio::test]
async fn requests_are_what_would_be_sent() {
    let destination = "\
destination: api
baseUrl: https://api.example/v1
authentication: { basic: { username: ann, password: { secret: api.password } } }
headers: { X-Env: test }
";
    let tasks = "
use: { secrets: [token] }
do:
  - form:
      call: http
      with:
        method: post
        endpoint: destination://api/orders/{id}
        headers: { content-type: application/x-www-form-urlencoded }
        query: { at: [1, 2], none: null }
        body: { a: b c }
  - own:
      call: http
      with:
        method: get
        endpoint:
          uri: https://other.example/path
          authentication: { bearer: { token: '${ $secrets.token }' } }
        redirect: true
";
    let cases = "
workflow: w
cases:
  - name: credentials, queries and forms
    input: { id: a/b }
    secrets: { api: { password: secret-of-ann }, token: token-of-the-test }
    answers:
      form: 204
      GET https://other.example/path: { status: 302, headers: { Location: /next } }
      GET https://other.example/next: { body: { said: token-of-the-test } }
    expect:
      output: { said: '***' }
      calls:
        - uri: https://api.example/v1/orders/a%2Fb?at=1&at=2
          headers:
            authorization: Basic YW5uOnNlY3JldC1vZi1hbm4=
            x-env: test
            idempotency-key: '${ length == 36 }'
          body: a=b+c
        - uri: https://other.example/path
          headers: { authorization: Bearer token-of-the-test, idempotency-key: null }
        - uri: https://other.example/next
          headers: { authorization: Bearer token-of-the-test }
  - name: a secret that is not given stands for itself
    input: { id: 1 }
    secrets: { token: token-of-the-test }
    answers: { form: 204, own: 200 }
    expect:
      calls:
        - headers: { authorization: 'Basic YW5uOnNlY3JldCBhcGkucGFzc3dvcmQ=' }
        - {}
";
    let suite = simulate::parse(cases).unwrap();
    let definition = definition(tasks);
    for case in &suite.cases {
        let verdict = simulate::rehearse(&definition, case, &stage(destination)).await;
        let found = verdict.unwrap().mismatches;
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[tokio::test]
async fn events_start_runs_as_they_do_in_production() {
    let tasks = "
schedule: { on: { one: { with: { type: shop.order, data: '${ .total > 10 }' } } } }
do:
  - told:
      set:
        total: ${ .[0].data.total }
        type: ${ .[0].type }
        region: ${ .[0].region }
        at: ${ .[0].time }
        environment: ${ $runtime.metadata.environment }
";
    let cases = "
environment: staging
at: 2026-05-05T10:00:00Z
cases:
  - name: an event that fits
    event: { type: shop.order, source: /hooks/shop, region: eu, data: { total: 11 } }
    expect:
      output:
        total: 11
        type: shop.order
        region: eu
        at: '2026-05-05T10:00:00Z'
        environment: staging
  - name: one that does not, with the reason
    event: { type: shop.order, data: { total: 9 } }
    expect: { ignored: said no }
  - name: one of several that does not
    event: [{ type: shop.order, data: { total: 12 } }, { type: shop.order, data: { total: 9 } }]
    expect: { ignored: said no }
";
    passes(tasks, cases).await;
    let tasks = "
schedule: { on: { one: { with: { type: a } } } }
do: [{told: {set: '${ map(.data) }'}}]
";
    let cases = "
cases:
  - name: several are one input
    event: [{ type: a, data: 1 }, { type: a, data: [2] }, { type: a }]
    expect: { output: [1, [2], null] }
";
    passes(tasks, cases).await;
}

/// The same answers, over the network and from a script, lead to the same end.
#[tokio::test]
async fn a_rehearsal_is_like_the_network() {
    let answers: [(u16, &str, &str); 9] = [
        (200, "application/json", r#"{"a": [1, 2.50]}"#),
        (200, "application/json", "{\"a\": "),
        (200, "text/plain; charset=iso-8859-1", "plain"),
        (201, "application/octet-stream", "bytes"),
        (204, "application/json", ""),
        (302, "text/html", "elsewhere"),
        (404, "application/problem+json", r#"{"detail": "gone"}"#),
        (500, "text/plain", "broken"),
        (429, "text/plain", ""),
    ];
    for (status, media, body) in answers {
        let reply = move |_: &_, _| {
            let mut reply = Reply::new(status).body(body);
            reply.headers.push(("content-type", media.to_owned()));
            reply
        };
        let real = Destination::start(reply).await;
        let once = "timeout: PT5S\nretry: { limit: { attempt: { count: 0 } } }\n";
        let at = format!("destination: api\nbaseUrl: {}\n{once}", real.url());
        let mut stage = stage(&at);
        stage.call.egress_allow = vec!["127.0.0.0/8".to_owned()];
        let tasks = GET.replace("'}}}]", "', output: response}}}]");
        let definition = definition(&tasks);
        let secrets = Arc::new(Secrets::rehearsed(std::collections::HashMap::new()));
        let input = Value::object([]);
        let around = ("test", secrets);
        let played = simulate::perform(Arc::clone(&definition), input, &stage, around).await;
        let networked = end(played.unwrap().end);

        let headers = json!({"content-type": media});
        let answer = json!({"status": status, "headers": headers, "text": body});
        let case = json!({"name": "x", "answers": {"get": answer}, "expect": {}});
        let suite = json!({"workflow": "w", "cases": [case]}).to_string();
        let suite = simulate::parse(&suite).unwrap();
        let verdict = simulate::rehearse(&definition, &suite.cases[0], &stage).await;
        let rehearsed = end(verdict.unwrap().played.unwrap().end);
        assert_eq!(networked, rehearsed, "{status} {media}");
    }
}

/// An end without what only a real server adds to its headers.
fn end(end: Option<End>) -> serde_json::Value {
    match end.unwrap() {
        End::Completed(output) => {
            let mut output = output.to_serde();
            for side in [&mut output["request"], &mut serde_json::Value::Null] {
                side["headers"] = serde_json::Value::Null;
            }
            let own = ["Date", "Content-Length"];
            let headers = output["headers"].as_object_mut().unwrap();
            headers.retain(|name, _| !own.contains(&name.as_str()));
            output
        }
        End::Faulted(problem) => serde_json::to_value(problem).unwrap(),
        End::Cancelled => json!("cancelled"),
    }
}
