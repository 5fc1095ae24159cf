//! Requests that are signed: what a receiver that checks would find.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::sink::{Seen, Sink, answer};
use super::world::{World, call_with, value};
use crate::call::sink::json;

fn signed(key: &[u8], content: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, content.as_bytes()).as_ref().to_vec()
}

/// What arrives of a `POST /a%20b?z=1&a=2` with a JSON body.
async fn sent(authentication: &str) -> (World, Seen) {
    let sink = Sink::saying(200, "{}").await;
    let document = format!(
        "destination: api\nbaseUrl: {}\nauthentication: {authentication}",
        sink.url("")
    );
    let world = World::new(&[document]);
    let effect = call_with("POST", "destination://api/a%20b?z=1", |request| {
        request.query = vec![("a".to_owned(), "2".to_owned())];
        request.body = Some(value(r#"{"n":1}"#));
    });
    world.output(&effect).await;
    (world, sink.one())
}

#[tokio::test]
async fn a_standard_webhook_can_be_verified() {
    let (world, seen) = sent("{ standardWebhooks: { secret: { secret: webhook } } }").await;
    let header = |name| seen.header(name).unwrap();
    let id = header("webhook-id");
    assert_eq!(id, world.identity.idempotency_key.to_string());
    let content = format!("{id}.{}.{}", header("webhook-timestamp"), seen.body);
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let wanted = format!("v1,{}", STANDARD.encode(signed(&key, &content)));
    assert_eq!(header("webhook-signature"), wanted);
}

#[tokio::test]
async fn a_signature_of_its_own_kind_can_be_verified() {
    let (_, seen) = sent(
        "{ signature: { secret: { secret: key }, header: X-Signature, prefix: 'sha256=', \
         content: '{timestamp}:{method}:{path}:{query}:{body}', \
         timestamp: { header: X-Timestamp } } }",
    )
    .await;
    let seconds = seen.header("x-timestamp").unwrap();
    let content = format!("{seconds}:POST:/a%20b:z=1&a=2:{}", seen.body);
    let mac = hex::encode(signed(b"s3cret-key-of-the-test", &content));
    assert_eq!(seen.header("x-signature").unwrap(), format!("sha256={mac}"));
    let (_, plain) =
        sent("{ signature: { secret: { secret: key }, header: X-Mac, encoding: base64 } }").await;
    let mac = STANDARD.encode(signed(b"s3cret-key-of-the-test", &plain.body));
    assert_eq!(plain.header("x-mac").unwrap(), mac);
}

#[tokio::test]
async fn aws_can_verify_its_signature() {
    let (_, seen) = sent(
        "{ awsSigV4: { region: eu-central-1, service: execute-api, accessKeyId: AKIDEXAMPLE, \
         secretAccessKey: { secret: key }, sessionToken: { secret: login.pass } } }",
    )
    .await;
    let header = |name: &str| seen.header(name).unwrap();
    assert_eq!(header("x-amz-security-token"), "pass-of-ann");
    let time = header("x-amz-date");
    let scope = format!("{}/eu-central-1/execute-api/aws4_request", &time[..8]);
    let authorization = header("authorization");
    let (start, signature) = authorization.rsplit_once("Signature=").unwrap();
    let names = start.split("SignedHeaders=").nth(1).unwrap();
    let names = names.trim_end_matches(", ");
    let begin = format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, ");
    assert!(start.starts_with(&begin), "{start}");
    assert!(
        names.contains("content-type;host;x-amz-date;x-amz-security-token"),
        "{names}"
    );
    let hash = |text: &str| hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
    let headers: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name)))
        .collect();
    // The path is encoded twice, the query sorted: AWS's rules for all services but S3.
    let request = format!(
        "POST\n/a%2520b\na=2&z=1\n{headers}\n{names}\n{}",
        hash(&seen.body)
    );
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(&request));
    let mut key = b"AWS4s3cret-key-of-the-test".to_vec();
    for part in scope.split('/') {
        key = signed(&key, part);
    }
    assert_eq!(signature, hex::encode(signed(&key, &text)));
}

#[tokio::test]
async fn each_attempt_is_signed_with_the_same_id_and_no_secret_is_shown() {
    let sink = Sink::start(|_, number| match number {
        1 => answer(503, &[], ""),
        _ => json(200, "{}"),
    })
    .await;
    let document = format!(
        "destination: api\nbaseUrl: {}\nauthentication: {{ standardWebhooks: {{ secret: {{ \
         secret: webhook }} }} }}",
        sink.url("")
    );
    let world = World::new(&[document]);
    let effect = call_with("POST", "destination://api/x", |_| ());
    world.retry(&effect).await;
    world.output(&effect).await;
    let ids: Vec<_> = sink
        .seen()
        .iter()
        .map(|seen| seen.header("webhook-id"))
        .collect();
    assert_eq!(ids[0], ids[1]);
    let wrong = format!(
        "destination: api\nbaseUrl: {}\nauthentication: {{ standardWebhooks: {{ secret: {{ \
         secret: key }} }} }}",
        sink.url("")
    );
    let (_, problem) = World::new(&[wrong]).error(&effect).await;
    let said = format!("{problem:?}");
    assert!(said.contains("cannot be signed"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
