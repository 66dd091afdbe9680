//! Dates and durations.

use std::borrow::Cow;

use chart_values::number;

use super::cast::parse_float;
use super::{Entry, Outcome, made, string, takes};
use crate::fault::Fault;
use crate::format::quote;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::time::{Duration, Moment, Zone, parse};
use crate::value::{Integer, Value};

const ANY: &[Type] = &[Type::Any];

pub(super) const ROWS: &[Entry] = &[
    takes("now", &[], |scope, _| Ok(Value::object(now(scope)))),
    takes("date", &[Type::String, Type::Any], |scope, args| {
        in_zone(scope, &args[0], &args[1], "Local")
    }),
    takes(
        "dateInZone",
        &[Type::String, Type::Any, Type::String],
        date_in_zone,
    ),
    takes(
        "date_in_zone",
        &[Type::String, Type::Any, Type::String],
        date_in_zone,
    ),
    takes("htmlDate", ANY, |scope, args| {
        in_zone(scope, &Value::from("2006-01-02"), &args[0], "Local")
    }),
    takes("htmlDateInZone", &[Type::Any, Type::String], |scope, args| {
        in_zone(scope, &Value::from("2006-01-02"), &args[0], &string(&args[1]))
    }),
    takes("dateModify", &[Type::String, Type::Time], modify),
    takes("date_modify", &[Type::String, Type::Time], modify),
    takes("mustDateModify", &[Type::String, Type::Time], must_modify),
    takes("must_date_modify", &[Type::String, Type::Time], must_modify),
    takes("toDate", &[Type::String, Type::String], |scope, args| {
        let local = local(scope);
        let moment = parse(&string(&args[0]), &string(&args[1]), &local);
        Ok(Value::object(moment.unwrap_or_else(|_| Moment::zero())))
    }),
    takes("mustToDate", &[Type::String, Type::String], |scope, args| {
        let local = local(scope);
        parse(&string(&args[0]), &string(&args[1]), &local)
            .map(Value::object)
            .map_err(Fault::new)
    }),
    takes("unixEpoch", &[Type::Time], |_, args| {
        Ok(Value::from(moment(&args[0]).map_or(0, Moment::unix).to_string()))
    }),
    takes("ago", ANY, ago),
    takes("duration", ANY, |_, args| {
        let seconds = match &args[0] {
            Value::String(text) => text.to_str().parse().unwrap_or(0),
            Value::Int(seconds, Integer::Int64) => *seconds,
            _ => 0,
        };
        Ok(Value::from(
            Duration(seconds.wrapping_mul(1_000_000_000)).to_string(),
        ))
    }),
    takes("durationRound", ANY, duration_round),
    takes("mustToDuration", ANY, |_, args| {
        to_duration(&args[0]).map(Value::object)
    }),
    takes("durationSeconds", ANY, |_, args| {
        Ok(Value::Float(lenient(&args[0]).seconds()))
    }),
    takes("durationMilliseconds", ANY, |_, args| {
        Ok(Value::int64(lenient(&args[0]).0 / 1_000_000))
    }),
    takes("durationMicroseconds", ANY, |_, args| {
        Ok(Value::int64(lenient(&args[0]).0 / 1_000))
    }),
    takes("durationNanoseconds", ANY, |_, args| {
        Ok(Value::int64(lenient(&args[0]).0))
    }),
    takes("durationMinutes", ANY, |_, args| {
        Ok(Value::Float(lenient(&args[0]).minutes()))
    }),
    takes("durationHours", ANY, |_, args| {
        Ok(Value::Float(lenient(&args[0]).hours()))
    }),
    takes("durationDays", ANY, |_, args| {
        Ok(Value::Float(lenient(&args[0]).hours() / 24.0))
    }),
    takes("durationWeeks", ANY, |_, args| {
        Ok(Value::Float(lenient(&args[0]).hours() / 24.0 / 7.0))
    }),
    takes("durationRoundTo", &[Type::Any, Type::Any], |_, args| {
        Ok(Value::object(lenient(&args[0]).round(lenient(&args[1]))))
    }),
    takes("durationTruncateTo", &[Type::Any, Type::Any], |_, args| {
        Ok(Value::object(lenient(&args[0]).truncate(lenient(&args[1]))))
    }),
];

pub(super) fn local(scope: &Scope) -> Zone {
    Zone::Local(scope.time_zone())
}

fn now(scope: &Scope) -> Moment {
    Moment {
        timestamp: scope.now(),
        zone: local(scope),
    }
}

fn moment(value: &Value) -> Option<&Moment> {
    value.downcast()
}

/// A time, or seconds since 1970; anything else is the present.
fn time_of<'v>(scope: &Scope, value: &'v Value) -> Cow<'v, Moment> {
    match value {
        Value::Int(seconds, Integer::Int | Integer::Int32 | Integer::Int64) => {
            Cow::Owned(Moment::from_unix(*seconds, local(scope)))
        }
        value => moment(value).map_or_else(|| Cow::Owned(now(scope)), Cow::Borrowed),
    }
}

fn in_zone(scope: &mut Scope, layout: &Value, time: &Value, zone: &str) -> Outcome {
    let zone = match zone {
        "" | "UTC" => Zone::Utc,
        "Local" => local(scope),
        name => scope.zone(name).map_or(Zone::Utc, Zone::Named),
    };
    let written = time_of(scope, time).in_zone(zone).format(&string(layout));
    made(scope, written.into_bytes())
}

fn date_in_zone(scope: &mut Scope, args: &[Value]) -> Outcome {
    in_zone(scope, &args[0], &args[1], &string(&args[2]))
}

fn must_modify(_: &mut Scope, args: &[Value]) -> Outcome {
    let duration = Duration::parse(&string(&args[0])).map_err(Fault::new)?;
    Ok(moment(&args[1]).map_or_else(|| args[1].clone(), |time| Value::object(time.add(duration))))
}

fn modify(scope: &mut Scope, args: &[Value]) -> Outcome {
    Ok(must_modify(scope, args).unwrap_or_else(|_| args[1].clone()))
}

fn ago(scope: &mut Scope, args: &[Value]) -> Outcome {
    let then = match &args[0] {
        // Unlike elsewhere, an int32 is no time here.
        Value::Int(_, Integer::Int32) => Cow::Owned(now(scope)),
        value => time_of(scope, value),
    };
    let since = now(scope).since(&then).round(Duration(1_000_000_000));
    Ok(Value::from(since.to_string()))
}

fn duration_round(scope: &mut Scope, args: &[Value]) -> Outcome {
    let duration = match &args[0] {
        Value::String(text) => Duration::parse(&text.to_str()).unwrap_or(Duration(0)),
        Value::Int(nanoseconds, Integer::Int64) => Duration(*nanoseconds),
        value => moment(value).map_or(Duration(0), |then| now(scope).since(then)),
    };
    const SECOND: u64 = 1_000_000_000;
    const DAY: u64 = 86_400 * SECOND;
    let size = duration.0.unsigned_abs();
    let units = [
        (365 * DAY, "y"),
        (30 * DAY, "mo"),
        (DAY, "d"),
        (3600 * SECOND, "h"),
        (60 * SECOND, "m"),
        (SECOND, "s"),
    ];
    let unit = units.into_iter().find(|(unit, _)| size > *unit);
    Ok(Value::from(unit.map_or("0s".to_owned(), |(unit, name)| {
        format!("{}{name}", size / unit)
    })))
}

/// A duration, a text such as `1h30m`, or a number of seconds.
fn to_duration(value: &Value) -> Result<Duration, Fault> {
    match value {
        Value::Invalid | Value::Nil => Err(Fault::new("invalid duration")),
        Value::Int(seconds, _) => match seconds.checked_mul(1_000_000_000) {
            Some(nanoseconds) => Ok(Duration(nanoseconds)),
            None => Err(Fault::new(format!("duration seconds overflow: {seconds}"))),
        },
        Value::Float(seconds) => from_seconds(*seconds),
        Value::String(text) => {
            let text = text.to_str();
            let trimmed = text.trim();
            if trimmed.is_empty() {
                return Err(Fault::new("empty duration"));
            }
            if let Ok(duration) = Duration::parse(trimmed) {
                return Ok(duration);
            }
            match parse_float(trimmed) {
                Some(seconds) => from_seconds(seconds),
                None => Err(Fault::new(format!(
                    "could not parse duration {}",
                    quote(text.as_bytes())
                ))),
            }
        }
        value => match value.downcast::<Duration>() {
            Some(duration) => Ok(*duration),
            None => {
                let found = value.type_name().unwrap_or_default().into_owned();
                Err(Fault::new(format!("unsupported duration type {found}")))
            }
        },
    }
}

fn from_seconds(seconds: f64) -> Result<Duration, Fault> {
    const MAX: f64 = i64::MAX as f64 / 1e9;
    if !seconds.is_finite() {
        return Err(Fault::new(format!(
            "invalid duration seconds: {}",
            number::go_g(seconds)
        )));
    }
    if seconds.abs() > MAX {
        return Err(Fault::new(format!(
            "duration seconds overflow: {}",
            number::go_g(seconds)
        )));
    }
    let nanoseconds = seconds * 1e9;
    // What is just above the greatest number becomes the least one, as in Go.
    let wraps = nanoseconds >= i64::MAX as f64;
    Ok(Duration(if wraps { i64::MIN } else { nanoseconds as i64 }))
}

fn lenient(value: &Value) -> Duration {
    to_duration(value).unwrap_or(Duration(0))
}
