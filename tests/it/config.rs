//! Layers of configuration: what wins, what is refused, and what the message says.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use hookwright::config::embedded::{DEFAULT, ENVIRONMENTS, environment};
use hookwright::config::{Error, Layers};
use serde::Deserialize;

const TEXT: &str = r#"
[http]
listen = "127.0.0.1:8080"
body_bytes_max = 1048576
ratio = 0.5
secure = false
roles = ["receive", "work"]
[http.limits]
idle_ms = 100
[labels]
"#;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Http {
    listen: String,
    body_bytes_max: u32,
    ratio: f64,
    secure: bool,
    roles: Vec<String>,
    limits: Limits,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Limits {
    idle_ms: u16,
}

fn layers() -> Layers {
    Layers::new(TEXT).unwrap()
}

fn variables(pairs: &[(&str, &str)]) -> Result<Layers, Error> {
    layers().variables(
        pairs
            .iter()
            .map(|(name, text)| (name.to_string(), text.to_string())),
    )
}

#[test]
fn a_later_layer_wins_key_by_key() {
    let http: Http = layers()
        .text(
            "staging.toml",
            "[http]\nlisten = \"0.0.0.0:1\"\n[http.limits]\nidle_ms = 5",
        )
        .unwrap()
        .variables([(
            "HOOKWRIGHT__HTTP__BODY_BYTES_MAX".to_owned(),
            "2_000".to_owned(),
        )])
        .unwrap()
        .set("--listen", "http.listen", "0.0.0.0:2")
        .unwrap()
        .section("http")
        .unwrap();
    assert_eq!(http.listen, "0.0.0.0:2");
    assert_eq!(http.body_bytes_max, 2000);
    assert_eq!(http.limits.idle_ms, 5);
    assert_eq!(http.ratio, 0.5);
}

#[test]
fn a_variable_has_the_type_of_its_default() {
    let http: Http = variables(&[
        ("HOOKWRIGHT__HTTP__LISTEN", "12345"),
        ("HOOKWRIGHT__HTTP__RATIO", "1"),
        ("HOOKWRIGHT__HTTP__SECURE", "true"),
        ("HOOKWRIGHT__HTTP__ROLES", "receive, schedule"),
        ("HOOKWRIGHT_SECRET_CRM", "is no configuration"),
        ("PATH", "/bin"),
    ])
    .unwrap()
    .section("http")
    .unwrap();
    assert_eq!(http.listen, "12345");
    assert_eq!(http.ratio, 1.0);
    assert!(http.secure);
    assert_eq!(http.roles, ["receive", "schedule"]);
}

#[test]
fn an_empty_section_takes_any_key() {
    let layers = layers()
        .text("a.toml", "[labels]\nteam = \"shop\"")
        .unwrap();
    let labels: std::collections::BTreeMap<String, String> = layers.section("labels").unwrap();
    assert_eq!(labels["team"], "shop");
}

#[test]
fn messages_say_where_and_what() {
    let message = |result: Result<Layers, Error>| result.unwrap_err().to_string();
    assert_eq!(
        message(layers().text("a.toml", "[http]\nlisen = \"x\"")),
        "a.toml: there is no key http.lisen; did you mean http.listen?"
    );
    assert_eq!(
        message(layers().text("a.toml", "[htp]\nlisten = \"x\"")),
        "a.toml: there is no key htp; did you mean http?"
    );
    assert_eq!(
        message(variables(&[("HOOKWRIGHT__HTTP__BODY_BYTES_MAX", "much")])),
        "the variable HOOKWRIGHT__HTTP__BODY_BYTES_MAX: http.body_bytes_max must be an integer, \
         not a text"
    );
    assert_eq!(
        message(layers().set("--limits", "http.limits", 5)),
        "--limits: http.limits must be a section, not an integer"
    );
    assert_eq!(
        message(layers().text("a.toml", "[http]\nlisten = hunter2")),
        "a.toml is not valid TOML: line 2: string values must be quoted, expected literal string"
    );
}

#[test]
fn a_value_the_type_refuses_names_layer_and_key() {
    let layers = layers()
        .text("a.toml", "[http.limits]\nidle_ms = 100_000")
        .unwrap();
    let error = layers.section::<Http>("http").unwrap_err().to_string();
    assert!(
        error.starts_with("a.toml: http.limits.idle_ms is refused: "),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = layers()
        .file("no/such.toml".as_ref())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "cannot read the configuration file no/such.toml");
}

#[test]
fn hostile_keys_are_refused_not_followed() {
    for name in [
        "HOOKWRIGHT__",
        "HOOKWRIGHT____",
        "HOOKWRIGHT__HTTP__",
        "HOOKWRIGHT__A__B__C",
    ] {
        assert!(variables(&[(name, "x")]).is_err(), "{name}");
    }
}

#[test]
fn variables_that_are_not_text_are_refused_if_they_are_ours() {
    let binary = || OsString::from_vec(vec![0xff, 0xfe]);
    assert!(
        layers()
            .variables([(OsString::from("OTHER"), binary())])
            .is_ok()
    );
    assert!(layers().variables([(binary(), binary())]).is_ok());
    let error = layers().variables([(OsString::from("HOOKWRIGHT__HTTP__LISTEN"), binary())]);
    let message = error.unwrap_err().to_string();
    assert!(
        message.ends_with("http.listen is refused: it is not UTF-8"),
        "{message}"
    );
}

#[test]
fn every_environment_fits_the_default() {
    for name in ENVIRONMENTS {
        let text = environment(name).unwrap();
        let layers = Layers::new(DEFAULT).unwrap().text(name, text).unwrap();
        layers
            .section::<hookwright::secret::Config>("secret")
            .unwrap();
    }
    assert!(environment("elsewhere").is_none());
}
