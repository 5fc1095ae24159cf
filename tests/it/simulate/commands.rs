//! `hookwright test`, `check` and `run` as programs: what they print, and their exit codes.

use crate::world::destination::{Destination, Reply};
use crate::world::process::run;
use crate::world::{Scratch, World};

const WORKFLOW: &str = "\
document: { dsl: '1.0.3', namespace: t, name: ask, version: '1.0.0' }
do:
  - ask: { call: http, with: { method: post, endpoint: 'destination://api/x', body: '${ . }' } }
";

const TESTS: &str = "\
workflow: ask.yaml
cases:
  - name: good <&> well
    answers: { ask: { body: { a: 1 } } }
    expect: { output: { a: 1 } }
  - name: bad
    answers: { ask: { body: { a: 1 } } }
    expect:
      output: { a: 2 }
";

fn destination(url: &str) -> String {
    let retry = "retry: { delay: PT0.01S, limit: { attempt: { count: 1 } } }";
    format!("destination: api\nbaseUrl: {url}\n{retry}\n")
}

async fn said(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn test_tells_what_failed_and_where() {
    let scratch = Scratch::new();
    let dir = scratch.path().to_str().unwrap();
    let (code, told) = said(&["test", dir]).await;
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("there is no *.test.yaml"), "{told}");

    scratch.write("ask.yaml", WORKFLOW);
    scratch.write("api.yaml", &destination("https://api.example"));
    scratch.write("ask.test.yaml", TESTS);
    let junit = scratch.path().join("junit.xml");
    let (code, told) = said(&["test", dir, "--junit", junit.to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "{told}");
    for part in [
        "ok      good <&> well (1 call, 0ms)",
        "FAILED  bad",
        "ask.test.yaml:9:20: /cases/1/expect/output/a",
        "expected 2",
        "was 1",
        "ask: attempt 1: 200",
        "1 passed, 1 failed",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let xml = std::fs::read_to_string(&junit).unwrap();
    for part in [
        "tests=\"2\" failures=\"1\"",
        "name=\"good &lt;&amp;&gt; well\"",
        "<failure message=",
        "line=\"6\"",
    ] {
        assert!(xml.contains(part), "{part} is not in\n{xml}");
    }
    let (code, told) = said(&["test", dir, "--filter", "good"]).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("1 passed, 0 failed"), "{told}");

    // A document that cannot be used fails, and so do definitions around it that are not valid.
    scratch.write(
        "wrong.test.yaml",
        "workflow: none.yaml\ncases: [{name: a, expect: {}}]\n",
    );
    scratch.write(
        "api.yaml",
        "destination: api\nbaseUri: https://api.example\n",
    );
    let (code, told) = said(&["test", dir]).await;
    assert_eq!(code, Some(1), "{told}");
    for part in [
        "wrong.test.yaml:1:11",
        "none.yaml cannot be read",
        "api.yaml:2:1: /baseUri",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_weighs_what_leads_nowhere() {
    let scratch = Scratch::new();
    let dir = scratch.path().to_str().unwrap();
    scratch.write("ask.yaml", WORKFLOW);
    scratch.write("ask.test.yaml", TESTS);
    scratch.write(
        "apy.yaml",
        &destination("https://api.example").replace("api\n", "apy\n"),
    );
    let (code, told) = said(&["check", dir]).await;
    assert_eq!(code, Some(0), "{told}");
    let place = "ask.yaml:3:56: /do/0/ask/with/endpoint: no destination is named `api`";
    assert!(told.contains(&format!("warning: {dir}/{place}")), "{told}");
    assert!(told.contains("did you mean `apy`?"), "{told}");
    assert!(told.contains("3 files, no fault, 1 warning"), "{told}");
    let strict = ["check", dir, "--environment", "production", "--format"];
    let (code, told) = said(&[&strict[..], &["github"]].concat()).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.starts_with("::error file="), "{told}");
    assert!(told.contains(",line=3,col=56::no destination"), "{told}");
    let (_, told) = said(&[&strict[..], &["json"]].concat()).await;
    let found: serde_json::Value = serde_json::from_str(&told).unwrap();
    let found = &found[0];
    assert_eq!(found["severity"], "error");
    assert_eq!(found["pointer"], "/do/0/ask/with/endpoint");
    assert_eq!((&found["line"], &found["column"]), (&3.into(), &56.into()));
    assert!(found["hint"].is_string() && found["file"].is_string());

    // Tests are checked, too; a file on its own is read as what it is.
    scratch.write("ask.test.yaml", &TESTS.replace("expect", "expects"));
    let file = scratch.path().join("ask.test.yaml");
    let (code, told) = said(&["check", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("did you mean `expect`?"), "{told}");
    let (code, _) = said(&["check", "/nowhere/at/all"]).await;
    assert_eq!(code, Some(2));
    let (code, _) = said(&["check"]).await;
    assert_eq!(code, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_calls_for_real_and_stores_nothing() {
    let crm = Destination::start(|call, number| match number {
        1 => Reply::new(503),
        _ => Reply::new(200).body(&String::from_utf8_lossy(&call.body)),
    })
    .await;
    let scratch = Scratch::new();
    let dir = scratch.path().to_str().unwrap();
    scratch.write("ask.yaml", WORKFLOW);
    scratch.write("api.yaml", &destination(&crm.url()));
    let file = scratch.path().join("ask.yaml");
    let file = file.to_str().unwrap();
    let with = ["--input", r#"{"a":1}"#, "--definitions", dir];
    let allow = ["--egress-allow", "127.0.0.0/8"];
    let (code, told) = said(&[&["run", file], &with[..], &allow[..]].concat()).await;
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "attempt 1: 503",
        "attempt 2: 200",
        "completed, output",
        "t/ask 1.0.0",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert_eq!(crm.calls().len(), 2);

    // The egress guard is the real one.
    let (code, told) = said(&[&["run", file], &with[..]].concat()).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("blocked by egress policy"), "{told}");
    assert_eq!(crm.calls().len(), 2);

    let (code, told) = said(&["run", file, "--input", "{"]).await;
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("the input is not JSON"), "{told}");
    scratch.write("input", r#"{"a":2}"#);
    let input = format!("@{dir}/input");
    let with = ["--input", &input, "--definitions", dir];
    let (code, told) = said(&[&["run", file], &with[..], &allow[..]].concat()).await;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(crm.calls()[2].json()["a"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_asks_a_server_what_it_has() {
    let world = World::start().await;
    let server = format!("http://{}", world.client.address);
    let scratch = Scratch::new();
    let workflow = WORKFLOW.replace("do:", "use: { secrets: [known, unknown] }\ndo:");
    scratch.write("ask.yaml", &workflow);
    let key = "authentication: { bearer: { token: { secret: other.token } } }\n";
    let text = destination("https://b.example").replace("api\n", "b\n") + key;
    scratch.write("b.yaml", &text);
    let secret = world.client.put("/api/v1/secrets/known", r#""the value""#);
    secret.await.good();
    let text = destination("https://api.example");
    let api = world.client.put("/api/v1/destinations/api", text);
    api.await.good();

    let dir = scratch.path().to_str().unwrap();
    let (code, told) = said(&["check", dir, "--server", &server]).await;
    assert_eq!(code, Some(0), "{told}");
    let unknown = "ask.yaml:2:25: /use/secrets/1: no secret is named `unknown`";
    assert!(told.contains(unknown), "{told}");
    assert!(
        told.contains(
            "b.yaml:4:46: /authentication/bearer/token/secret: no secret is named `other`"
        ),
        "{told}"
    );
    assert!(told.contains("no fault, 2 warnings"), "{told}");
    let strict = [
        "check",
        dir,
        "--server",
        &server,
        "--environment",
        "production",
    ];
    let (code, told) = said(&strict).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("2 faults"), "{told}");
    let (code, _) = said(&["check", dir, "--server", "http://127.0.0.1:9"]).await;
    assert_eq!(code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_takes_secrets_from_a_file_and_never_shows_them() {
    let api = Destination::start(|call, _| {
        let body = serde_json::json!({"seen": call.header("authorization")});
        Reply::new(200).body(&body.to_string())
    });
    let api = api.await;
    let scratch = Scratch::new();
    scratch.write("ask.yaml", WORKFLOW);
    let key = "authentication: { bearer: { token: { secret: api.token } } }\n";
    scratch.write("api.yaml", &(destination(&api.url()) + key));
    // It is no definition, so it lies elsewhere.
    let secrets = Scratch::new();
    secrets.write("secrets.yaml", "api: { token: a-token-of-the-test }\n");
    let path = |dir: &Scratch, name: &str| dir.path().join(name).display().to_string();
    let (file, secrets) = (path(&scratch, "ask.yaml"), path(&secrets, "secrets.yaml"));
    let arguments = [
        "run",
        &file,
        "--definitions",
        scratch.path().to_str().unwrap(),
        "--secrets",
        &secrets,
        "--egress-allow",
        "127.0.0.0/8",
    ];
    let (code, told) = said(&arguments).await;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        api.calls()[0].header("authorization"),
        "Bearer a-token-of-the-test"
    );
    assert!(!told.contains("a-token-of-the-test"), "{told}");
    assert!(told.contains(r#"{"seen":"Bearer ***"}"#), "{told}");
}
