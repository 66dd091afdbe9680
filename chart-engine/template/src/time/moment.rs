//! A time with its zone.

use std::any::Any;
use std::borrow::Cow;

use jiff::civil::Weekday as JiffWeekday;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::duration::Duration;
use super::layout;
use crate::fault::Fault;
use crate::signature::{Signature, Type};
use crate::value::{Integer, Kind, Object, Value};

/// Where a time is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Zone {
    /// UTC, under that name.
    Utc,
    /// The local zone.
    Local(TimeZone),
    /// A zone of the database.
    Named(TimeZone),
    /// An offset in seconds, with a name or without.
    Fixed { offset: i32, name: String },
}

/// A `time.Time`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) timestamp: Timestamp,
    pub(crate) zone: Zone,
}

/// A time as clock and calendar show it.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) year_day: i64,
    /// From Sunday, 0.
    pub(crate) weekday: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) nanosecond: i64,
    /// Seconds east of UTC.
    pub(crate) offset: i64,
    /// The zone's abbreviation; empty when it has none.
    pub(crate) zone: String,
}

impl Moment {
    /// Seconds since 1970; what is out of range is the first or last moment there is.
    pub(crate) fn from_unix(seconds: i64, zone: Zone) -> Self {
        let edge = if seconds < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        };
        Moment {
            timestamp: Timestamp::from_second(seconds).unwrap_or(edge),
            zone,
        }
    }

    /// The zero time, January 1 of year 1 in UTC.
    pub(crate) fn zero() -> Self {
        Moment::from_unix(-62_135_596_800, Zone::Utc)
    }

    pub(crate) fn in_zone(&self, zone: Zone) -> Self {
        Moment {
            timestamp: self.timestamp,
            zone,
        }
    }

    pub(crate) fn unix(&self) -> i64 {
        // Seconds are counted downwards before 1970.
        self.timestamp
            .as_nanosecond()
            .div_euclid(1_000_000_000)
            .try_into()
            .unwrap_or(i64::MAX)
    }

    fn nanoseconds(&self) -> i128 {
        self.timestamp.as_nanosecond()
    }

    pub(crate) fn add(&self, duration: Duration) -> Self {
        let edge = if duration.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        };
        let timestamp = self.timestamp.checked_add(SignedDuration::from_nanos(duration.0));
        Moment {
            timestamp: timestamp.unwrap_or(edge),
            zone: self.zone.clone(),
        }
    }

    pub(crate) fn since(&self, other: &Moment) -> Duration {
        let nanoseconds = self.nanoseconds() - other.nanoseconds();
        let edge = if nanoseconds < 0 { i64::MIN } else { i64::MAX };
        Duration(i64::try_from(nanoseconds).unwrap_or(edge))
    }

    pub(crate) fn reading(&self) -> Reading {
        let (offset, zone) = match &self.zone {
            Zone::Utc => (Offset::UTC, "UTC".to_owned()),
            Zone::Local(zone) | Zone::Named(zone) => {
                let info = zone.to_offset_info(self.timestamp);
                (info.offset(), info.abbreviation().to_owned())
            }
            Zone::Fixed { offset, name } => {
                (Offset::from_seconds(*offset).unwrap_or(Offset::UTC), name.clone())
            }
        };
        let civil = offset.to_datetime(self.timestamp);
        Reading {
            year: i64::from(civil.year()),
            month: i64::from(civil.month()),
            day: i64::from(civil.day()),
            year_day: i64::from(civil.date().day_of_year()),
            weekday: i64::from(civil.weekday().since(JiffWeekday::Sunday)),
            hour: i64::from(civil.hour()),
            minute: i64::from(civil.minute()),
            second: i64::from(civil.second()),
            nanosecond: i64::from(civil.subsec_nanosecond()),
            offset: i64::from(offset.seconds()),
            zone,
        }
    }

    pub(crate) fn format(&self, layout: &str) -> String {
        layout::format(&self.reading(), layout)
    }

    /// The moment of a local date and time; days and months beyond the calendar carry over.
    pub(crate) fn from_civil(reading: &Reading, zone: Zone) -> Self {
        let months = reading.year.saturating_mul(12).saturating_add(reading.month - 1);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let days = days_from_civil(year, month) + i128::from(reading.day) - 1;
        let seconds = days * 86_400
            + i128::from(reading.hour) * 3600
            + i128::from(reading.minute) * 60
            + i128::from(reading.second);
        let at = |offset: i64| {
            let nanoseconds = (seconds - i128::from(offset)) * 1_000_000_000 + i128::from(reading.nanosecond);
            let edge = if nanoseconds < 0 {
                Timestamp::MIN
            } else {
                Timestamp::MAX
            };
            Timestamp::from_nanosecond(nanoseconds).unwrap_or(edge)
        };
        let timestamp = match &zone {
            Zone::Utc => at(0),
            Zone::Fixed { offset, .. } => at(i64::from(*offset)),
            Zone::Local(zone) | Zone::Named(zone) => {
                // The offset in force shortly before, then that at the moment found.
                let first = i64::from(zone.to_offset(at(0)).seconds());
                let second = i64::from(zone.to_offset(at(first)).seconds());
                at(second)
            }
        };
        Moment { timestamp, zone }
    }
}

/// Days from 1970 to the first of a month.
fn days_from_civil(year: i64, month: i64) -> i128 {
    // Years begin in March here, so that a leap day is the last of its year.
    let year = i128::from(if month <= 2 { year - 1 } else { year });
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = i128::from((month + 9) % 12);
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

pub(super) fn month_name(month: i64) -> &'static str {
    usize::try_from(month - 1)
        .ok()
        .and_then(|at| MONTHS.get(at))
        .copied()
        .unwrap_or("%!Month")
}

pub(super) fn weekday_name(weekday: i64) -> &'static str {
    usize::try_from(weekday)
        .ok()
        .and_then(|at| WEEKDAYS.get(at))
        .copied()
        .unwrap_or("%!Weekday")
}

/// A month or a day of the week: a number with a name.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    type_name: &'static str,
    number: i64,
    name: &'static str,
}

impl Object for Named {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.type_name)
    }

    fn kind(&self) -> Kind {
        Kind::Integer(Integer::Int)
    }

    fn method(&self, name: &str) -> Option<Signature> {
        (name == "String").then(|| Signature::new(&[]))
    }

    fn call(&self, _: &str, _: &[Value]) -> Result<Value, Fault> {
        Ok(Value::from(self.name))
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.name)
    }

    fn export(&self) -> Value {
        Value::int(self.number)
    }

    fn truth(&self) -> bool {
        self.number != 0
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

const TIME: &[Type] = &[Type::Time];
const DURATION: &[Type] = &[Type::Duration];

impl Object for Moment {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("time.Time")
    }

    fn method(&self, name: &str) -> Option<Signature> {
        Some(Signature::new(match name {
            "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano" | "Year" | "Month" | "Day" | "Weekday"
            | "YearDay" | "Hour" | "Minute" | "Second" | "Nanosecond" | "UTC" | "Local" | "IsZero"
            | "IsDST" | "String" | "Location" => &[],
            "Format" => &[Type::String],
            "Add" | "Round" | "Truncate" => DURATION,
            "AddDate" => &[Type::Int, Type::Int, Type::Int],
            "Sub" | "Before" | "After" | "Equal" | "Compare" => TIME,
            _ => return None,
        }))
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, Fault> {
        let reading = self.reading();
        let number = |at: usize| match args.get(at) {
            Some(Value::Int(number, _)) => *number,
            _ => 0,
        };
        let duration = || {
            args.first()
                .and_then(|arg| arg.downcast::<Duration>())
                .copied()
                .unwrap_or(Duration(0))
        };
        let compared = || {
            let other = args.first().and_then(|arg| arg.downcast::<Moment>());
            other.map_or(std::cmp::Ordering::Equal, |other| {
                self.timestamp.cmp(&other.timestamp)
            })
        };
        let nanoseconds = self.nanoseconds();
        let whole =
            |unit: i128| Value::int64(i64::try_from(nanoseconds.div_euclid(unit)).unwrap_or(i64::MAX));
        Ok(match name {
            "Unix" => Value::int64(self.unix()),
            "UnixMilli" => whole(1_000_000),
            "UnixMicro" => whole(1_000),
            "UnixNano" => whole(1),
            "Year" => Value::int(reading.year),
            "Month" => Value::object(Named {
                type_name: "time.Month",
                number: reading.month,
                name: month_name(reading.month),
            }),
            "Day" => Value::int(reading.day),
            "Weekday" => Value::object(Named {
                type_name: "time.Weekday",
                number: reading.weekday,
                name: weekday_name(reading.weekday),
            }),
            "YearDay" => Value::int(reading.year_day),
            "Hour" => Value::int(reading.hour),
            "Minute" => Value::int(reading.minute),
            "Second" => Value::int(reading.second),
            "Nanosecond" => Value::int(reading.nanosecond),
            "UTC" => Value::object(self.in_zone(Zone::Utc)),
            "Local" => Value::object(self.in_zone(Zone::Local(TimeZone::system()))),
            "IsZero" => Value::Bool(*self == Moment::zero() || self.timestamp == Moment::zero().timestamp),
            "IsDST" => Value::Bool(match &self.zone {
                Zone::Local(zone) | Zone::Named(zone) => zone.to_offset_info(self.timestamp).dst().is_dst(),
                _ => false,
            }),
            "Location" => Value::from(match &self.zone {
                Zone::Utc => "UTC".to_owned(),
                Zone::Local(_) => "Local".to_owned(),
                Zone::Named(zone) => zone.iana_name().unwrap_or_default().to_owned(),
                Zone::Fixed { name, .. } => name.clone(),
            }),
            "Format" => Value::from(match args.first() {
                Some(Value::String(layout)) => self.format(&layout.to_str()),
                _ => String::new(),
            }),
            "Add" => Value::object(self.add(duration())),
            "Round" | "Truncate" => {
                let unit = i128::from(duration().0);
                if unit <= 0 {
                    return Ok(Value::object(self.clone()));
                }
                // Counted from the zero time.
                let since = nanoseconds - Moment::zero().nanoseconds();
                let rest = since.rem_euclid(unit);
                let up = name == "Round" && rest * 2 >= unit;
                let shift = if up { unit - rest } else { -rest };
                Value::object(self.add(Duration(i64::try_from(shift).unwrap_or(0))))
            }
            "AddDate" => {
                let mut reading = reading;
                reading.year = reading.year.saturating_add(number(0));
                reading.month = reading.month.saturating_add(number(1));
                reading.day = reading.day.saturating_add(number(2));
                Value::object(Moment::from_civil(&reading, self.zone.clone()))
            }
            "Sub" => match args.first().and_then(|arg| arg.downcast::<Moment>()) {
                Some(other) => Value::object(self.since(other)),
                None => Value::object(Duration(0)),
            },
            "Before" => Value::Bool(compared().is_lt()),
            "After" => Value::Bool(compared().is_gt()),
            "Equal" => Value::Bool(compared().is_eq()),
            "Compare" => Value::int(compared() as i64),
            _ => Value::from(self.print().into_owned()),
        })
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }

    fn export(&self) -> Value {
        Value::from(self.format("2006-01-02T15:04:05.999999999Z07:00"))
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
