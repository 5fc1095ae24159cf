//! Definitions: what is accepted becomes the model, what is wrong is said all at once and where.

use std::time::Duration;

use hookwright::workflow::definition::{
    Authentication, Backoff, Endpoint, HttpOutput, Kind, Read, Schedule, Span, TaskList, Then,
};
use hookwright::workflow::{Definition, parse};
use proptest::prelude::*;

const ORDER: &str = include_str!("data/order-to-crm.yaml");

/// A document with the tasks (and other sections) given, which start in column 1.
fn document(sections: &str) -> String {
    format!("document: {{dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}}\n{sections}")
}

fn accepted(sections: &str) -> Definition {
    parse(&document(sections)).unwrap_or_else(|faults| panic!("{sections}\n{faults:#?}"))
}

/// The faults, each folded to lines of at most 90 characters.
fn faults(text: &str) -> String {
    let faults = parse(text).expect_err("a document with faults");
    assert!(!faults.is_empty());
    let mut folded = String::new();
    for fault in faults {
        let mut column = 0;
        for word in fault.to_string().split(' ') {
            let chars = word.chars().count() + 1;
            let fresh = column == 0;
            let full = !fresh && column + chars > 90;
            folded.push_str(if full {
                "\n    "
            } else if fresh {
                ""
            } else {
                " "
            });
            column = if full { 4 + chars } else { column + chars };
            folded.push_str(word);
        }
        folded.push('\n');
    }
    folded.trim_end().to_owned()
}

fn refused(sections: &str) -> String {
    faults(&document(sections))
}

fn references(list: &TaskList, into: &mut Vec<String>) {
    for task in &list.tasks {
        into.push(task.reference.to_string());
        match &task.kind {
            Kind::Do(list) => references(list, into),
            Kind::For(each) => references(&each.body, into),
            Kind::Try(tried) => {
                references(&tried.body, into);
                tried
                    .recovery
                    .iter()
                    .for_each(|list| references(list, into));
            }
            Kind::Fork(fork) => {
                into.extend(
                    fork.branches
                        .iter()
                        .map(|branch| branch.reference.to_string()),
                );
            }
            _ => {}
        }
    }
}

#[test]
fn the_main_job_compiles() {
    let definition = parse(ORDER).expect("a definition");
    assert_eq!(definition.document.name, "order-to-crm");
    assert_eq!(definition.secrets, ["crmToken"]);
    let timeout = definition.timeout.expect("a timeout").after;
    assert!(matches!(timeout, Span::Fixed(after) if after == Duration::from_secs(7200)));
    let Some(Schedule::On { events, read }) = &definition.schedule else {
        panic!("a schedule")
    };
    let with = &events.filters[0].with;
    assert_eq!((with.len(), *read), (2, Read::Envelope));
    let mut all = Vec::new();
    references(&definition.tasks, &mut all);
    assert_eq!(
        all,
        [
            "/do/0/sync",
            "/do/0/sync/try/0/create",
            "/do/0/sync/try/1/expect",
            "/do/0/sync/catch/do/0/note",
            "/do/1/each",
            "/do/1/each/do/0/remember",
            "/do/2/decide",
            "/do/3/call-them",
            "/do/3/call-them/fork/branches/0/a~1b",
            "/do/3/call-them/fork/branches/1/nap",
        ]
    );
    let Kind::Switch(cases) = &definition.tasks.tasks[2].kind else {
        panic!("a switch")
    };
    assert_eq!(
        (&cases[0].then, &cases[1].then),
        (&Then::Task(3), &Then::End)
    );
    assert!(cases[1].when.is_none());
    let value = &definition.tasks.tasks[2].value;
    assert_eq!(
        value.pointer("/switch/1/rest/then").unwrap().as_str(),
        Some("end")
    );
}

#[test]
fn a_try_knows_its_policy_and_its_calls_know_the_try() {
    let definition = parse(ORDER).expect("a definition");
    let Kind::Try(tried) = &definition.tasks.tasks[0].kind else {
        panic!("a try")
    };
    assert_eq!(tried.variable, "problem");
    assert_eq!(tried.with[0].0, "type");
    let retry = tried.retry.as_ref().expect("a policy");
    assert_eq!(retry.attempts_max, Some(5));
    assert_eq!(
        retry.backoff,
        Backoff::Exponential {
            factor: Some(3.0),
            max_delay: Some(Duration::from_secs(60))
        }
    );
    let Kind::Call(call) = &tried.body.tasks[0].kind else {
        panic!("a call")
    };
    assert!(call.retried);
    assert_eq!(call.output, HttpOutput::Response);
    assert!(matches!(
        call.authentication,
        Some(Authentication::Bearer { .. })
    ));
    assert!(matches!(&call.endpoint, Endpoint::Uri(uri) if uri.contains("{customer}")));
}

#[test]
fn a_call_in_catch_do_is_not_retried_by_that_try() {
    let call = "call: http, with: {method: get, endpoint: 'http://x.test/'}";
    let definition = accepted(&format!(
        "do:\n- t:\n    try: [{{a: {{{call}}}}}]\n    \
         catch: {{retry: {{}}, do: [{{b: {{{call}}}}}]}}\n"
    ));
    let Kind::Try(tried) = &definition.tasks.tasks[0].kind else {
        panic!("a try")
    };
    let retried = |list: &TaskList| match &list.tasks[0].kind {
        Kind::Call(call) => call.retried,
        _ => panic!("a call"),
    };
    assert!(retried(&tried.body));
    assert!(!retried(tried.recovery.as_ref().expect("catch.do")));
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_text() {
    let text = "\
document: {dsl: 2.1.0, namespace: -a, name: ok, version: 1.0, titel: x}
evaluate: {mode: loose, language: javascript}
schedule: {on: {one: {with: {Type: x}}}}
timeout: longest
use: {secrets: [a, a], functions: {f: {set: {x: 1}}}, retry: {}}
do:
- a: {set: {x: '${ .a | }'}, than: end}
- a: {cal: http, then: nowhere}
- b: {set: {x: 1}, wait: PT1S}
- c: {wait: P1M, input: {form: .x}}
- d: {for: {each: item, at: item, in: 5}, do: []}
- e: {set: {x: '${ $item }'}, if: true}
";
    insta::assert_snapshot!(faults(text), @r##"
    1:17 /document/dsl: this server speaks version 1.0 of the language, not 2.1.0 (write
        '1.0.3' if the document needs nothing newer)
    1:35 /document/namespace: this must be an RFC 1123 label (letters, digits and hyphens, at
        most 63, no hyphen at the ends)
    1:58 /document/version: this must be a string and is a number (put it in quotes)
    1:63 /document/titel: unknown key `titel` (did you mean `title`?)
    2:18 /evaluate/mode: mode `loose` is not supported: it would hide typing errors (remove
        `mode`, and wrap what is to be evaluated in ${ })
    2:35 /evaluate/language: expressions in `javascript` are not supported (remove `evaluate`
        and write the expressions in jq)
    3:30 /schedule/on/one/with/Type: this is no name of an attribute (lower-case letters and
        digits, as in CloudEvents)
    4:10 /timeout: `use.timeouts` has no `longest` (write {after: PT30S}, or name it there)
    5:20 /use/secrets/1: the secret `a` is there twice
    5:55 /use/retry: unknown key `retry` (known here: extensions, catalogs, authentications,
        errors, functions, retries, timeouts, secrets)
    7:16 /do/0/a/set/x: line 1, column 5: expected term, but the expression ends
    7:30 /do/0/a/than: unknown key `than` (did you mean `then`?)
    8:3 /do/1/a: a task `a` is in this list already (give each task a name of its own)
    8:6 /do/1/a: nothing here says what kind of task this is (did you mean `call`?)
    8:7 /do/1/a/cal: unknown key `cal` (did you mean `call`?)
    8:24 /do/1/a/then: no task `nowhere` is in this list (`then` names a task of its own
        list, not outside or inside)
    9:6 /do/2/b: a task has one kind, this one has set and wait (make them two tasks)
    10:13 /do/3/c/wait: years and months have no fixed length; write days, such as P30D
    10:26 /do/3/c/input/form: unknown key `form` (did you mean `from`?)
    11:12 /do/4/d/for: `each` and `at` have the same name (the one would hide the other)
    11:39 /do/4/d/for/in: this must be a string with an expression, an object or a list and
        is a number (put it in quotes)
    12:16 /do/5/e/set/x: line 1, column 1: unknown variable `$item` (known here are $context,
        $input, $output, $secrets, $authorization, $task, $workflow, $runtime)
    12:35 /do/5/e/if: this must be a string with an expression and is a boolean (put it in
        quotes)
    "##);
}

#[test]
fn faults_of_calls() {
    insta::assert_snapshot!(refused("\
use: {authentications: {good: {basic: {use: login}}}}
do:
- a: {call: htp, with: {}}
- b: {call: openapi, with: {}}
- c: {call: http, with: {method: FETCH IT, endpoint: /orders, outptu: raw}}
- d: {call: http, with: {method: get, endpoint: 'https://x.test/${ .id }', headers: {'a b': c}}}
- e: {call: http, with: {method: get, endpoint: 'https://x.test/{+id}', query: []}}
- f: {call: http, with: {method: get, endpoint: {uri: 'ftp://x.test', authentication: {use: god}}}}
- g: {call: http, with: {method: get, endpoint: {uri: 'http://x', authentication: {oauth2: {}}}}}
- h: {call: http, with: {method: get, output: body}}
"), @r##"
    2:45 /use/authentications/good/basic/use: `use.secrets` has no `login` (add `login` to
        `use.secrets`)
    4:13 /do/0/a/call: there is no function `htp` (did you mean `http`?)
    5:28 /do/1/b/with: `document` is missing here
    5:28 /do/1/b/with: `operationId` is missing here
    6:34 /do/2/c/with/method: `FETCH IT` is no method of HTTP (write GET, POST, PUT, …)
    6:54 /do/2/c/with/endpoint: `/orders` is no address that can be called (write
        https://host/path, or destination://name/path)
    6:63 /do/2/c/with/outptu: unknown key `outptu` (did you mean `output`?)
    7:49 /do/3/d/with/endpoint: an expression is the whole address or no part of it (write
        …/{id} to insert a member of the input, or '${ "https://…/\(.id)" }')
    7:86 /do/3/d/with/headers/a b: this is no name of a header
    8:49 /do/4/e/with/endpoint: `https://x.test/{+id}` is no address that can be called
        (inside { } stands the name of a member of the input, such as {id})
    8:80 /do/4/e/with/query: this must be an object and is a list
    9:55 /do/5/f/with/endpoint/uri: `ftp://x.test` is no address that can be called (write
        https://host/path, or destination://name/path)
    9:93 /do/5/f/with/endpoint/authentication/use: `use.authentications` has no `god` (did
        you mean `good`?)
    10:92 /do/6/g/with/endpoint/authentication/oauth2: `authority` is missing here
    10:92 /do/6/g/with/endpoint/authentication/oauth2: `grant` is missing here
    11:25 /do/7/h/with: `endpoint` is missing here
    11:47 /do/7/h/with/output: `body` is not one of the words known here (known here:
        content, raw, response)
    "##);
}

#[test]
fn faults_of_try_raise_and_switch() {
    insta::assert_snapshot!(refused("\
use:
  retries:
    fast: {delay: PT1S, backoff: {exponential: {}, linear: {}}, limit: {attempt: {count: -1}}}
  errors:
    odd: {type: timeout, status: 99}
do:
- a: {try: [{x: {raise: {error: od}}}], catch: {retry: fats, as: $e, errors: {with: {}}}}
- b: {try: [], catch: {errors: {with: {status: '500', kind: x}}, when: $error.status | f}}
- c: {switch: [{one: {then: a}}, {two: {then: continue}}, {three: {when: .x}}]}
- d: {switch: []}
- e: {fork: {branches: [{x: {set: {a: 1}, then: y}}, {y: {set: {a: 1}}}]}}
- f: {raise: {error: {type: 'https://x.test/errors/a', title: 'no ${ .x } here'}}}
- g: {try: []}
- h: {run: {shell: {command: ls}}}
- i: {listen: {to: {any: []}}, foreach: {}}
"), @r##"
    4:34 /use/retries/fast/backoff: a backoff has one kind, this one has 2 (write one of
        {constant: {}}, {linear: {}}, {exponential: {}})
    4:90 /use/retries/fast/limit/attempt/count: this must be a whole number from 0 to 100000
    6:17 /use/errors/odd/type: the type of an error is a URI (write
        https://serverlessworkflow.io/spec/1.0.0/errors/timeout)
    6:34 /use/errors/odd/status: this must be a whole number from 100 to 599
    8:33 /do/0/a/try/0/x/raise/error: `use.errors` has no `od` (did you mean `odd`?)
    8:56 /do/0/a/catch/retry: `use.retries` has no `fats` (did you mean `fast`?)
    8:66 /do/0/a/catch/as: this must be the name of a variable (letters, digits and
        underscores, a letter first, without `$`)
    8:85 /do/0/a/catch/errors/with: a filter of errors has at least one member
    9:48 /do/1/b/catch/errors/with/status: this must be a whole number from 0 to 65535
    9:55 /do/1/b/catch/errors/with/kind: unknown key `kind` (known here: type, status,
        instance, title, detail, details)
    9:72 /do/1/b/catch/when: line 1, column 17: unknown function `f` (a member is written
        `.f`, a text "f")
    10:35 /do/2/c/switch/1/two: `one` has no `when` either: it is the default (give one of
        them a `when`)
    10:67 /do/2/c/switch/2/three: `then` is missing here
    11:15 /do/3/d/switch: a switch has at least one case
    12:49 /do/4/e/fork/branches/0/x/then: branches of a fork run side by side; none leads to
        another (a branch may say `continue`, `exit` or `end`)
    13:22 /do/5/f/raise/error: `status` is missing here
    13:63 /do/5/f/raise/error/title: `${` stands inside a string, but only a whole string can
        be an expression (write ${ "no \(.id)" }, or in an endpoint the URI template no {id};
        a literal ${ is written ${ "${" })
    14:6 /do/6/g: `catch` is missing here
    15:20 /do/7/h/run/shell: `run: shell` is disabled: the server starts no processes (put it
        behind an HTTP API and call that)
    "##);
}

#[test]
fn schemas_are_compiled_and_stay_inside() {
    accepted("input: {schema: {document: {type: object, required: [id]}}}\ndo: []\n");
    insta::assert_snapshot!(refused("\
input: {schema: {format: avro, document: {}}}
output: {schema: {resource: {endpoint: 'http://x.test/schema'}}}
do:
- a: {set: {x: 1}, input: {schema: {document: {properties: {a: {type: strin}}}}}}
- b: {set: {x: 1}, output: {schema: {document: {$ref: 'http://127.0.0.1:9/x'}}}}
- c: {set: {x: 1}, export: {schema: {document: {pattern: '(?=x)'}}, as: 5}}
"), @r##"
    2:26 /input/schema/format: schemas in `avro` are not supported (write `json`)
    3:29 /output/schema/resource: a schema from elsewhere is not supported by this version
        yet
    5:71 /do/0/a/input/schema/document/properties/a/type: this is no JSON Schema (2020-12):
        "strin" is not valid under any of the schemas listed in the 'anyOf' keyword
    6:48 /do/1/b/output/schema/document: this is no JSON Schema (2020-12): Resource
        'http://127.0.0.1:9/x' is not present in a registry and retrieving it failed:
        Retrieval is disabled, cannot fetch http://127.0.0.1:9/x (references must stay inside
        the schema)
    7:58 /do/2/c/export/schema/document/pattern: this is no JSON Schema (2020-12): "(?=x)" is
        not a "regex"
    7:73 /do/2/c/export/as: this must be a string with an expression, an object or a list and
        is a number (put it in quotes)
    "##);
}

#[test]
fn names_and_versions() {
    let of = |dsl: &str, name: &str, version: &str| {
        let document =
            format!("{{dsl: '{dsl}', namespace: a, name: '{name}', version: '{version}'}}");
        parse(&format!("document: {document}\ndo: []\n")).is_ok()
    };
    assert!(of("1.0.0-alpha5", "a-1", "1.0.0-rc.1+build.5"));
    assert!(of("1.0.3", &"x".repeat(63), "0.0.0"));
    for (dsl, name, version) in [
        ("1.1.0", "a", "1.0.0"),
        ("0.8", "a", "1.0.0"),
        ("1.0.0", "", "1.0.0"),
        ("1.0.0", "a_b", "1.0.0"),
        ("1.0.0", "a-", "1.0.0"),
        ("1.0.0", &"x".repeat(64), "1.0.0"),
        ("1.0.0", "a", "1.0"),
        ("1.0.0", "a", "01.0.0"),
        ("1.0.0", "a", "1.0.0-"),
        ("1.0.0", "a", "1.0.0-01"),
    ] {
        assert!(!of(dsl, name, version), "{dsl} {name} {version}");
    }
    assert_eq!(
        faults("specVersion: '0.8'\nid: x\nstates: []\n"),
        "1:1: this server speaks version 1.0 of the language, not 0.8 \
         (documents of version 0 must\n    be rewritten: they have states, not tasks)"
    );
}

#[test]
fn loop_and_error_variables_have_their_place() {
    accepted("do:\n- l: {for: {in: .a}, while: $index < 3, do: [{x: {set: '$item'}}]}\n");
    accepted("do:\n- l: {for: {in: [1, '${ .b }']}, do: [{x: {set: '$item'}}]}\n");
    assert!(refused("do:\n- l: {for: {in: $item}, do: []}\n").contains("$item"));
    assert!(refused("do:\n- l: {for: {each: input, in: .a}, do: []}\n").contains("hide"));
    let caught = "do:\n- t: {try: [], catch: {as: e, do: [{x: {set: '$e'}}]}, output: {as: $e}}\n";
    assert!(refused(caught).contains("/do/0/t/output/as"));
    let policy = "use: {retries: {p: {when: $e.status == 1}}}\n\
                  do:\n- t: {try: [], catch: {as: e, retry: p}}\n";
    accepted(policy);
}

#[test]
fn json_is_accepted() {
    let text = serde_json::json!({
        "document": {"dsl": "1.0.3", "namespace": "a", "name": "b", "version": "1.0.0"},
        "do": [{"x": {"set": {"big": 12_345_678_901_234_567_890_u64}}}],
    });
    let definition = parse(&text.to_string()).expect("a definition");
    let json = String::from_utf8(definition.value.to_json()).unwrap();
    assert!(json.contains("12345678901234567890"), "{json}");
}

#[test]
fn hostile_documents_end_fast() {
    let started = std::time::Instant::now();
    assert!(faults(&"[".repeat(2_000_000)).contains("bytes"));
    let names: String = (0..5_000)
        .map(|n| format!("- t{n}: {{sett: 1, then: x{n}}}\n"))
        .collect();
    let text = document(&format!("do:\n{names}"));
    assert_eq!(parse(&text).expect_err("faults").len(), 200);
    let mut nested = "{set: {x: 1}}".to_owned();
    for _ in 0..19 {
        nested = format!("{{do: [{{x: {nested}}}]}}");
    }
    accepted(&format!("do: [{{x: {nested}}}]\n"));
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

proptest! {
    #[test]
    fn a_document_with_a_line_changed_never_panics(
        line in 0_usize..70,
        replacement in "[ ]{0,14}(- )?[a-z]{0,4}(: )?[-a-z0-9${}\\[\\]., |'\"]{0,12}",
    ) {
        let mut lines: Vec<&str> = ORDER.lines().collect();
        let at = line % lines.len();
        lines[at] = &replacement;
        check(&lines.join("\n"));
    }

    #[test]
    fn a_document_with_a_piece_cut_out_never_panics(from in 0_usize..2500, chars in 0_usize..200) {
        let text: Vec<char> = ORDER.chars().collect();
        let from = from.min(text.len());
        let to = (from + chars).min(text.len());
        check(&text[..from].iter().chain(&text[to..]).collect::<String>());
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}") {
        check(&text);
    }
}

fn check(text: &str) {
    if let Err(faults) = parse(text) {
        assert!(!faults.is_empty(), "refused without a reason");
        let sorted = faults
            .windows(2)
            .all(|pair| (pair[0].line, pair[0].column) <= (pair[1].line, pair[1].column));
        assert!(sorted);
    }
}
