//! When a call is tried again, and after how long.

use std::time::Duration;

use hookwright::call::Performed;
use hookwright::call::retry::{Policy, Situation, retry_after};
use hookwright::workflow::definition::Backoff;
use jiff::{SignedDuration, Timestamp};

use super::sink::{Play, Sink, answer};
use super::world::{World, call_with, get};

fn document(sink: &Sink, more: &str) -> String {
    format!("destination: crm\nbaseUrl: {}\n{more}", sink.url(""))
}

#[tokio::test]
async fn transient_statuses_are_retried_and_others_are_not() {
    let sink = Sink::start(|seen, _| answer(seen.target[1..].parse().unwrap(), &[], "")).await;
    let world = World::new(&[document(&sink, "")]);
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        let effect = get(&format!("destination://crm/{status}"));
        let (attempt, after) = world.retry(&effect).await;
        assert_eq!(attempt.status, Some(status));
        assert_eq!(attempt.error.unwrap().status, status);
        assert!(after <= Duration::from_secs(1));
    }
    for status in [400, 401, 403, 404, 409, 410, 422] {
        world
            .error(&get(&format!("destination://crm/{status}")))
            .await;
    }
    let retries = world.metric("hookwright_retries_total", &[("destination", "crm")]);
    assert_eq!(retries, 8.0);
    let seconds = world.metric("hookwright_attempt_seconds", &[("destination", "crm")]);
    assert_eq!(seconds, 15.0);
    let limited = [("destination", "crm"), ("outcome", "rate_limited")];
    assert_eq!(world.metric("hookwright_attempts_total", &limited), 1.0);
}

#[tokio::test]
async fn a_broken_connection_and_a_deadline_are_retried() {
    for play in [|| Play::Close(Vec::new()), || Play::Hang(Vec::new())] {
        let sink = Sink::start(move |_, _| play()).await;
        let world = World::new(&[document(&sink, "timeout: PT0.1S")]);
        let (attempt, _) = world.retry(&get("destination://crm/")).await;
        assert_eq!(attempt.status, None);
        assert_eq!(attempt.error.unwrap().status, 503);
    }
}

#[tokio::test]
async fn the_last_attempt_ends_it() {
    let sink = Sink::saying(503, "").await;
    let world = World::new(&[document(&sink, "")]);
    let mut effect = get("destination://crm/");
    for number in 1..=4 {
        (effect.attempt, effect.spent) = (number, number - 1);
        assert_eq!(world.retry(&effect).await.0.number, number);
    }
    (effect.attempt, effect.spent) = (5, 4);
    assert_eq!(world.error(&effect).await.0.number, 5);
}

#[tokio::test]
async fn only_one_layer_retries() {
    let sink = Sink::saying(503, "").await;
    let world = World::new(&[document(&sink, "")]);
    let retried = call_with("GET", "destination://crm/", |request| {
        request.retried = true
    });
    world.error(&retried).await;
    let undeclared = World::new(&[]);
    undeclared.error(&get(&sink.url("/"))).await;
}

#[tokio::test]
async fn where_the_workflow_retries_it_learns_when() {
    let sink = Sink::start(|_, _| answer(503, &[("retry-after", "7")], "")).await;
    let (attempt, _) = World::new(&[]).error(&get(&sink.url("/"))).await;
    assert_eq!(attempt.retry_after_seconds, Some(7));
}

#[tokio::test]
async fn a_receiver_says_when_to_come_back() {
    let sink = Sink::start(|_, _| answer(429, &[("retry-after", "7")], "")).await;
    let world = World::new(&[document(&sink, "")]);
    let mut effect = get("destination://crm/");
    let (_, after) = world.retry(&effect).await;
    assert_eq!(after, Duration::from_secs(7));
    // It does not spend an attempt, but it does not go on for ever.
    (effect.attempt, effect.spent) = (6, 4);
    effect.first_attempt_at = Some(Timestamp::now() - SignedDuration::from_hours(23));
    world.retry(&effect).await;
    effect.first_attempt_at = Some(Timestamp::now() - SignedDuration::from_hours(24));
    world.error(&effect).await;
}

#[tokio::test]
async fn what_a_receiver_asked_for_leaves_the_attempts_for_its_failures() {
    let sink = Sink::saying(503, "").await;
    let world = World::new(&[document(&sink, "")]);
    let mut effect = get("destination://crm/");
    // Nine answers said when to come back before this failure, which is the fourth that counts.
    (effect.attempt, effect.spent) = (13, 3);
    world.retry(&effect).await;
    (effect.attempt, effect.spent) = (14, 4);
    world.error(&effect).await;
}

#[tokio::test]
async fn garbage_in_retry_after_is_ignored() {
    for text in ["soon", "-5", "1.5", "", "Sun, 99 Nov 2026 00:00:00 GMT"] {
        let sink = Sink::start(move |_, _| answer(503, &[("retry-after", text)], "")).await;
        let world = World::new(&[document(&sink, "")]);
        let (_, after) = world.retry(&get("destination://crm/")).await;
        assert!(after <= Duration::from_secs(1), "{text}");
        let mut last = get("destination://crm/");
        (last.attempt, last.spent) = (5, 4);
        assert!(matches!(world.perform(&last).await, Performed::Done { .. }));
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    for (text, wanted) in [
        ("0", Some(Duration::ZERO)),
        (" 120 ", Some(Duration::from_secs(120))),
        ("99999999999999999999999", Some(day)),
        (
            "Sun, 22 Nov 2026 08:00:30 GMT",
            Some(Duration::from_secs(30)),
        ),
        ("Sun, 22 Nov 2026 07:00:00 GMT", Some(Duration::ZERO)),
        (
            "Sunday, 22-Nov-26 08:01:00 GMT",
            Some(Duration::from_secs(60)),
        ),
        ("Tue, 22 Nov 2050 08:00:00 GMT", Some(day)),
        ("+5", None),
        ("5 seconds", None),
    ] {
        assert_eq!(retry_after(text, now), wanted, "{text}");
    }
}

fn situation(attempt: u32, chance: f64) -> Situation {
    Situation {
        attempt,
        spent: attempt - 1,
        elapsed: Duration::ZERO,
        retry_after: None,
        chance,
    }
}

#[test]
fn delays_grow_with_full_jitter() {
    let policy = Policy {
        attempts_max: 100,
        ..Policy::default()
    };
    let longest = |attempt| policy.next(situation(attempt, 1.0)).unwrap();
    let seconds: Vec<u64> = (1..=9).map(|n| longest(n).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(longest(99), Duration::from_secs(60));
    assert_eq!(policy.next(situation(9, 0.0)), Some(Duration::ZERO));
    assert_eq!(
        policy.next(situation(9, 0.5)),
        Some(Duration::from_secs(30))
    );
    assert_eq!(policy.next(situation(9, f64::NAN)), Some(Duration::ZERO));
}

#[test]
fn delays_grow_as_the_destination_says() {
    let seconds =
        |policy: &Policy, attempt| policy.next(situation(attempt, 1.0)).unwrap().as_secs();
    let mut policy = Policy {
        delay: Duration::from_secs(3),
        backoff: Backoff::Constant,
        ..Policy::default()
    };
    assert_eq!((seconds(&policy, 1), seconds(&policy, 4)), (3, 3));
    policy.backoff = Backoff::Linear { increment: None };
    assert_eq!((seconds(&policy, 1), seconds(&policy, 4)), (3, 12));
    policy.backoff = Backoff::Linear {
        increment: Some(Duration::from_secs(10)),
    };
    assert_eq!((seconds(&policy, 1), seconds(&policy, 4)), (3, 33));
    policy.backoff = Backoff::Exponential {
        factor: Some(10.0),
        max_delay: Some(Duration::from_secs(100)),
    };
    assert_eq!((seconds(&policy, 2), seconds(&policy, 4)), (30, 100));
    policy.jitter = Some((Duration::from_secs(1), Duration::from_secs(5)));
    let between = policy.next(situation(2, 0.5)).unwrap();
    assert_eq!(between, Duration::from_secs(33));
}

#[test]
fn a_policy_has_an_end_in_time() {
    let policy = Policy {
        duration_max: Some(Duration::from_secs(10)),
        ..Policy::default()
    };
    let mut late = situation(1, 0.5);
    late.elapsed = Duration::from_secs(9);
    assert!(policy.next(late).is_some());
    late.elapsed = Duration::from_secs(10);
    assert!(policy.next(late).is_none());
    late.elapsed = Duration::ZERO;
    late.retry_after = Some(Duration::from_secs(11));
    assert!(policy.next(late).is_none());
}

#[tokio::test]
async fn a_schedule_says_every_delay() {
    let sink = Sink::saying(503, "").await;
    let schedule = "retry: { schedule: [PT1S, PT1M, PT4H] }";
    let world = World::new(&[document(&sink, schedule)]);
    let mut effect = get("destination://crm/");
    for (spent, seconds) in [(0, 1), (1, 60), (2, 4 * 3_600)] {
        (effect.attempt, effect.spent) = (spent + 1, spent);
        let (_, after) = world.retry(&effect).await;
        assert_eq!(after, Duration::from_secs(seconds));
    }
    (effect.attempt, effect.spent) = (4, 3);
    world.error(&effect).await;
}

#[tokio::test]
async fn what_may_have_been_done_is_repeated_only_where_that_is_harmless() {
    let hang = || Play::Hang(Vec::new());
    let quick = "timeout: PT0.1S\n";
    for (method, more, repeated) in [
        ("POST", "", true),
        ("POST", "idempotencyKey: off", false),
        ("POST", "retry: { unknownOutcome: fail }", false),
        (
            "POST",
            "idempotencyKey: off\nretry: { unknownOutcome: retry }",
            true,
        ),
        ("PUT", "idempotencyKey: off", true),
        ("GET", "retry: { unknownOutcome: fail }", true),
        ("GET", "retry: { errors: [connect] }", false),
        ("GET", "retry: { errors: [timeout] }", true),
    ] {
        let sink = Sink::start(move |_, _| hang()).await;
        let world = World::new(&[document(&sink, &format!("{quick}{more}"))]);
        let effect = call_with(method, "destination://crm/", |_| ());
        let performed = world.perform(&effect).await;
        let is_repeated = matches!(performed, Performed::Retry { .. });
        assert_eq!(is_repeated, repeated, "{method} {more}: {performed:?}");
        let unknown = format!("{performed:?}").contains("whether it was done is not known");
        let expected = !repeated && method == "POST";
        assert_eq!(unknown, expected, "{method} {more}: {performed:?}");
    }
    let nobody = "destination: crm\nbaseUrl: http://127.0.0.1:9\nidempotencyKey: off\n";
    let world = World::new(&[nobody.to_owned()]);
    world
        .retry(&call_with("POST", "destination://crm/", |_| ()))
        .await;
}

#[tokio::test]
async fn a_destination_says_which_statuses_it_expects() {
    let sink = Sink::start(|seen, _| answer(seen.target[1..].parse().unwrap(), &[], "")).await;
    let world = World::new(&[document(&sink, "expect: [2xx, 404]")]);
    for status in [200, 204, 404] {
        world
            .output(&get(&format!("destination://crm/{status}")))
            .await;
    }
    world.error(&get("destination://crm/400")).await;
    let world = World::new(&[document(&sink, "expect: [201]")]);
    world.output(&get("destination://crm/201")).await;
    let (attempt, _) = world.error(&get("destination://crm/202")).await;
    assert_eq!(attempt.status, Some(202));
}

proptest::proptest! {
    #[test]
    fn no_delay_is_longer_than_a_day(attempt: u32, elapsed: u64, asked: Option<u64>, chance: f64) {
        let policy = Policy {
            delay: Duration::from_secs(elapsed),
            backoff: Backoff::Exponential { factor: Some(chance), max_delay: Some(Duration::MAX) },
            attempts_max: u32::MAX,
            ..Policy::default()
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let after = policy.next(Situation {
            attempt,
            spent: attempt.saturating_sub(1),
            elapsed: Duration::from_secs(elapsed),
            retry_after: asked.map(|s| Duration::from_secs(s).min(day)),
            chance,
        });
        proptest::prop_assert!(after.is_none_or(|after| after <= day));
    }
}
