//! Values: strict JSON, every digit kept, nothing shown that may be secret.

use hookwright::expression::{Expression, Value};
use proptest::prelude::*;

use super::{Fixed, VARIABLES, gives, json, value};

#[test]
fn json_keeps_every_digit_and_the_order() {
    for text in [
        "123456789012345678901234567890",
        "1.10",
        "1e400",
        "-0",
        "1E-999999",
        "0.1",
        r#"{"z":1,"a":[null,true,false,-7,{"b":{}}],"é":"\"\\\n\u0000\u007f"}"#,
    ] {
        assert_eq!(json(&value(text)), text);
        gives(".[0]", &format!("[{text}]"), text);
    }
    let long = format!("1{}", "0".repeat(100_000));
    assert_eq!(json(&value(&long)), long);
    assert_eq!(json(&value(r#"{"id":"1","id":"2"}"#)), r#"{"id":"2"}"#);
    assert_eq!(json(&value(r#""\ud83d\ude00\/""#)), "\"😀/\"");
}

#[test]
fn json_is_strict_and_its_errors_hold_no_data() {
    let texts: [&[u8]; 24] = [
        b"",
        b" ",
        b"hello",
        b"{\"a\":",
        b"{\"a\":1} x",
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"\"\\ud800\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\udc00\"",
        b"\"\xff\"",
        b"\"\xc0\xaf\"",
        b"NaN",
        b"Infinity",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1e",
        b"[1,]",
        b"{\"a\" 1}",
        b"{a:1}",
        b"// x\n1",
        b"\"a\nb\"",
    ];
    for text in texts {
        let error = Value::from_json(text).expect_err(&String::from_utf8_lossy(text));
        assert!(error.0.contains("line"), "{error}");
    }
    let error = Value::from_json(b"{\n \"password\": \"CANARY\" !")
        .unwrap_err()
        .0;
    assert_eq!(
        error,
        "a comma or } was expected here (line 2, byte 23 of it)"
    );
}

#[test]
fn deep_json_is_refused_not_overflowed() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        assert!(Value::from_json(nested(64).as_bytes()).is_ok());
        let error = Value::from_json(nested(65).as_bytes()).unwrap_err().0;
        assert!(
            error.starts_with("the value is nested deeper than 64 levels"),
            "{error}"
        );
        assert!(Value::from_json(nested(100_000).as_bytes()).is_err());
        assert!(Value::from_json(open.repeat(900_000).as_bytes()).is_err());
        let deep = Value::from_json_deep(nested(900).as_bytes(), 900).unwrap();
        assert_eq!(json(&deep), nested(900));
        assert!(Value::from_json_deep(nested(100_000).as_bytes(), usize::MAX).is_err());
    }
}

#[test]
fn large_json_is_read() {
    let array = format!("[{}1]", "1,".repeat(400_000));
    assert_eq!(value(&array).items().unwrap().len(), 400_001);
    let members: Vec<String> = (0..60_000).map(|i| format!("\"k{i}\":1")).collect();
    assert_eq!(
        value(&format!("{{{}}}", members.join(",")))
            .members()
            .unwrap()
            .len(),
        60_000
    );
    let escapes = format!("\"{}\"", "\\u0041".repeat(150_000));
    assert_eq!(value(&escapes).as_str().unwrap().len(), 150_000);
}

#[test]
fn values_compare_as_jq_does() {
    assert_eq!(value("1"), value("1.0"));
    assert_eq!(value(r#"{"a":1,"b":2}"#), value(r#"{"b":2,"a":1}"#));
    assert_ne!(value("1"), value("\"1\""));
}

#[test]
fn values_are_read_by_member_item_and_pointer() {
    let order = value(r#"{"a/b":{"~":[10,20]},"n":2.0,"s":"x","t":true}"#);
    assert_eq!(order.pointer("/a~1b/~0/1").unwrap().as_i64(), Some(20));
    assert_eq!(order.pointer("").unwrap(), order);
    for nowhere in ["/a~1b/~0/01", "/a~1b/~0/2", "/a~1b/~0/-", "n", "/n/x"] {
        assert!(order.pointer(nowhere).is_none(), "{nowhere}");
    }
    assert_eq!(order.get("n").unwrap().as_i64(), Some(2));
    assert_eq!(order.get("s").unwrap().as_str(), Some("x"));
    assert_eq!(order.get("t").unwrap().as_bool(), Some(true));
    assert_eq!(json(&Value::null().with("a", Value::int(1))), r#"{"a":1}"#);
    let many = Value::object((0..100).map(|i| (format!("k{i}"), Value::int(i))));
    assert_eq!(many.get("k77").unwrap().as_i64(), Some(77));
    let serde = serde_json::json!({"a": [1, 2.5, u64::MAX, -1, "x", null, true]});
    assert_eq!(Value::from_serde(&serde).to_serde(), serde);
    assert_eq!(value("1e400").to_serde(), serde_json::json!(f64::MAX));
}

#[test]
fn debug_shows_no_data() {
    let shown = format!("{:?}", value(r#"{"a":"CANARY"}"#));
    assert_eq!(shown, "Value(object, 1 members)");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let number = any::<f64>().prop_filter("JSON has no others", |f| f.is_finite());
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        number.prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let members = prop::collection::hash_map(any::<String>(), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Into::into),
            members.prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_comes_back_as_it_went(tree in any_json()) {
        let value = Value::from_serde(&tree);
        let text = value.to_json();
        let again = Value::from_json(&text).unwrap();
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(&again.to_json(), &text);
        let theirs: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(Value::from_serde(&theirs), value);
    }

    #[test]
    fn any_bytes_are_read_as_serde_json_reads_them(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let ours = Value::from_json(&bytes).is_ok();
        prop_assert_eq!(ours, serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    }

    #[test]
    fn json_like_text_is_read_as_serde_json_reads_it(
        text in r#"[\[\]{}":,0-9eE.+\-tfnaul\\ "]{0,24}"#,
    ) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match Value::from_json(text.as_bytes()) {
            // Numbers beyond a double are ours to keep and serde_json's to refuse.
            Ok(value) => {
                let taken = theirs.is_ok() || text.contains(['e', 'E']);
                prop_assert!(taken, "{}", json(&value));
            }
            Err(e) => prop_assert!(theirs.is_err(), "{e}"),
        }
    }

    #[test]
    fn any_text_compiles_or_is_refused(code in "[a-z.$|,;:(){}\\[\\]\"\\\\'# 0-9+*/=@-]{0,40}") {
        if let Ok(expression) = Expression::compile(&code, &VARIABLES) {
            drop(expression.evaluate(&Value::null(), &Fixed));
        }
    }
}
