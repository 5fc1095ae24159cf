//! Expressions: jq's results, our limits, and messages without data.

use std::time::Duration;

use hookwright::expression::{
    CompileError, EvaluationError, Expression, Mode, Scope, Template, Value,
};
use jiff::Timestamp;
use proptest::prelude::*;

const VARIABLES: [&str; 4] = ["context", "input", "secrets", "workflow"];

/// `$context` is `{"source":"shop"}`, `$secrets` one canary, all else null.
struct Fixed;

impl Scope for Fixed {
    fn variable(&self, name: &str) -> Value {
        match name {
            "context" => value(r#"{"source":"shop"}"#),
            "secrets" => value(r#"{"key":"CANARY"}"#),
            _ => Value::null(),
        }
    }
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }
}

/// Fails if anything is asked of it.
struct Untouchable;

impl Scope for Untouchable {
    fn variable(&self, name: &str) -> Value {
        panic!("asked for ${name}")
    }
    fn now(&self) -> Timestamp {
        panic!("asked for now")
    }
}

fn value(json: &str) -> Value {
    Value::from_json(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"))
}

fn json(value: &Value) -> String {
    String::from_utf8(value.to_json()).unwrap()
}

fn evaluate(code: &str, input: &str) -> Result<Value, EvaluationError> {
    let compiled = Expression::compile(code, &VARIABLES);
    let compiled = compiled.unwrap_or_else(|e| panic!("{code}: {} {:?}", e.message, e.hint));
    compiled.evaluate(&value(input), &Fixed)
}

#[track_caller]
fn gives(code: &str, input: &str, expected: &str) {
    let result = evaluate(code, input).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json(&result), expected, "{code} on {input}");
}

#[track_caller]
fn fails(code: &str, input: &str, expected: &str) {
    match evaluate(code, input) {
        Ok(result) => panic!("{code} gave {}", json(&result)),
        Err(e) => assert!(e.message.contains(expected), "{code}: {}", e.message),
    }
}

#[track_caller]
fn refused(code: &str) -> CompileError {
    Expression::compile(code, &VARIABLES)
        .map(|_| ())
        .expect_err(code)
}

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

/// jq's results, most of them from its manual.
const RESULTS: &[(&str, &str, &str)] = &[
    (".", "1.0", "1.0"),
    ("${ .a.b }", r#"{"a":{"b":3}}"#, "3"),
    (".a.b.c", "{}", "null"),
    (".[0].data", r#"[{"data":7}]"#, "7"),
    (".[-1]", "[1,2,3]", "3"),
    (".[1.7]", "[1,2,3]", "2"),
    (".[1:]", "[1,2,3]", "[2,3]"),
    (".[:-1]", r#""héllo""#, r#""héll""#),
    ("[.[1:1.2]]", "null", "[null]"),
    (".a?", "1", "null"),
    (r#"."a-b""#, r#"{"a-b":1}"#, "1"),
    ("[.[]]", r#"{"a":1,"b":2}"#, "[1,2]"),
    (
        "{a, b: .c, (.d): 1, $context}",
        r#"{"a":1,"c":2,"d":"x"}"#,
        r#"{"a":1,"b":2,"x":1,"context":{"source":"shop"}}"#,
    ),
    (
        "[.[] | {sku, n: .quantity}]",
        r#"[{"sku":"A","quantity":2}]"#,
        r#"[{"sku":"A","n":2}]"#,
    ),
    ("$context.source", "{}", r#""shop""#),
    ("$workflow", "{}", "null"),
    (
        ".total_price | tonumber",
        r#"{"total_price":"409.94"}"#,
        "409.94",
    ),
    ("(.a | tonumber) * 100", r#"{"a":"1.50"}"#, "150"),
    (".a + 1", r#"{"a":9007199254740993}"#, "9007199254740994"),
    ("1 / 3", "null", "0.3333333333333333"),
    ("6 / 3", "null", "2"),
    ("5 % 3, 1 | tostring", "null", "!several"),
    ("7.9 % 4.2", "null", "3"),
    ("1 == 1.0", "null", "true"),
    (".a == null", "{}", "true"),
    (".s >= 500 or .s == 429", r#"{"s":429}"#, "true"),
    ("(.a and .b) | not", r#"{"a":1}"#, "true"),
    (".a // \"none\"", r#"{"a":false}"#, r#""none""#),
    ("if .a then 1 elif .b then 2 else 3 end", r#"{"b":0}"#, "2"),
    ("if .a then 1 end", r#"{"a":null}"#, r#"{"a":null}"#),
    (
        r#""\(.id): \(.tags) \(.t)""#,
        r#"{"id":1.10,"tags":["a"],"t":"x"}"#,
        r#""1.10: [\"a\"] x""#,
    ),
    ("\"${\"", "null", r#""${""#),
    ("map(select(.a > 1)) | length", r#"[{"a":1},{"a":2}]"#, "1"),
    ("[.[] | select(. != null)]", "[1,null]", "[1]"),
    ("map(.+1)", "[1,2]", "[2,3]"),
    ("add", r#"["a","b"]"#, r#""ab""#),
    ("add / length", "[1,2]", "1.5"),
    ("to_entries", r#"{"a":1}"#, r#"[{"key":"a","value":1}]"#),
    (
        "from_entries",
        r#"[{"name":"a","value":1},{"k":"b","v":2},{"key":null,"value":3}]"#,
        r#"{"a":1,"b":2,"null":3}"#,
    ),
    ("with_entries(.value += 1)", r#"{"a":1}"#, r#"{"a":2}"#),
    ("keys", r#"{"b":1,"a":2}"#, r#"["a","b"]"#),
    (".[0] += 1 | .a? // .", "[1]", "[2]"),
    (".a.b = 1", "null", r#"{"a":{"b":1}}"#),
    (".[2] = 1", "[0]", "[0,null,1]"),
    ("setpath([\"a\",0]; 1)", "null", r#"{"a":[1]}"#),
    ("del(.a)", r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
    ("pick(.a.b)", r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":1}}"#),
    ("reduce .[] as $x (0; . + $x)", "[1,2,3]", "6"),
    ("[foreach .[] as $x (0; . + $x)]", "[1,2,3]", "[1,3,6]"),
    ("[limit(2; .[])]", "[1,2,3]", "[1,2]"),
    ("first(range(10; 0; -1))", "null", "10"),
    ("[range(0; 10; 3)]", "null", "[0,3,6,9]"),
    ("join(\"-\")", r#"["a",null,1,true]"#, r#""a--1-true""#),
    ("split(\", \")", r#""a, b""#, r#"["a","b"]"#),
    (
        "ascii_downcase | ltrimstr(\"ab\") | rtrimstr(\"f\")",
        r#""ABCDEF""#,
        r#""cde""#,
    ),
    ("trimstr(\"-\")", r#""-a-""#, r#""a""#),
    ("ltrimstr(1)", "2", "2"),
    ("test(\"^a+$\"; \"i\")", r#""AAA""#, "true"),
    ("[match(\"b\"; \"g\").offset]", r#""abab""#, "[1,3]"),
    (
        "capture(\"(?<y>[0-9]{4})-(?<m>[0-9]{2})\")",
        r#""2026-11""#,
        r#"{"y":"2026","m":"11"}"#,
    ),
    (
        "gsub(\"(?<d>[0-9])\"; \"<\\(.d)>\")",
        r#""a1b2""#,
        r#""a<1>b<2>""#,
    ),
    ("[scan(\"[a-z]+\")]", r#""ab 12 cd""#, r#"["ab","cd"]"#),
    ("[splits(\", *\")]", r#""a, b,c""#, r#"["a","b","c"]"#),
    ("@csv", r#"["a\"b",1,null,true]"#, r#""\"a\"\"b\",1,,true""#),
    ("@tsv", r#"["a\tb",1]"#, r#""a\\tb\t1""#),
    ("@base64, @base64d | tojson", "\"aGk=\"", "!several"),
    ("@base64 \"x\\(.)\"", "\"hi\"", r#""xaGk=""#),
    ("@base64d", "\"aGk=\"", r#""hi""#),
    ("@base32", "\"hi there\"", r#""NBUSA5DIMVZGK===""#),
    ("@base32 | @base32d", "\"hi there\"", r#""hi there""#),
    ("@uri", "\"a b&c\"", r#""a%20b%26c""#),
    ("@html", "\"<a>\"", r#""&lt;a&gt;""#),
    ("@json", "[1,{\"a\":2}]", r#""[1,{\"a\":2}]""#),
    ("format(\"csv\")", "[1,2]", r#""1,2""#),
    ("fromjson.a", r#""{\"a\":1.10}""#, "1.10"),
    ("IN(1, 2)", "2", "true"),
    (
        "INDEX(.id) | keys",
        r#"[{"id":2},{"id":1}]"#,
        r#"["1","2"]"#,
    ),
    (
        "[tostream]",
        r#"{"a":[1]}"#,
        r#"[[["a",0],1],[["a",0]],[["a"]]]"#,
    ),
    (
        "fromstream(tostream)",
        r#"{"a":[1,{"b":2}]}"#,
        r#"{"a":[1,{"b":2}]}"#,
    ),
    (
        "[1 | truncate_stream([[0],1],[[1,0],2],[[1,0]],[[1]])]",
        "null",
        "[[[0],2],[[0]]]",
    ),
    ("toarray", "1", "[1]"),
    ("[65] | implode", "null", r#""A""#),
    ("ascii", "65", r#""A""#),
    (
        "group_by(.a) | map(length)",
        r#"[{"a":1},{"a":2},{"a":1}]"#,
        "[2,1]",
    ),
    ("unique", "[2,1,2]", "[1,2]"),
    ("sort_by(.a) | .[0].a", r#"[{"a":2},{"a":1}]"#, "1"),
    (
        "min_by(.a).a, max_by(.a).a | tostring | select(. == \"2\")",
        r#"[{"a":2},{"a":1}]"#,
        r#""2""#,
    ),
    ("flatten", "[1,[2,[3]]]", "[1,2,3]"),
    (
        "[.[] | type]",
        r#"[null,true,1,"",[],{}]"#,
        r#"["null","boolean","number","string","array","object"]"#,
    ),
    ("[paths]", r#"{"a":[1]}"#, r#"[["a"],["a",0]]"#),
    ("[.. | numbers]", r#"{"a":[1,{"b":2}]}"#, "[1,2]"),
    (
        "walk(if type == \"number\" then . + 1 else . end)",
        r#"[1,{"a":2}]"#,
        r#"[2,{"a":3}]"#,
    ),
    ("indices(\"b\")", r#""abcb""#, "[1,3]"),
    ("index(\"c\")", r#""éabc""#, "3"),
    ("contains({a: [\"x\"]})", r#"{"a":["xy"],"b":1}"#, "true"),
    ("inside(\"foobar\")", "\"bar\"", "true"),
    ("has(\"a\")", r#"{"a":null}"#, "true"),
    (
        "any(. > 1), all(. > 0) | select(. == false) | 1",
        "[1,2]",
        "null",
    ),
    ("try error(\"x\") catch .", "null", r#""x""#),
    ("try error({a: 1}) catch .a", "null", "1"),
    (
        "[.[] | try tonumber catch \"bad\"]",
        r#"["1","x"]"#,
        r#"[1,"bad"]"#,
    ),
    ("label $out | 1, break $out, 2", "null", "1"),
    ("def f($x; g): $x + g; f(1; .a)", r#"{"a":2}"#, "3"),
    (
        "def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; fac",
        "20",
        "2432902008176640000",
    ),
    (". as {a: $x, b: [$y]} | $x + $y", r#"{"a":1,"b":[2]}"#, "3"),
    ("todate", "1425599621", r#""2015-03-05T23:53:41Z""#),
    ("fromdate", "\"2015-03-05T23:51:47Z\"", "1425599507"),
    (
        "strptime(\"%Y-%m-%d\") | mktime",
        "\"2015-03-05\"",
        "1425513600",
    ),
    ("now", "null", "1700000000"),
    ("now | strftime(\"%Y\")", "null", r#""2023""#),
    ("nan, infinite | isnan", "1", "!several"),
    (
        "[nan, infinite, -infinite]",
        "null",
        "[null,1.7976931348623157e308,-1.7976931348623157e308]",
    ),
    ("[.[] | floor, round, ceil]", "[1.5]", "[1,2,2]"),
    ("pow(2; 10), empty | sqrt", "null", "32"),
    ("empty", "null", "null"),
    (".[] as [$a] ?// $a | $a", "[]", "!syntax"),
    ("{} | .[\"a\", \"b\"] = 1", "null", r#"{"a":1,"b":1}"#),
    (
        "{\"a\": {\"b\": 1}} * {\"a\": {\"c\": 2}}",
        "null",
        r#"{"a":{"b":1,"c":2}}"#,
    ),
    ("[1,2,3] - [2]", "null", "[1,3]"),
    ("\"ab\" * 2", "null", r#""abab""#),
    ("\"a,b\" / \",\"", "null", r#"["a","b"]"#),
    ("[splits(\"a\")] | length", "\"bab\"", "2"),
    ("getpath([\"a\",\"b\"])", "null", "null"),
    ("[getpath([\"a\"], [\"b\"])]", r#"{"a":1,"b":2}"#, "[1,2]"),
    ("ltrimstr(\"x\") | length", "\"xyz\"", "2"),
    (
        "tojson | fromjson",
        r#"{"a":[1.0,"é"]}"#,
        r#"{"a":[1.0,"é"]}"#,
    ),
    ("input_is_not_a_function?", "null", "!unknown"),
    ("(.a, .b) = 1", "{}", r#"{"a":1,"b":1}"#),
    (".a |= . + 1", r#"{"a":1}"#, r#"{"a":2}"#),
    (".a //= 2", "{}", r#"{"a":2}"#),
    (
        "to_entries | map(\"\\(.key)=\\(.value)\") | join(\"&\")",
        r#"{"a":1,"b":"x"}"#,
        r#""a=1&b=x""#,
    ),
    (
        "[.[] | tostring]",
        r#"[1.10,"a",[1],{"b":null}]"#,
        r#"["1.10","a","[1]","{\"b\":null}"]"#,
    ),
    ("utf8bytelength", "\"é\"", "2"),
    ("length", "\"é😀\"", "2"),
    ("length", "-5", "5"),
    ("[combinations]", "[[1,2],[3]]", "[[1,3],[2,3]]"),
    ("transpose", "[[1,2],[3]]", "[[1,3],[2,null]]"),
    ("input_line: 1", "null", "!syntax"),
    ("ascii_upcase", "\"aé\"", r#""Aé""#),
    ("env | keys", "null", "!refused"),
];

#[test]
fn results_are_jqs() {
    for (code, input, expected) in RESULTS {
        match *expected {
            "!several" => fails(code, input, "wrap it in [ ]"),
            "!syntax" | "!unknown" | "!refused" => drop(refused(code)),
            expected => gives(code, input, expected),
        }
    }
}

/// Expressions that have a short way past jaq, on inputs that fit and that do not.
const PLAIN: &[&str] = &[
    ".",
    ".a",
    ".a.b",
    ".a[0]",
    ".a[-1]",
    ".[0]",
    ".[\"a\"]",
    ".[.k]",
    ".a?",
    ".a.b?",
    ".[.k]?",
    ".a[]",
    "[.[]]",
    "[.a[]]",
    "[.a[]?]",
    "[.[] | .b]",
    ".a + 1",
    ".a + .b",
    ".a - .b",
    ".a * 2",
    ".a / 2",
    ".a / .b",
    ".a % 2",
    ".a == .b",
    ".a < .b",
    ".a != null",
    ".a == []",
    ".a == {}",
    ".a >= .b",
    ".a and .b",
    ".a or error",
    ".a // .b",
    ".a // error",
    "(.a, .b) // 1",
    "[.a, .b]",
    "[(.a, .b) | not]",
    "{a, b: .b}",
    "{(.k): 1}",
    "{\"x\\(.k)\": .a}",
    "{a: 1, a: 2}",
    "{$input}",
    "\"<\\(.a)>\"",
    "\"\\(.k)\\n\"",
    "if .a then .b else .k end",
    "if .a == 1 then 1 elif .b then 2 end",
    "if .a then .b, .k else empty end",
    ".a as $x | .b as $y | [$x, $y, $x]",
    "[.a[]? as $x | $x]",
    ".a as $x | {x: ($x // 0), $x}",
    "map(.b)",
    "map(select(.b))",
    "map(.b?) | add",
    "[.[]? | select(. == 1)]",
    "add",
    ".a | add",
    "keys",
    "to_entries",
    ".a | length",
    "length",
    "tostring",
    ".a | tostring",
    ".k | tonumber",
    ".a | tonumber",
    "type",
    ".k | type",
    "not",
    ".k | ascii_upcase",
    ".k | ascii_downcase",
    ".k | startswith(\"a\")",
    ".k | endswith(\"a\")",
    ".k | ltrimstr(\"a\")",
    ".k | rtrimstr(\"a\")",
    ".k | split(\"\")",
    ".k | split(\"a\")",
    ".a | join(\",\")",
    "has(\"a\")",
    ".a | has(0)",
    "has(0)",
    ".a | first",
    "last",
    ".k | fromjson",
    "[.a, .b] | first",
    ".a[.b]",
    "[.. | .a?]",
    ".a.b.c // \"none\"",
    "empty",
    ".k | error",
    "{a: {b: {c: .a}}} | .a.b.c",
    "[.a] | .[0]",
    ".a | . as [$x] | $x",
    "-.a",
    "- 1",
    "1.50",
    "[.a, 1.0] | .[1]",
];

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
    let codes = PLAIN
        .iter()
        .copied()
        .chain(RESULTS.iter().map(|(code, _, _)| *code));
    for code in codes {
        let Ok(plain) = Expression::compile(code, &VARIABLES) else {
            continue;
        };
        let jaq = format!("def same: .; {}", plain.source());
        let jaq = Expression::compile(&jaq, &VARIABLES).unwrap();
        for input in inputs
            .iter()
            .copied()
            .chain(RESULTS.iter().map(|(_, input, _)| *input))
        {
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

#[test]
fn compile_errors_name_place_and_remedy() {
    let cases = [
        (".a == 'x'", "line 1, column 7", "double quotes"),
        (".a &&\n .b", "line 1, column 4", "`and`"),
        (
            "$secret",
            "line 1, column 1: unknown variable `$secret`",
            "`$secrets`",
        ),
        (
            "$x",
            "unknown variable `$x`",
            "$context, $input, $secrets, $workflow",
        ),
        ("$ENV.HOME", "unknown variable `$ENV`", "environment"),
        (
            ".a | lenght",
            "line 1, column 6: unknown function `lenght`",
            "`length`",
        ),
        (
            "test",
            "`test` does not take 0 arguments",
            "it takes 1 or 2",
        ),
        ("env", "`env` is not available", "environment"),
        ("input", "`input` is not available", "one input"),
        ("[inputs]", "`inputs` is not available", "one input"),
        ("debug", "`debug` is not available", "log"),
        ("debug(1)", "`debug` is not available", "log"),
        ("\"x\" | stderr", "`stderr` is not available", "log"),
        ("halt", "`halt` is not available", "end the server"),
        ("halt_error", "`halt_error` is not available", "error("),
        ("input_filename", "not available", "one input"),
        ("get_search_list", "not available", "modules"),
        ("include \"x\"; .", "`include` is not available", "def f"),
        ("import \"x\" as x; .", "`import` is not available", "def f"),
        ("__tick", "unknown function `__tick`", ""),
        ("$__prog_args", "unknown variable", ""),
        (".a | ", "expected term, but the expression ends", ""),
        ("\"a\\(.b", "expected", ""),
        ("  ", "empty", ""),
        ("${ }", "empty", ""),
    ];
    for (code, message, hint) in cases {
        let error = refused(code);
        assert!(error.message.contains(message), "{code}: {}", error.message);
        assert!(
            error.hint.clone().unwrap_or_default().contains(hint),
            "{code}: {:?}",
            error.hint
        );
    }
}

#[test]
fn hostile_sources_are_refused_or_compiled_not_overflowed() {
    let depth = 32 * 1024;
    for code in [
        "-".repeat(depth - 1) + "1",
        "(".repeat(depth),
        "[".repeat(199) + &"]".repeat(199),
        "if ".repeat(depth / 3),
        "try ".repeat(depth / 4),
        "def f: ".repeat(depth / 8),
        "reduce ".repeat(depth / 8),
        "label $x | ".repeat(depth / 12) + "1",
        ".|".repeat(depth / 2 - 1) + ".",
        "1+".repeat(depth / 2 - 1) + "1",
        "1 as $x | ".repeat(depth / 11) + "1",
        ".a".repeat(depth / 2),
        ".".to_owned() + &"[0]".repeat(depth / 3 - 1),
        "\"\\(".repeat(depth / 3),
        "a".repeat(depth + 1),
    ] {
        let start = processor_time();
        if let Ok(expression) = Expression::compile(&code, &VARIABLES) {
            drop(expression.evaluate(&Value::null(), &Fixed));
        }
        let start_text: String = code.chars().take(10).collect();
        let elapsed = processor_time() - start;
        assert!(elapsed < Duration::from_secs(2), "{start_text} {elapsed:?}");
    }
}

/// Of this thread: other tests run beside this one.
fn processor_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

#[test]
fn hostile_expressions_end_with_a_clear_error() {
    let cases = [
        ("def f: f; f", ""),
        ("def f: 1 + f; f", "too deeply"),
        ("def f: [f]; f", "too deeply"),
        ("def f(g): f(g | g); f(.)", ""),
        (
            "def a: . | .; def b: a | a; def c: b | b | b | b; def d: c | c | c | c | c; def e: d | d | d | d | d; def g: e | e | e | e | e | e; def h: g | g | g | g | g | g | g; h | h | h | h | h | h | h | h | h | h | h | h | error",
            "",
        ),
        ("repeat(.)", "several"),
        ("[repeat(.)]", "limit"),
        ("[repeat(1)] | length", "limit"),
        ("[range(1000000000)] | length", "limit"),
        ("[range(0; 1; 0)]", "limit"),
        ("last(range(10000000000))", ""),
        ("\"a\" * 10000000000 | length", "limit"),
        ("\"a\" * 1e300 | length", "limit"),
        ("reduce range(40) as $i (\"a\"; . + .) | length", "limit"),
        (
            "reduce range(200000) as $i (null; [.]) | tojson | length",
            "",
        ),
        ("reduce range(200000) as $i (null; [.])", ""),
        ("reduce range(200000) as $i (null; {a: .}) | . == .", ""),
        ("reduce range(200000) as $i ([]; [.]) | [., .] | unique", ""),
        ("reduce range(100) as $i ([]; [., .])", "nested deeper"),
        ("reduce range(40) as $i ([]; [., .])", "larger"),
        ("reduce range(40) as $i ([]; [., .]) | tojson", ""),
        (
            "reduce range(40) as $i ([]; [., .]) as $x | $x == ($x | .[0] |= .)",
            "",
        ),
        ("reduce range(60) as $i ([]; [., .]) | [..] | length", ""),
        ("reduce range(60) as $i ([]; [., .]) | flatten", ""),
        ("reduce range(30) as $i (10; . * .) | tostring | length", ""),
        ("[range(30) | [0, 1]] | [combinations] | length", ""),
        ("[[0, 1][range(2)] | [., .]] | combinations(30)", ""),
        (
            "(\"a\" * 50000) | test(\"(a?){2000}a{2000}\")",
            "too expensive",
        ),
        (
            "(\"a\" * 200) | test(\"(((a{100}){100}){100})\")",
            "regular expression",
        ),
        ("\"a\" * 5000000 | gsub(\"a\"; \"bb\")", ""),
        (
            "[limit(100000; repeat(\"a\"))] | join(\",\" * 1000)",
            "limit",
        ),
        (".[10000000000] = 1", "limit"),
        ("try ([repeat(.)]) catch 1", "limit"),
        ("first(try repeat(error) catch empty)", ""),
        ("[\"[\" * 100000] | .[0] | fromjson", "nested deeper"),
        ("1e1000 | todate", ""),
        ("9223372036854775807 | todate", ""),
        ("9223372036854775807 | gmtime", ""),
        ("[2024, 127, 1, 0, 0, 0] | mktime", ""),
        ("[range(100000)] | sort_by([range(100)])", ""),
        (
            "[range(3000)] | . - . - . | [range(3000)] | map(. as $x | [range(3000)] | contains([$x]))",
            "",
        ),
        ("until(false; .)", ""),
        ("[.[]?] | while(true; .)", ""),
        ("def f: .[0] |= f; [[[]]] | f", ""),
        ("path(repeat(.))", "several"),
        ("last(path(repeat(.[0])))", "limit"),
        ("last(path(repeat(.[0][0][0][0][0][0][0][0])))", "limit"),
        ("last(path(repeat(.[0:])))", "limit"),
        ("[limit(1000000; path(repeat(.[0])))] | length", "limit"),
        ("def f($x): f([$x]); f(1)", "limit"),
        ("def f(g): f([g]); f(1)", "limit"),
        ("def f(g): f(g, 1); f(1)", "limit"),
        (
            "def f(g): if . > 1000000 then g else . + 1 | f(g) end; 0 | f(1)",
            "limit",
        ),
        (
            "last(range(1000000) as $x | $x | recurse(if . > 0 then . - 1 else empty end))",
            "limit",
        ),
        ("[paths(repeat(1))]", ""),
        ("[recurse(.)]", "limit"),
        ("label $f | repeat(.)", "several"),
        ("@base32 \"\\(\"a\" * 20000000)\"", "limit"),
        ("[splits(\"a\"; null)] | input_x?", ""),
    ];
    for (code, expected) in cases {
        let Ok(expression) = Expression::compile(code, &VARIABLES) else {
            continue;
        };
        let start = processor_time();
        let result = expression.evaluate(&Value::null(), &Fixed);
        let elapsed = processor_time() - start;
        let shown = format!("{code}: {result:?} after {elapsed:?}");
        assert!(elapsed < Duration::from_secs(1), "{shown}");
        // Which limit comes first may depend on how fast the machine is.
        let limit = ["pieces of work", "memory", "longer than"];
        let any = expected == "limit";
        let expected = |m: &str| m.contains(expected) || any && limit.iter().any(|l| m.contains(l));
        assert!(
            result
                .as_ref()
                .map_or_else(|e| expected(&e.message), |_| !any),
            "{shown}"
        );
        gives(".a", r#"{"a":1}"#, "1");
    }
}

#[test]
fn evaluation_works_on_a_small_stack_and_on_a_large_one() {
    for stack_bytes in [128 * 1024, 64 * 1024 * 1024] {
        let thread = std::thread::Builder::new().stack_size(stack_bytes);
        let run = || {
            gives(
                "[.[] | ascii_upcase] | join(\",\")",
                r#"["a","b"]"#,
                r#""A,B""#,
            );
            fails("def f: 1 + f; f", "null", "too deeply");
            fails(
                "reduce range(20000) as $i (null; [.])",
                "null",
                "nested deeper",
            );
        };
        thread.spawn(run).unwrap().join().unwrap();
    }
}

#[test]
fn messages_hold_no_data() {
    let input = r#"{"a":"CANARY","o":{"k":"CANARY"},"n":4111111111111111,"l":["CANARY"]}"#;
    for code in [
        ".a.b",
        ".o + 1",
        ".a * .o",
        ".a - .a",
        "-.a",
        ".[.a][.a]",
        ".n[0]",
        ".n | keys",
        ".a | .[]",
        ".l | join(.)",
        ".l | implode",
        ".a | tonumber",
        ".a | fromjson",
        ".a | fromdate",
        ".a | strptime(\"%Y\")",
        ".a | @base64d",
        "test(.a)",
        ".a | test(.n)",
        ".a | test(\"(\" + .)",
        ".a | error",
        "error(.o)",
        "error(\"bad: \\(.a)\")",
        "{(.n | tostring): .l} | .[\"x\"].y.z[0].q[.a]",
        "{(.n): 1}",
        ".a | ltrimstr(1) | has(0)",
        ".o | has(0)",
        ".l | contains(1)",
        "error",
        ".a | mktime",
        ".a | strftime(.)",
        ".o | todate",
        "$secrets.key.x",
        "$secrets | error",
        "$secrets.key | error",
        "$secrets.key | fromjson",
        ".l | .[.a]",
        ".a | ascii",
        ".a | sqrt",
        ".a | range(.)",
        ".a | splits(.; 1)",
        "[.l[] | tonumber]",
        ".a as [$x] | $x",
        ".a | @csv",
        "[.o] | @csv",
        ".a | .[1:2] = 1",
        ".a | setpath([0]; 1)",
        ".a | del(.[0])",
        "path(.a | tojson)",
        ".a | explode | .[0] = 99999999 | implode",
        ".n | splits(\"a\")",
        ".o % 2",
        ".n / 0",
        ".a | @base32d",
    ] {
        if let Err(e) = evaluate(code, input) {
            assert!(!e.message.contains("CANARY"), "{}", e.message);
            assert!(!e.message.contains("4111"), "{}", e.message);
        }
    }
    fails(".a.b", input, "cannot index string with string");
    fails("error(\"no such order\")", input, "no such order");
    fails("error(\"bad: \\(.a)\")", input, "bad: …");
    let long = format!(". + 1 | error # {}", "x".repeat(400));
    let message = evaluate(&long, "1").unwrap_err().message;
    assert!(message.chars().count() < 300, "{message}");
}

#[test]
fn templates_evaluate_whole_strings_only() {
    let field = value(
        r#"{"id":"${ .id }","plain":".id","dollar":"$context","n":1,
            "list":["x","${ $context.source }",{"${ .k }":"${.id}"}],"lit":"${ \"${\" }"}"#,
    );
    let template = Template::compile(&field, &VARIABLES, Mode::Value).unwrap();
    let result = template
        .evaluate(&value(r#"{"id":"${ .evil }"}"#), &Fixed)
        .unwrap();
    let expected = r#"{"id":"${ .evil }","plain":".id","dollar":"$context","n":1,"list":["x","shop",{"${ .k }":"${ .evil }"}],"lit":"${"}"#;
    assert_eq!(json(&result), expected);
    let literal = Template::compile(&value(r#"{"a":[".b"]}"#), &VARIABLES, Mode::Value).unwrap();
    assert!(matches!(literal, Template::Literal(_)));
}

#[test]
fn expression_fields_take_strings_with_and_without_braces() {
    for (mode, field, expected) in [
        (Mode::Expression, "\".id\"", "7"),
        (Mode::Expression, "\"${ .id }\\n\"", "7"),
        (Mode::Expression, "\" { a: .id } \"", r#"{"a":7}"#),
        (Mode::Expression, "\"\\\"${\\\"\"", r#""${""#),
        (
            Mode::Expression,
            r#"{"a":".id","b":"${.id}"}"#,
            r#"{"a":".id","b":7}"#,
        ),
        (Mode::Value, "\".id\"", "\".id\""),
        (Mode::Value, "\"${ {a: {b: .id}} }\"", r#"{"a":{"b":7}}"#),
        (Mode::Value, r#""${ \"}\\(.id){\" }""#, r#""}7{""#),
        (Mode::Value, "\"costs $5 {a}\"", "\"costs $5 {a}\""),
    ] {
        let template = Template::compile(&value(field), &VARIABLES, mode);
        let template = template.unwrap_or_else(|e| panic!("{field}: {e:?}"));
        let result = template.evaluate(&value(r#"{"id":7}"#), &Fixed).unwrap();
        assert_eq!(json(&result), expected, "{field}");
    }
}

#[test]
fn template_errors_come_all_at_once_with_their_pointers() {
    let field = value(
        r#"{"a/b":["ok","id ${ .id }"],"c":{"~":"${ .x ' }"},"d":"${ .a } and ${ .b }","e":"${ .a"}"#,
    );
    let errors = Template::compile(&field, &VARIABLES, Mode::Value).unwrap_err();
    let pointers: Vec<&str> = errors.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(pointers, ["/a~1b/1", "/c/~0", "/d", "/e"]);
    let hint = errors[0].1.hint.as_deref().unwrap();
    assert!(
        hint.contains(r#"${ "id \(.id)" }"#) && hint.contains("{id}"),
        "{hint}"
    );
    let errors = Template::compile(&value("\".a |\""), &VARIABLES, Mode::Expression).unwrap_err();
    assert_eq!(errors[0].0, "");
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
        prop_assert_eq!(again.to_json(), text.clone());
        let theirs: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(Value::from_serde(&theirs), value);
    }

    #[test]
    fn any_bytes_are_read_as_serde_json_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let ours = Value::from_json(&bytes).is_ok();
        prop_assert_eq!(ours, serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    }

    #[test]
    fn json_like_text_is_read_as_serde_json_reads_it(text in r#"[\[\]{}":,0-9eE.+\-tfnaul\\ "]{0,24}"#) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match Value::from_json(text.as_bytes()) {
            // Numbers beyond a double are ours to keep and serde_json's to refuse.
            Ok(value) => prop_assert!(theirs.is_ok() || text.contains(['e', 'E']), "{}", json(&value)),
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

#[test]
fn the_configuration_says_what_is_built_in() {
    #[derive(serde::Deserialize)]
    struct Section {
        expression: hookwright::expression::Config,
    }
    let text = include_str!("../../config/default.toml");
    let section: Section = toml::from_str(text).unwrap();
    assert_eq!(section.expression, hookwright::expression::BUILT_IN);
}
