//! Times of a record, as Go writes and reads them.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment and the distance from UTC at which it was written down.
///
/// The distance is kept since Helm shows it (`2026-11-21 20:34:04 +0100 CET`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReleaseTime {
    at: Timestamp,
    offset: Offset,
}

impl ReleaseTime {
    /// A moment as it is written in UTC.
    pub fn utc(at: Timestamp) -> Self {
        Self {
            at,
            offset: Offset::UTC,
        }
    }

    /// The same moment as it is written in a time zone.
    #[must_use]
    pub fn in_zone(self, zone: &TimeZone) -> Self {
        Self {
            at: self.at,
            offset: zone.to_offset(self.at),
        }
    }

    /// The moment.
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }

    /// Reads RFC 3339; `None` for the empty text and Go's zero time, which stand for "never".
    pub fn parse(text: &str) -> Result<Option<Self>, jiff::Error> {
        if text.is_empty() || text == "0001-01-01T00:00:00Z" {
            return Ok(None);
        }
        let parser = DateTimeParser::new();
        let at = parser.parse_timestamp(text)?;
        let pieces = parser.parse_pieces(text)?;
        let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
        Ok(Some(Self { at, offset }))
    }

    /// Go's `time.ANSIC`: `Mon Jan _2 15:04:05 2006`.
    pub fn ansic(&self) -> String {
        self.zoned().strftime("%a %b %e %H:%M:%S %Y").to_string()
    }

    /// Go's `Time.String`, as Helm's list shows it; the name of the zone is asked of `zone` where the distances agree.
    pub fn go_string(&self, zone: &TimeZone) -> String {
        let civil = self.zoned();
        let seconds = civil.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let fraction = format!("{:09}", civil.subsec_nanosecond());
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        let offset = civil.strftime("%z").to_string();
        let here = zone.to_offset_info(self.at);
        let name = if self.offset == Offset::UTC && here.offset() != Offset::UTC {
            "UTC".to_owned()
        } else if here.offset() == self.offset {
            here.abbreviation().to_owned()
        } else {
            offset.clone()
        };
        format!("{seconds}{dot}{fraction} {offset} {name}")
    }

    /// RFC 3339 without a fraction.
    pub fn to_seconds(&self) -> String {
        let civil = self.zoned();
        let text = civil.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        if self.offset == Offset::UTC {
            text + "Z"
        } else {
            text + &civil.strftime("%:z").to_string()
        }
    }

    fn zoned(&self) -> jiff::Zoned {
        self.at.to_zoned(self.offset.to_time_zone())
    }
}

impl fmt::Display for ReleaseTime {
    /// RFC 3339 with as many digits of the fraction as there are, as Go's `encoding/json` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offset == Offset::UTC {
            return write!(f, "{}", self.at);
        }
        let mut text = String::new();
        DateTimePrinter::new()
            .print_timestamp_with_offset(&self.at, self.offset, &mut text)
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

/// Serde functions of an optional time: absent, `""` and Go's zero time are one and the same.
pub(crate) mod optional {
    use super::{Deserialize, Deserializer, ReleaseTime, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<ReleaseTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ReleaseTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        ReleaseTime::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for ReleaseTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> ReleaseTime {
        ReleaseTime::parse(text).unwrap().unwrap()
    }

    #[test]
    fn texts_survive() {
        for text in [
            "2026-11-21T20:34:04.096368181Z",
            "2026-11-21T20:34:04Z",
            "2026-11-21T21:34:04.5+01:00",
            "2026-11-21T14:04:04-06:30",
        ] {
            assert_eq!(time(text).to_string(), text);
        }
        assert_eq!(ReleaseTime::parse("").unwrap(), None);
        assert_eq!(ReleaseTime::parse("0001-01-01T00:00:00Z").unwrap(), None);
    }

    #[test]
    fn shown_as_go_shows_it() {
        let utc = TimeZone::UTC;
        let at = time("2026-11-01T20:34:04.0963Z");
        assert_eq!(at.ansic(), "Sun Nov  1 20:34:04 2026");
        assert_eq!(at.go_string(&utc), "2026-11-01 20:34:04.0963 +0000 UTC");
        assert_eq!(at.to_seconds(), "2026-11-01T20:34:04Z");
        let east = time("2026-11-01T21:34:04+01:00");
        assert_eq!(east.go_string(&utc), "2026-11-01 21:34:04 +0100 +0100");
        assert_eq!(east.to_seconds(), "2026-11-01T21:34:04+01:00");
    }

    #[test]
    fn err_no_time() {
        assert!(ReleaseTime::parse("yesterday").is_err());
    }
}
