//! Bodies of all kinds: kept byte for byte, and read as data.

use hookwright::event::Event;
use hookwright::id::Id;
use hookwright::trigger::envelope;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{Request, World};

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=cut";

fn event(content_type: &str, body: &[u8]) -> Event {
    let id = Id::generate();
    Event {
        id,
        event_id: id.to_string(),
        kind: "t".to_owned(),
        source: "/hooks/in".to_owned(),
        attributes: Default::default(),
        content_type: Some(content_type.to_owned()),
        headers: Vec::new(),
        body: bytes::Bytes::copy_from_slice(body),
    }
}

fn data(content_type: &str, body: &[u8]) -> Value {
    envelope(&event(content_type, body)).to_serde()["data"].clone()
}

fn multipart() -> Vec<u8> {
    let mut body = b"--cut\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n".to_vec();
    body.extend(b"--cut\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n2\r\n");
    body.extend(b"--cut\r\ncontent-disposition: form-data; name=\"f\"; filename=\"x.csv\"\r\n");
    body.extend(b"content-type: text/csv\r\n\r\nq;1\r\n");
    body.extend(b"--cut\r\ncontent-disposition: form-data; name=\"g\"; filename=\"x\"\r\n\r\n");
    body.extend(b"\xff\x00\r\n--cut--\r\n");
    body
}

#[test]
fn forms_multipart_and_xml_are_objects() {
    let form = data(FORM, b"a=1&b=x+y%21&a=2&empty=");
    assert_eq!(form, json!({"a": ["1", "2"], "b": "x y!", "empty": ""}));
    let parts = json!({
        "a": ["1", "2"],
        "f": {"filename": "x.csv", "contentType": "text/csv", "data": "q;1"},
        "g": {"filename": "x", "data_base64": "/wA="},
    });
    assert_eq!(data(MULTIPART, &multipart()), parts);
    let xml = b"<?xml version='1.0'?><s:order xmlns:s='urn:x' id='7'>\n <line>tea</line><line/>\
        <note by='a&amp;b'>hot &#38; <![CDATA[<strong>]]></note></s:order>";
    let order = json!({"order": {"@s": "urn:x", "@id": "7", "line": ["tea", ""],
        "note": {"@by": "a&b", "#text": "hot & <strong>"}}});
    assert_eq!(data("text/xml; charset=utf-8", xml), order);
    assert_eq!(data("application/soap+xml", b"<a>b</a>"), json!({"a": "b"}));
}

#[test]
fn what_is_not_as_it_says_is_a_text() {
    let entity = b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>";
    let deep = "<a>".repeat(40) + &"</a>".repeat(40);
    let many = format!("<a>{}</a>", "<b/>".repeat(10_001));
    let fields = "a=1&".repeat(1_001);
    for (media, body) in [
        ("text/xml", &entity[..]),
        ("text/xml", deep.as_bytes()),
        ("text/xml", many.as_bytes()),
        ("text/xml", b"<a>"),
        (FORM, fields.as_bytes()),
        (MULTIPART, b"--other\r\n"),
        ("multipart/form-data", b"--cut\r\n"),
        ("text/plain", b"a=1"),
    ] {
        let text = std::str::from_utf8(body).unwrap();
        assert_eq!(data(media, body), text, "{media}");
    }
    let made = envelope(&event(FORM, b"\xff")).to_serde();
    assert_eq!(made["data_base64"], "/w==");
    // The string of a CloudEvent is a string, whatever its type.
    let mut published = event("text/xml", b"<a>b</a>");
    published.source = "/shop".to_owned();
    assert_eq!(envelope(&published).to_serde()["data"], "<a>b</a>");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_back_byte_for_byte() {
    let world = World::start().await;
    let client = &world.client;
    let put = client.put("/api/v1/sources/in", "{source: in, verify: none}");
    put.await.good();
    world
        .workflow(
            "{document: {dsl: 1.0.3, namespace: t, name: bodies, version: 1.0.0},
              schedule: {on: {one: {with: {source: /hooks/in}}}},
              do: [{keep: {set: '${ $workflow.input[0] | .data // .data_base64 }'}}]}",
        )
        .await;
    let parts = multipart();
    for (media, body, output) in [
        (FORM, &b"a=%00&a=\xc3\xa9"[..], json!({"a": ["\u{0}", "é"]})),
        (MULTIPART, &parts, data(MULTIPART, &parts)),
        ("text/xml", b"<a>\r\n</a>", json!({"a": "\r\n"})),
        ("text/plain", b"\r\n\0x", json!("\r\n\0x")),
        ("text/plain; charset=latin1", b"\xe9\x00", json!("6QA=")),
        (
            "application/json",
            b"{\"a\":1.50,\"a\":1e2}",
            json!({"a": 1e2}),
        ),
        ("application/octet-stream", b"\x00\xff", json!("AP8=")),
    ] {
        let request = Request::new("POST", "/hooks/in", body).header("content-type", media);
        let id = client.send(&request).await.good()["id"].clone();
        let id = id.as_str().unwrap();
        let stored = client.get(&format!("/api/v1/events/{id}/body")).await;
        assert_eq!(stored.body, body, "{media}");
        let kept = stored.header("content-type").unwrap();
        assert!(media.starts_with(kept.split(';').next().unwrap()), "{kept}");
        let run = world.ended(id).await;
        if media == "text/xml" {
            // A line is ended by one character, as XML says.
            assert_eq!(run["output"]["a"].as_str().unwrap().trim(), "");
        } else {
            assert_eq!(run["output"], output, "{media}: {run}");
        }
    }
}

proptest! {
    #![proptest_config(crate::fuzz::cases(256))]

    #[test]
    fn no_body_is_too_strange(
        media in prop_oneof![
            Just(FORM), Just(MULTIPART), Just("text/xml"), Just("application/json"),
            Just("multipart/form-data; boundary=\"\""), Just("text/plain"), Just("x/y"),
        ],
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "(--cut(--)?|\r\n|content-disposition: form-data; name=\"a\"|;|:|a){0,20}"
                .prop_map(String::into_bytes),
            "(<a>|</a>|<b/>|<a b='c'>|&#x41;|&lt;|<!--|-->|<!\\[CDATA\\[|\\]\\]>|x){0,20}"
                .prop_map(String::into_bytes),
            "(a|=|&|%|%2|%41|\\+){0,20}".prop_map(String::into_bytes),
        ],
    ) {
        let made = envelope(&event(media, &body)).to_serde();
        let has = made.get("data").is_some() || made.get("data_base64").is_some();
        prop_assert_eq!(has, !body.is_empty());
    }
}
