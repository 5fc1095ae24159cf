//! The whole catalogue against vectors, through what `hookwright sources verify` runs.
//!
//! `data/vectors.json` is a list of requests with the verdict each must get. `source` names the
//! public test suite it was taken from; those marked `constructed` were made for this catalogue.

use std::collections::BTreeSet;
use std::process::Command;

use hookwright::cli::vectors;
use hookwright::signature::Scheme;
use serde_json::Value;

const VECTORS: &str = include_str!("data/vectors.json");

#[test]
fn all_vectors_pass() {
    let report = vectors::verify(VECTORS, &[]).expect("a list of vectors");
    assert!(report.failures.is_empty(), "{}", report.failures.join("\n"));
    assert_eq!(report.passed, 335);
}

#[test]
fn every_provider_but_one_has_a_vector() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).expect("a list");
    let named: BTreeSet<_> = vectors
        .iter()
        .filter_map(|vector| vector["provider"].as_str())
        .collect();
    let providers = Scheme::providers();
    assert_eq!(providers.len(), 78);
    let without: Vec<_> = providers
        .into_iter()
        .filter(|name| !named.contains(name))
        .collect();
    // Nothing public tells how it signs; its entry is marked as unchecked.
    assert_eq!(without, ["zoho-desk"]);
    assert!(!Scheme::about("zoho-desk").expect("an entry").checked);
}

#[test]
fn the_table_of_providers_is_the_catalogue() {
    let page = include_str!("../../docs/sources.md");
    for name in Scheme::providers() {
        let about = Scheme::about(name).expect("an entry");
        let names = |named: &[(String, String)]| match named {
            [] => "–".to_owned(),
            named => {
                let names: Vec<_> = named.iter().map(|(name, _)| format!("`{name}`")).collect();
                names.join(", ")
            }
        };
        let (secrets, parameters) = (names(&about.secrets), names(&about.parameters));
        let row = format!("| `{name}` | {} | {secrets} | {parameters} |", about.title);
        assert!(page.contains(&row), "docs/sources.md lacks: {row}");
    }
}

#[test]
fn the_command_tells_failures_and_ends_with_them() {
    let dir = tempfile();
    let good = dir.join("good.json");
    let bad = dir.join("bad.json");
    let mut vectors: Vec<Value> = serde_json::from_str(VECTORS).expect("a list");
    vectors.truncate(3);
    std::fs::write(&good, serde_json::to_vec(&vectors).unwrap()).unwrap();
    vectors[0]["valid"] = Value::Bool(false);
    vectors[1]["provider"] = "nobody".into();
    std::fs::write(&bad, serde_json::to_vec(&vectors).unwrap()).unwrap();
    let run = |file: &std::path::Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_hookwright"))
            .args(["sources", "verify", "--vectors"])
            .arg(file)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    assert_eq!(run(&good), (Some(0), "3 passed, 0 failed\n".to_owned()));
    let (code, said) = run(&bad);
    assert_eq!(code, Some(1));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].contains("accepted, though forged"), "{said}");
    assert!(lines[1].contains("no such provider"), "{said}");
    assert_eq!(lines[2], "1 passed, 2 failed");
    std::fs::remove_dir_all(dir).unwrap();
}

fn tempfile() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("vectors-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
