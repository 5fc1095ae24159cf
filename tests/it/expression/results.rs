//! What expressions give: jq's results, by jaq and by the short way past it.

use hookwright::expression::{EvaluationError, Expression};

use super::{Fixed, Untouchable, VARIABLES, fails, gives, json, refused, value};

/// Expression, input and result; `!` names the error. Most are from jq's manual.
fn table() -> Vec<(&'static str, &'static str, &'static str)> {
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        (
            cells.next().expect("three cells"),
            cells.next().expect("three cells"),
            cells.next().expect("three cells"),
        )
    };
    include_str!("results.tsv").lines().map(row).collect()
}

#[test]
fn results_are_jqs() {
    for (code, input, expected) in table() {
        match expected {
            "!several" => fails(code, input, "wrap it in [ ]"),
            "!syntax" | "!unknown" | "!refused" => drop(refused(code)),
            expected => gives(code, input, expected),
        }
    }
}

#[test]
fn the_short_way_has_jaqs_results() {
    let inputs = [
        "null",
        "1",
        "\"a\"",
        "[]",
        "{}",
        "[1,2]",
        "[[1],[2]]",
        r#"[{"b":1},{"b":null},{"b":"x"}]"#,
        r#"{"a":1,"b":2,"k":"a"}"#,
        r#"{"a":[1,2.50,3],"b":0,"k":"b"}"#,
        r#"{"a":{"b":{"c":7}},"k":"aba"}"#,
        r#"{"a":"1.10","b":"x","k":"1.10"}"#,
        r#"{"a":[],"b":[],"k":"{\"z\":[1.0]}"}"#,
        r#"{"a":1e400,"b":123456789012345678901234567890,"k":"é"}"#,
        r#"{"a":9223372036854775807,"b":1}"#,
        r#"{"a":[["x"],"y",null,true],"b":false,"k":""}"#,
        r#"{"b":{"y":1,"x":2},"a":{"x":1}}"#,
        r#"{"a":-0,"b":0.0}"#,
        r#"{"a":7,"b":3}"#,
        r#"{"a":6,"b":3}"#,
    ];
    let table = table();
    let plain = include_str!("plain.txt").lines().map(|code| (code, "null"));
    let codes = plain.chain(table.iter().map(|(code, input, _)| (*code, *input)));
    for (code, own) in codes {
        let Ok(plain) = Expression::compile(code, &VARIABLES) else {
            continue;
        };
        let jaq = format!("def same: .; {}", plain.source());
        let jaq = Expression::compile(&jaq, &VARIABLES).unwrap();
        for input in inputs.iter().copied().chain([own]) {
            let input = value(input);
            let prefix = |e: EvaluationError| e.message.split_once("`: ").unwrap().1.to_owned();
            let of = |e: &Expression| e.evaluate(&input, &Fixed).map(|v| json(&v)).map_err(prefix);
            assert_eq!(of(&plain), of(&jaq), "{code} on {}", json(&input));
        }
    }
}

#[test]
fn conditions_have_jq_truth() {
    for (input, truth) in [
        ("null", false),
        ("false", false),
        ("0", true),
        ("\"\"", true),
    ] {
        assert_eq!(value(input).is_truthy(), truth);
    }
}

#[test]
fn only_variables_it_names_are_asked_for() {
    let expression = Expression::compile(".a | ascii_upcase", &VARIABLES).unwrap();
    let result = expression
        .evaluate(&value(r#"{"a":"x"}"#), &Untouchable)
        .unwrap();
    assert_eq!(json(&result), r#""X""#);
}
