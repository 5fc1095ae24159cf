//! What a run wants from outside and what it takes back: requests, waits, keys, entries.

use std::sync::Arc;

use hookwright::expression::Value;
use hookwright::run::entry::{decode, encode};
use hookwright::run::{
    Action, Attempt, Change, Credentials, End, Entry, Key, Outcome, Pending, Request, Run, Wait,
};
use insta::assert_snapshot;
use jiff::SignedDuration;
use secrecy::ExposeSecret;

use crate::transcript::{Life, definition, json, live, start, surroundings, text};

/// The one request that an open run wants.
fn request(body: &str, input: &str) -> Arc<Request> {
    let mut life = Life::new(body, &[]);
    life.start(input);
    match life.run.pending() {
        Pending::Open { effects, .. } => {
            let Action::Call(request) = &effects[0].action;
            Arc::clone(request)
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
    assert_snapshot!(live(body, r#"{"id":{"x":1}}"#, &[]), @r#"
    0     = faulted 400 expression at /do/0/a
          | `{id}` of the endpoint is an object or an array; a URI takes a scalar
    "#);
}

#[test]
fn secrets_are_only_those_listed_and_known() {
    let set = "do: [ { a: { set: { x: '${ $secrets.token }' } } } ]";
    assert_snapshot!(live(set, "{}", &[]), @r#"
    0     = faulted 403 authorization at /do/0/a
          | secret `token` is not listed in `use.secrets`; list it there
    "#);
    let keys = "use: { secrets: [ token, other ] }\ndo: [ { a: { set: '${ $secrets | keys }' } } ]";
    assert_snapshot!(live(keys, "{}", &[]), @r#"0     = completed ["token"]"#);
    let other = "use: { secrets: [ token, other ] }\ndo: [ { a: { set: '${ $secrets.other }' } } ]";
    assert_snapshot!(live(other, "{}", &[]), @r#"
    0     = faulted 403 authorization at /do/0/a
          | secret `other` is not known to this server; set it before the run
    "#);
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
fn a_value_cannot_lead_the_path_of_an_endpoint_elsewhere() {
    let with = "do: [ { a: { call: http, with: { method: get, endpoint: 'URI' } } } ]";
    let uri = |uri: &str, id: &str| {
        let mut life = Life::new(&with.replace("URI", uri), &[]);
        life.start(&format!(r#"{{"id":"{id}"}}"#));
        match life.run.pending() {
            Pending::Open { effects, .. } => {
                let Action::Call(request) = &effects[0].action;
                Ok(request.uri.clone())
            }
            Pending::Ended(End::Faulted(problem)) => Err(problem.status),
            Pending::Ended(end) => panic!("{end:?}"),
        }
    };
    let customer = "http://api.test/v1/{id}/orders";
    for id in [".", ".."] {
        assert_eq!(uri(customer, id), Err(400), "{id}");
    }
    assert_eq!(uri("http://api.test/.{id}", "."), Err(400));
    for id in ["...", ".a", "%2e%2e", "../.."] {
        assert!(uri(customer, id).is_ok(), "{id}");
    }
    assert!(uri("http://api.test/v1/../{id}?up={id}", "x").is_ok());
    assert!(uri("http://api.test/v1?up=/{id}/", "..").is_ok());
}

/// A call in a `try` inside a `do`, each with a timeout that may be left out.
fn guarded(workflow: &str, outer: &str, call: &str) -> String {
    format!(
        r#"
{workflow}
do:
  - t:
      try:
        - o:
            {outer}
            do:
              - i:
                  try:
                    - c:
                        {call}
                        call: http
                        with: {{ method: get, endpoint: 'http://api.test/x' }}
                  catch: {{ do: [ {{ x: {{ set: '"inner"' }} }} ] }}
      catch: {{ do: [ {{ y: {{ set: '${{ $error.instance }}' }} }} ] }}
"#
    )
}

#[test]
fn an_outcome_after_a_deadline_is_a_timeout_where_the_deadline_belongs() {
    let timeout = "timeout: { after: PT5S }";
    let leaf = key("/do/0/t/try/0/o/do/0/i/try/0/c", "");
    let outer = End::Completed(json(r#""/do/0/t/try/0/o""#));
    let inner = End::Completed(json(r#""inner""#));
    let cases = [
        (guarded("", timeout, ""), outer.clone()),
        (guarded("", timeout, timeout), outer),
        (guarded("", "", timeout), inner),
    ];
    let late = |body: &str| {
        let mut life = Life::new(body, &[]);
        life.start("{}");
        let mut entry = performed(leaf.clone());
        entry.at = start() + SignedDuration::from_secs(5);
        life.apply(entry);
        match life.run.pending() {
            Pending::Ended(end) => end,
            Pending::Open { .. } => panic!("it is open"),
        }
    };
    for (body, end) in cases {
        assert_eq!(late(&body), end);
    }
    let End::Faulted(problem) = late(&guarded(timeout, "", "")) else {
        panic!("the timeout of the workflow cannot be caught");
    };
    assert_eq!(
        (problem.status, problem.instance.as_deref()),
        (408, Some("/"))
    );
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
    assert_eq!((effects[0].attempt, effects[0].spent), (2, 1));
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
    assert_snapshot!(text_of.replace(",\"", "\n \""), @r#"
    [{"change":"started"
     "at":"2026-01-01T00:00:00Z"
     "input":null},{"change":"performed"
     "at":"2026-01-01T00:00:00Z"
     "reference":"/do/0/a"
     "iteration":"3/1a1"
     "attempt":{"number":1
     "startedAt":"2026-01-01T00:00:00Z"
     "durationMs":5
     "status":200}
     "output":{}}]
    "#);
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
