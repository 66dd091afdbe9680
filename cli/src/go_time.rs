//! Times in a layout of Go: the moment `Mon Jan 2 15:04:05 MST 2006` written as the times shall be.

use chart_release::ReleaseTime;
use jiff::tz::TimeZone;

/// A layout, taken apart.
pub(crate) struct Layout(Vec<Part>);

enum Part {
    Literal(String),
    /// A conversion of strftime.
    Field(&'static str),
    /// A fraction of a second of so many digits, with its point.
    Fraction {
        digits: usize,
        trimmed: bool,
    },
    /// The distance from UTC, `Z` for UTC itself.
    OffsetOrZ {
        colon: bool,
    },
}

/// The pieces of the reference time and what they stand for; of two that begin alike the longer stands first.
const FIELDS: [(&str, &str); 26] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("2006", "%Y"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2", "%e"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
    ("Z07:00", "Z:"),
    ("Z0700", "Z"),
];

impl Layout {
    /// Takes a layout apart; what is no piece of the reference time stands for itself.
    pub(crate) fn parse(layout: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = layout;
        while let Some(character) = rest.chars().next() {
            let (part, length) = if let Some(found) = fraction(rest) {
                found
            } else if let Some((text, field)) = FIELDS.iter().find(|(text, _)| rest.starts_with(text)) {
                let part = match *field {
                    "Z:" => Part::OffsetOrZ { colon: true },
                    "Z" => Part::OffsetOrZ { colon: false },
                    field => Part::Field(field),
                };
                (part, text.len())
            } else {
                literal.push(character);
                rest = &rest[character.len_utf8()..];
                continue;
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
            rest = &rest[length..];
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Self(parts)
    }

    /// Writes a time.
    pub(crate) fn format(&self, time: &ReleaseTime, zone: &TimeZone) -> String {
        let zoned = time.timestamp().to_zoned(zone.clone());
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text += literal,
                Part::Field(field) => text += &zoned.strftime(field).to_string(),
                Part::Fraction { digits, trimmed } => {
                    let nanoseconds = format!("{:09}", zoned.subsec_nanosecond());
                    let cut = &nanoseconds[..*digits];
                    let cut = if *trimmed { cut.trim_end_matches('0') } else { cut };
                    if !cut.is_empty() {
                        text.push('.');
                        text += cut;
                    }
                }
                Part::OffsetOrZ { .. } if zoned.offset() == jiff::tz::Offset::UTC => text.push('Z'),
                Part::OffsetOrZ { colon } => {
                    let field = if *colon { "%:z" } else { "%z" };
                    text += &zoned.strftime(field).to_string();
                }
            }
        }
        text
    }
}

/// `.000` or `.999` at the head of a layout, followed by no digit.
fn fraction(rest: &str) -> Option<(Part, usize)> {
    let after = rest.strip_prefix(['.', ','])?;
    let digit = after.chars().next().filter(|digit| matches!(digit, '0' | '9'))?;
    let digits = after.len() - after.trim_start_matches(digit).len();
    if digits > 9 || after[digits..].starts_with(|next: char| next.is_ascii_digit()) {
        return None;
    }
    let part = Part::Fraction {
        digits,
        trimmed: digit == '9',
    };
    Some((part, digits + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(layout: &str, expected: &str) {
        let time = ReleaseTime::parse("2026-11-01T20:34:04.0960Z").unwrap().unwrap();
        assert_eq!(Layout::parse(layout).format(&time, &TimeZone::UTC), expected);
    }

    #[test]
    fn layouts_are_those_of_go() {
        check("2006-01-02 15:04:05Z0700", "2026-11-01 20:34:04Z");
        check("Mon Jan _2 15:04:05 2006", "Sun Nov  1 20:34:04 2026");
        check("2006-01-02T15:04:05.999999999Z07:00", "2026-11-01T20:34:04.096Z");
        check("3:04PM .000", "8:34PM .096");
        check("day 2 of January, -0700", "day 1 of November, +0000");
    }
}
