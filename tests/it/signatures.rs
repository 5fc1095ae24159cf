//! Signatures: what the interpreter does with the senders everyone has, and must never do.
//! The whole catalogue is run against vectors in `vectors.rs`.

use std::collections::HashMap;

use bytes::Bytes;
use hookwright::signature::{Cause, Delivery, Facts, Keys, Received, Scheme, Verified};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

mod grammar;
mod hostile;

#[derive(Clone)]
enum Secret {
    One(String),
    Rotating(Vec<String>),
    Named(HashMap<String, String>),
}

/// The secrets of one source; a single secret means the scheme's first.
struct Live {
    first: String,
    secret: Secret,
}

impl Keys for Live {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let bytes = |text: &String| text.clone().into_bytes();
        match &self.secret {
            Secret::Named(named) => named.get(name).map(bytes).into_iter().collect(),
            _ if name != self.first => Vec::new(),
            Secret::One(text) => vec![bytes(text)],
            Secret::Rotating(texts) => texts.iter().map(bytes).collect(),
        }
    }
}

fn keys(scheme: &Scheme, secret: Secret) -> Live {
    let mut names = scheme.secret_names().iter().chain(scheme.parameter_names());
    let first = names.next().cloned().unwrap_or_default();
    Live { first, secret }
}

fn one(scheme: &Scheme, secret: &str) -> Live {
    keys(scheme, Secret::One(secret.to_owned()))
}

/// A request of its own, to be looked at as a delivery.
struct Request {
    method: Method,
    path_and_query: String,
    url: Option<String>,
    headers: HeaderMap,
    body: Bytes,
    now: i64,
}

impl Request {
    fn new(body: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = Self {
            method: Method::POST,
            path_and_query: "/hooks/test".to_owned(),
            url: None,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            now: NOW,
        };
        for (name, value) in headers {
            request.add(name, value);
        }
        request
    }

    fn add(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers
            .append(name, HeaderValue::from_str(value).expect("a header value"));
    }

    fn delivery(&self) -> Delivery<'_> {
        Delivery {
            method: &self.method,
            path_and_query: &self.path_and_query,
            url: self.url.as_deref(),
            headers: &self.headers,
            body: &self.body,
            now: self.now,
        }
    }

    fn signed(mut self, scheme: &Scheme, keys: &dyn Keys) -> Self {
        let added = scheme
            .sign(&self.delivery(), keys)
            .expect("a scheme that can sign");
        self.headers.extend(added);
        self
    }
}

const NOW: i64 = 1_790_000_000;
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn provider(name: &str) -> &'static Scheme {
    Scheme::provider(name).expect("a provider of the catalogue")
}

fn facts(name: &str, request: &Request) -> Facts {
    provider(name).facts(&request.delivery())
}

#[test]
fn the_catalogue_compiles_and_names_its_secrets() {
    let names = Scheme::providers();
    for name in ["shopify", "github", "stripe", "slack", "standard-webhooks"] {
        assert!(names.contains(&name), "{name} is missing");
    }
    for name in names {
        let scheme = provider(name);
        let published = scheme.needs_documents();
        assert!(
            published || !scheme.secret_names().is_empty(),
            "{name} needs a secret"
        );
        assert!(scheme.is_verifying(), "{name} must verify");
        assert_eq!(scheme.name(), Some(name));
    }
    assert!(Scheme::provider("unverified").is_none());
    assert!(Scheme::provider("none").is_none());
}

#[test]
fn every_provider_verifies_what_it_signs_and_nothing_else() {
    for name in ["shopify", "github", "stripe", "slack", "standard-webhooks"] {
        let scheme = provider(name);
        let request = Request::new(r#"{"id":"evt_1","type":"order.paid"}"#, &[]);
        let mut request = request.signed(scheme, &one(scheme, WHSEC));
        let delivery = request.delivery();
        assert!(
            scheme.verify(&delivery, &one(scheme, WHSEC)).is_ok(),
            "{name}"
        );
        let other = one(scheme, "whsec_AfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(
            scheme.verify(&delivery, &other),
            Err(Cause::SignatureMismatch),
            "{name}"
        );
        request.body = Bytes::from_static(br#"{"id":"evt_1","type":"order.paiD"}"#);
        let delivery = request.delivery();
        let verdict = scheme.verify(&delivery, &one(scheme, WHSEC));
        assert_eq!(verdict, Err(Cause::SignatureMismatch), "{name}");
    }
}

#[test]
fn tolerance_is_exact_in_both_directions() {
    for name in ["stripe", "slack", "standard-webhooks"] {
        let scheme = provider(name);
        assert_eq!(
            scheme.tolerance().map(|tolerance| tolerance.as_secs()),
            Some(300)
        );
        let keys = one(scheme, WHSEC);
        let mut request = Request::new("{}", &[]).signed(scheme, &keys);
        for (distance, fresh) in [(0, true), (300, true), (301, false), (86_400, false)] {
            for now in [NOW + distance, NOW - distance] {
                request.now = now;
                let verdict = scheme.verify(&request.delivery(), &keys);
                let stale = Err(Cause::TimestampOutsideTolerance);
                assert_eq!(verdict.is_ok(), fresh, "{name} {distance}");
                assert!(fresh || verdict == stale, "{name} {distance}: {verdict:?}");
            }
        }
        for now in [i64::MIN, i64::MAX] {
            request.now = now;
            assert!(scheme.verify(&request.delivery(), &keys).is_err());
        }
    }
    assert_eq!(provider("shopify").tolerance(), None);
}

#[test]
fn rotation_says_which_value_matched() {
    let scheme = provider("shopify");
    let request = Request::new("{}", &[]).signed(scheme, &one(scheme, "old"));
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let both = keys(scheme, Secret::Rotating(texts(&["new", "old"])));
    let verified = scheme.verify(&request.delivery(), &both);
    let name = Some("client_secret".into());
    assert_eq!(
        verified,
        Ok(Verified {
            secret_name: name,
            secret_index: 1
        })
    );
    let blank = keys(scheme, Secret::Rotating(texts(&["", " ", "old"])));
    let verified = scheme.verify(&request.delivery(), &blank);
    assert_eq!(verified.map(|verified| verified.secret_index), Ok(2));
}

#[test]
fn a_list_of_signatures_needs_one_that_matches() {
    let scheme = provider("stripe");
    let keys = one(scheme, "whsec_test");
    let request = Request::new("{}", &[]).signed(scheme, &keys);
    let header = request.headers["stripe-signature"]
        .to_str()
        .expect("text")
        .to_owned();
    let rolled = header.replace(",v1=", ",v1=00,v0=ff,v1=zz,v1,=,v1=");
    let request = Request::new("{}", &[("stripe-signature", &rolled)]);
    assert!(scheme.verify(&request.delivery(), &keys).is_ok());
    let two_times = format!("t=1,{header}");
    let request = Request::new("{}", &[("stripe-signature", &two_times)]);
    let verdict = scheme.verify(&request.delivery(), &keys);
    assert_eq!(
        verdict,
        Err(Cause::TimestampMissing),
        "two times are ambiguous"
    );
}

#[test]
fn hexadecimal_in_any_case_is_read() {
    let scheme = provider("github");
    let keys = one(scheme, "It's a Secret to Everybody");
    let upper = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".to_uppercase();
    let signature = format!("sha256={upper}");
    let request = Request::new("Hello, World!", &[("X-Hub-Signature-256", &signature)]);
    assert!(scheme.verify(&request.delivery(), &keys).is_ok());
}

#[test]
fn repeated_headers_are_candidates_but_never_two_meanings() {
    let scheme = provider("standard-webhooks");
    let keys = one(scheme, WHSEC);
    let mut request = Request::new("{}", &[]).signed(scheme, &keys);
    request.add("webhook-signature", "v1,AAAA");
    assert!(scheme.verify(&request.delivery(), &keys).is_ok());
    request.add("webhook-id", "another");
    let verdict = scheme.verify(&request.delivery(), &keys);
    assert_eq!(verdict, Err(Cause::ContentMissing));
    assert_eq!(scheme.facts(&request.delivery()).event_id, None);
}

#[test]
fn each_check_has_its_cause() {
    let stripe = provider("stripe");
    let cause = |header: Option<&str>, secret: &str| {
        let mut request = Request::new("{}", &[]);
        if let Some(header) = header {
            request.add("stripe-signature", header);
        }
        stripe
            .verify(&request.delivery(), &one(stripe, secret))
            .expect_err("a refusal")
    };
    let zeros = "0".repeat(64);
    assert_eq!(cause(Some("t=1,v1=00"), ""), Cause::SecretMissing);
    assert_eq!(cause(Some("t=1,v1=00"), " \n"), Cause::SecretMissing);
    assert_eq!(cause(None, "s"), Cause::SignatureMissing);
    assert_eq!(cause(Some(" "), "s"), Cause::SignatureMissing);
    assert_eq!(cause(Some("t=1,v0=00"), "s"), Cause::SignatureMissing);
    assert_eq!(cause(Some("t=1,v1="), "s"), Cause::SignatureMalformed);
    assert_eq!(cause(Some("nonsense"), "s"), Cause::SignatureMalformed);
    assert_eq!(cause(Some("v1=00"), "s"), Cause::TimestampMissing);
    for time in ["", "-1", "+1", "1.5", "x", "99999999999999999999"] {
        assert_eq!(
            cause(Some(&format!("t={time},v1=00")), "s"),
            Cause::TimestampMissing
        );
    }
    assert_eq!(
        cause(Some(&format!("t=1,v1={zeros}")), "s"),
        Cause::SignatureMismatch
    );
    let labels: std::collections::HashSet<_> =
        Cause::ALL.iter().map(|cause| cause.label()).collect();
    assert_eq!(labels.len(), Cause::ALL.len());
}

#[test]
fn a_public_key_is_never_taken_as_a_shared_secret() {
    let scheme = provider("standard-webhooks");
    let public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let request = Request::new("{}", &[]);
    assert!(
        scheme
            .sign(&request.delivery(), &one(scheme, public))
            .is_err()
    );
    let request = request.signed(scheme, &one(scheme, WHSEC));
    let verdict = scheme.verify(&request.delivery(), &one(scheme, public));
    assert_eq!(verdict, Err(Cause::SecretMissing));
}

#[test]
fn facts_stand_where_the_catalogue_says() {
    let shopify = Request::new(
        "{}",
        &[
            ("X-Shopify-Webhook-Id", "w1"),
            ("X-Shopify-Event-Id", "e1"),
            ("X-Shopify-Topic", "orders/create"),
            ("X-Shopify-Triggered-At", "2026-11-22T10:00:00Z"),
        ],
    );
    let facts_of = facts("shopify", &shopify);
    assert_eq!(facts_of.event_id.as_deref(), Some("w1"));
    assert_eq!(facts_of.dedupe_id.as_deref(), Some("e1"));
    assert_eq!(facts_of.kind.as_deref(), Some("orders/create"));
    assert_eq!(
        facts_of.occurred_at.as_deref(),
        Some("2026-11-22T10:00:00Z")
    );

    let kind = |body: &str| {
        let headers = [
            ("X-GitHub-Event", "pull_request"),
            ("X-GitHub-Delivery", "d1"),
        ];
        facts("github", &Request::new(body, &headers)).kind
    };
    assert_eq!(
        kind(r#"{"action":"opened"}"#).as_deref(),
        Some("pull_request.opened")
    );
    assert_eq!(kind(r#"{"ref":"main"}"#).as_deref(), Some("pull_request"));
    assert_eq!(kind("not json").as_deref(), Some("pull_request"));

    let stripe = Request::new(
        r#"{"id":"evt_1","type":"invoice.paid","data":{"id":"x"}}"#,
        &[],
    );
    let facts_of = facts("stripe", &stripe);
    assert_eq!(facts_of.event_id.as_deref(), Some("evt_1"));
    assert_eq!(facts_of.dedupe_id.as_deref(), Some("evt_1"));
    assert_eq!(facts_of.kind.as_deref(), Some("invoice.paid"));

    let body = r#"{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}"#;
    let slack = Request::new(body, &[("X-Slack-Retry-Num", "2")]);
    let facts_of = facts("slack", &slack);
    assert_eq!(facts_of.kind.as_deref(), Some("app_mention"));
    assert_eq!(facts_of.attempt.as_deref(), Some("2"));
}

#[test]
fn the_slack_handshake_is_answered_when_it_is_signed() {
    let scheme = provider("slack");
    let keys = one(scheme, "8f742231b10e8888abcd99yyyzzz85a5");
    let body = r#"{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV","type":"url_verification"}"#;
    let unsigned = Request::new(body, &[]);
    let refused = scheme.receive(&unsigned.delivery(), &keys);
    assert_eq!(refused, Err(Cause::SignatureMissing));
    let signed = unsigned.signed(scheme, &keys);
    let received = scheme.receive(&signed.delivery(), &keys);
    let Ok(Received::Handshake { response, .. }) = received else {
        panic!("a signed url_verification is a handshake");
    };
    assert_eq!(response.status, 200);
    assert_eq!(response.content_type.as_deref(), Some("text/plain"));
    assert_eq!(&response.body[..], b"3eZbrw1aBm2rZgRNFdxV");

    let event = Request::new(r#"{"type":"event_callback","event_id":"Ev1"}"#, &[]);
    let event = event.signed(scheme, &keys);
    let received = scheme.receive(&event.delivery(), &keys);
    let Ok(Received::Event { facts, .. }) = received else {
        panic!("anything else is an event: {received:?}");
    };
    assert_eq!(facts.event_id.as_deref(), Some("Ev1"));
}

#[test]
fn plain_credentials_are_named_and_signatures_are_not() {
    let headers = provider("shopify").credential_headers();
    let has = |name: &'static str| headers.contains(&HeaderName::from_static(name));
    assert!(has("authorization") && has("cookie") && has("x-api-key"));
    assert!(has("proxy-authorization"));
    assert!(!has("x-shopify-hmac-sha256"));
}
