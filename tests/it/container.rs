//! The files that run the server elsewhere: what they promise is read from them, since no
//! container engine is at hand when tests run.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::tidy::source::read;

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// Instructions of the Dockerfile's last stage, with continued lines joined.
fn runtime() -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let last = lines
        .iter()
        .rposition(|line| line.starts_with("FROM "))
        .unwrap();
    lines[last..].to_vec()
}

#[test]
fn the_image_runs_as_nobody_in_particular_and_says_how_it_is() {
    let lines = runtime();
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(has("USER 65532:65532"));
    assert!(
        has("ENTRYPOINT [\"hookwright\"]"),
        "exec form: the server is process 1"
    );
    assert!(has("CMD [\"serve\""));
    assert!(has("STOPSIGNAL SIGTERM"));
    assert!(has("VOLUME [\"/data\"]"));
    let text = lines.join("\n");
    assert!(text.contains("CMD [\"hookwright\", \"healthcheck\"]"));
    assert!(
        text.contains("useradd --uid 65532"),
        "initdb asks for the name of its user"
    );
    assert!(text.contains("install --yes --no-install-recommends postgresql "));
}

#[test]
fn the_build_gets_what_it_needs() {
    let allowed = read(".dockerignore");
    for path in [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "config",
        "migrations",
        "tests/it/main.rs",
    ] {
        assert!(
            allowed.lines().any(|line| line == format!("!{path}")),
            "{path}"
        );
    }
}

#[test]
fn compose_publishes_nothing_but_on_loopback_and_checks_everyone() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in compose["services"].as_object().unwrap() {
        assert!(
            service["healthcheck"]["test"].is_array(),
            "{name} has no health check"
        );
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name} publishes {port}"
            );
        }
    }
    assert!(compose["services"]["postgres"]["ports"].is_null());
    let server = &compose["services"]["server"];
    assert_eq!(
        server["depends_on"]["postgres"]["condition"],
        "service_healthy"
    );
    assert_eq!(server["read_only"], true);
}

#[test]
fn compose_asks_for_no_variable_that_the_example_does_not_name() {
    let example = read(".env.example");
    let compose = read("docker-compose.yml");
    let mut asked: BTreeSet<_> = compose
        .split("${")
        .skip(1)
        .map(|rest| rest.split([':', '}', '-']).next().unwrap().to_owned())
        .collect();
    for secret in yaml("docker-compose.yml")["secrets"]
        .as_object()
        .unwrap()
        .values()
    {
        asked.extend(secret["environment"].as_str().map(str::to_owned));
    }
    assert!(asked.contains("POSTGRES_PASSWORD"));
    for name in asked {
        assert!(
            example.lines().any(|line| line == format!("{name}=")),
            "{name}"
        );
    }
}

#[test]
fn alerts_ask_for_metrics_that_exist() {
    let page = read("docs/metrics.md");
    let documented: BTreeSet<_> = page.split('`').collect();
    let alerts = yaml("deploy/prometheus/alerts.yml");
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 10);
    for rule in rules {
        let part = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let words = rule["expr"].as_str().unwrap().split(part);
        for word in words.filter(|w| w.starts_with("hookwright_") || w.starts_with("process_")) {
            assert!(
                documented.contains(word.trim_end_matches("_bucket")),
                "{word}"
            );
        }
        for text in ["summary", "action"] {
            assert!(
                rule["annotations"][text].is_string(),
                "{}: no {text}",
                rule["alert"]
            );
        }
    }
    let scrape = yaml("deploy/prometheus/prometheus.yml");
    assert_eq!(scrape["scrape_configs"][0]["job_name"], "hookwright");
    assert_eq!(scrape["rule_files"][0], "alerts.yml");
}
