//! How long the hot path takes: reading and writing a body, and evaluating what workflows do.
//!
//! `cargo bench --bench expression`. It measures; `tests/it/expression.rs` checks.

use divan::{Bencher, black_box};
use hookwright::expression::{Expression, Mode, Scope, Template, Value};
use jiff::Timestamp;

fn main() {
    divan::main();
}

const VARIABLES: [&str; 4] = ["context", "input", "secrets", "workflow"];

struct Empty;

impl Scope for Empty {
    fn variable(&self, _name: &str) -> Value {
        Value::null()
    }
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// A shop's order of `lines` lines; five make 1.2 KB.
fn order(lines: usize) -> String {
    let line = |i: usize| {
        format!(
            r#"{{"id":{i},"sku":"SKU-{i:05}","title":"Product {i}","quantity":{},
                 "price":"{i}9.90","taxable":true,"grams":250,"vendor":"Example"}}"#,
            1 + i % 3
        )
    };
    let lines: Vec<String> = (0..lines).map(line).collect();
    format!(
        r#"{{"order":{{"id":820982911946154508,"email":"jon@example.com",
             "created_at":"2026-11-22T12:00:00-05:00","total_price":"409.94","currency":"EUR",
             "financial_status":"paid","customer":{{"id":115310627314723954,
             "email":"john@example.com","first_name":"John","last_name":"Smith",
             "tags":["vip","b2b"],
             "default_address":{{"city":"Ottawa","country":"CA","zip":"K2P0V6"}}}},
             "line_items":[{}],"note":null,"test":false}}}}"#,
        lines.join(",")
    )
}

const TRANSFORM: &str = r#".order | {
  externalId: .id,
  customer: { email: .customer.email, name: "\(.customer.first_name) \(.customer.last_name)" },
  total: (.total_price | tonumber),
  currency,
  vip: (.customer.tags | length > 1),
  city: (.customer.default_address.city // "unknown"),
  lines: [ .line_items[] | { sku, quantity, amount: ((.price | tonumber) * .quantity) } ]
}"#;

fn evaluate(bencher: Bencher<'_, '_>, code: &str, lines: usize) {
    let expression = Expression::compile(code, &VARIABLES).expect("the bench is right");
    let input = Value::from_json(order(lines).as_bytes()).expect("the bench is right");
    expression
        .evaluate(&input, &Empty)
        .expect("the bench is right");
    bencher.bench(|| {
        expression
            .evaluate(black_box(&input), &Empty)
            .expect("the bench is right")
    });
}

#[divan::bench(args = [5, 200])]
fn read_json(bencher: Bencher<'_, '_>, lines: usize) {
    let text = order(lines);
    bencher.bench(|| Value::from_json(black_box(text.as_bytes())).expect("the bench is right"));
}

#[divan::bench(args = [5, 200])]
fn write_json(bencher: Bencher<'_, '_>, lines: usize) {
    let value = Value::from_json(order(lines).as_bytes()).expect("the bench is right");
    bencher.bench(|| black_box(&value).to_json());
}

#[divan::bench]
fn path(bencher: Bencher<'_, '_>) {
    evaluate(bencher, ".order.id", 5);
}

#[divan::bench]
fn condition(bencher: Bencher<'_, '_>) {
    evaluate(bencher, ".order.currency == \"EUR\" and .order.id > 10", 5);
}

#[divan::bench(args = [5, 200])]
fn transform(bencher: Bencher<'_, '_>, lines: usize) {
    evaluate(bencher, TRANSFORM, lines);
}

/// The same through jaq: a definition keeps an expression from the short way.
#[divan::bench(args = [5, 200])]
fn transform_by_jaq(bencher: Bencher<'_, '_>, lines: usize) {
    evaluate(bencher, &format!("def same: .; {TRANSFORM}"), lines);
}

#[divan::bench]
fn small_by_jaq(bencher: Bencher<'_, '_>) {
    evaluate(bencher, "def same: .; .order.id", 5);
}

#[divan::bench(args = [0, 1, 2])]
fn compile(bencher: Bencher<'_, '_>, which: usize) {
    let code = [".order.id", TRANSFORM, "[.a[] | test(\"x\")] | @csv"][which];
    bencher.bench(|| Expression::compile(black_box(code), &VARIABLES).expect("the bench is right"));
}

#[divan::bench]
fn template(bencher: Bencher<'_, '_>) {
    let field = br#"{"externalId":"${ .order.id }","customer":"${ .order.customer.email }",
        "total":"${ .order.total_price | tonumber }",
        "lines":"${ [ .order.line_items[] | { sku, quantity } ] }"}"#;
    let field = Value::from_json(field).expect("the bench is right");
    let template = Template::compile(&field, &VARIABLES, Mode::Value).expect("the bench is right");
    let input = Value::from_json(order(5).as_bytes()).expect("the bench is right");
    bencher.bench(|| {
        template
            .evaluate(black_box(&input), &Empty)
            .expect("the bench is right")
    });
}
