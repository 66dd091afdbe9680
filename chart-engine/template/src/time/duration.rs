//! Durations: nanoseconds, written like `1h30m0s`.

use std::any::Any;
use std::borrow::Cow;

use crate::fault::Fault;
use crate::format::quote;
use crate::signature::{Signature, Type};
use crate::value::{Integer, Kind, Object, Value};

/// A `time.Duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) i64);

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

impl Duration {
    pub(crate) fn seconds(self) -> f64 {
        (self.0 / SECOND) as f64 + (self.0 % SECOND) as f64 / 1e9
    }

    pub(crate) fn minutes(self) -> f64 {
        (self.0 / MINUTE) as f64 + (self.0 % MINUTE) as f64 / 60e9
    }

    pub(crate) fn hours(self) -> f64 {
        (self.0 / HOUR) as f64 + (self.0 % HOUR) as f64 / 3600e9
    }

    /// To the nearest multiple, halves away from zero; nothing happens for a multiple of nothing.
    pub(crate) fn round(self, to: Duration) -> Duration {
        if to.0 <= 0 {
            return self;
        }
        let (value, unit) = (i128::from(self.0), i128::from(to.0));
        let rest = value % unit;
        let down = value - rest;
        let rounded = if rest.abs() * 2 < unit {
            down
        } else {
            down + unit * rest.signum()
        };
        Duration(i64::try_from(rounded).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Towards zero to a multiple.
    pub(crate) fn truncate(self, to: Duration) -> Duration {
        if to.0 <= 0 {
            self
        } else {
            Duration(self.0 - self.0 % to.0)
        }
    }

    /// Reads a duration such as `-1.5h` or `1m30s`; the error is Go's message.
    pub(crate) fn parse(text: &str) -> Result<Duration, String> {
        let invalid = || format!("time: invalid duration {}", quote(text.as_bytes()));
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if unsigned == "0" {
            return Ok(Duration(0));
        }
        if unsigned.is_empty() {
            return Err(invalid());
        }
        let mut rest = unsigned;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
            let (whole, tail) = rest.split_at(digits(rest));
            let (fraction, tail) = match tail.strip_prefix('.') {
                Some(tail) => tail.split_at(digits(tail)),
                None => ("", tail),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(invalid());
            }
            let end = tail
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, after) = tail.split_at(end);
            if unit.is_empty() {
                return Err(format!(
                    "time: missing unit in duration {}",
                    quote(text.as_bytes())
                ));
            }
            let nanoseconds: u64 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => {
                    let (unit, text) = (quote(unit.as_bytes()), quote(text.as_bytes()));
                    return Err(format!("time: unknown unit {unit} in duration {text}"));
                }
            };
            let whole: u64 = if whole.is_empty() {
                0
            } else {
                whole.parse().map_err(|_| invalid())?
            };
            let part: f64 = format!("0.{fraction}0").parse().unwrap_or(0.0);
            let part = (part * nanoseconds as f64) as u64;
            total = whole
                .checked_mul(nanoseconds)
                .and_then(|whole| total.checked_add(whole)?.checked_add(part))
                .filter(|total| *total <= i64::MAX as u64 + 1)
                .ok_or_else(invalid)?;
            rest = after;
        }
        if text.starts_with('-') {
            return Ok(Duration(0i64.wrapping_sub_unsigned(total)));
        }
        i64::try_from(total).map(Duration).map_err(|_| invalid())
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let size = self.0.unsigned_abs();
        let decimal = |size: u64, unit: u64| {
            let places = unit.ilog10() as usize;
            let text = format!("{}.{:0places$}", size / unit, size % unit);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match size {
            0..1_000 => write!(f, "{size}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(size, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(size, 1_000_000)),
            _ => {
                let minutes = size / MINUTE.unsigned_abs();
                let seconds = decimal(size % MINUTE.unsigned_abs(), 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(f, "{seconds}s"),
                    (0, minutes) => write!(f, "{minutes}m{seconds}s"),
                    (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

impl Object for Duration {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("time.Duration")
    }

    fn kind(&self) -> Kind {
        Kind::Integer(Integer::Int64)
    }

    fn method(&self, name: &str) -> Option<Signature> {
        Some(Signature::new(match name {
            "Hours" | "Minutes" | "Seconds" | "Milliseconds" | "Microseconds" | "Nanoseconds" | "String"
            | "Abs" => &[],
            "Round" | "Truncate" => &[Type::Duration],
            _ => return None,
        }))
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, Fault> {
        let unit = || {
            args.first()
                .and_then(|arg| arg.downcast::<Duration>())
                .copied()
                .unwrap_or(Duration(0))
        };
        Ok(match name {
            "Hours" => Value::Float(self.hours()),
            "Minutes" => Value::Float(self.minutes()),
            "Seconds" => Value::Float(self.seconds()),
            "Milliseconds" => Value::int64(self.0 / 1_000_000),
            "Microseconds" => Value::int64(self.0 / 1_000),
            "Nanoseconds" => Value::int64(self.0),
            "Abs" => Value::object(Duration(self.0.saturating_abs())),
            "Round" => Value::object(self.round(unit())),
            "Truncate" => Value::object(self.truncate(unit())),
            _ => Value::from(self.to_string()),
        })
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }

    fn export(&self) -> Value {
        Value::int64(self.0)
    }

    fn truth(&self) -> bool {
        self.0 != 0
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Duration;

    #[test]
    fn reads_and_writes_durations() {
        for (given, written) in [
            ("1h30m", "1h30m0s"),
            ("-1.5h", "-1h30m0s"),
            ("90s", "1m30s"),
            ("1ms", "1ms"),
            ("1.5us", "1.5µs"),
            ("1ns", "1ns"),
            ("100h0.5s", "100h0m0.5s"),
            ("0", "0s"),
        ] {
            assert_eq!(
                Duration::parse(given).map(|duration| duration.to_string()),
                Ok(written.to_owned())
            );
        }
        for given in ["", "x", "1", "1x", "-", "1d", "99999999999h", ".s"] {
            assert!(Duration::parse(given).is_err(), "{given}");
        }
    }
}
