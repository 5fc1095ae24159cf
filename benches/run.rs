//! What the engine costs: a webhook that becomes a call, and long runs by their length.
//!
//! `cargo bench --bench run`. Compare `sequential_calls` with itself: per call it must stay flat.

use std::sync::Arc;

use hookwright::expression::Value;
use hookwright::id::Id;
use hookwright::run::{Attempt, Change, Effect, Entry, Links, Outcome, Pending, Run, Surroundings};
use hookwright::workflow::{self, Definition};
use jiff::Timestamp;

/// One webhook, one transform, one call.
const WEBHOOK_TO_CALL: &str = r#"
document: { dsl: '1.0.3', namespace: bench, name: webhook-to-call, version: '1.0.0' }
do:
  - order:
      input: { from: '${ .[0].data }' }
      call: http
      with:
        method: post
        endpoint: https://api.test/orders
        body:
          reference: '${ "order-\(.id)" }'
          name: '${ .name }'
          email: '${ .customer.email }'
          city: '${ .customer.city }'
          total: '${ .lines | map(.price * .quantity) | add }'
          count: '${ .lines | length }'
          first: '${ .lines[0].sku }'
          currency: '${ .currency }'
          note: '${ .note // "none" }'
          origin: hookwright
      output: { as: '${ { id: .id } }' }
"#;

const EVENT: &str = r#"[{"id":"1","type":"shop.order","source":"/hooks/shop","data":{
    "id":4711,"name":"Ada","customer":{"email":"ada@example.com","city":"Turin"},
    "lines":[{"sku":"a","price":1.5,"quantity":2},{"sku":"b","price":3,"quantity":1}],
    "currency":"EUR","note":null}}]"#;

const LOOP: &str = r#"
document: { dsl: '1.0.3', namespace: bench, name: calls, version: '1.0.0' }
do:
  - loop:
      for: { in: '[ range(.) ]' }
      do:
        - call: { call: http, with: { method: get, endpoint: 'http://api.test/x' } }
"#;

fn main() {
    divan::main();
}

fn definition(text: &str) -> Arc<Definition> {
    Arc::new(workflow::parse(text).expect("the workflow is valid"))
}

fn surroundings() -> Arc<Surroundings> {
    Arc::new(Surroundings {
        id: Id::generate(),
        environment: Arc::from("bench"),
        secrets: Arc::new(|_| None),
        tasks_max: u32::MAX,
        links: Arc::new(Links::hidden()),
    })
}

fn performed(effect: &Effect, output: &Value) -> Entry {
    let attempt = Attempt {
        number: 1,
        started_at: Timestamp::UNIX_EPOCH,
        duration_ms: 1,
        status: Some(200),
        error: None,
        retry_after_seconds: None,
    };
    Entry {
        at: Timestamp::UNIX_EPOCH,
        change: Change::Performed {
            key: effect.key.clone(),
            attempt,
            outcome: Outcome::Completed(output.clone()),
        },
    }
}

/// Lives a run whose calls all give `output`; its journal.
fn live(run: &mut Run, input: Value, output: &Value) -> Vec<Entry> {
    let mut journal = vec![Entry {
        at: Timestamp::UNIX_EPOCH,
        change: Change::Started { input },
    }];
    run.apply(journal[0].clone());
    while let Pending::Open { effects, .. } = run.pending() {
        let entry = performed(&effects[0], output);
        journal.push(entry.clone());
        run.apply(entry);
    }
    journal
}

#[divan::bench]
fn webhook_to_call(bencher: divan::Bencher) {
    let definition = definition(WEBHOOK_TO_CALL);
    let surroundings = surroundings();
    let input = Value::from_json(EVENT.as_bytes()).expect("JSON");
    let output = Value::from_json(br#"{"id":"crm-1","status":"new"}"#).expect("JSON");
    bencher.bench_local(|| {
        let mut run = Run::new(Arc::clone(&definition), Arc::clone(&surroundings));
        live(&mut run, input.clone(), &output)
    });
}

#[divan::bench(args = [250, 1_000, 4_000], sample_count = 10)]
fn sequential_calls(bencher: divan::Bencher, count: i64) {
    let definition = definition(LOOP);
    let surroundings = surroundings();
    bencher.bench_local(|| {
        let mut run = Run::new(Arc::clone(&definition), Arc::clone(&surroundings));
        live(&mut run, Value::int(count), &Value::null())
    });
}

#[divan::bench(args = [250, 1_000, 4_000], sample_count = 10)]
fn replay(bencher: divan::Bencher, count: i64) {
    let definition = definition(LOOP);
    let surroundings = surroundings();
    let mut run = Run::new(Arc::clone(&definition), Arc::clone(&surroundings));
    let journal = live(&mut run, Value::int(count), &Value::null());
    bencher.bench_local(|| {
        let journal = journal.iter().cloned();
        Run::replay(Arc::clone(&definition), Arc::clone(&surroundings), journal).pending()
    });
}
