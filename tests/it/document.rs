//! YAML and JSON as trees: the core schema, places, limits, and text that means harm.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hookwright::workflow::document::{
    Content, DEPTH_MAX, Faults, Node, Place, TEXT_BYTES_MAX, duration, read,
};
use proptest::prelude::*;

fn json(text: &str) -> serde_json::Value {
    read(text).expect("a document").to_serde()
}

fn refused(text: &str) -> String {
    read(text).expect_err("no document").to_string()
}

#[test]
fn scalars_follow_the_core_schema() {
    let text = "[on, off, yes, no, y, 12:30:00, 2026-01-02, 1_000, 0b1, -0x1, '1', \"true\", +]";
    let strings = read(text).unwrap();
    let Content::Array(items) = &strings.content else {
        panic!("a list")
    };
    assert!(
        items.iter().all(|item| item.as_str().is_some()),
        "{items:?}"
    );
    assert_eq!(
        json("{oct: 010, o: 0o10, hex: 0x1F, plus: +5, dot: .5, end: 1., big: 1e3, neg: -0.0}"),
        serde_json::json!({
            "oct": 10, "o": 8, "hex": 31, "plus": 5, "dot": 0.5, "end": 1.0, "big": 1e3, "neg": -0.0
        })
    );
    assert_eq!(
        json(
            "[~, null, NULL, , True, FALSE]"
                .replace(", ,", ",")
                .as_str()
        ),
        serde_json::json!([null, null, null, true, false])
    );
    assert_eq!(json("a:\nb: ''\n"), serde_json::json!({"a": null, "b": ""}));
    assert_eq!(json("on: off"), serde_json::json!({"on": "off"}));
    assert_eq!(
        json("1: x\nnull: y"),
        serde_json::json!({"1": "x", "null": "y"})
    );
}

#[test]
fn numbers_keep_their_digits() {
    let node = read("12345678901234567890123.4500").unwrap();
    assert!(matches!(node.content, Content::Number(n) if n == "12345678901234567890123.4500"));
}

#[test]
fn json_is_yaml() {
    let text = "{\"a\": \"\\ud83d\\ude00\\/\\t\", \"b\": [1, -2.5e-3, {}, []],\t\"c\":null}\n";
    assert_eq!(
        json(text),
        serde_json::from_str::<serde_json::Value>(text).unwrap()
    );
    let long = "x".repeat(5000);
    let text = serde_json::json!({"list": [long, long], "text": long}).to_string();
    assert_eq!(json(&text)["text"], long.as_str());
}

#[test]
fn tags_of_the_core_schema_only() {
    assert_eq!(json("!!str 12"), "12");
    assert_eq!(json("! 12"), "12");
    assert_eq!(json("!!int 12"), 12);
    assert_eq!(json("!!map {a: !!seq []}"), serde_json::json!({"a": []}));
    assert_eq!(
        refused("a: !!int x"),
        "1:10 /a: `x` is not what its tag says (remove the tag)"
    );
    assert_eq!(
        refused("a: !Ref x"),
        "1:9 /a: the tag !Ref has no meaning here (remove the tag, or quote the text)"
    );
}

#[test]
fn every_node_knows_its_place() {
    let node = read("a: 1\nb:\n  - c: x\n  - 'd/e~': {f: é, g: y}\n").unwrap();
    let place = |pointer: &str| node.pointer(pointer).map(|n| (n.line, n.column));
    assert_eq!(place("/a"), Some((1, 4)));
    assert_eq!(place("/b/0/c"), Some((3, 8)));
    assert_eq!(place("/b/1/d~1e~0/g"), Some((4, 23)));
    assert_eq!(place("/b/2"), None);
    assert_eq!(place("/b/x"), None);
}

#[test]
fn anchors_are_expanded() {
    let text = "a: &v {x: [1, 2]}\nb: [*v, *v]\n";
    let expected = serde_json::json!({"a": {"x": [1, 2]}, "b": [{"x": [1, 2]}, {"x": [1, 2]}]});
    assert_eq!(json(text), expected);
    let inside = refused("a: &a [1, *a]");
    assert_eq!(
        inside,
        "1:11 /a/1: an alias cannot stand inside what it names"
    );
}

#[test]
fn what_is_not_one_document_is_refused() {
    assert_eq!(refused(""), "1:1: the document is empty");
    assert_eq!(refused("# nothing\n"), "1:1: the document is empty");
    assert_eq!(
        refused("a: 1\n---\nb: 1\n"),
        "2:1: a second document begins here (put each document into a file or request of its own)"
    );
    assert_eq!(
        refused("a:\n  b: 1\n  c: 2\n  b: 3\n"),
        "4:3 /a: the key `b` is there twice (keep one of the two)"
    );
    assert!(refused("do: [").contains("this is not YAML"));
    assert_eq!(
        refused("a: .inf"),
        "1:4 /a: `.inf`: infinity and not-a-number do not exist in JSON \
         (put it in quotes if a string is meant)"
    );
    assert_eq!(refused("[a]: 1"), "1:1: a key must be a plain word");
    assert_eq!(refused("? {a: b}\n: 1"), "1:3: a key must be a plain word");
}

#[test]
fn limits_hold_and_hold_quickly() {
    let started = Instant::now();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{refs}]").unwrap();
    }
    assert!(refused(&bomb).contains("more than 100000 nodes"));
    let names: String = (0..60).map(|n| format!("[&n{n} ")).collect();
    let nested = format!("{names}[{}]{}", "1,".repeat(90_000), "]".repeat(60));
    assert!(refused(&nested).contains("too much of the document has names"));
    let text = "y".repeat(500_000);
    let fat = format!("a: &a '{text}'\nb: [{}]\n", "*a, ".repeat(50_000));
    assert!(refused(&fat).contains("bytes of text"));
    assert!(refused(&"[".repeat(2_000_000)).contains("2000000 bytes"));
    refused(&"[".repeat(1_000_000));
    refused(&"- ".repeat(500_000));
    refused(&"{a: ".repeat(250_000));
    refused(&"? ".repeat(500_000));
    refused(&"&a ".repeat(300_000));
    assert!(read(&format!("a: {}", "z".repeat(TEXT_BYTES_MAX - 10))).is_ok());
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn depth_is_limited_also_through_aliases() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert!(refused(&nested(DEPTH_MAX + 1)).contains("64 levels"));
    let half = DEPTH_MAX / 2;
    let shared = format!(
        "a: &a {}\nb: {}*a{}\n",
        nested(half),
        "[".repeat(half),
        "]".repeat(half)
    );
    assert!(refused(&shared).contains("64 levels"));
}

#[test]
fn durations() {
    let of = |text: &str| duration(&read(text).unwrap()).map(|d| d.as_millis());
    assert_eq!(of("PT1.5S"), Ok(1500));
    assert_eq!(of("P1DT2H"), Ok(26 * 3_600_000));
    assert_eq!(of("PT0.005M"), Ok(300));
    assert_eq!(of("P2W"), Ok(14 * 86_400_000));
    assert_eq!(of("PT0S"), Ok(0));
    assert_eq!(
        of("{seconds: 1, milliseconds: 20, days: 1}"),
        Ok(86_401_020)
    );
    for wrong in [
        "P", "PT", "P1M", "P1Y", "1S", "PT1", "PT1S1M", "PT-1S", "PT1,5S", "pt1s", "PT.5S",
    ] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
    for wrong in [
        "{}",
        "{seconds: 1.5}",
        "{seconds: -1}",
        "{weeks: 1}",
        "5",
        "{seconds: x}",
    ] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
    assert!(of("P99999999999999999999999999D").is_err());
    assert!(of("{days: 18446744073709551615}").is_err());
    assert!(of("{days: 3651}").is_err());
}

fn read_sample(node: &Node) -> (Option<String>, Vec<String>) {
    let faults = Faults::new();
    let name = Place::root(node, &faults).object().and_then(|object| {
        let name = object.required_string("name").map(str::to_owned);
        let _ = object.optional_duration("timeout");
        let _ = object
            .optional("limit")
            .and_then(|place| place.integer(1, 10));
        let _ = object
            .optional("mode")
            .and_then(|place| place.one_of(&["strict", "loose"]));
        let _ = object.optional_bool("redirect");
        object.finish();
        name
    });
    let faults = faults.into_sorted();
    (name, faults.iter().map(ToString::to_string).collect())
}

#[test]
fn a_reader_collects_all_faults() {
    let text = "nam: x\ntimeout: P1Y\nlimit: 11\nmode: lose\nredirect: yes\nzzz: 1\n";
    let (_, faults) = read_sample(&read(text).unwrap());
    insta::assert_snapshot!(faults.join("\n"), @"
    1:1: `name` is missing here
    1:1 /nam: unknown key `nam` (did you mean `name`?)
    2:10 /timeout: years and months have no fixed length; write days, such as P30D
    3:8 /limit: this must be a whole number from 1 to 10
    4:7 /mode: `lose` is not one of the words known here (did you mean `loose`?)
    5:11 /redirect: this must be true or false and is a string
    6:1 /zzz: unknown key `zzz` (known here: name, timeout, limit, mode, redirect)
    ");
    let (name, faults) = read_sample(&read("{name: a, limit: 3}").unwrap());
    assert_eq!((name.as_deref(), faults.len()), (Some("a"), 0));
}

proptest! {
    #[test]
    fn any_text_ends_in_a_tree_or_a_fault(text in "[-a-c0:\\[\\]{}&*!?|>%@'\", \n#.~<]{0,80}") {
        if let Err(fault) = read(&text) {
            prop_assert!(fault.line >= 1 && fault.column >= 1);
        }
    }

    #[test]
    fn what_json_says_is_what_is_read(value in arbitrary_json()) {
        prop_assert_eq!(json(&value.to_string()), value);
    }
}

fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}
