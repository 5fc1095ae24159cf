//! When ticks are due, over changes of clocks too, and what becomes of those that are: pure.

use hookwright::trigger::timetable::{
    Decision, Moment, TICKS_MAX, decide, first, following, upcoming,
};
use hookwright::workflow::definition::{Schedule, Timetable};
use hookwright::workflow::{Fault, parse};
use jiff::{SignedDuration, Timestamp};

fn document(schedule: &str, policy: &str) -> String {
    let metadata = if policy.is_empty() {
        String::new()
    } else {
        format!(", metadata: {{schedule: {policy}}}")
    };
    format!(
        "document: {{dsl: '1.0.3', namespace: t, name: w, version: '1.0.0'{metadata}}}\n\
         schedule: {schedule}\ndo: []\n"
    )
}

fn timetable(schedule: &str, policy: &str) -> Timetable {
    let text = document(schedule, policy);
    let definition = parse(&text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
    match definition.schedule {
        Some(Schedule::Time(timetable)) => *timetable,
        other => panic!("{other:?}"),
    }
}

fn faults(schedule: &str, policy: &str) -> Vec<Fault> {
    parse(&document(schedule, policy)).err().unwrap_or_default()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first `count` ticks after a time, as the clocks of the zone show them.
fn ticks(cron: &str, zone: &str, since: &str, count: usize) -> Vec<String> {
    let policy = format!("{{timezone: {zone}}}");
    let timetable = timetable(&format!("{{cron: '{cron}'}}"), &policy);
    let due = first(&timetable, time(since), (None, None)).unwrap();
    let clock = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
    upcoming(&timetable, due, count)
        .into_iter()
        .map(|due| {
            due.to_zoned(clock.clone())
                .strftime("%m-%d %H:%M%:z")
                .to_string()
        })
        .collect()
}

#[test]
fn cron_has_five_fields_with_names_lists_ranges_and_steps() {
    for (cron, expected) in [
        ("0 0 * * *", "11-23 00:00+00:00"),
        ("*/15 * * * *", "11-22 12:15+00:00"),
        ("5,50 8-18/2 * * *", "11-22 12:05+00:00"),
        ("30 8 * * mon-fri", "11-23 08:30+00:00"),
        ("0 12 1 JAN,jul *", "01-01 12:00+00:00"),
        ("0 0 29 2 *", "02-29 00:00+00:00"),
        ("0 9 * * 7", "11-29 09:00+00:00"),
        // Two days named: either of them, as cron always had it.
        ("0 9 24 * thu", "11-24 09:00+00:00"),
    ] {
        let found = ticks(cron, "UTC", "2026-11-22T12:00:00Z", 1);
        assert_eq!(found, [expected], "{cron}");
    }
}

#[test]
fn what_is_no_cron_expression_is_refused_where_it_stands() {
    for cron in [
        "61 * * * *",
        "* 24 * * *",
        "0 0 32 * *",
        "0 0 * 13 *",
        "* * * *",
        "0 * * * * *",
        "0 mon * * *",
        "0 0 * mon *",
        "0 0 * * jan",
        "0 0 L * *",
        "0 0 * * 5#2",
        "@daily",
        "every day",
        "",
        "*/0 * * * *",
        "0 0 30 2 *",
    ] {
        let found = faults(&format!("{{cron: '{cron}'}}"), "");
        assert_eq!(found.len(), 1, "{cron}: {found:?}");
        assert_eq!(found[0].pointer, "/schedule/cron", "{cron}");
    }
}

#[test]
fn schedules_that_cannot_be_held_are_refused() {
    for (schedule, policy, pointer) in [
        ("{every: PT0.5S}", "", "/schedule/every"),
        ("{every: soon}", "", "/schedule/every"),
        ("{every: P1M}", "", "/schedule/every"),
        ("{after: PT0S}", "", "/schedule/after"),
        ("{every: PT1S, after: PT1S}", "", "/schedule"),
        (
            "{cron: '0 0 * * *', on: {one: {with: {type: a}}}}",
            "",
            "/schedule",
        ),
        ("{every: PT1S, read: data}", "", "/schedule/read"),
        (
            "{cron: '0 0 * * *'}",
            "{timezone: Mars/Olympus}",
            "/document/metadata/schedule/timezone",
        ),
        (
            "{every: PT1H}",
            "{timezone: Europe/Paris}",
            "/document/metadata/schedule/timezone",
        ),
        (
            "{every: PT1H}",
            "{catchUp: twice}",
            "/document/metadata/schedule/catchUp",
        ),
        (
            "{every: PT1H}",
            "{overlap: replace}",
            "/document/metadata/schedule/overlap",
        ),
        (
            "{every: PT1H}",
            "{overlaps: skip}",
            "/document/metadata/schedule/overlaps",
        ),
        (
            "{after: PT1H}",
            "{overlap: skip}",
            "/document/metadata/schedule/overlap",
        ),
        (
            "{on: {one: {with: {type: a}}}}",
            "{overlap: skip}",
            "/document/metadata/schedule",
        ),
    ] {
        let found = faults(schedule, policy);
        assert_eq!(found.len(), 1, "{schedule} {policy}: {found:?}");
        assert_eq!(found[0].pointer, pointer, "{schedule} {policy}");
    }
}

#[test]
fn a_time_that_clocks_leave_out_comes_once_just_after() {
    // Paris, 29 March 2026: 02:00 becomes 03:00.
    let found = ticks("30 2 * * *", "Europe/Paris", "2026-03-28T00:00:00Z", 3);
    assert_eq!(
        found,
        [
            "03-28 02:30+01:00",
            "03-29 03:00+02:00",
            "03-30 02:30+02:00"
        ]
    );
    let found = ticks("0 * * * *", "Europe/Paris", "2026-03-28T23:30:00Z", 4);
    assert_eq!(
        found,
        [
            "03-29 01:00+01:00",
            "03-29 03:00+02:00",
            "03-29 04:00+02:00",
            "03-29 05:00+02:00"
        ]
    );
}

#[test]
fn a_time_that_clocks_show_twice_comes_once_and_an_interval_goes_on() {
    // New York, 1 November 2026: 02:00 becomes 01:00.
    let found = ticks("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
    assert_eq!(found, ["11-01 01:30-04:00", "11-02 01:30-05:00"]);
    let found = ticks(
        "*/30 * * * *",
        "America/New_York",
        "2026-11-01T04:45:00Z",
        5,
    );
    assert_eq!(
        found,
        [
            "11-01 01:00-04:00",
            "11-01 01:30-04:00",
            "11-01 01:00-05:00",
            "11-01 01:30-05:00",
            "11-01 02:00-05:00"
        ]
    );
}

#[test]
fn ticks_of_an_interval_lie_on_a_grid_from_the_deployment() {
    let timetable = timetable("{every: {seconds: 90}}", "");
    let since = time("2026-11-22T12:00:00.5Z");
    let due = first(&timetable, since, (None, None)).unwrap();
    assert_eq!(due, time("2026-11-22T12:01:30.5Z"));
    let later = following(&timetable, due, time("2026-11-22T12:10:00Z"));
    assert_eq!(later, Some(time("2026-11-22T12:10:30.5Z")));
    let on_it = following(&timetable, due, time("2026-11-22T12:10:30.5Z"));
    assert_eq!(on_it, Some(time("2026-11-22T12:12:00.5Z")));
}

#[test]
fn a_new_version_neither_loses_nor_repeats_a_tick() {
    let timetable = timetable("{cron: '0 * * * *'}", "");
    let activated = time("2026-11-22T12:00:00.2Z");
    let noon = time("2026-11-22T12:00:00Z");
    let one = time("2026-11-22T13:00:00Z");
    assert_eq!(first(&timetable, activated, (None, None)), Some(one));
    let eleven = time("2026-11-22T11:00:00Z");
    let pending = first(&timetable, activated, (Some(noon), Some(eleven)));
    assert_eq!(
        pending,
        Some(noon),
        "due under the version before, and not started by it"
    );
    let begun_before_noon = time("2026-11-22T11:59:59.9Z");
    let started = first(&timetable, begun_before_noon, (Some(one), Some(noon)));
    assert_eq!(started, Some(one), "started by the version before");
}

/// A schedule of every minute whose tick of 12:00 is due.
fn moment(now: &str, watched_since: &str) -> Moment {
    Moment {
        due_at: time("2026-11-22T12:00:00Z"),
        now: time(now),
        watched_since: time(watched_since),
        open: false,
        held: false,
    }
}

fn minutes(decision: &[Timestamp]) -> Vec<String> {
    let minute = |due: &Timestamp| due.strftime("%H:%M").to_string();
    decision.iter().map(minute).collect()
}

#[test]
fn ticks_that_somebody_saw_come_due_all_start() {
    for policy in ["{catchUp: skip}", "{catchUp: one}", "{catchUp: all}", "{}"] {
        for schedule in ["{every: PT1M}", "{cron: '* * * * *'}"] {
            let timetable = timetable(schedule, policy);
            let slow = moment("2026-11-22T12:02:30Z", "2026-11-22T11:00:00Z");
            let decision = decide(&timetable, slow);
            assert_eq!(
                minutes(&decision.starts),
                ["12:00", "12:01", "12:02"],
                "{policy}"
            );
            assert_eq!(decision.missed.count, 0);
            assert_eq!(decision.next, Some(time("2026-11-22T12:03:00Z")));
        }
    }
}

#[test]
fn missed_ticks_follow_the_policy() {
    let back = moment("2026-11-22T12:03:30Z", "2026-11-22T12:03:20Z");
    for (policy, starts, missed) in [
        ("{catchUp: skip}", vec![], 4),
        ("{catchUp: none}", vec![], 4),
        ("{catchUp: one}", vec!["12:03"], 3),
        ("{}", vec!["12:03"], 3),
        (
            "{catchUp: all}",
            vec!["12:00", "12:01", "12:02", "12:03"],
            0,
        ),
    ] {
        for schedule in ["{every: PT1M}", "{cron: '* * * * *'}"] {
            let decision = decide(&timetable(schedule, policy), back);
            assert_eq!(minutes(&decision.starts), starts, "{schedule} {policy}");
            assert_eq!(decision.missed.count, missed, "{schedule} {policy}");
            assert_eq!(decision.next, Some(time("2026-11-22T12:04:00Z")));
        }
    }
    let just_now = moment("2026-11-22T12:00:00.9Z", "2026-11-22T12:00:00.8Z");
    let decision = decide(&timetable("{every: PT1M}", "{catchUp: skip}"), just_now);
    assert_eq!(
        minutes(&decision.starts),
        ["12:00"],
        "within a second it is on time"
    );
}

#[test]
fn catching_up_is_bounded_and_keeps_the_newest() {
    let year_later = moment("2027-11-22T12:00:30Z", "2027-11-22T12:00:30Z");
    for schedule in ["{every: PT1M}", "{cron: '* * * * *'}"] {
        let decision = decide(&timetable(schedule, "{catchUp: all}"), year_later);
        assert_eq!(decision.starts.len(), TICKS_MAX);
        let last = *decision.starts.last().unwrap();
        assert_eq!(last, time("2027-11-22T12:00:00Z"));
        assert_eq!(decision.starts[0], last - SignedDuration::from_mins(99));
        assert!(decision.missed.count >= 900, "{}", decision.missed.count);
        assert_eq!(decision.next, Some(time("2027-11-22T12:01:00Z")));
    }
}

#[test]
fn runs_overlap_as_the_policy_says() {
    let slow = moment("2026-11-22T12:01:30Z", "2026-11-22T11:00:00Z");
    let decided =
        |policy: &str, moment: Moment| decide(&timetable("{every: PT1M}", policy), moment);
    let open = Moment { open: true, ..slow };
    let both = vec!["12:00".to_owned(), "12:01".to_owned()];
    assert_eq!(minutes(&decided("{overlap: allow}", open).starts), both);
    let skipped = decided("{overlap: skip}", open);
    assert_eq!((minutes(&skipped.skipped), skipped.starts), (both, vec![]));
    let first = decided("{overlap: skip}", slow);
    assert_eq!(minutes(&first.starts), ["12:00"]);
    assert_eq!(minutes(&first.skipped), ["12:01"]);
    let waiting = decided("{overlap: queue}", open);
    assert_eq!(waiting.starts, []);
    assert_eq!((waiting.next, waiting.held), (Some(open.due_at), true));
    let queued = decided("{overlap: queue}", slow);
    assert_eq!(minutes(&queued.starts), ["12:00"]);
    assert_eq!(
        (queued.next, queued.held),
        (Some(time("2026-11-22T12:01:00Z")), true)
    );
    let cancelling = decided("{overlap: cancel}", open);
    assert_eq!(minutes(&cancelling.starts), ["12:01"], "only the newest");
    assert_eq!(minutes(&cancelling.skipped), ["12:00"]);
    assert!(cancelling.cancels, "the run before");
    assert!(!decided("{overlap: cancel}", slow).cancels);
}

#[test]
fn a_tick_that_waits_for_a_run_is_not_missed() {
    let timetable = timetable("{every: PT1M}", "{overlap: queue, catchUp: skip}");
    let held = Moment {
        held: true,
        ..moment("2026-11-22T12:01:30Z", "2026-11-22T12:01:29Z")
    };
    let decision = decide(&timetable, held);
    assert_eq!(minutes(&decision.starts), ["12:00"]);
    assert_eq!(decision.missed.count, 0);
    let long = Moment {
        now: time("2026-11-22T14:59:30Z"),
        ..held
    };
    let decision = decide(&timetable, long);
    assert_eq!(decision.missed.count, 80, "a hundred wait, the oldest go");
    assert_eq!(minutes(&decision.starts), ["13:20"]);
}

#[test]
fn after_starts_at_the_deployment_and_then_waits_for_the_run() {
    let timetable = timetable("{after: PT5M}", "");
    let since = time("2026-11-22T12:00:00Z");
    assert_eq!(first(&timetable, since, (None, None)), Some(since));
    let late = moment("2026-11-22T15:00:00Z", "2026-11-22T14:59:59Z");
    let expected = Decision {
        starts: vec![since],
        ..Decision::default()
    };
    assert_eq!(decide(&timetable, late), expected);
    assert_eq!(following(&timetable, since, since), None);
}
