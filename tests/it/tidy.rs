//! The rules of the house, as tests: what a reviewer should not have to look for. Each failure
//! prints file and line. An exception stands here, with its reason.

pub mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, files, has_word, read, sources};

/// Modules that decide and do not act.
const PURE: [&str; 5] = ["run", "trigger", "signature", "workflow", "expression"];

/// What acts: I/O, time, chance, the environment.
const IMPURE: [&str; 14] = [
    "tokio",
    "sqlx",
    "reqwest",
    "hyper",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "rand::",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
];

/// Module, word, reason.
const IMPURE_EXCEPTIONS: [(&str, &str, &str); 2] = [
    (
        "expression",
        "Instant::now",
        "an evaluation has a deadline; it never enters a result",
    ),
    (
        "expression",
        "std::thread",
        "the depth of the stack is bounded by the thread's own",
    ),
];

/// Names of files and modules that say nothing, or that mean something else here.
const NAMES_REFUSED: [&str; 14] = [
    "util", "utils", "common", "helper", "helpers", "manager", "service", "handler", "handlers",
    "misc", "step", "job", "activity", "mod",
];

/// Files outside `call` that may name its client, and why.
const CLIENT_EXCEPTIONS: [(&str, &str); 1] = [(
    "src/cli/client.rs",
    "talks to the user's own server, with a client call::egress built",
)];

/// Public items that nothing else names, and why they stay.
const DEAD_EXCEPTIONS: [(&str, &str); 0] = [];

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

fn none(rule: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<_> = found.into_iter().collect();
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// The modules as `lib.rs` lists them, from the doors down.
fn order() -> Vec<String> {
    let text = read("src/lib.rs");
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.split(';').next());
    names.map(str::to_owned).collect()
}

/// Names that follow `crate::`, also those in braces, with their lines.
fn named(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        let line = source.code[..at].matches('\n').count() + 1;
        let rest = &source.code[at + "crate::".len()..];
        let inside = match rest.strip_prefix('{') {
            Some(inside) => top_level(inside),
            None => vec![rest.to_owned()],
        };
        let word = |text: &String| {
            let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
            text.trim_start()
                .chars()
                .take_while(is_part)
                .collect::<String>()
        };
        found.extend(inside.iter().map(|text| (line, word(text))));
    }
    found
}

/// The items of a `{…}` group, split at its own commas.
fn top_level(inside: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            c => items.last_mut().unwrap().push(c),
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

#[test]
fn a_module_names_only_modules_below_it() {
    let order = order();
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut found = Vec::new();
    for source in sources("src") {
        let Some(own) = place(source.module()) else {
            continue;
        };
        for (line, name) in named(source) {
            if place(&name).is_some_and(|other| other < own) {
                found.push(format!(
                    "{} names {name}, which stands above",
                    source.at(line)
                ));
            }
        }
        let way_out = "super::".repeat(source.depth());
        found.extend(
            source
                .places(&way_out)
                .map(|at| format!("{at} leaves its module by super")),
        );
    }
    none("a module may name only modules below it in lib.rs", found);
}

#[test]
fn deciding_modules_do_not_act() {
    let mut found = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| PURE.contains(&source.module()))
    {
        for word in IMPURE {
            let excepted = IMPURE_EXCEPTIONS
                .iter()
                .any(|(module, excepted, _)| *module == source.module() && *excepted == word);
            if !excepted {
                found.extend(source.places(word).map(|at| format!("{at} names {word}")));
            }
        }
    }
    none("modules that decide take values and return values", found);
}

#[test]
fn sql_is_in_store() {
    let mut found = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| source.module() != "store")
    {
        found.extend(source.places("sqlx"));
        let statements = source.strings.iter().filter(|(_, text)| is_sql(text));
        found.extend(statements.map(|(line, _)| source.at(*line)));
    }
    none("SQL stands below store only", found);
}

fn is_sql(text: &str) -> bool {
    let text = text.trim_start().to_lowercase();
    let both = |start: &str, then: &str| text.starts_with(start) && text.contains(then);
    both("select ", " from ")
        || both("update ", " set ")
        || text.starts_with("insert into ")
        || text.starts_with("delete from ")
        || both("with ", " as (")
}

#[test]
fn clients_are_built_behind_the_egress_guard() {
    let mut found = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|s| !s.path.starts_with("src/call/egress"))
    {
        for (index, line) in source.code.lines().enumerate() {
            let builds = [
                "Client::new",
                "Client::builder",
                "ClientBuilder",
                "reqwest::get",
            ]
            .into_iter()
            .any(|word| has_word(line, word));
            // Elsewhere a `Client` may be another; in `call` there is only one.
            if builds && (source.module() == "call" || line.contains("reqwest")) {
                found.push(source.at(index + 1));
            }
        }
        let excepted = CLIENT_EXCEPTIONS
            .iter()
            .any(|(path, _)| *path == source.path);
        if source.module() != "call" && !excepted {
            found.extend(source.places("reqwest"));
        }
    }
    none("only call::egress builds an HTTP client", found);
}

#[test]
fn transactions_begin_in_one_place() {
    let begins = |source: &Source| [".begin()", ".begin_with("].map(|word| places(source, word));
    let places: Vec<_> = sources("src")
        .into_iter()
        .flat_map(begins)
        .flatten()
        .collect();
    let outside = places.iter().filter(|at| !at.starts_with("src/store"));
    none("transactions begin in store", outside.cloned());
    assert!(
        places.len() <= 1,
        "transactions begin in one place:\n  {}",
        places.join("\n  ")
    );
}

fn places(source: &Source, word: &str) -> Vec<String> {
    source.places(word).collect()
}

#[test]
fn every_queue_has_a_bound() {
    let mut found = Vec::new();
    for source in sources("src") {
        for word in ["unbounded_channel", "mpsc::channel()", "channel::unbounded"] {
            found.extend(source.places(word));
        }
    }
    none("every queue has a bound", found);
}

#[test]
fn files_open_with_what_they_are_and_stay_small() {
    let mut found = Vec::new();
    let all = ["src", "tests", "benches"].into_iter().flat_map(sources);
    for source in all {
        if !source.text.starts_with("//!") {
            found.push(format!("{} does not open with //!", source.at(1)));
        }
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{} has {lines} lines", source.at(LINES_MAX)));
        }
        for (index, line) in source.text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                found.push(format!(
                    "{} has over {COLUMNS_MAX} columns",
                    source.at(index + 1)
                ));
            }
        }
    }
    none("files open with //! and stay small", found);
}

#[test]
fn names_say_something() {
    let mut found = Vec::new();
    for source in ["src", "tests"].into_iter().flat_map(sources) {
        let stem = source.path.trim_end_matches(".rs");
        let refused = stem.split('/').find(|part| NAMES_REFUSED.contains(part));
        found.extend(refused.map(|name| format!("{} is named {name}", source.path)));
        for (index, line) in source.code.lines().enumerate() {
            let module = line
                .trim_start()
                .trim_start_matches("pub ")
                .strip_prefix("mod ");
            let name = module.map(|rest| rest.trim_end_matches([';', ' ', '{']));
            if name.is_some_and(|name| NAMES_REFUSED.contains(&name)) {
                found.push(format!("{} names a module so", source.at(index + 1)));
            }
        }
    }
    none("a name that fits anything says nothing", found);
}

/// The name of the public item a line defines.
fn defined(line: &str) -> Option<&str> {
    let mut rest = line.trim_start().strip_prefix("pub ")?;
    for word in [
        "const ", "async ", "static ", "fn ", "struct ", "enum ", "trait ", "type ",
    ] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    if rest.starts_with("use ") || rest.starts_with("mod ") {
        return None;
    }
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    // A field is `pub name: type`; the compiler does not tell either, but names repeat too much.
    (end > 0 && !rest[end..].starts_with(": ") || line.contains("const ")).then(|| &rest[..end])
}

#[test]
fn nothing_public_is_dead() {
    let inside = sources("src");
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for source in inside
        .iter()
        .chain(&sources("tests"))
        .chain(&sources("benches"))
    {
        for line in source
            .code
            .lines()
            .filter(|line| !line.trim_start().starts_with("pub use"))
        {
            for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
                *uses.entry(word.to_owned()).or_default() += 1;
            }
        }
    }
    let mut found = Vec::new();
    for source in &inside {
        for (index, line) in source.code.lines().enumerate() {
            let Some(name) = defined(line) else { continue };
            let excepted = DEAD_EXCEPTIONS.iter().any(|(dead, _)| *dead == name);
            if uses.get(name).copied().unwrap_or_default() < 2 && !excepted {
                found.push(format!("{} {name}", source.at(index + 1)));
            }
        }
    }
    none("public and named nowhere else", found);
}

#[test]
fn every_metric_is_documented() {
    let page = read("docs/metrics.md");
    let documented: BTreeSet<_> = page.split('`').filter(|text| is_metric(text)).collect();
    let sources = sources("src");
    let mut registered = BTreeSet::new();
    let mut found = Vec::new();
    for source in sources
        .iter()
        .filter(|source| has_word(&source.code, "prometheus"))
    {
        for (line, text) in source.strings.iter().filter(|(_, text)| is_metric(text)) {
            registered.insert(text.as_str());
            if !documented.contains(text.as_str()) {
                found.push(format!(
                    "{} {text} is not in docs/metrics.md",
                    source.at(*line)
                ));
            }
        }
    }
    let gone = documented.difference(&registered);
    found.extend(gone.map(|name| format!("docs/metrics.md {name} is registered nowhere")));
    none("docs/metrics.md lists what there is", found);
}

fn is_metric(text: &str) -> bool {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.strip_prefix("hookwright_")
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(part))
}

#[test]
fn every_key_is_explained() {
    let mut found = Vec::new();
    for path in files("config")
        .iter()
        .filter(|path| path.contains("default"))
    {
        let text = read(path);
        let mut above = "";
        for (index, line) in text.lines().enumerate() {
            let is_key = line.split_once('=').is_some_and(|(key, _)| {
                key.trim()
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_')
            });
            if is_key && !line.starts_with('#') && !above.starts_with("# ") {
                found.push(format!("{path}:{} has no comment above it", index + 1));
            }
            above = line;
        }
    }
    none(
        "every key has a sentence: meaning, unit, what happens beyond it",
        found,
    );
}

#[test]
fn every_dependency_is_decided() {
    let page = read("docs/decisions/0001-dependencies.md");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let names = tables
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(|table| table.keys());
    let undecided = names.filter(|name| !page.contains(&format!("`{name}`")));
    none(
        "docs/decisions/0001-dependencies.md has a line for each dependency",
        undecided.cloned(),
    );
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let words = [["/wo", "rk/"].concat(), ["../sha", "red"].concat()];
    let mut found = Vec::new();
    for path in files("").iter().filter(|path| !path.ends_with(".lock")) {
        for (index, line) in read(path).lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}:{}", index + 1));
            }
        }
    }
    none("the project stands alone", found);
}

#[test]
fn the_scanner_tells_code_from_text() {
    let text = "//! crate::a\nlet x = \"crate::b\"; /* crate::c /* d */ */ let y = 'c';\n\
                let z: &'static str = r#\"select \"x\" from\n y\"#; use crate::{d, e::{f, g}};";
    let source = Source::new("src/run/task.rs".to_owned(), text.to_owned());
    assert_eq!(source.module(), "run");
    assert_eq!(named(&source), [(4, "d".to_owned()), (4, "e".to_owned())]);
    assert_eq!(source.strings[1], (3, "select \"x\" from\n y".to_owned()));
    assert!(is_sql(&source.strings[1].1.replace('\n', " ")));
    assert_eq!(defined("    pub async fn settle(&self)"), Some("settle"));
    assert_eq!(
        defined("pub const LINES_MAX: usize = 1;"),
        Some("LINES_MAX")
    );
    assert_eq!(defined("    pub name: String,"), None);
    assert_eq!(defined("pub(super) fn hidden()"), None);
}
