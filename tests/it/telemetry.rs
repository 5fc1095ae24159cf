//! The log: its lines, its bounds, and that it never waits. The registry: what it serves.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use hookwright::telemetry::{Config, Format, LATENCY_BUCKETS_S, Redaction, Registry, subscriber};
use prometheus::IntCounter;
use serde_json::{Value, json};
use tracing::{error, info, info_span};

/// An output that keeps what it gets.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config(format: Format) -> Config {
    Config {
        format,
        filter: "info,quiet=off".to_owned(),
        queue_bytes_max: 1 << 20,
    }
}

fn lost() -> IntCounter {
    IntCounter::new("lost", "lost").unwrap()
}

/// What is written while `act` runs.
fn logged(config: &Config, redaction: Redaction, act: impl FnOnce()) -> String {
    let kept = Kept::default();
    let (subscriber, guard) = subscriber(config, kept.clone(), lost(), redaction).unwrap();
    tracing::subscriber::with_default(subscriber, act);
    drop(guard);
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn json_lines(act: impl FnOnce()) -> Vec<Value> {
    let text = logged(&config(Format::Json), Redaction::default(), act);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_line_is_flat_json_with_the_fields_of_its_spans() {
    let lines = json_lines(|| {
        let run = info_span!("run", run.id = "r1", task.reference = tracing::field::Empty);
        run.record("task.reference", "/do/0/call");
        run.in_scope(|| {
            let attempt = 2_u64;
            info!(
                destination.name = "crm",
                attempt,
                ok = true,
                run.id = "r2",
                "a call failed"
            );
        });
        info!(target: "quiet", "not logged");
    });
    assert_eq!(lines.len(), 1);
    let mut line = lines.into_iter().next().unwrap();
    let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    timestamp
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap();
    assert_eq!(
        line,
        json!({
            "level": "INFO", "target": "it::telemetry", "message": "a call failed",
            "run.id": "r2", "task.reference": "/do/0/call", "destination.name": "crm",
            "attempt": 2, "ok": true
        })
    );
}

#[test]
fn hostile_text_stays_on_its_line() {
    let hostile = "a\n{\"level\":\"ERROR\"}\r\u{1b}[2J\u{85}\u{2028}\u{202e}\u{0}\"\\é";
    let act = || info!(header = hostile, "{hostile}");
    let line = &json_lines(act)[0];
    assert_eq!(line["header"], hostile);
    assert_eq!(line["message"], hostile);
    for format in [Format::Json, Format::Text] {
        let text = logged(&config(format), Redaction::default(), act);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(
            !text
                .trim_end()
                .contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{text}"
        );
    }
}

#[test]
fn a_text_line_reads_well() {
    let text = logged(&config(Format::Text), Redaction::default(), || {
        error!(run.id = "r1", reason = "two words", "a run faulted");
    });
    let (_, rest) = text.split_once(' ').unwrap();
    assert_eq!(rest, "ERROR a run faulted run.id=r1 reason=\"two words\"\n");
}

#[test]
fn errors_show_their_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("the call failed")]
    struct Failed(#[source] io::Error);
    let failed = Failed(io::Error::other("connection reset"));
    let cause = &failed as &(dyn std::error::Error + 'static);
    let line = &json_lines(|| info!(error = cause, "failed"))[0];
    assert_eq!(line["error"], "the call failed: connection reset");
}

#[test]
fn secrets_are_hidden_before_a_text_is_cut() {
    let secret = "s3cret-".repeat(1000);
    let redaction = Redaction::default();
    let hidden = secret.clone();
    redaction.set(move |text| match text.contains(&hidden) {
        true => Cow::Owned(text.replace(&hidden, "***")),
        false => Cow::Borrowed(text),
    });
    let text = logged(&config(Format::Json), redaction, || {
        info_span!("call", url = format!("https://x/?key={secret}"))
            .in_scope(|| info!(text = secret, "token {secret} used"));
    });
    assert!(
        text.contains("token *** used") && text.contains("?key=***"),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn texts_and_lines_have_bounds() {
    let long = "é".repeat(1_000_000);
    let line = &json_lines(|| {
        let (a, b, c, d, e) = (&long, &long, &long, &long, &long);
        info!(a, b, c, d, e, last = 1, "{long}");
    })[0];
    assert_eq!(line["truncated"], true);
    assert!(line["message"].as_str().unwrap().len() < 5_000);
    assert!(line.to_string().len() < 25_000);
    assert!(line.get("last").is_none());
}

/// An output whose reader does not read until it is told to.
struct Blocked {
    entered: SyncSender<()>,
    go_on: Receiver<()>,
}

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.try_send(());
        // Ends with an error once the test drops its side.
        self.go_on.recv().map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_does_not_read_costs_lines_and_nothing_else() {
    let (entered, has_entered) = sync_channel(1);
    let (release, go_on) = sync_channel(1);
    let lost = lost();
    let config = Config {
        queue_bytes_max: 10_000,
        ..config(Format::Text)
    };
    let output = Blocked { entered, go_on };
    let (subscriber, guard) =
        subscriber(&config, output, lost.clone(), Redaction::default()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        info!("first");
        has_entered.recv().unwrap();
        (0..10_000).for_each(|number| info!(number, "more"));
        let dropped = lost.get();
        assert!((9_000..10_000).contains(&dropped), "{dropped}");
        // The reader is gone for good: what waited is lost as well, and counted.
        drop(release);
    });
    drop(guard);
    assert_eq!(lost.get(), 10_001);
}

#[test]
fn a_wrong_filter_is_named() {
    let config = Config {
        filter: "info,=x=".to_owned(),
        ..config(Format::Json)
    };
    let error = subscriber(&config, Kept::default(), lost(), Redaction::default())
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("telemetry.filter is not a filter"),
        "{error}"
    );
}

#[test]
fn the_registry_serves_the_build_and_the_process() {
    let registry = Registry::new().unwrap();
    let (content_type, text) = registry.render();
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    assert!(
        text.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")),
        "{text}"
    );
    if cfg!(target_os = "linux") {
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
    assert!(LATENCY_BUCKETS_S.is_sorted());
}
