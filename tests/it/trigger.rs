//! Which deployments an event starts, why it is ignored, and what of it a run gets to see.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hookwright::event::Event;
use hookwright::id::Id;
use hookwright::trigger::{Matched, Triggers, envelope, input};
use hookwright::workflow::{Definition, parse};

fn event(kind: &str, source: &str, body: &str) -> Event {
    Event {
        id: Id::generate(),
        event_id: "d-1".to_owned(),
        source: source.to_owned(),
        kind: kind.to_owned(),
        attributes: BTreeMap::from([("shopdomain".to_owned(), "a.example".to_owned())]),
        content_type: Some("application/json".to_owned()),
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn listening(name: &str, with: &str) -> Arc<Definition> {
    let text = format!(
        "document: {{dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0'}}\n\
         schedule: {{on: {{one: {{with: {with}}}}}}}\ndo: []\n"
    );
    Arc::new(parse(&text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}")))
}

fn triggers(filters: &[&str]) -> Triggers {
    let deployment = |(id, with)| (id, listening(&format!("w{id}"), with));
    Triggers::new((0..).zip(filters.iter().copied()).map(deployment))
}

fn routed(triggers: &Triggers, event: &Event) -> Matched {
    triggers.route(event, &|| envelope(event))
}

fn started(triggers: &Triggers, event: &Event) -> Vec<i32> {
    routed(triggers, event)
        .starts
        .iter()
        .map(|(id, _)| *id)
        .collect()
}

#[test]
fn all_attributes_must_match() {
    let triggers = triggers(&[
        "{type: shop.created}",
        "{type: shop.created, source: /hooks/shop}",
        "{type: shop.created, source: /hooks/other}",
        "{source: /hooks/shop}",
        "{type: 'shop\\..*'}",
        "{type: shop}",
        "{shopdomain: a.example}",
        "{shopdomain: a.example, missing: x}",
        "{id: d-1, specversion: '1.0', datacontenttype: application/json}",
    ]);
    assert_eq!(
        started(&triggers, &event("shop.created", "/hooks/shop", "{}")),
        [0, 1, 3, 4, 6, 8]
    );
    assert_eq!(
        started(&triggers, &event("shop.gone", "/hooks/else", "{}")),
        [4, 6, 8]
    );
}

#[test]
fn a_literal_is_also_an_anchored_pattern() {
    let triggers = triggers(&[
        "{type: a.b}",
        "{type: 'a(bc'}",
        "{type: 'x|y'}",
        "{type: a-b.c}",
    ]);
    assert_eq!(started(&triggers, &event("a.b", "/", "")), [0]);
    assert_eq!(started(&triggers, &event("aXb", "/", "")), [0]);
    assert_eq!(started(&triggers, &event("aéb", "/", "")), [0]);
    assert_eq!(started(&triggers, &event("a\nb", "/", "")), [] as [i32; 0]);
    assert_eq!(started(&triggers, &event("a.bc", "/", "")), [] as [i32; 0]);
    assert_eq!(started(&triggers, &event("a(bc", "/", "")), [1]);
    assert_eq!(started(&triggers, &event("y", "/", "")), [2]);
    assert_eq!(started(&triggers, &event("xy", "/", "")), [] as [i32; 0]);
    assert_eq!(started(&triggers, &event("a-bzc", "/", "")), [3]);
}

#[test]
fn data_is_compared_or_asked_and_parsed_at_most_once() {
    let triggers = triggers(&[
        "{type: order, data: '${ .total > 100 }'}",
        "{type: order, data: {kind: gift}}",
        "{type: order, data: '${ .total | tonumber | . > \"x\" | error }'}",
        "{type: '${ startswith(\"ord\") }'}",
        "{type: other, data: '${ .total > 100 }'}",
    ]);
    let event = event("order", "/", r#"{"total": 150, "kind": "gift", "more": 1}"#);
    let made = Cell::new(0);
    let matched = triggers.route(&event, &|| {
        made.set(made.get() + 1);
        envelope(&event)
    });
    let ids: Vec<i32> = matched.starts.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [0, 1, 3]);
    assert_eq!((matched.filter_errors, made.get()), (1, 1));
    assert_eq!(matched.ignored, None);
}

#[test]
fn an_envelope_is_not_made_where_nobody_looks_into_it() {
    let triggers = triggers(&["{type: order, source: /a}", "{shopdomain: '.*'}"]);
    let matched = triggers.route(&event("order", "/a", "{}"), &|| panic!("not needed"));
    assert_eq!(matched.starts.len(), 2);
}

#[test]
fn what_is_ignored_says_why() {
    let triggers = triggers(&[
        "{type: shop.created, source: /hooks/shop}",
        "{type: shop.paid, data: '${ .total > 100 }'}",
        "{type: shop.lost, reason: fire}",
    ]);
    let why = |event: &Event| routed(&triggers, event).ignored.expect("a reason");
    insta::assert_snapshot!(
        [
            why(&event("shop.sold", "/hooks/shop", "{}")),
            why(&event("shop.created", "/hooks/else", "{}")),
            why(&event("shop.paid", "/hooks/shop", "{\"total\": 1}")),
            why(&event("shop.paid", "/hooks/shop", "no json")),
            why(&event("shop.lost", "/hooks/shop", "{}")),
        ]
        .join("\n"),
        @r##"
    no active workflow listens for type shop.sold
    the filter of t/w0 (1.0.0) said no: source is not what it asks for
    the filter of t/w1 (1.0.0) said no: its condition on data is not true
    the filter of t/w1 (1.0.0) said no: its condition on data cannot be evaluated
    the filter of t/w2 (1.0.0) said no: the event has no reason
    "##
    );
    let long = "x".repeat(100_000);
    assert!(why(&event(&long, "/", "")).len() < 300);
    let nobody = Triggers::default();
    assert!(nobody.is_empty());
    assert!(routed(&nobody, &event("a", "/", "")).ignored.is_some());
}

#[test]
fn an_event_costs_the_same_with_ten_thousand_triggers() {
    let one = listening("one", "{type: shop.created, source: /hooks/shop}");
    let many: Vec<Arc<Definition>> = (0..100)
        .map(|n| {
            listening(
                "many",
                &format!("{{type: shop{n}.created, source: /hooks/t.{n}}}"),
            )
        })
        .collect();
    let few = Triggers::new([(0, Arc::clone(&one))]);
    let deployments = many.iter().cycle().take(10_000).cloned();
    let all = Triggers::new((1..).zip(deployments).chain([(0, one)]));
    assert_eq!(all.len(), 10_001);
    let event = event("shop.created", "/hooks/shop", "{}");
    let time = |triggers: &Triggers| {
        let started = Instant::now();
        for _ in 0..200 {
            assert_eq!(routed(triggers, &event).starts.len(), 1);
        }
        started.elapsed()
    };
    // The best of several, because the machine has other work too.
    let best = |triggers: &Triggers| (0..7).map(|_| time(triggers)).min();
    let (few, all) = (best(&few).expect("a time"), best(&all).expect("a time"));
    assert!(all < few * 10, "1 trigger: {few:?}, 10,000: {all:?}");
}

fn data_of(content_type: Option<&str>, body: &[u8]) -> serde_json::Value {
    let mut event = event("t", "/s", "");
    event.content_type = content_type.map(str::to_owned);
    event.body = Bytes::copy_from_slice(body);
    let envelope = envelope(&event).to_serde();
    let member = |name: &str| envelope.get(name).cloned();
    member("data")
        .or_else(|| Some(serde_json::json!({"base64": member("data_base64")?})))
        .into()
}

#[test]
fn data_follows_the_media_type() {
    let json = serde_json::json!({"a": [1, "é"]});
    let text = "{\"a\": [1, \"é\"]}".as_bytes();
    for media in [
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.x+json",
    ] {
        assert_eq!(data_of(Some(media), text), json, "{media}");
    }
    assert_eq!(data_of(None, text), json);
    assert_eq!(data_of(None, b"plain"), "plain");
    assert_eq!(data_of(Some("application/json"), b"{broken"), "{broken");
    assert_eq!(
        data_of(Some("application/json"), b"\xff"),
        serde_json::json!({"base64": "/w=="})
    );
    assert_eq!(
        data_of(Some("application/x-www-form-urlencoded"), b"a=1&b=2"),
        "a=1&b=2",
        "an object only where a source received it: tests/it/bodies.rs"
    );
    assert_eq!(data_of(Some("text/plain"), b"1"), "1");
    assert_eq!(data_of(Some("application/soap+xml"), b"<a/>"), "<a/>");
    assert_eq!(
        data_of(Some("image/png"), b"abc"),
        serde_json::json!({"base64": "YWJj"})
    );
    assert_eq!(
        data_of(Some("no media type"), b"abc"),
        serde_json::json!({"base64": "YWJj"})
    );
}

#[test]
fn an_envelope_is_a_cloudevent() {
    let mut event = event("shop.created", "/hooks/shop", "");
    let made = envelope(&event).to_serde();
    assert!(made.get("data").is_none() && made.get("data_base64").is_none());
    let time: jiff::Timestamp = made["time"].as_str().expect("a time").parse().unwrap();
    assert_eq!(
        u64::try_from(time.as_millisecond()).unwrap(),
        event.id.made_at_ms()
    );
    event
        .attributes
        .insert("time".to_owned(), "2026-11-22T10:00:00Z".to_owned());
    event
        .attributes
        .insert("subject".to_owned(), "order/7".to_owned());
    event
        .attributes
        .insert("type".to_owned(), "forged".to_owned());
    event.body = Bytes::from_static(b"{\"n\": 1.50}");
    let json = String::from_utf8(envelope(&event).to_json()).unwrap();
    let expected = [
        r#"{"specversion":"1.0","id":"d-1","source":"/hooks/shop","type":"shop.created","#,
        r#""datacontenttype":"application/json","time":"2026-11-22T10:00:00Z","#,
        r#""shopdomain":"a.example","subject":"order/7","data":{"n":1.50}}"#,
    ];
    assert_eq!(json, expected.concat());
}

#[test]
fn a_run_gets_a_list_of_one_event() {
    let event = event("a", "/", "{\"x\": 1}");
    let whole = listening("w", "{type: a}");
    let made = input(&whole, &event);
    assert_eq!(made.pointer("/0/data/x").and_then(|x| x.as_i64()), Some(1));
    let text = "document: {dsl: '1.0.3', namespace: t, name: t, version: '1.0.0'}\n\
                schedule: {on: {one: {with: {type: a}}}, read: data}\ndo: []\n";
    let definition = parse(text).expect("a definition");
    let made = input(&definition, &event);
    assert_eq!(made.pointer("/0/x").and_then(|x| x.as_i64()), Some(1));
}
