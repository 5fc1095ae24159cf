//! What cannot work cannot be deployed: each rule with the smallest document that breaks it, where
//! the fault is, and a part of what is said.

use hookwright::workflow::parse;

use crate::api;

/// Sections of a document, the pointer of the fault, and words of its message or hint.
type Row = (&'static str, &'static str, &'static str);

const TASK: &str = "do: [{a: {set: {x: 1}}}]";

const EXPRESSIONS: &[Row] = &[
    ("do: [{a: {set: '.a |'}}]", "/do/0/a/set", "expected term"),
    (
        "do: [{a: {if: $nobody, set: {x: 1}}}]",
        "/do/0/a/if",
        "unknown variable",
    ),
    ("do: [{a: {set: {x: '${ env }'}}}]", "/do/0/a/set/x", "env"),
    (
        "do: [{a: {set: {x: '${ input }'}}}]",
        "/do/0/a/set/x",
        "input",
    ),
    (
        "do: [{a: {set: {x: '${ debug }'}}}]",
        "/do/0/a/set/x",
        "debug",
    ),
    (
        "do: [{a: {set: {x: 'id ${ .id }'}}}]",
        "/do/0/a/set/x",
        "whole string",
    ),
    (
        "do: [{a: {set: {x: \"${ 'text' }\"}}}]",
        "/do/0/a/set/x",
        "",
    ),
    ("input: {from: '.['}\ndo: []", "/input/from", ""),
    (
        "output: {as: '$item'}\ndo: []",
        "/output/as",
        "unknown variable",
    ),
    (
        "do: [{a: {set: {x: 1}, input: {from: '.['}}}]",
        "/do/0/a/input/from",
        "",
    ),
    (
        "do: [{a: {set: {x: 1}, output: {as: '.['}}}]",
        "/do/0/a/output/as",
        "",
    ),
    (
        "do: [{a: {set: {x: 1}, export: {as: '.['}}}]",
        "/do/0/a/export/as",
        "",
    ),
    ("do: [{a: {for: {in: '.['}, do: []}}]", "/do/0/a/for/in", ""),
    (
        "do: [{a: {for: {in: .x}, while: $index2, do: []}}]",
        "/do/0/a/while",
        "unknown variable",
    ),
    (
        "do: [{a: {switch: [{c: {when: '.[', then: end}}]}}]",
        "/do/0/a/switch/0/c/when",
        "",
    ),
    (
        "do: [{a: {try: [], catch: {when: $other}}}]",
        "/do/0/a/catch/when",
        "unknown variable",
    ),
    (
        "do: [{a: {try: [], catch: {retry: {when: '.['}}}}]",
        "/do/0/a/catch/retry/when",
        "",
    ),
    ("do: [{a: {wait: '${ .[ }'}}]", "/do/0/a/wait", ""),
    (
        "do: [{a: {emit: {event: {with: {type: '${ .[ }'}}}}}]",
        "/do/0/a/emit/event/with/type",
        "",
    ),
    (
        "do: [{a: {call: http, with: {method: get, endpoint: '${ .[ }'}}}]",
        "/do/0/a/with/endpoint",
        "",
    ),
    (
        "do: [{a: {listen: {to: {one: {with: {data: '${ .[ }'}}}}}}]",
        "/do/0/a/listen/to/one/with/data",
        "",
    ),
    (
        "do: [{a: {listen: {to: {any: [], until: '.['}}}}]",
        "/do/0/a/listen/to/until",
        "",
    ),
    (
        "evaluate: {language: javascript}\ndo: []",
        "/evaluate/language",
        "jq",
    ),
    ("evaluate: {mode: loose}\ndo: []", "/evaluate/mode", "loose"),
];

const FLOW: &[Row] = &[
    (
        "do: [{a: {set: {x: 1}, then: c}}, {b: {set: {x: 1}}}]",
        "/do/0/a/then",
        "no task `c`",
    ),
    (
        "do: [{a: {do: [{b: {set: {x: 1}, then: a}}]}}]",
        "/do/0/a/do/0/b/then",
        "no task `a`",
    ),
    (
        "do: [{a: {switch: [{c: {then: nowhere}}]}}]",
        "/do/0/a/switch/0/c/then",
        "no task",
    ),
    (
        "do: [{a: {try: [], catch: {then: nowhere}}}]",
        "/do/0/a/catch/then",
        "no task",
    ),
    (
        "do: [{a: {set: {x: 1}}}, {a: {set: {x: 1}}}]",
        "/do/1/a",
        "already",
    ),
    (
        "do: [{a: {set: {x: 1}}, b: {set: {x: 1}}}]",
        "/do/0",
        "exactly one name",
    ),
    (
        "do: [{a: {switch: [{c: {then: end}}, {d: {then: end}}]}}]",
        "/do/0/a/switch/1/d",
        "default",
    ),
    (
        "do: [{a: {fork: {branches: [{b: {set: {x: 1}, then: c}}]}}}]",
        "/do/0/a/fork/branches/0/b/then",
        "side by side",
    ),
    ("do: [{a: {}}]", "/do/0/a", "what kind of task"),
    (
        "do: [{a: {set: {x: 1}, wait: PT1S}}]",
        "/do/0/a",
        "one kind",
    ),
    (
        "do: [{a: {sett: {x: 1}}}]",
        "/do/0/a/sett",
        "did you mean `set`",
    ),
];

const REFERENCES: &[Row] = &[
    ("timeout: long\ndo: []", "/timeout", "use.timeouts"),
    (
        "do: [{a: {set: {x: 1}, timeout: long}}]",
        "/do/0/a/timeout",
        "use.timeouts",
    ),
    (
        "do: [{a: {try: [], catch: {retry: r}}}]",
        "/do/0/a/catch/retry",
        "use.retries",
    ),
    (
        "do: [{a: {raise: {error: e}}}]",
        "/do/0/a/raise/error",
        "use.errors",
    ),
    ("do: [{a: {call: f}}]", "/do/0/a/call", "no function"),
    (
        "do: [{a: {call: 'f:1.0.0@default'}}]",
        "/do/0/a/call",
        "approval:1.0.0@default",
    ),
    (
        "do: [{a: {call: 'f:1.0.0@ours'}}]",
        "/do/0/a/call",
        "catalog",
    ),
    (
        "do: [{a: {call: 'https://x.test/f.yaml'}}]",
        "/do/0/a/call",
        "from an address",
    ),
    (
        "use: {catalogs: {c: {endpoint: 'https://x.test'}}}\ndo: []",
        "/use/catalogs",
        "catalogs",
    ),
    (
        "use: {extensions: []}\ndo: []",
        "/use/extensions",
        "extending",
    ),
    (
        "do: [{a: {call: http, with: {method: get, \
         endpoint: {uri: 'http://x', authentication: {use: b}}}}}]",
        "/do/0/a/with/endpoint/authentication/use",
        "use.authentications",
    ),
    (
        "use: {authentications: {b: {basic: {use: login}}}}\ndo: []",
        "/use/authentications/b/basic/use",
        "use.secrets",
    ),
    ("use: {secrets: [a, a]}\ndo: []", "/use/secrets/1", "twice"),
    // What nobody uses is checked too.
    (
        "use: {timeouts: {t: {after: soon}}}\ndo: []",
        "/use/timeouts/t/after",
        "",
    ),
    (
        "use: {retries: {r: {delay: soon}}}\ndo: []",
        "/use/retries/r/delay",
        "",
    ),
    (
        "use: {errors: {e: {type: timeout, status: 408}}}\ndo: []",
        "/use/errors/e/type",
        "URI",
    ),
    (
        "use: {functions: {f: {set: '.['}}}\ndo: []",
        "/use/functions/f/set",
        "",
    ),
    (
        "input: {schema: {document: {$ref: 'https://x.test/s'}}}\ndo: []",
        "/input/schema/document",
        "inside the schema",
    ),
    (
        "input: {schema: {resource: {endpoint: 'https://x'}}}\ndo: []",
        "/input/schema/resource",
        "elsewhere",
    ),
];

const TIME: &[Row] = &[
    ("timeout: {after: P1Y}\ndo: []", "/timeout/after", "days"),
    ("do: [{a: {wait: soon}}]", "/do/0/a/wait", ""),
    ("do: [{a: {wait: {second: 1}}}]", "/do/0/a/wait", ""),
    ("schedule: {cron: 61 * * * *}\nTASK", "/schedule/cron", ""),
    ("schedule: {cron: '* * *'}\nTASK", "/schedule/cron", ""),
    ("schedule: {cron: 0 0 30 2 *}\nTASK", "/schedule/cron", ""),
    ("schedule: {every: PT0.1S}\nTASK", "/schedule/every", ""),
    ("schedule: {after: soon}\nTASK", "/schedule/after", ""),
    (
        "schedule: {every: PT1M, cron: '* * * * *'}\nTASK",
        "/schedule",
        "one of",
    ),
    ("schedule: {}\nTASK", "/schedule", "one of"),
    ("schedule: {on: {all: []}}\nTASK", "/schedule/on/all", ""),
    (
        "schedule: {on: {one: {with: {Type: x}}}}\nTASK",
        "/schedule/on/one/with/Type",
        "attribute",
    ),
    (
        "schedule: {every: PT1M, read: data}\nTASK",
        "/schedule/read",
        "events of `on`",
    ),
];

const DISABLED: &[Row] = &[
    (
        "do: [{a: {run: {shell: {command: ls}}}}]",
        "/do/0/a/run/shell",
        "disabled",
    ),
    (
        "do: [{a: {run: {container: {image: x}}}}]",
        "/do/0/a/run/container",
        "disabled",
    ),
    (
        "do: [{a: {run: {script: {language: js, code: '1'}}}}]",
        "/do/0/a/run/script",
        "",
    ),
    ("do: [{a: {call: grpc, with: {}}}]", "/do/0/a/call", "grpc"),
    (
        "do: [{a: {call: asyncapi, with: {}}}]",
        "/do/0/a/call",
        "asyncapi",
    ),
    ("do: [{a: {call: a2a, with: {}}}]", "/do/0/a/call", "a2a"),
    ("do: [{a: {call: mcp, with: {}}}]", "/do/0/a/call", "mcp"),
];

/// Sections of `document.metadata`, with a schedule behind them.
const METADATA: &[Row] = &[
    (
        "schedule: {timezone: Mars/Olympus}}}\nschedule: {cron: '* * * * *'}",
        "/document/metadata/schedule/timezone",
        "",
    ),
    (
        "schedule: {overlap: sometimes}}}\nschedule: {cron: '* * * * *'}",
        "/document/metadata/schedule/overlap",
        "",
    ),
    (
        "schedule: {timezone: UTC}}}",
        "/document/metadata/schedule",
        "about `schedule.cron`",
    ),
    (
        "batch: {maxSize: 2, maxWait: PT1S}}}",
        "/document/metadata/batch",
        "events that start",
    ),
    (
        "batch: {maxSize: 2, maxWait: PT1S}}}\nschedule: {on: {all: [{with: {type: x}}]}}",
        "/document/metadata/batch",
        "`schedule.on` has `all`",
    ),
    (
        "debounce: {period: PT1S}}}\n\
         schedule: {on: {any: [{with: {type: x}}], until: {one: {with: {type: y}}}}}",
        "/document/metadata/debounce",
        "`schedule.on` has `until`",
    ),
    (
        "batch: {maxSize: 0, maxWait: PT1S}}}\nschedule: {on: {one: {with: {type: x}}}}",
        "/document/metadata/batch/maxSize",
        "",
    ),
    (
        "concurrency: {limit: 0}}}",
        "/document/metadata/concurrency/limit",
        "",
    ),
];

/// Members of `with` of an approval.
const APPROVALS: &[Row] = &[
    ("message: x", "", "`title` is missing"),
    ("title: '${ .[ }'", "/title", ""),
    (
        "title: T, approver: [a]",
        "/approver",
        "did you mean `approvers`",
    ),
    ("title: T, approvers: [a, A]", "/approvers/1", "already"),
    ("title: T, approvers: ['']", "/approvers/0", "a name"),
    (
        "title: T, approvers: [a], quorum: 2",
        "/quorum",
        "only 1 are asked",
    ),
    ("title: T, quorum: 0", "/quorum", ""),
    (
        "title: T, selfApproval: false",
        "/selfApproval",
        "requestedBy",
    ),
    ("title: T, onTimeout: approved", "/onTimeout", ""),
    ("title: T, timeout: soon", "/timeout", ""),
    ("title: T, form: {type: array}", "/form", "is an object"),
    ("title: T, form: {type: object}", "/form", "has fields"),
    (
        "title: T, form: {properties: {a: {type: object}}}",
        "/form",
        "no type to fill in",
    ),
    (
        "title: T, form: {properties: {a: {type: string, pattern: '['}}}",
        "/form/properties/a/pattern",
        "",
    ),
    (
        "title: T, notify: {call: http}",
        "/notify",
        "`with` is missing",
    ),
    ("title: '${ $approval.id }'", "/title", "unknown variable"),
];

/// Checks every row; `document` makes a document of its first part.
fn check(rows: &[Row], prefix: &str, document: impl Fn(&str) -> String) {
    let mut wrong = String::new();
    for (sections, pointer, words) in rows {
        let text = document(sections);
        let pointer = format!("{prefix}{pointer}");
        let faults = parse(&text).err().unwrap_or_default();
        let found = faults.iter().any(|fault| {
            let said = format!(
                "{} {}",
                fault.message,
                fault.hint.as_deref().unwrap_or_default()
            );
            fault.pointer.starts_with(&pointer) && said.contains(words) && fault.line > 0
        });
        if !found {
            wrong.push_str(&format!(
                "{sections}\n  wanted {pointer} {words}\n  was {faults:?}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn plain(sections: &str) -> String {
    let sections = sections.replace("TASK", TASK);
    format!("document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}}\n{sections}\n")
}

#[test]
fn expressions_compile_and_know_their_variables() {
    check(EXPRESSIONS, "", plain);
}

#[test]
fn control_goes_to_tasks_that_are_there() {
    check(FLOW, "", plain);
}

#[test]
fn references_resolve() {
    check(REFERENCES, "", plain);
}

#[test]
fn times_can_be_read() {
    check(TIME, "", plain);
}

#[test]
fn what_is_disabled_is_refused() {
    check(DISABLED, "", plain);
}

#[test]
fn metadata_that_is_understood_fits() {
    check(METADATA, "", |sections| {
        let identity = "dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'";
        format!("document: {{{identity}, metadata: {{{sections}\n{TASK}\n")
    });
}

#[test]
fn approvals_ask_what_can_be_asked() {
    check(APPROVALS, "/do/0/a/with", |with| {
        plain(&format!(
            "do: [{{a: {{call: 'approval:1.0.0@default', with: {{{with}}}}}}}]"
        ))
    });
}

#[tokio::test]
async fn in_production_its_secrets_are_there() {
    let database = crate::postgres::database().await;
    let mut parts = api::parts(&database, api::keyring()).await;
    parts.environment = "production".into();
    parts.secrets = std::sync::Arc::new(|name| {
        (name == "known").then(|| hookwright::expression::Value::string("value"))
    });
    let url = api::serve(parts).await;
    let world = api::World {
        database,
        url,
        client: api::client(),
    };
    let text = plain("use:\n  secrets: [known, unknown]\nTASK");
    let answer = world.ask("POST /workflows", &text).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    let fault = &answer.json()["errors"][0];
    assert_eq!(fault["pointer"], "/use/secrets/1", "{fault}");
    assert_eq!((&fault["line"], &fault["column"]), (&3.into(), &20.into()));
    let files = serde_json::json!({"files": [{"path": "w.yaml", "text": text}]});
    let answer = world.ask("POST /definitions", &files.to_string()).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(
        answer.body.contains("w.yaml: the environment"),
        "{}",
        answer.body
    );
    let good = text.replace(", unknown", "");
    assert_eq!(world.ask("POST /workflows", &good).await.status, 201);
}
