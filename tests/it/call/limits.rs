//! Rate limits: how they are written, and what answers say about them.

use std::time::Duration;

use hookwright::call::limit::{LEARNED_MAX, used_up, window};
use hookwright::call::parse;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

fn limit(text: &str) -> Result<Vec<(f64, f64)>, String> {
    let text = format!("destination: d\nbaseUrl: https://x.example\nrateLimit: {text}");
    match parse(&text) {
        Ok(document) => Ok(document
            .rate_limit
            .map(|limit| limit.windows)
            .unwrap_or_default()
            .into_iter()
            .map(|window| (window.capacity, window.per_second))
            .collect()),
        Err(faults) => Err(faults[0].to_string()),
    }
}

#[test]
fn a_limit_is_written_short_or_long_or_as_several() {
    assert_eq!(limit("10/s").unwrap(), [(1.0, 10.0)]);
    assert_eq!(limit("'600 / min'").unwrap(), [(60.0, 541.0 / 60.0)]);
    let burst = "{requests: 10, per: PT2S, burst: 20}";
    assert_eq!(limit(burst).unwrap(), [(20.0, 5.0)]);
    let both = limit("[10/s, {requests: 1000, per: PT1H, burst: 5}]").unwrap();
    assert_eq!(both, [(1.0, 10.0), (5.0, 1_000.0 / 3_600.0)]);
    assert_eq!(limit("'off'").unwrap(), []);
    for (wrong, word) in [
        ("10 per second", "no rate"),
        ("0/s", "no rate"),
        ("10/week", "no rate"),
        ("[]", "1 to 8 windows"),
        ("{per: PT1S}", "requests"),
        ("{requests: 1, per: PT0S}", "longer than zero"),
        ("{requests: 1, per: P99D}", "32 days"),
        ("{requests: 1, burst: 0}", "burst"),
    ] {
        let said = limit(wrong).unwrap_err();
        assert!(said.contains(word), "{wrong}: {said}");
    }
}

proptest::proptest! {
    /// Whoever counts from any moment on counts no more than was agreed.
    #[test]
    fn no_window_has_more_than_its_requests(requests in 1_u32..100_000, seconds in 1_u64..100_000) {
        let window = window(requests, Duration::from_secs(seconds), None);
        let most = window.capacity + window.per_second * seconds as f64;
        // The one more is that of the window's closed end.
        proptest::prop_assert!(most <= f64::from(requests) + 1.0 + 1e-6, "{most}");
        proptest::prop_assert!(window.per_second > 0.0);
    }

    #[test]
    fn no_header_is_too_much(text: String, reset: String) {
        let mut headers = HeaderMap::new();
        for (name, text) in [("ratelimit", &text), ("x-ratelimit-reset", &reset)] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        let pause = used_up(&headers, Timestamp::UNIX_EPOCH);
        proptest::prop_assert!(pause.is_none_or(|pause| pause <= LEARNED_MAX));
    }
}

#[test]
fn an_answer_says_that_its_quota_is_used_up() {
    let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let epoch = now.as_second() + 40;
    let (epoch_s, epoch_ms) = (epoch.to_string(), format!("{epoch}000"));
    let cases: [(&[(&'static str, &str)], Option<Duration>); 12] = [
        (&[("ratelimit", "\"default\";r=0;t=30")], seconds(30)),
        (&[("ratelimit", "\"a\";r=5;t=3, \"b\";r=0;t=9")], seconds(9)),
        (&[("ratelimit", "\"default\";r=1;t=30")], None),
        (&[("ratelimit", "\"default\";t=30")], None),
        (
            &[("ratelimit-remaining", "0"), ("ratelimit-reset", "7")],
            seconds(7),
        ),
        (
            &[("ratelimit-remaining", "3"), ("ratelimit-reset", "7")],
            None,
        ),
        (
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "0.5")],
            Some(Duration::from_millis(500)),
        ),
        (
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", &epoch_s),
            ],
            seconds(40),
        ),
        (
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", &epoch_ms),
            ],
            seconds(40),
        ),
        (
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1e300"),
            ],
            None,
        ),
        (
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "-5")],
            None,
        ),
        (&[("x-ratelimit-remaining", "0")], None),
    ];
    for (pairs, wanted) in cases {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(used_up(&headers, now), wanted, "{pairs:?}");
    }
}
