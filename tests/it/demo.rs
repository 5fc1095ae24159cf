//! `hookwright demo --once`: what somebody sees who tries the program for the first time.

use std::time::Duration;

use tokio::time::Instant;

use crate::world::process::run;

/// The main job is shown within this time, the making of a database included.
const DEMO_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_the_main_job_with_its_retry() {
    let begun = Instant::now();
    let output = run(&["demo", "--once"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(begun.elapsed() < DEMO_MAX, "{:?}", begun.elapsed());
    for part in [
        "acknowledged in",
        "attempt 1: 503",
        "attempt 2: 201",
        "completed in",
        "/api/v1/runs/",
        "curl -i",
        "jane@example.com",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}
