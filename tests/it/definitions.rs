//! Definitions as files: `check`, `apply`, and `serve --definitions` with changes on disk.

use serde_json::json;

use crate::world::process::run;
use crate::world::sender::shopify;
use crate::world::{Scratch, World, order, until};

const WORKFLOW: &str = "\
document: { dsl: '1.0.3', namespace: t, name: hello, version: 'VERSION' }
do:
  - greet: { set: { said: 'WORD' } }
";

const BROKEN: &str = "\
document: { dsl: '1.0.3', namespace: t, name: broken, version: '1.0.0' }
do:
  - greet: { sett: { said: hello } }
  - ask:
      call: http
      with: { method: get, endpoint: '${ .a | }' }
";

fn hello(version: &str, word: &str) -> String {
    WORKFLOW.replace("VERSION", version).replace("WORD", word)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_every_fault_with_its_file_and_line() {
    let scratch = Scratch::new();
    scratch.write("hello.yaml", &hello("1.0.0", "hello"));
    let dir = scratch.path().to_str().unwrap();
    let good = run(&["check", dir]).await;
    assert_eq!(
        good.status.code(),
        Some(0),
        "{}{}",
        text(&good.stdout),
        text(&good.stderr)
    );

    scratch.write("broken.yaml", BROKEN);
    scratch.write(
        "shop.yaml",
        "source: shop\nprovider: shopyfy\nsecret: { env: X }\n",
    );
    let bad = run(&["check", dir]).await;
    let said = text(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1), "{said}");
    for place in ["broken.yaml:3:", "broken.yaml:6:", "shop.yaml:2:"] {
        assert!(said.contains(place), "{place} is not in\n{said}");
    }
    assert!(said.contains("did you mean `shopify`?"), "{said}");
    let github = run(&["check", "--format", "github", dir]).await;
    assert!(
        text(&github.stdout).contains("::error file="),
        "{}",
        text(&github.stdout)
    );
    let none = run(&["check", "/nowhere/at/all"]).await;
    assert_eq!(none.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_plans_changes_all_or_nothing_and_prunes() {
    let world = World::start().await;
    let server = format!("http://{}", world.client.address);
    let scratch = Scratch::new();
    let dir = scratch.path().to_str().unwrap();
    scratch.write("hello.yaml", &hello("1.0.0", "hello"));
    let apply = async |more: &[&str]| {
        let mut arguments = vec!["apply", "--server", &server, dir];
        arguments.extend(more);
        let output = run(&arguments).await;
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = apply(&["--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("create"), "{said}");
    let path = "/api/v1/workflows/t/hello/1.0.0";
    assert_eq!(
        world.client.get(path).await.status,
        404,
        "a dry run changes nothing"
    );

    let (code, said) = apply(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.client.get(path).await.status, 200);
    let run = world.run_of("t/hello", &json!({})).await;
    assert_eq!(run["output"], json!({"said": "hello"}));
    let (_, said) = apply(&[]).await;
    assert!(said.contains("unchanged"), "{said}");

    scratch.write("hello.yaml", &hello("1.1.0", "hi"));
    scratch.write("broken.yaml", BROKEN);
    let (code, said) = apply(&[]).await;
    assert_eq!(code, Some(1), "{said}");
    let run = world.run_of("t/hello", &json!({})).await;
    assert_eq!(run["output"], json!({"said": "hello"}), "all or nothing");

    std::fs::remove_file(scratch.path().join("broken.yaml")).unwrap();
    scratch.write("any.yaml", "{source: any, verify: none}\n");
    let (code, said) = apply(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    let run = world.run_of("t/hello", &json!({})).await;
    assert_eq!(run["output"], json!({"said": "hi"}));
    std::fs::remove_file(scratch.path().join("any.yaml")).unwrap();
    let (code, said) = apply(&["--prune"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(world.client.get("/api/v1/sources/any").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_served_and_watched() {
    let scratch = Scratch::new();
    scratch.write("hello.yaml", &hello("1.0.0", "hello"));
    let world = World::with_definitions(scratch.path()).await;
    let run = world.run_of("t/hello", &json!({})).await;
    assert_eq!(run["output"], json!({"said": "hello"}));

    scratch.write("hello.yaml", &hello("1.1.0", "hi"));
    until("the change is served", async || {
        let run = world.run_of("t/hello", &json!({})).await;
        (run["output"] == json!({"said": "hi"})).then_some(())
    })
    .await;

    // A broken file changes nothing of what is served.
    scratch.write("broken.yaml", BROKEN);
    scratch.write("any.yaml", "{source: any, verify: none}\n");
    std::fs::remove_file(scratch.path().join("broken.yaml")).unwrap();
    until("the mended directory is served", async || {
        let source = world.client.get("/api/v1/sources/any").await;
        (source.status == 200).then_some(())
    })
    .await;
    let run = world.run_of("t/hello", &json!({})).await;
    assert_eq!(run["output"], json!({"said": "hi"}));
    let unknown = shopify().delivery("x", order(1));
    assert_eq!(world.client.send(&unknown).await.status, 401);
}
