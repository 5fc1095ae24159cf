//! What senders' own packages sign we verify, and what we sign they verify. (GitHub has none for
//! Python: its part is that of `githubkit`. SendGrid's only verifies, so it judges what is signed
//! here.)
//!
//! A program of its own, since it needs Python packages that most machines lack:
//! `HOOKWRIGHT_SDK_PYTHON=venv/bin/python cargo test --test sdk`, where the venv has
//! `stripe standardwebhooks githubkit hishel<2 slack_sdk twilio sendgrid`. Without it, it says so
//! and does nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use hookwright::signature::{Cause, Delivery, Keys, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

const PYTHON: &str = "HOOKWRIGHT_SDK_PYTHON";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/sdk.py");
const URL: &str = "https://hooks.example/hooks/x?a=1";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Bodies that senders send: JSON, JSON beyond ASCII, and forms for the one that signs them.
const BODIES: [&str; 3] = [
    r#"{"id":"evt_1","type":"order.paid","total":"59.80"}"#,
    "{\"id\":\"evt_2\",\"type\":\"order.paid\",\"note\":\"h\u{e9} \u{1f375}\"}\n",
    "{}",
];
const FORMS: [&str; 2] = ["From=%2B15005550001&Body=tea+%26+milk", "A=1&b=&B=2"];

struct One(String);

impl Keys for One {
    fn values(&self, _name: &str) -> Vec<Vec<u8>> {
        vec![self.0.clone().into_bytes()]
    }
}

/// The packages.
struct Sdk {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Sdk {
    fn start(python: &str) -> Self {
        let command = Command::new(python)
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = command.expect("the Python that HOOKWRIGHT_SDK_PYTHON names");
        let asks = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            asks,
            answers,
        }
    }

    fn ask(&mut self, ask: &Value) -> Value {
        writeln!(self.asks, "{ask}").expect("the script takes a line");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("a line");
        serde_json::from_str(&answer).expect("the script answers: see its error above")
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// One message of one sender.
struct Message<'a> {
    sender: &'a str,
    headers: HeaderMap,
    body: Bytes,
    now: i64,
}

impl Message<'_> {
    fn delivery(&self) -> Delivery<'_> {
        Delivery {
            method: &Method::POST,
            path_and_query: "/hooks/x?a=1",
            url: Some(URL),
            headers: &self.headers,
            body: &self.body,
            now: self.now,
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        let name: HeaderName = name.parse().expect("a header name");
        let value: HeaderValue = value.parse().expect("a header value");
        self.headers.insert(name, value);
    }
}

fn message<'a>(sender: &'a str, body: &'static str, now: i64) -> Message<'a> {
    let mut message = Message {
        sender,
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
        now,
    };
    let media = match sender {
        "twilio" => "application/x-www-form-urlencoded",
        _ => "application/json",
    };
    message.add("content-type", media);
    message
}

/// What the package signs is verified, and not when a byte of it is another one.
fn verifies_theirs(sdk: &mut Sdk, mut message: Message<'_>, body: &str) {
    let sender = message.sender;
    let answer = sdk.ask(&json!({ "do": "sign", "sender": sender, "secret": SECRET,
        "body": body, "now": message.now, "url": URL }));
    for (name, value) in answer["headers"].as_object().expect("headers") {
        message.add(name, value.as_str().expect("a text"));
    }
    let secret = answer["public_key"].as_str().unwrap_or(SECRET);
    let keys = One(secret.to_owned());
    let scheme = Scheme::provider(sender).expect("a provider of the catalogue");
    let verified = scheme.verify(&message.delivery(), &keys);
    assert!(verified.is_ok(), "{sender}: {verified:?} {body}");
    message.body = format!("{body}&x=1").into();
    let changed = scheme.verify(&message.delivery(), &keys);
    assert_eq!(changed, Err(Cause::SignatureMismatch), "{sender} {body}");
}

/// What we sign the package verifies, and not when a byte of it is another one.
fn ours_is_verified(sdk: &mut Sdk, message: &Message<'_>, body: &str) {
    let sender = message.sender;
    let scheme = Scheme::provider(sender).expect("a provider of the catalogue");
    let signed = scheme.sign(&message.delivery(), &One(SECRET.to_owned()));
    let signed = signed.expect("a signature");
    let headers: serde_json::Map<_, _> = signed
        .iter()
        .map(|(name, value)| {
            let value = value.to_str().expect("a text");
            (name.to_string(), json!(value))
        })
        .collect();
    let mut ask = json!({ "do": "verify", "sender": sender, "secret": SECRET, "body": body,
        "headers": headers, "url": URL });
    assert_eq!(sdk.ask(&ask)["verified"], true, "{sender} {body}");
    ask["body"] = json!(format!("{body}&x=1"));
    assert_eq!(sdk.ask(&ask)["verified"], false, "{sender} {body}");
}

fn main() {
    let Ok(python) = std::env::var(PYTHON) else {
        eprintln!(
            "\nSKIPPED: {PYTHON} names no Python with the senders' packages, so nothing was \
             checked against them; tests/sdk/main.rs says how.\n"
        );
        return;
    };
    let mut sdk = Sdk::start(&python);
    // Their packages compare with the clock.
    let now = jiff::Timestamp::now().as_second();
    let mut count = 0;
    for sender in [
        "stripe",
        "standard-webhooks",
        "github",
        "slack",
        "twilio",
        "sendgrid",
    ] {
        let bodies = if sender == "twilio" {
            &FORMS[..]
        } else {
            &BODIES
        };
        for body in bodies {
            verifies_theirs(&mut sdk, message(sender, body, now), body);
            if sender != "sendgrid" {
                ours_is_verified(&mut sdk, &message(sender, body, now), body);
            }
            count += 1;
        }
    }
    eprintln!("sdk: {count} messages of 6 senders agree with their packages");
}
