//! Definitions as files: what is wrong is told with its place, and a set is applied whole.

use std::path::{Path, PathBuf};

use hookwright::api::definitions::plan::{ApplyError, Mode, apply};
use hookwright::api::definitions::{ReadError, read};
use hookwright::id::Id;

use crate::api::{checks, workflow};
use crate::postgres::database;

/// A directory of files that goes away.
struct Files(PathBuf);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = std::env::temp_dir().join(format!("hookwright-files-{}", Id::generate()));
        let this = Self(directory);
        for (name, text) in files {
            this.write(name, text);
        }
        this
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn faults(files: &Files) -> String {
    match read(&files.0, &checks()) {
        Err(error @ ReadError::Faults(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

async fn plan(store: &hookwright::store::Store, files: &Files, mode: Mode) -> Vec<String> {
    let set = read(&files.0, &checks()).unwrap();
    let plan = apply(store, set, mode).await.unwrap();
    plan.lines.iter().map(ToString::to_string).collect()
}

const DRY: Mode = Mode {
    dry_run: true,
    prune: false,
};
const APPLY: Mode = Mode {
    dry_run: false,
    prune: false,
};
const PRUNE: Mode = Mode {
    dry_run: false,
    prune: true,
};

#[test]
fn all_faults_of_all_files_name_their_place() {
    let files = Files::new(&[
        ("a.yaml", "source: shop\n"),
        ("b/c.yml", "source: shop\n"),
        ("b/d.json", "{\"nothing\": 1}"),
        ("e.yaml", "\nsource: [1\n"),
        (".hidden.yaml", "]"),
        ("README.md", "not a definition"),
    ]);
    let text = faults(&files);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].starts_with("b/d.json:1:1: this is no definition ("),
        "{text}"
    );
    assert!(lines[1].starts_with("e.yaml:"), "{text}");
    assert_eq!(
        lines[2],
        "b/c.yml:1:9: /source: source shop is defined in a.yaml already (remove one of the two)"
    );
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = read(Path::new("/nowhere/at/all"), &checks()).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/at/all cannot be read");
}

#[tokio::test]
async fn a_set_is_planned_applied_and_pruned() {
    let store = database().await.store;
    let files = Files::new(&[
        ("shop.yaml", "source: shop\n"),
        ("crm.yaml", "destination: crm\n"),
    ]);
    let both = ["create    destination crm", "create    source shop"];
    assert_eq!(plan(&store, &files, DRY).await, both);
    assert!(
        store.sources().await.unwrap().is_empty(),
        "a plan changes nothing"
    );
    assert_eq!(plan(&store, &files, APPLY).await, both);
    let revision = store.revision().await.unwrap();
    assert_eq!(
        plan(&store, &files, PRUNE).await,
        ["unchanged destination crm", "unchanged source shop"]
    );
    assert_eq!(
        store.revision().await.unwrap(),
        revision,
        "nothing changed, nothing is announced"
    );
    files.write("shop.yaml", "source: shop\nmore: 1\n");
    files.remove("crm.yaml");
    assert_eq!(plan(&store, &files, APPLY).await, ["update    source shop"]);
    assert_eq!(
        store.destinations().await.unwrap().len(),
        1,
        "without --prune it stays"
    );
    assert_eq!(
        plan(&store, &files, PRUNE).await,
        ["unchanged source shop", "delete    destination crm"]
    );
    assert!(store.destinations().await.unwrap().is_empty());
    assert_eq!(store.revision().await.unwrap(), revision + 2);
}

#[tokio::test]
async fn the_highest_version_of_a_set_is_active() {
    let store = database().await.store;
    let files = Files::new(&[
        ("10.yaml", &workflow("1.10.0", 10)),
        ("9.yaml", &workflow("1.9.0", 9)),
        ("rc.yaml", &workflow("1.10.0-rc.1", 8)),
    ]);
    plan(&store, &files, APPLY).await;
    let active = store.deployed_workflows().await.unwrap();
    assert_eq!(active.len(), 1);
    assert_eq!(active[0].version, "1.10.0");
    let again = plan(&store, &files, APPLY).await;
    assert!(
        again.iter().all(|line| line.starts_with("unchanged")),
        "{again:?}"
    );

    files.write("9.yaml", &workflow("1.9.0", 99));
    files.write("new.yaml", "source: new\n");
    let set = read(&files.0, &checks()).unwrap();
    let Err(ApplyError::Conflicts(conflicts)) = apply(&store, set, APPLY).await else {
        panic!("a stored version was changed");
    };
    let told = conflicts[0].to_string();
    let expected = "9.yaml:5:12: /document/version: workflow shop/order 1.9.0 is stored \
                    with other content (raise document.version)";
    assert_eq!(told, expected);
    assert!(store.sources().await.unwrap().is_empty(), "all or nothing");

    for name in ["10.yaml", "9.yaml", "rc.yaml"] {
        files.remove(name);
    }
    let pruned = plan(&store, &files, PRUNE).await;
    assert_eq!(
        pruned,
        [
            "create    source new",
            "delete    workflow shop/order 1.10.0"
        ]
    );
    assert!(store.deployed_workflows().await.unwrap().is_empty());
}
