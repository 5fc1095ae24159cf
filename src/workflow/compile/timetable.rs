//! `schedule.cron`, `every` and `after`, and `document.metadata.schedule`.
//!
//! A cron expression has five fields with numbers, names, lists, ranges and steps, as POSIX and
//! Vixie cron have them; what parsers add to that differs between runtimes and is refused.

use std::time::Duration;

use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::civil::date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::workflow::definition::{CatchUp, Cron, Overlap, Timetable, When};
use crate::workflow::document::{Object, Place};

/// Most characters of a cron expression.
const CRON_CHARS_MAX: usize = 256;

/// Shortest `every`.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Names that stand for numbers in the last two fields.
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const CRON_FORM: &str =
    "write minute, hour, day of month, month and day of week, like '30 8 * * mon-fri'";

/// Reads the kinds of `schedule` that are about time; nothing where there is none of them.
pub fn timetable(object: &Object<'_>, policy: Option<&Place<'_>>) -> Option<Timetable> {
    let cron = object.optional("cron");
    let every = object.optional("every");
    let after = object.optional("after");
    let policy = policy.map_or_else(
        || Some(Policy::default()),
        |place| self::policy(place, cron.is_some(), after.is_some()),
    );
    let every = every.map(|place| every_of(&place));
    let after = after.map(|place| after_of(&place));
    let cron = cron.map(|place| cron_of(&place));
    let policy = policy?;
    let when = match (cron, every, after) {
        (Some(pattern), ..) => {
            let (text, pattern) = pattern?;
            let (zone, zone_name) = policy.zone;
            When::Cron(Box::new(Cron {
                text,
                pattern,
                zone,
                zone_name,
            }))
        }
        (_, Some(every), _) => When::Every(every?),
        (.., after) => When::After(after??),
    };
    Some(Timetable {
        when,
        catch_up: policy.catch_up,
        overlap: policy.overlap,
    })
}

/// What `document.metadata.schedule` says.
struct Policy {
    zone: (TimeZone, String),
    catch_up: CatchUp,
    overlap: Overlap,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            zone: (TimeZone::UTC, "UTC".to_owned()),
            catch_up: CatchUp::One,
            overlap: Overlap::Allow,
        }
    }
}

fn policy(place: &Place<'_>, cron: bool, after: bool) -> Option<Policy> {
    let object = place.object()?;
    let zone = object.optional("timezone");
    let catch_up = object.optional("catchUp");
    let overlap = object.optional("overlap");
    object.finish();
    if let Some(zone) = &zone
        && !cron
    {
        zone.fault("only `schedule.cron` is about the clocks of a time zone");
    }
    for place in [&catch_up, &overlap].into_iter().flatten() {
        if after {
            place.fault("with `schedule.after` no tick is missed and no two runs overlap");
        }
    }
    let mut policy = Policy::default();
    if let Some(place) = zone {
        policy.zone = zone_of(&place)?;
    }
    if let Some(place) = catch_up {
        policy.catch_up = match place.one_of(&["skip", "none", "one", "all"])? {
            0 | 1 => CatchUp::Skip,
            2 => CatchUp::One,
            _ => CatchUp::All,
        };
    }
    if let Some(place) = overlap {
        policy.overlap = match place.one_of(&["allow", "skip", "queue", "cancel"])? {
            0 => Overlap::Allow,
            1 => Overlap::Skip,
            2 => Overlap::Queue,
            _ => Overlap::Cancel,
        };
    }
    Some(policy)
}

/// Zones are those built into the server: all nodes have the same, whatever their system has.
fn zone_of(place: &Place<'_>) -> Option<(TimeZone, String)> {
    let name = place.string()?;
    match TimeZoneDatabase::bundled().get(name) {
        Ok(zone) => {
            let known = zone.iana_name().unwrap_or(name).to_owned();
            Some((zone, known))
        }
        Err(_) => {
            let hint = "write an IANA name, like Europe/Paris or America/New_York";
            place.fault_with("there is no such time zone", hint);
            None
        }
    }
}

fn every_of(place: &Place<'_>) -> Option<Duration> {
    let every = place.duration()?;
    if every < EVERY_MIN {
        place.fault("the shortest interval is a second");
        return None;
    }
    Some(whole_micros(every))
}

fn after_of(place: &Place<'_>) -> Option<Duration> {
    let after = whole_micros(place.duration()?);
    if after.is_zero() {
        place.fault_with(
            "without a pause runs would follow one another for ever",
            "write PT1S",
        );
        return None;
    }
    Some(after)
}

/// The database keeps microseconds; a remainder would add up.
fn whole_micros(span: Duration) -> Duration {
    Duration::new(span.as_secs(), span.subsec_micros() * 1_000)
}

fn cron_of(place: &Place<'_>) -> Option<(String, croner::Cron)> {
    let text = place.string()?.trim();
    if let Err(message) = check_fields(text) {
        place.fault_with(message, CRON_FORM);
        return None;
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let pattern = match parser.parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            place.fault_with(format!("not a cron expression: {error}"), CRON_FORM);
            return None;
        }
    };
    if pattern.find_next_occurrence(&any_day(), false).is_err() {
        place.fault("no day of any year fits this");
        return None;
    }
    Some((text.to_owned(), pattern))
}

/// The parser knows more than we accept, and takes names in any field.
fn check_fields(text: &str) -> Result<(), String> {
    if text.len() > CRON_CHARS_MAX {
        return Err(format!(
            "a cron expression has at most {CRON_CHARS_MAX} characters"
        ));
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!(
            "a cron expression has 5 fields, not {}",
            fields.len()
        ));
    }
    for (index, field) in fields.iter().enumerate() {
        let names: &[&str] = match index {
            3 => &MONTHS,
            4 => &WEEKDAYS,
            _ => &[],
        };
        let known = field.split([',', '-', '/', '*']).all(|part| {
            part.bytes().all(|byte| byte.is_ascii_digit())
                || names.contains(&part.to_ascii_lowercase().as_str())
        });
        if !known {
            return Err(format!("`{field}` is no field of a cron expression"));
        }
    }
    Ok(())
}

/// A day to look for occurrences from; without years in a pattern any day does.
fn any_day() -> Zoned {
    date(2024, 1, 1)
        .at(0, 0, 0, 0)
        .to_zoned(TimeZone::UTC)
        .unwrap_or_default()
}
