//! Every example is checked and passes its own tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::world::process::run;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

fn directories() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(EXAMPLES).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

fn files(directory: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(directory).unwrap();
    let file = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    entries.map(|entry| file(entry.unwrap().path())).collect()
}

async fn passes(arguments: &[&str]) {
    let output = run(arguments).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_are_valid_and_pass_their_tests() {
    let strict = ["check", EXAMPLES, "--environment", "production"];
    passes(&strict).await;
    passes(&["test", EXAMPLES]).await;
}

#[test]
fn each_example_stands_alone_and_is_explained_and_tested() {
    let readme = std::fs::read_to_string(format!("{EXAMPLES}/README.md")).unwrap();
    for directory in directories() {
        let name = directory.file_name().unwrap().to_str().unwrap();
        assert!(
            readme.contains(&format!("({name})")),
            "{name} is not in the README"
        );
        let files = files(&directory);
        let tested: BTreeSet<_> = files
            .iter()
            .filter(|(name, _)| name.ends_with(".test.yaml"))
            .map(|(name, _)| name.replace(".test.yaml", ".yaml"))
            .collect();
        for (file, text) in &files {
            assert!(
                text.starts_with("# "),
                "{name}/{file} has no comment at its head"
            );
            let is_workflow = text.contains("\ndocument:");
            assert!(
                !is_workflow || tested.contains(file),
                "{name}/{file} has no test"
            );
        }
        assert!(!tested.is_empty(), "{name} has no test");
    }
}

#[test]
fn the_tests_of_the_examples_fit_the_schema_for_editors() {
    let schema = include_str!("../../docs/test.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    for directory in directories() {
        for (name, text) in files(&directory) {
            if name.ends_with(".test.yaml") {
                let root = hookwright::workflow::document::read(&text).unwrap();
                let document = root.to_serde();
                let found = schema.validate(&document).err();
                assert!(found.is_none(), "{name}: {found:?}");
            }
        }
    }
}
