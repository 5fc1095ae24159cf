//! Whether a run scales inside: what a task costs in the first and in the last tenth of long runs.
//!
//! `cargo bench --bench tenths`. The engine alone, without database or network: applying an entry
//! and asking what is pending. In a fork all branches are open at the start and few at the end, and
//! asking costs what is open; so for it applying is told alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookwright::expression::Value;
use hookwright::id::Id;
use hookwright::run::{Attempt, Change, Entry, Links, Outcome, Pending, Run, Surroundings};
use hookwright::workflow;
use jiff::Timestamp;

const CALL: &str = "{ call: http, with: { method: get, endpoint: 'http://api.test/x' } }";

/// A workflow, how many calls or waits it has, and whether asking what is pending counts.
struct Case {
    name: &'static str,
    tasks: String,
    count: usize,
    asks: bool,
}

fn cases() -> [Case; 4] {
    let branches: String = (0..500)
        .map(|at| format!("            - b{at}: {CALL}\n"))
        .collect();
    let nested = |var: &str, inside: &str| {
        format!("{{ for: {{ each: {var}, in: '[ range(10) ]' }}, do: [ {{ t: {inside} }} ] }}")
    };
    let wait = nested("a", &nested("b", &nested("c", "{ wait: PT1S }")));
    let each = format!("for: {{ in: '[ range(10000) ]' }}\n      do: [ {{ t: {CALL} }} ]");
    [
        Case {
            name: "a for over 10,000 items, a call each",
            tasks: format!("  - l:\n      {each}\n"),
            count: 10_000,
            asks: true,
        },
        Case {
            name: "the same, 16 side by side",
            tasks: format!("  - l:\n      metadata: {{ parallel: 16 }}\n      {each}\n"),
            count: 10_000,
            asks: true,
        },
        Case {
            name: "a fork of 500 branches, a call each",
            tasks: format!("  - f:\n      fork:\n          branches:\n{branches}"),
            count: 500,
            asks: false,
        },
        Case {
            name: "1,000 waits in three loops in each other",
            tasks: format!("  - l: {wait}\n"),
            count: 1_000,
            asks: true,
        },
    ]
}

/// What happens next in a run, and how long it took to find out.
fn next(run: &Run) -> Option<(Change, Duration)> {
    let begun = Instant::now();
    let pending = run.pending();
    let took = begun.elapsed();
    let Pending::Open { effects, waits } = pending else {
        return None;
    };
    let attempt = Attempt {
        number: 1,
        started_at: Timestamp::UNIX_EPOCH,
        duration_ms: 1,
        status: Some(200),
        error: None,
        retry_after_seconds: None,
    };
    let change = match effects.into_iter().next() {
        Some(effect) => Change::Performed {
            key: effect.key,
            attempt,
            outcome: Outcome::Completed(Value::null()),
        },
        None => Change::Fired {
            key: waits.into_iter().next()?.key,
        },
    };
    Some((change, took))
}

/// Lives it; what each call or wait took.
fn live(case: &Case) -> Vec<Duration> {
    let text = format!(
        "document: {{ dsl: '1.0.3', namespace: bench, name: tenths, version: '1.0.0' }}\ndo:\n{}",
        case.tasks
    );
    let definition = Arc::new(workflow::parse(&text).expect("the workflow is valid"));
    let surroundings = Arc::new(Surroundings {
        id: Id::generate(),
        environment: Arc::from("bench"),
        secrets: Arc::new(|_| None),
        tasks_max: u32::MAX,
        links: Arc::new(Links::hidden()),
    });
    let mut run = Run::new(definition, surroundings);
    let mut change = Change::Started {
        input: Value::null(),
    };
    let mut taken = Vec::with_capacity(case.count);
    loop {
        let begun = Instant::now();
        run.apply(Entry {
            at: Timestamp::UNIX_EPOCH,
            change,
        });
        let applied = begun.elapsed();
        let Some((following, asked)) = next(&run) else {
            taken.push(applied);
            // The first is the start.
            return taken.split_off(1);
        };
        let asked = if case.asks { asked } else { Duration::ZERO };
        taken.push(applied + asked);
        change = following;
    }
}

/// The median of a stretch, in microseconds.
fn median_us(of: &[Duration]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64() * 1e6
}

fn report(text: &str) {
    use std::io::Write as _;
    let _gone = writeln!(std::io::stdout(), "{text}");
}

fn main() {
    report("µs per task (median): first tenth, last tenth, ratio");
    for case in cases() {
        let taken = live(&case);
        assert_eq!(taken.len(), case.count);
        let tenth = case.count / 10;
        let first = median_us(&taken[..tenth]);
        let last = median_us(&taken[case.count - tenth..]);
        let name = case.name;
        report(&format!(
            "{name:45} {first:8.2} {last:8.2} {:6.2}",
            last / first
        ));
    }
}
