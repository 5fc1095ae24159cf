//! What hostile expressions may not do: end, stall or bloat the process, or show data.

use std::time::Duration;

use hookwright::expression::{BUILT_IN, Config, Expression, Value, configure};

use super::{Fixed, VARIABLES, evaluate, fails, gives, refused};

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
        .expect("Linux has this clock")
        .into()
}

/// Names the test whose process is a child of the test program.
const CHILD: &str = "HOOKWRIGHT_TEST_CHILD";

/// Runs the test `name` of this file again in a process of its own: its limits are its own, and
/// what ends it fails one test. True in that process; false in ours, where it has succeeded.
fn in_child(name: &str, timeout_ms: u64) -> bool {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return configure(Config {
            timeout_ms,
            ..BUILT_IN
        });
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&format!("expression::limits::{name}"), "--exact"])
        .env(CHILD, name)
        .output()
        .unwrap();
    let (out, err) = (child.stdout.as_slice(), child.stderr.as_slice());
    let text = [out, err].map(String::from_utf8_lossy).concat();
    assert!(child.status.success(), "{}: {text}", child.status);
    assert!(text.contains("1 passed"), "{text}");
    false
}

/// jaq follows and drops chains of closures and bindings recursively: without a limit these
/// overflowed the stack, within the time that is given them.
#[test]
fn chains_of_closures_end_before_the_stack_does() {
    if !in_child("chains_of_closures_end_before_the_stack_does", 10_000) {
        return;
    }
    let f = |parameters: &str, before: &str, stop: u32, then: &str, arguments: &str| {
        let first = vec!["."; 1 + parameters.matches(';').count()].join(";");
        format!(
            "def f({parameters}): {before} if . > {stop} then {then} \
             else . + 1 | f({arguments}) end; 0 | f({first})"
        )
    };
    let names: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
    let wrapped: Vec<String> = names.iter().map(|p| format!("({p} | .)")).collect();
    let binds = ". as $a | ".repeat(300);
    let labels = "label $a | ".repeat(300);
    let codes = [
        f("x", "", 20_000, "x", "x"),
        f("x", "", 20_000, "x", "x | ."),
        f("x", "", 20_000, "x", "x | (., .)"),
        f("x", "", 20_000, "x", "try x catch ."),
        f("x", "", 20_000, "x", "label $a | x"),
        f("x", "", 20_000, "path(x)", "x | .a"),
        f("x; y", "", 20_000, "x, y", "y | x; x | y"),
        f("x", "", 60_000, "1", "x | ."),
        f(&names.join(";"), "", 60_000, "1", &wrapped.join(";")),
        f("x", &binds, 5_000, "1", "x | ."),
        f("x", &labels, 5_000, "1", "x | ."),
        "-".repeat(32 * 1024 - 1) + "1",
    ];
    // Just above what an evaluation asks for, so that it gets no stack of its own.
    let thread = std::thread::Builder::new().stack_size(41 * 1024 * 1024);
    let run = move || {
        for code in codes {
            if let Ok(expression) = Expression::compile(&code, &VARIABLES) {
                drop(expression.evaluate(&Value::null(), &Fixed));
            }
        }
    };
    thread.spawn(run).unwrap().join().unwrap();
    gives(&f("x", "", 500, "x", "x | ."), "null", "501");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn hostile_expressions_end_with_a_clear_error() {
    // Many of them use up their time; less of it keeps the test fast.
    if !in_child("hostile_expressions_end_with_a_clear_error", 50) {
        return;
    }
    let cases = [
        ("def f: f; f", ""),
        ("def f: 1 + f; f", "too deeply"),
        ("def f: [f]; f", "too deeply"),
        ("def f(g): f(g | g); f(.)", ""),
        (
            "def a: . | .; def b: a | a; def c: b | b | b | b; def d: c | c | c | c | c; \
             def e: d | d | d | d | d; def g: e | e | e | e | e | e; \
             def h: g | g | g | g | g | g | g; \
             h | h | h | h | h | h | h | h | h | h | h | h | error",
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
            "[range(3000)] | . - . - . | [range(3000)] \
             | map(. as $x | [range(3000)] | contains([$x]))",
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
                "reduce range(5000) as $i (null; [.])",
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
fn the_configuration_says_what_is_built_in() {
    #[derive(serde::Deserialize)]
    struct Section {
        expression: Config,
    }
    let text = include_str!("../../../config/default.toml");
    let section: Section = toml::from_str(text).unwrap();
    assert_eq!(section.expression, BUILT_IN);
}
