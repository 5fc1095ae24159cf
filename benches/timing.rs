//! Whether the time of a verification tells how much of a signature is right.
//!
//! `cargo bench --bench timing [-- COUNT]`: a million verifications of two kinds of forgery in
//! random order, one with all but the last byte right and one with the first byte wrong. Prints
//! Welch's t and ends with exit code 1 above 4.5, from which on the two could be told apart.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use hookwright::signature::{Cause, Delivery, Keys, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Verifications of one provider, where the command names no other number.
const COUNT: usize = 1_000_000;

/// Those that are not measured, until caches and clocks are warm.
const WARM_UP: usize = 10_000;

/// From this on the difference is none of chance.
const T_MAX: f64 = 4.5;

/// What is slower than this share of all was interrupted, which says nothing of the signature.
const KEPT: f64 = 0.9;

struct Secret;

impl Keys for Secret {
    fn values(&self, _name: &str) -> Vec<Vec<u8>> {
        vec![b"c2VjcmV0IG9mIHRoZSBiZW5jaA".to_vec()]
    }
}

fn delivery<'a>(headers: &'a HeaderMap, body: &'a Bytes) -> Delivery<'a> {
    Delivery {
        method: &Method::POST,
        path_and_query: "/hooks/shop",
        url: None,
        headers,
        body,
        now: 1_790_000_000,
    }
}

/// The headers with another character at one place of the signature, still one of its alphabet.
fn forged(headers: &HeaderMap, name: &HeaderName, at: usize) -> HeaderMap {
    let mut forged = headers.clone();
    let mut text = headers[name].as_bytes().to_vec();
    text[at] = if text[at] == b'4' { b'8' } else { b'4' };
    let value = HeaderValue::from_bytes(&text).expect("visible characters");
    forged.insert(name, value);
    forged
}

/// Mean and variance.
fn moments(times: &[f64]) -> (f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let squares = times.iter().map(|time| (time - mean).powi(2));
    (mean, squares.sum::<f64>() / (count - 1.0))
}

fn welch(one: &[f64], other: &[f64]) -> f64 {
    let ((mean, variance), (other_mean, other_variance)) = (moments(one), moments(other));
    let spread = variance / one.len() as f64 + other_variance / other.len() as f64;
    (mean - other_mean) / spread.sqrt()
}

/// Welch's t of one provider, whose signature begins at `start` of its header.
fn measure(provider: &str, name: &'static str, start: usize, count: usize) -> f64 {
    let scheme = Scheme::provider(provider).expect("a provider of the catalogue");
    let body = Bytes::from(r#"{"id":"evt_1","type":"order.paid"}"#.repeat(35));
    let none = HeaderMap::new();
    let signed = scheme.sign(&delivery(&none, &body), &Secret);
    let signed = signed.expect("a signature");
    let name = HeaderName::from_static(name);
    // Base64 ends with `=` and a character whose last bits are fixed.
    let last = signed[&name].len() - 3;
    let forgeries = [forged(&signed, &name, start), forged(&signed, &name, last)];
    let mut times = [Vec::with_capacity(count), Vec::with_capacity(count)];
    for number in 0..WARM_UP + count {
        let kind = usize::from(rand::random::<bool>());
        let delivery = delivery(&forgeries[kind], &body);
        let begun = Instant::now();
        let verdict = scheme.verify(&delivery, &Secret);
        let took = begun.elapsed().as_nanos() as f64;
        assert_eq!(verdict, Err(Cause::SignatureMismatch));
        if number >= WARM_UP {
            times[kind].push(took);
        }
    }
    let mut all = times.concat();
    all.sort_by(f64::total_cmp);
    let bound = all[(all.len() as f64 * KEPT) as usize];
    let [one, other] = times.map(|mut times| {
        times.retain(|time| *time <= bound);
        times
    });
    welch(&one, &other)
}

fn main() -> ExitCode {
    let count = std::env::args().find_map(|argument| argument.parse().ok());
    let count = count.unwrap_or(COUNT);
    let mut code = ExitCode::SUCCESS;
    let providers = [
        ("shopify", "x-shopify-hmac-sha256", 0),
        ("github", "x-hub-signature-256", "sha256=".len()),
    ];
    for (provider, name, start) in providers {
        let t = measure(provider, name, start, count);
        let _closed = writeln!(std::io::stdout(), "{provider}: t = {t:.2} of {count}");
        if t.abs() > T_MAX {
            code = ExitCode::FAILURE;
        }
    }
    code
}
