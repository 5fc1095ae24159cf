//! `call: approval`, lived with scripted decisions.

use insta::assert_snapshot;

use crate::transcript::{heard, live, live_with_events, ok, status};

/// A decision; `?` stands for the approval that is open.
fn decided(decision: &str, by: &str) -> String {
    format!(r#"{{"asked":"?","decision":"{decision}","by":"{by}","comment":"as {by} said"}}"#)
}

const DECIDED: &str = "@io.hookwright.approval.decided.v1";

fn asks(with: &str) -> String {
    let call = "call: 'approval:1.0.0@default'";
    format!("do: [ {{ ask: {{ {call}, with: {{ title: 'Deploy?', {with} }} }} }} ]")
}

#[test]
fn the_first_decision_is_the_output() {
    let yes = decided("approved", "ada");
    let transcript = live_with_events(&asks(""), "{}", &[], &[(20, DECIDED, &yes)]);
    assert_snapshot!(transcript, @r#"
    0       pending: Deploy?
    20      approved: Deploy?
    20    hears io.hookwright.approval.decided.v1
    20    = completed {"decision":"approved","by":"ada","comment":"as ada said"}
    "#);
    let no = decided("rejected", "ada");
    let transcript = live_with_events(&asks(""), "{}", &[], &[(20, DECIDED, &no)]);
    assert_snapshot!(transcript, @r#"
    0       pending: Deploy?
    20      rejected: Deploy?
    20    hears io.hookwright.approval.decided.v1
    20    = completed {"decision":"rejected","by":"ada","comment":"as ada said"}
    "#);
}

#[test]
fn a_quorum_counts_people_and_one_rejection_ends_it() {
    let with = "approvers: [Ada, Bob, Eve], quorum: 2, requestedBy: eve, form: \
                { properties: { n: { type: integer } } }";
    let short = "output: { as: '${ [.decision, .by, has(\"form\"), (.decisions | map(.by))] }' }";
    let body = asks(with).replace("} } } ]", &format!("}}, {short} }} }} ]"));
    let (ada, again) = (decided("approved", "Ada"), decided("approved", " ADA "));
    let (eve, bob) = (decided("approved", "Eve"), decided("approved", "Bob"));
    let events = [
        (10, DECIDED, ada.as_str()),
        (20, DECIDED, again.as_str()),
        (30, DECIDED, eve.as_str()),
        (40, DECIDED, bob.as_str()),
    ];
    assert_snapshot!(live_with_events(&body, "{}", &[], &events), @r#"
    0       pending: Deploy?
    10      pending: Deploy?
    10    hears io.hookwright.approval.decided.v1
    20    hears io.hookwright.approval.decided.v1
    30    hears io.hookwright.approval.decided.v1
    40      approved: Deploy?
    40    hears io.hookwright.approval.decided.v1
    40    = completed ["approved","Bob",true,["Ada","Bob"]]
    "#);
    let no = decided("rejected", "Bob");
    let events = [(10, DECIDED, ada.as_str()), (20, DECIDED, no.as_str())];
    assert_snapshot!(live_with_events(&body, "{}", &[], &events), @r#"
    0       pending: Deploy?
    10      pending: Deploy?
    10    hears io.hookwright.approval.decided.v1
    20      rejected: Deploy?
    20    hears io.hookwright.approval.decided.v1
    20    = completed ["rejected","Bob",true,["Ada","Bob"]]
    "#);
}

#[test]
fn silence_is_a_fault_or_a_rejection() {
    assert_snapshot!(live(&asks("timeout: PT2H"), "{}", &[]), @r#"
    0       pending: Deploy?
    7200000   expired: Deploy?
    7200000 fired /do/0/ask
    7200000 = faulted 408 timeout at /do/0/ask
          | nobody decided within the time there was
    "#);
    let with = "timeout: PT2H, onTimeout: rejected";
    let late = decided("approved", "ada");
    let events = [(7_200_000, DECIDED, late.as_str())];
    assert_snapshot!(live_with_events(&asks(with), "{}", &[], &events), @r#"
    0       pending: Deploy?
    7200000   expired: Deploy?
    7200000 fired /do/0/ask
    7200000 = completed {"decision":"rejected","by":"timeout","comment":null}
    "#);
    // The timeout of the language is around it all.
    let around = "do: [ { ask: { call: 'approval:1.0.0@default', with: { title: T }, timeout: \
                  { after: PT1M } } } ]";
    assert_snapshot!(live(around, "{}", &[]), @r#"
    0       pending: T
    60000   expired: T
    60000 fired /do/0/ask#timeout
    60000 = faulted 408 timeout at /do/0/ask
          | the task did not finish within its timeout
    "#);
    assert_snapshot!(live(&asks(""), "{}", &[]), @r#"
    0       pending: Deploy?
    2592000000   expired: Deploy?
    2592000000 fired /do/0/ask
    2592000000 = faulted 408 timeout at /do/0/ask
          | nobody decided within the time there was
    "#);
}

#[test]
fn each_approver_is_told_with_a_link_of_their_own() {
    let with = "message: '${ .why }', approvers: '${ .who }', notify: { call: http, with: { \
                method: post, endpoint: http://api.test/chat, \
                body: { to: '${ $approval.approver }', \
                text: '${ $approval | \"\\(.title) \\(.message) \\(.link)\" }' } } }";
    let input = r#"{"why":"now","who":["ada","bob"]}"#;
    let yes = decided("approved", "bob");
    let events = [(500, DECIDED, yes.as_str())];
    let replies = [("/chat", ok("{}")), ("/chat", ok("{}").after_ms(1_000))];
    let life = heard(&asks(with), input, &replies, &events);
    let transcript = format!("{}\n--\n{}", life.transcript(), life.records());
    assert_snapshot!(transcript, @r#"
    0       pending: Deploy?
    0       POST /chat {"to":"ada","text":"Deploy? now http://links.test/approvals/token-0"}
    0       POST /chat {"to":"bob","text":"Deploy? now http://links.test/approvals/token-1"}
    10    completed /do/0/ask/with/notify [0]
    500     approved: Deploy?
    500   hears io.hookwright.approval.decided.v1
    500   = completed {"decision":"approved","by":"bob","comment":"as bob said"}
    --
    /do/0/ask completed
    /do/0/ask/with/notify completed [0]
    /do/0/ask/with/notify cancelled [1]
    "#);
    let transcript = live(&asks(with), input, &[("/chat", status(500))]);
    assert_snapshot!(transcript, @r#"
    0       pending: Deploy?
    0       POST /chat {"to":"ada","text":"Deploy? now http://links.test/approvals/token-0"}
    0       POST /chat {"to":"bob","text":"Deploy? now http://links.test/approvals/token-1"}
    10      cancelled: Deploy?
    10    faulted 500 /do/0/ask/with/notify [0]
    10    = faulted 500 communication at /do/0/ask/with/notify
          | refused
    "#);
}

#[test]
fn approvals_stand_side_by_side_and_are_given_up_with_what_is_around() {
    let body = "do: [ { f: { fork: { compete: true, branches: [ \
                { a: { call: 'approval:1.0.0@default', with: { title: A } } }, \
                { b: { call: 'approval:1.0.0@default', with: { title: B } } } ] } } } ]";
    let yes = decided("approved", "ada");
    let events = [(10, "@other", "1"), (20, DECIDED, yes.as_str())];
    assert_snapshot!(live_with_events(body, "{}", &[], &events), @r#"
    0       pending: A
    0       pending: B
    10    hears other
    20      approved: A
    20      cancelled: B
    20    hears io.hookwright.approval.decided.v1
    20    = completed {"decision":"approved","by":"ada","comment":"as ada said"}
    "#);
}

#[test]
fn what_cannot_be_asked_is_an_expression_error() {
    for with in [
        "approvers: '${ 1 }'",
        "approvers: '${ [\"a\", \"A\"] }'",
        "approvers: [a], quorum: '${ 2 }'",
        "message: '${ {} }'",
        "timeout: '${ \"soon\" }'",
    ] {
        let transcript = live(&asks(with), "{}", &[]);
        assert!(
            transcript.contains("faulted 400 expression at /do/0/ask"),
            "{transcript}"
        );
    }
}
