//! A run as a timeline for people, from what the API says of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::say;

/// Prints what happened, each line with its distance from the start.
pub fn print(run: &Value, acknowledged: Duration) {
    let start = at(&run["createdAt"]);
    let line = |time: Option<Timestamp>, text: String| {
        let since = time
            .zip(start)
            .map(|(time, start)| time.duration_since(start).as_millis());
        let since = since.map_or_else(String::new, |ms| format!("{ms:>6} ms"));
        say(&format!("  {since:>9}  {text}"));
    };
    say("\n  Timeline of the run");
    let ms = acknowledged.as_secs_f64() * 1000.0;
    line(
        start,
        format!("received, verified, stored; acknowledged in {ms:.1} ms"),
    );
    for task in run["tasks"].as_array().into_iter().flatten() {
        let name = task["name"].as_str().unwrap_or_default();
        line(at(&task["startedAt"]), format!("{name}: input transformed"));
        for attempt in task["attempts"].as_array().into_iter().flatten() {
            line(at(&attempt["startedAt"]), describe(name, attempt));
        }
    }
    let status = run["status"].as_str().unwrap_or_default();
    let took = at(&run["endedAt"])
        .zip(start)
        .map(|(end, start)| end.duration_since(start));
    let took = took.map_or_else(String::new, |took| format!(" in {} ms", took.as_millis()));
    line(
        at(&run["endedAt"]),
        format!("{status}{took}, output {}", run["output"]),
    );
}

fn describe(name: &str, attempt: &Value) -> String {
    let number = &attempt["number"];
    let status = &attempt["status"];
    let ms = &attempt["durationMs"];
    let outcome = if status.is_null() {
        attempt["error"]["detail"].clone()
    } else {
        status.clone()
    };
    format!("{name}: attempt {number}: {outcome} ({ms} ms)")
}

fn at(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
