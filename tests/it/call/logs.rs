//! What a failed call leaves in the log: enough to look into it, and nothing that is secret.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::sink::{Sink, answer};
use super::world::{World, call_with, get, pair, value};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_failed_call_is_one_line_without_bodies_or_secrets() {
    let sink = Sink::start(|_, _| {
        answer(
            500,
            &[],
            "your key s3cret-key-of-the-test and the payload of the answer",
        )
    })
    .await;
    let document = format!(
        "destination: crm\nbaseUrl: {}\nauthentication:\n  \
         apiKey: {{ in: query, name: api_key, value: {{ secret: key }} }}",
        sink.url("/v2")
    );
    let world = World::new(&[document]);
    let effect = call_with("POST", "destination://crm/orders", |request| {
        request.query = vec![pair("email", "ann@example.com")];
        request.headers = vec![pair("Authorization", "Bearer t0ken")];
        request.body = Some(value(r#"{"card":"4111"}"#));
    });
    // A log line that another thread meets for the first time just when a subscriber comes may
    // never hear of it: after this the line is known.
    world.perform(&effect).await;
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(kept.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    world.perform(&effect).await;
    drop(guard);
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("hookwright::call"))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    let fields = &line["fields"];
    assert_eq!(fields["run.id"], world.identity.run_id.to_string());
    assert_eq!(fields["task.reference"], "/do/0/call");
    assert_eq!(fields["destination.name"], "crm");
    assert_eq!(fields["attempt"], 1);
    assert_eq!(fields["outcome"], "server_error");
    assert_eq!(fields["status"], 500);
    assert_eq!(fields["url"], sink.url("/v2/orders"));
    assert!(fields["duration_ms"].is_number());
    assert!(fields["error"].as_str().unwrap().contains("500"));
    for hidden in [
        "s3cret",
        "t0ken",
        "4111",
        "ann@example",
        "payload of the answer",
    ] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
}

#[tokio::test]
async fn the_cause_of_a_blocked_call_is_in_the_log_alone() {
    let world = World::new(&[]);
    world.error(&get("http://10.0.0.1/")).await; // as above
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(kept.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let (_, problem) = world.error(&get("http://10.0.0.1/")).await;
    drop(guard);
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("the address is not public"), "{text}");
    assert_eq!(problem.detail.as_deref(), Some("blocked by egress policy"));
}
