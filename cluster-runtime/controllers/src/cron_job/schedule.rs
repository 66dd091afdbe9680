//! Cron schedules: five fields, names, ranges, steps, and the `@` short forms.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// When a cron job runs. Fields and short forms are those of `github.com/robfig/cron`, which Kubernetes reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// At the minutes that all fields match.
    Fields(Box<Fields>),
    /// Again and again after so many seconds.
    Every(i64),
}

/// The values that each field matches, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days of the month or of the week are left open; where both are given, one must match.
    any_day: bool,
    any_weekday: bool,
}

/// Why a text is no schedule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ScheduleError(pub(crate) String);

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Days in which a schedule must come up; one that does not in eight years (29 February) never does.
const SEARCH_DAYS: i32 = 8 * 366;

impl Schedule {
    /// Reads a schedule.
    pub(crate) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => match other.strip_prefix("@every ") {
                Some(duration) => return parse_every(duration),
                None => other,
            },
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(ScheduleError(format!(
                "expected exactly 5 fields, found {}: [{text}]",
                parts.len()
            )));
        };
        let open = |part: &str| part.starts_with('*') || part.starts_with('?');
        Ok(Self::Fields(Box::new(Fields {
            minutes: parse_field(minute, 0, 59, &[])?,
            hours: parse_field(hour, 0, 23, &[])?,
            days: parse_field(day, 1, 31, &[])?,
            months: parse_field(month, 1, 12, &MONTHS)?,
            weekdays: parse_field(weekday, 0, 6, &WEEKDAYS)?,
            any_day: open(day),
            any_weekday: open(weekday),
        })))
    }

    /// The first time after `after`, by the clocks of a time zone; a local time that the change to summer time skips
    /// is skipped.
    pub(crate) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(seconds) => Timestamp::from_second(after.as_second().checked_add(*seconds)?).ok(),
            Self::Fields(fields) => fields.next(after, zone),
        }
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = after.to_zoned(zone.clone());
        let mut date = local.date();
        for _ in 0..SEARCH_DAYS {
            if self.matches_day(date) {
                let found = self.times_of(date, zone).find(|time| *time > after);
                if found.is_some() {
                    return found;
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn times_of<'a>(&'a self, date: Date, zone: &'a TimeZone) -> impl Iterator<Item = Timestamp> + 'a {
        let hours = (0..24_i8).filter(|hour| has(self.hours, i64::from(*hour)));
        let minutes = move |hour: i8| {
            let minutes = (0..60_i8).filter(|minute| has(self.minutes, i64::from(*minute)));
            minutes.map(move |minute| (hour, minute))
        };
        hours.flat_map(minutes).filter_map(move |(hour, minute)| {
            let local = date.at(hour, minute, 0, 0);
            let zoned = local.to_zoned(zone.clone()).ok()?;
            (zoned.datetime() == local).then(|| zoned.timestamp())
        })
    }

    fn matches_day(&self, date: Date) -> bool {
        if !has(self.months, i64::from(date.month())) {
            return false;
        }
        let day = has(self.days, i64::from(date.day()));
        let weekday = has(self.weekdays, i64::from(number_of(date.weekday())));
        if self.any_day || self.any_weekday {
            day && weekday
        } else {
            day || weekday
        }
    }
}

fn number_of(weekday: Weekday) -> i8 {
    weekday.to_sunday_zero_offset()
}

fn has(bits: u64, number: i64) -> bool {
    bits & (1 << number) != 0
}

fn parse_field(text: &str, low: i64, high: i64, names: &[&str]) -> Result<u64, ScheduleError> {
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = part
            .split_once('/')
            .map_or((part, None), |(range, step)| (range, Some(step)));
        let wrong = |why: &str| ScheduleError(format!("{why}: {part}"));
        let number = |text: &str| {
            let named = names.iter().position(|name| *name == text.to_ascii_lowercase());
            let first = i64::from(names.len() == MONTHS.len());
            let named = named.and_then(|at| i64::try_from(at).ok()).map(|at| at + first);
            named
                .or_else(|| text.parse().ok())
                .ok_or_else(|| wrong("failed to parse number"))
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((first, last)) => (number(first)?, number(last)?),
            // A step after a single number goes on to the end.
            None if step.is_some() => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        let step = step.map_or(Ok(1), |step| {
            step.parse::<usize>().map_err(|_| wrong("failed to parse step"))
        })?;
        if step == 0 {
            return Err(wrong("step of range should be a positive number"));
        }
        if first < low || last > high {
            return Err(wrong(&format!("value out of range {low}-{high}")));
        }
        if first > last {
            return Err(wrong("beginning of range beyond end of range"));
        }
        for value in (first..=last).step_by(step) {
            bits |= 1 << value;
        }
    }
    Ok(bits)
}

fn parse_every(text: &str) -> Result<Schedule, ScheduleError> {
    let wrong = || ScheduleError(format!("failed to parse duration @every {text}"));
    let mut seconds: i64 = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes().get(digits) {
            Some(b'h') => 3600,
            Some(b'm') => 60,
            Some(b's') => 1,
            _ => return Err(wrong()),
        };
        seconds = number
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    if seconds < 1 {
        Err(wrong())
    } else {
        Ok(Schedule::Every(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, zone: &str, after: &str, expected: &[&str]) {
        let parsed = Schedule::parse(schedule).expect("a schedule");
        let zone = if zone == "UTC" {
            TimeZone::UTC
        } else {
            TimeZone::get(zone).expect("a zone")
        };
        let mut time: Timestamp = after.parse().expect("a time");
        for wanted in expected {
            time = parsed.next(time, &zone).expect("a next time");
            assert_eq!(time.to_string(), *wanted, "{schedule}");
        }
    }

    #[test]
    fn schedules_come_up_when_their_fields_match() {
        check(
            "*/20 * * * *",
            "UTC",
            "2026-01-01T00:05:00Z",
            &[
                "2026-01-01T00:20:00Z",
                "2026-01-01T00:40:00Z",
                "2026-01-01T01:00:00Z",
            ],
        );
        check(
            "30 4 1,15 * *",
            "UTC",
            "2026-01-01T04:30:00Z",
            &["2026-01-15T04:30:00Z", "2026-02-01T04:30:00Z"],
        );
        check(
            "0 0 * * mon-wed/2",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2026-01-05T00:00:00Z", "2026-01-07T00:00:00Z"],
        );
        // Day of month and weekday, both given: one is enough.
        check(
            "0 0 13 * FRI",
            "UTC",
            "2026-01-08T00:00:00Z",
            &[
                "2026-01-09T00:00:00Z",
                "2026-01-13T00:00:00Z",
                "2026-01-16T00:00:00Z",
            ],
        );
        check(
            "0 0 29 2 *",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
        );
        check(
            "5/20 1 * * *",
            "UTC",
            "2026-01-01T00:00:00Z",
            &[
                "2026-01-01T01:05:00Z",
                "2026-01-01T01:25:00Z",
                "2026-01-01T01:45:00Z",
            ],
        );
        check(
            "@weekly",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2026-01-04T00:00:00Z"],
        );
        check(
            "@every 1h30m",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2026-01-01T01:30:00Z"],
        );
    }

    #[test]
    fn schedules_follow_the_clocks_of_their_zone() {
        if TimeZone::get("Europe/Berlin").is_err() {
            println!("skipped: no time zone data");
            return;
        }
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            &["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"],
        );
    }

    #[test]
    fn err_wrong_schedules_say_what_is_wrong() {
        let cases = [
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("60 * * * *", "value out of range 0-59: 60"),
            (
                "* * * * mon-sun",
                "beginning of range beyond end of range: mon-sun",
            ),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("a * * * *", "failed to parse number: a"),
            ("@every x", "failed to parse duration @every x"),
        ];
        for (schedule, expected) in cases {
            assert_eq!(Schedule::parse(schedule), Err(ScheduleError(expected.into())));
        }
        let never = Schedule::parse("0 0 30 2 *").expect("a schedule");
        assert_eq!(never.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
    }
}
