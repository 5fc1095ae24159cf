//! Hostile deliveries: anything may be in a header or body, nothing may panic or pass.

use super::*;

/// Text as an attacker would vary it: separators, marks and noise.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        &b"v1"[..],
        b"v1a",
        b"t",
        b"=",
        b",",
        b" ",
        b";",
        b"sha256=",
        b"v0=",
        b"1790000000",
        b"-1",
        b"00",
        b"ff",
        b"AAAA",
        b"==",
        b"\t",
        b"\xff",
        b"{",
        b"}",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(words, 0..60).prop_map(|words| words.concat()),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        r#"[\[\]{}":,a-c0-9\\ ]{0,200}"#.prop_map(String::into_bytes),
        Just(br#"{"type":{"type":[{"id":1e999}]},"id":"\ud800","event":{}}"#.to_vec()),
        r#"(<[/!?a-cEB]{0,3}( x="&[a-z#0-9]{0,4};?")?[/?]?>|&lt;|<!\[CDATA\[|]]>|a){0,12}"#
            .prop_map(String::into_bytes),
        r"([a-c%&=+;]|%[0-9A-F]{2}){0,80}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(crate::fuzz::cases(150))]

    #[test]
    fn nothing_panics_and_nothing_passes(
        values in prop::collection::vec((0_usize..14, noise()), 0..10),
        body in body(),
        path in "(/[a-z?=&%+]{0,20}){0,3}",
        now in any::<i64>(),
    ) {
        let names = [
            "x-shopify-hmac-sha256", "x-hub-signature-256", "stripe-signature",
            "x-slack-signature", "x-slack-request-timestamp", "webhook-signature",
            "webhook-timestamp", "webhook-id", "authorization", "content-type",
            "x-twilio-signature", "x-contentful-signed-headers", "paypal-cert-url",
            "x-hook0-signature",
        ];
        let mut request = Request::new("", &[]);
        request.body = body.into();
        request.path_and_query = path;
        request.now = now;
        for (index, value) in values {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers.append(HeaderName::from_static(names[index]), value);
            }
        }
        for name in Scheme::providers() {
            let scheme = provider(name);
            let keys = one(scheme, WHSEC);
            prop_assert!(scheme.verify(&request.delivery(), &keys).is_err());
            let received = scheme.receive(&request.delivery(), &keys);
            let answered = matches!(received, Ok(Received::Handshake { .. }));
            prop_assert!(received.is_err() || answered);
            let _any = scheme.facts(&request.delivery());
            let _any = scheme.documents(&request.delivery(), &keys);
            let _any = scheme.sign(&request.delivery(), &keys);
        }
    }

    #[test]
    fn a_catalogue_of_noise_is_refused(text in "[a-z:{}\\[\\]\"|&*, \n-]{0,200}") {
        prop_assert!(Scheme::catalogue(&text).is_err());
    }

    #[test]
    fn a_template_of_noise_never_panics(text in r#"[a-z:{}|/,~é ]{1,60}"#) {
        let text = serde_json::to_string(&text).expect("a string");
        let catalogue = format!(
            "providers: {{x: {{title: X, secrets: {{s: a}}, sources: [a], verify: {{scheme: hmac, \
             algorithm: sha256, key: {{secret: s}}, content: {text}, \
             signature: {{in: header, name: x, encoding: hex}}}}}}}}"
        );
        if let Ok(schemes) = Scheme::catalogue(&catalogue) {
            let request = Request::new("a=b", &[("x", "00")]);
            let verdict = schemes[0].verify(&request.delivery(), &one(&schemes[0], "s"));
            prop_assert!(verdict.is_err());
        }
    }
}

#[test]
fn facts_that_would_break_keys_and_rows_are_absent() {
    let long = "x".repeat(513);
    let hostile = ["", " ", "a\\u0000b", "a\\nb", long.as_str()];
    for id in hostile {
        let request = Request::new(&format!(r#"{{"id":"{id}","type":"t"}}"#), &[]);
        assert_eq!(facts("stripe", &request).event_id, None, "{id:?}");
    }
    for id in ["null", "{}", "[1]", r#"{"id":"x"}"#] {
        let request = Request::new(&format!(r#"{{"id":{id},"type":"t"}}"#), &[]);
        assert_eq!(facts("stripe", &request).event_id, None, "{id}");
    }
}

#[test]
fn of_a_repeated_member_the_last_one_counts_and_numbers_keep_their_digits() {
    let id = |body: &str| facts("stripe", &Request::new(body, &[])).event_id;
    assert_eq!(id(r#"{"id":"a","id":"b"}"#).as_deref(), Some("b"));
    assert_eq!(id(r#"{"id":"a","id":null}"#), None);
    assert_eq!(
        id(r#"{"id":12345678901234567890123.50}"#).as_deref(),
        Some("12345678901234567890123.50")
    );
    assert_eq!(id(r#"{"i\u0064":"escaped"}"#).as_deref(), Some("escaped"));
    assert_eq!(id(r#"{"id":"a"} trailing"#), None);
    let kind = |body: &str| facts("slack", &Request::new(body, &[])).kind;
    assert_eq!(
        kind(r#"{"event":{"type":"x"},"event":1,"type":"y"}"#).as_deref(),
        Some("y")
    );
}

#[test]
fn deep_and_wide_bodies_cost_neither_stack_nor_meaning() {
    let deep = |open: &str, close: &str, inner: &str| {
        format!("{}{inner}{}", open.repeat(300_000), close.repeat(300_000))
    };
    let kind = |body: String| facts("slack", &Request::new(&body, &[])).kind;
    assert_eq!(kind(deep("[", "]", "")), None);
    assert_eq!(kind(deep("[", "", "")), None);
    assert_eq!(kind(deep(r#"{"event":"#, "}", "1")), None);
    let beside = format!(r#"{{"x":{},"type":"seen"}}"#, deep("[", "]", "1"));
    assert_eq!(kind(beside).as_deref(), Some("seen"));
}
