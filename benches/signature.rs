//! What it costs to verify a delivery of 1.2 kB and to find out what it says.
//!
//! `cargo bench --bench signature`; the bar is 15 µs for one verification.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use hookwright::secret::Secrets;
use hookwright::signature::{Delivery, Keys, Scheme};
use hookwright::webhook::{Sources, source};
use http::{HeaderMap, Method};
use secrecy::SecretString;

const PROVIDERS: [&str; 5] = ["shopify", "github", "stripe", "slack", "standard-webhooks"];

struct Live(usize);

impl Keys for Live {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let rounds = if name == "public_key" { 0 } else { self.0 };
        vec![secret.to_vec(); rounds]
    }
}

fn main() {
    divan::main();
}

/// An order of about 1,200 bytes.
fn body() -> Bytes {
    let line = r#"{"sku":"TEA-0042","title":"Darjeeling, 250 g","quantity":2,"price":"12.50"}"#;
    let lines = [line; 14].join(",");
    let text =
        format!(r#"{{"id":"evt_1","type":"order.paid","lines":[{lines}],"total":"350.00"}}"#);
    text.into()
}

fn with_delivery(name: &str, secrets: usize, run: impl FnOnce(&Scheme, &Delivery<'_>, &Live)) {
    let scheme = Scheme::provider(name).expect("a provider of the catalogue");
    let (body, keys, method) = (body(), Live(secrets), Method::POST);
    let mut headers = HeaderMap::new();
    let unsigned = delivery(&method, &headers, &body);
    let added = scheme.sign(&unsigned, &keys).expect("a signature");
    headers.extend(added);
    run(scheme, &delivery(&method, &headers, &body), &keys);
}

fn delivery<'a>(method: &'a Method, headers: &'a HeaderMap, body: &'a Bytes) -> Delivery<'a> {
    Delivery {
        method,
        path_and_query: "/hooks/shop",
        url: None,
        headers,
        body,
        now: 1_790_000_000,
    }
}

#[divan::bench(args = PROVIDERS)]
fn verify(bencher: Bencher<'_, '_>, name: &str) {
    with_delivery(name, 1, |scheme, delivery, keys| {
        bencher.bench_local(|| assert!(scheme.verify(delivery, keys).is_ok()));
    });
}

#[divan::bench(args = PROVIDERS)]
fn verify_and_read_facts(bencher: Bencher<'_, '_>, name: &str) {
    with_delivery(name, 1, |scheme, delivery, keys| {
        bencher.bench_local(|| assert!(scheme.receive(delivery, keys).is_ok()));
    });
}

/// The whole decision of the door, among so many sources.
#[divan::bench(args = [10, 10_000])]
fn admit_among_sources(bencher: Bencher<'_, '_>, count: usize) {
    let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let secrets = Secrets::new(HashMap::from([("s".to_owned(), secret)]));
    let sources = Sources::new(Arc::new(secrets));
    let source = |number: usize| {
        let text = format!("{{source: s{number}, provider: github, secret: {{secret: s}}}}");
        source::parse(&text).expect("a source")
    };
    sources.replace((0..count).map(source).collect());
    let name = format!("s{}", count / 2);
    with_delivery("github", 1, |_, delivery, _| {
        bencher.bench_local(|| {
            let source = sources.get(&name).expect("the source");
            assert!(source.admit(delivery, &Vec::new()).is_ok());
        });
    });
}

#[divan::bench]
fn verify_while_rotating(bencher: Bencher<'_, '_>) {
    with_delivery("shopify", 2, |scheme, delivery, keys| {
        bencher.bench_local(|| assert!(scheme.verify(delivery, keys).is_ok()));
    });
}
