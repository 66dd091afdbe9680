//! Go's layouts: a time is written, and read, after the example of Monday, January 2, 15:04:05 MST 2006.

use super::moment::{Moment, Reading, Zone, month_name, weekday_name};
use crate::format::quote;

/// An element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    /// An offset: whether `Z` stands for none, whether it has colons, and how many of hours, minutes, seconds.
    Offset {
        z: bool,
        colons: bool,
        parts: u8,
    },
    /// Fractions of a second: how many digits, and whether zeros at the end are left out.
    Fraction {
        digits: usize,
        trimmed: bool,
    },
}

/// The text before the first element of a layout, the element, and how its text reads.
fn next_element(layout: &str) -> Option<(&str, Element, &str)> {
    let bytes = layout.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if !byte.is_ascii() {
            continue;
        }
        if let Some((element, skip, len)) = element_at(bytes, at) {
            let start = at + skip;
            return Some((&layout[..start], element, &layout[start..start + len]));
        }
    }
    None
}

/// The element at a place: how many bytes of text come first, and how many it has.
fn element_at(layout: &[u8], at: usize) -> Option<(Element, usize, usize)> {
    use Element as E;
    let rest = &layout[at..];
    let lower_after = |len: usize| rest.get(len).is_some_and(u8::is_ascii_lowercase);
    // Longer texts come before those that they begin with.
    let table: &[(&[u8], Element)] = match rest[0] {
        b'J' => &[(b"January", E::LongMonth), (b"Jan", E::Month)],
        b'M' => &[
            (b"Monday", E::LongWeekDay),
            (b"Mon", E::WeekDay),
            (b"MST", E::ZoneName),
        ],
        b'0' => &[
            (b"002", E::ZeroYearDay),
            (b"01", E::ZeroMonth),
            (b"02", E::ZeroDay),
            (b"03", E::ZeroHour12),
            (b"04", E::ZeroMinute),
            (b"05", E::ZeroSecond),
            (b"06", E::Year),
        ],
        b'1' => &[(b"15", E::Hour), (b"1", E::NumMonth)],
        b'2' => &[(b"2006", E::LongYear), (b"2", E::Day)],
        b'_' => &[(b"_2", E::UnderDay), (b"__2", E::UnderYearDay)],
        b'3' => &[(b"3", E::Hour12)],
        b'4' => &[(b"4", E::Minute)],
        b'5' => &[(b"5", E::Second)],
        b'P' => &[(b"PM", E::UpperPm)],
        b'p' => &[(b"pm", E::LowerPm)],
        b'-' | b'Z' => &[
            (
                b"070000",
                E::Offset {
                    z: false,
                    colons: false,
                    parts: 3,
                },
            ),
            (
                b"07:00:00",
                E::Offset {
                    z: false,
                    colons: true,
                    parts: 3,
                },
            ),
            (
                b"0700",
                E::Offset {
                    z: false,
                    colons: false,
                    parts: 2,
                },
            ),
            (
                b"07:00",
                E::Offset {
                    z: false,
                    colons: true,
                    parts: 2,
                },
            ),
            (
                b"07",
                E::Offset {
                    z: false,
                    colons: false,
                    parts: 1,
                },
            ),
        ],
        b'.' | b',' => return fraction_at(rest),
        _ => return None,
    };
    if matches!(rest[0], b'-' | b'Z') {
        let (text, element) = table.iter().find(|(text, _)| rest[1..].starts_with(text))?;
        let E::Offset { colons, parts, .. } = *element else {
            return None;
        };
        return Some((
            E::Offset {
                z: rest[0] == b'Z',
                colons,
                parts,
            },
            0,
            text.len() + 1,
        ));
    }
    if rest.starts_with(b"_2006") {
        return Some((E::LongYear, 1, 4));
    }
    let (text, element) = table.iter().find(|(text, _)| rest.starts_with(text))?;
    let abbreviation = matches!(element, E::Month | E::WeekDay);
    if abbreviation && lower_after(text.len()) {
        return None;
    }
    Some((*element, 0, text.len()))
}

fn fraction_at(rest: &[u8]) -> Option<(Element, usize, usize)> {
    let digit = *rest.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
    let digits = rest[1..].iter().take_while(|byte| **byte == digit).count();
    if rest.get(1 + digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((
        Element::Fraction {
            digits,
            trimmed: digit == b'9',
        },
        0,
        1 + digits,
    ))
}

/// Writes a time after a layout.
pub(super) fn format(reading: &Reading, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some((prefix, element, text)) = next_element(rest) {
        out.push_str(prefix);
        write_element(&mut out, reading, element, text);
        rest = &rest[prefix.len() + text.len()..];
    }
    out.push_str(rest);
    out
}

fn write_element(out: &mut String, reading: &Reading, element: Element, text: &str) {
    use Element as E;
    let hour12 = match reading.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let written = match element {
        E::LongMonth => month_name(reading.month).to_owned(),
        E::Month => month_name(reading.month)[..3].to_owned(),
        E::NumMonth => reading.month.to_string(),
        E::ZeroMonth => format!("{:02}", reading.month),
        E::LongWeekDay => weekday_name(reading.weekday).to_owned(),
        E::WeekDay => weekday_name(reading.weekday)[..3].to_owned(),
        E::Day => reading.day.to_string(),
        E::UnderDay => format!("{:2}", reading.day),
        E::ZeroDay => format!("{:02}", reading.day),
        E::UnderYearDay => format!("{:3}", reading.year_day),
        E::ZeroYearDay => format!("{:03}", reading.year_day),
        E::Hour => format!("{:02}", reading.hour),
        E::Hour12 => hour12.to_string(),
        E::ZeroHour12 => format!("{hour12:02}"),
        E::Minute => reading.minute.to_string(),
        E::ZeroMinute => format!("{:02}", reading.minute),
        E::Second => reading.second.to_string(),
        E::ZeroSecond => format!("{:02}", reading.second),
        E::LongYear if reading.year < 0 => format!("-{:04}", -reading.year),
        E::LongYear => format!("{:04}", reading.year),
        E::Year => format!("{:02}", reading.year.rem_euclid(100)),
        E::UpperPm => if reading.hour >= 12 { "PM" } else { "AM" }.to_owned(),
        E::LowerPm => if reading.hour >= 12 { "pm" } else { "am" }.to_owned(),
        E::ZoneName if reading.zone.is_empty() => offset_text(reading.offset, false, 2),
        E::ZoneName => reading.zone.clone(),
        E::Offset { z: true, .. } if reading.offset == 0 => "Z".to_owned(),
        E::Offset { colons, parts, .. } => offset_text(reading.offset, colons, parts),
        E::Fraction { digits, trimmed } => {
            let nanoseconds = format!("{:09}", reading.nanosecond);
            let mut fraction = nanoseconds[..digits.min(9)].to_owned();
            fraction.extend(std::iter::repeat_n('0', digits.saturating_sub(9)));
            let fraction = if trimmed {
                fraction.trim_end_matches('0')
            } else {
                &fraction
            };
            if fraction.is_empty() {
                String::new()
            } else {
                format!("{}{fraction}", &text[..1])
            }
        }
    };
    out.push_str(&written);
}

fn offset_text(offset: i64, colons: bool, parts: u8) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let size = offset.abs();
    let colon = if colons { ":" } else { "" };
    let mut text = format!("{sign}{:02}", size / 3600);
    if parts >= 2 {
        text.push_str(&format!("{colon}{:02}", size / 60 % 60));
    }
    if parts >= 3 {
        text.push_str(&format!("{colon}{:02}", size % 60));
    }
    text
}

/// What was read so far.
struct Found {
    reading: Reading,
    year_day: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    pm: Option<bool>,
    offset: Option<i32>,
    zone: Option<String>,
    utc: bool,
}

/// Reads a time after a layout; a time without a zone is one of `local`.
///
/// # Errors
/// Go's message.
pub(crate) fn parse(layout: &str, value: &str, local: &Zone) -> Result<Moment, String> {
    let reading = Reading {
        year: 0,
        month: 1,
        day: 1,
        year_day: 1,
        weekday: 0,
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
        offset: 0,
        zone: String::new(),
    };
    let mut found = Found {
        reading,
        year_day: None,
        month: None,
        day: None,
        pm: None,
        offset: None,
        zone: None,
        utc: false,
    };
    let shown = |text: &str| quote(text.as_bytes());
    let cannot = |rest: &str, element: &str| {
        let (value, layout) = (shown(value), shown(layout));
        format!(
            "parsing time {value} as {layout}: cannot parse {} as {}",
            shown(rest),
            shown(element)
        )
    };
    let out_of_range = |what: &str| format!("parsing time {}: {what} out of range", shown(value));
    let mut pattern = layout;
    let mut rest = value;
    loop {
        let next = next_element(pattern);
        let prefix = next.map_or(pattern, |(prefix, ..)| prefix);
        rest = skip(rest, prefix).ok_or_else(|| cannot(rest, prefix))?;
        let Some((_, element, text)) = next else {
            if !rest.is_empty() {
                let (value, layout) = (shown(value), shown(layout));
                return Err(format!(
                    "parsing time {value} as {layout}: extra text: {}",
                    shown(rest)
                ));
            }
            break;
        };
        pattern = &pattern[prefix.len() + text.len()..];
        match read_element(&mut found, element, rest, pattern) {
            Read::Done(after) => rest = after,
            Read::Wrong => return Err(cannot(rest, text)),
            Read::OutOfRange(what) => return Err(out_of_range(what)),
        }
    }
    finish(found, local).map_err(|what| out_of_range(&what))
}

/// A text without a prefix, in which a space matches any number of spaces.
fn skip<'v>(mut value: &'v str, mut prefix: &str) -> Option<&'v str> {
    while let Some(c) = prefix.chars().next() {
        if c == ' ' {
            if !value.is_empty() && !value.starts_with(' ') {
                return None;
            }
            prefix = prefix.trim_start_matches(' ');
            value = value.trim_start_matches(' ');
            continue;
        }
        value = value.strip_prefix(c)?;
        prefix = &prefix[c.len_utf8()..];
    }
    Some(value)
}

enum Read<'v> {
    Done(&'v str),
    Wrong,
    OutOfRange(&'static str),
}

/// A number of at least and at most so many digits.
fn number(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn name(text: &str, names: impl Iterator<Item = &'static str>, short: bool) -> Option<(i64, &str)> {
    for (number, name) in (0..).zip(names) {
        let name = if short { &name[..3] } else { name };
        let head = text.get(..name.len());
        if head.is_some_and(|head| head.eq_ignore_ascii_case(name)) {
            return Some((number, &text[name.len()..]));
        }
    }
    None
}

fn read_element<'v>(found: &mut Found, element: Element, text: &'v str, pattern: &str) -> Read<'v> {
    use Element as E;
    let reading = &mut found.reading;
    let spaces = text.trim_start_matches(' ');
    let months = || (1..=12).map(month_name);
    let weekdays = || (0..7).map(weekday_name);
    let parsed = match element {
        E::LongYear => number(text, 4, 4).map(|(year, rest)| {
            reading.year = year;
            rest
        }),
        E::Year => number(text, 2, 2).map(|(year, rest)| {
            reading.year = if year >= 69 { 1900 + year } else { 2000 + year };
            rest
        }),
        E::LongMonth | E::Month => name(text, months(), element == E::Month).map(|(at, rest)| {
            found.month = Some(at + 1);
            rest
        }),
        E::NumMonth | E::ZeroMonth => {
            let least = if element == E::ZeroMonth { 2 } else { 1 };
            match number(text, least, 2) {
                Some((month, _)) if !(1..=12).contains(&month) => return Read::OutOfRange("month"),
                Some((month, rest)) => {
                    found.month = Some(month);
                    Some(rest)
                }
                None => None,
            }
        }
        E::LongWeekDay | E::WeekDay => name(text, weekdays(), element == E::WeekDay).map(|(_, rest)| rest),
        E::Day | E::UnderDay | E::ZeroDay => {
            let text = if element == E::UnderDay {
                text.strip_prefix(' ').unwrap_or(text)
            } else {
                text
            };
            let least = if element == E::ZeroDay { 2 } else { 1 };
            number(text, least, 2).map(|(day, rest)| {
                found.day = Some(day);
                rest
            })
        }
        E::UnderYearDay | E::ZeroYearDay => {
            let text = if element == E::UnderYearDay { spaces } else { text };
            let least = if element == E::ZeroYearDay { 3 } else { 1 };
            number(text, least, 3).map(|(day, rest)| {
                found.year_day = Some(day);
                rest
            })
        }
        E::Hour | E::Hour12 | E::ZeroHour12 => {
            let least = if element == E::ZeroHour12 { 2 } else { 1 };
            let most = if element == E::Hour { 23 } else { 12 };
            match number(text, least, 2) {
                Some((hour, _)) if hour > most => return Read::OutOfRange("hour"),
                Some((hour, rest)) => {
                    reading.hour = hour;
                    Some(rest)
                }
                None => None,
            }
        }
        E::Minute | E::ZeroMinute => {
            let least = if element == E::ZeroMinute { 2 } else { 1 };
            match number(text, least, 2) {
                Some((minute, _)) if minute > 59 => return Read::OutOfRange("minute"),
                Some((minute, rest)) => {
                    reading.minute = minute;
                    Some(rest)
                }
                None => None,
            }
        }
        E::Second | E::ZeroSecond => {
            let least = if element == E::ZeroSecond { 2 } else { 1 };
            match number(text, least, 2) {
                Some((second, _)) if second > 59 => return Read::OutOfRange("second"),
                Some((second, rest)) => {
                    reading.second = second;
                    // A fraction is read even where the layout has none.
                    let expected = matches!(next_element(pattern), Some((_, E::Fraction { .. }, _)));
                    Some(if expected { rest } else { fraction(reading, rest) })
                }
                None => None,
            }
        }
        E::UpperPm | E::LowerPm => {
            let (am, pm) = if element == E::UpperPm {
                ("AM", "PM")
            } else {
                ("am", "pm")
            };
            match (text.strip_prefix(am), text.strip_prefix(pm)) {
                (Some(rest), _) => {
                    found.pm = Some(false);
                    Some(rest)
                }
                (_, Some(rest)) => {
                    found.pm = Some(true);
                    Some(rest)
                }
                _ => None,
            }
        }
        E::ZoneName => zone_name(text).map(|len| {
            let (zone, rest) = text.split_at(len);
            found.utc = zone == "UTC";
            found.zone = Some(zone.to_owned());
            rest
        }),
        E::Offset { z: true, .. } if text.starts_with('Z') => {
            found.utc = true;
            Some(&text[1..])
        }
        E::Offset { colons, parts, .. } => offset(text, colons, parts).map(|(seconds, rest)| {
            found.offset = Some(seconds);
            rest
        }),
        E::Fraction {
            digits,
            trimmed: false,
        } => {
            let exact = text.starts_with(['.', ',']) && number(&text[1..], digits, digits).is_some();
            exact.then(|| {
                let (head, rest) = text.split_at(1 + digits);
                fraction(reading, head);
                rest
            })
        }
        E::Fraction { trimmed: true, .. } => Some(fraction(reading, text)),
    };
    parsed.map_or(Read::Wrong, Read::Done)
}

/// Reads a fraction of a second, if there is one.
fn fraction<'v>(reading: &mut Reading, text: &'v str) -> &'v str {
    let Some(tail) = text.strip_prefix(['.', ',']) else {
        return text;
    };
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return text;
    }
    let padded = format!("{:0<9}", &tail[..digits.min(9)]);
    reading.nanosecond = padded.parse().unwrap_or(0);
    &tail[digits..]
}

/// How long the abbreviation of a zone at the head of a text is.
fn zone_name(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if let Some(tail) = text.strip_prefix("GMT") {
        let signed = tail.starts_with(['+', '-']);
        let digits = tail
            .get(1..)
            .map_or(0, |tail| tail.bytes().take_while(u8::is_ascii_digit).count());
        let hours = tail.get(1..1 + digits).and_then(|text| text.parse::<u32>().ok());
        let plausible = signed && digits > 0 && hours.is_some_and(|hours| hours <= 23);
        return Some(if plausible { 3 + 1 + digits } else { 3 });
    }
    if text.starts_with(['+', '-']) {
        let digits = text[1..].bytes().take_while(u8::is_ascii_digit).count();
        let hours = text[1..1 + digits].parse::<u32>().ok()?;
        return (digits > 0 && hours <= 23).then_some(1 + digits);
    }
    let letters = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    match letters {
        3 => Some(3),
        4 if text.as_bytes()[3] == b'T' || text.starts_with("WITA") => Some(4),
        5 if text.as_bytes()[4] == b'T' => Some(5),
        _ => None,
    }
}

fn offset(text: &str, colons: bool, parts: u8) -> Option<(i32, &str)> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut rest = &text[1..];
    let mut seconds = 0;
    for (part, unit) in (0..parts).zip([3600, 60, 1]) {
        if part > 0 && colons {
            rest = rest.strip_prefix(':')?;
        }
        let (number, after) = number(rest, 2, 2)?;
        let most = if unit == 3600 { 24 } else { 60 };
        if number > most {
            return None;
        }
        seconds += number * unit;
        rest = after;
    }
    Some((i32::try_from(seconds * sign).ok()?, rest))
}

fn finish(found: Found, local: &Zone) -> Result<Moment, String> {
    let Found {
        mut reading,
        year_day,
        month,
        day,
        pm,
        offset,
        zone,
        utc,
    } = found;
    match pm {
        Some(true) if reading.hour < 12 => reading.hour += 12,
        Some(false) if reading.hour == 12 => reading.hour = 0,
        _ => {}
    }
    let leap = reading.year % 4 == 0 && (reading.year % 100 != 0 || reading.year % 400 == 0);
    if let Some(year_day) = year_day {
        let most = if leap { 366 } else { 365 };
        if !(1..=most).contains(&year_day) {
            return Err("day-of-year".to_owned());
        }
        // January has as many days as it takes: the calendar carries over.
        (reading.month, reading.day) = (1, year_day);
    } else {
        reading.month = month.unwrap_or(1);
        reading.day = day.unwrap_or(1);
        let last = match reading.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=last).contains(&reading.day) {
            return Err("day".to_owned());
        }
    }
    if utc {
        return Ok(Moment::from_civil(&reading, Zone::Utc));
    }
    if let Some(offset) = offset {
        let fixed = Zone::Fixed {
            offset,
            name: zone.unwrap_or_default(),
        };
        let moment = Moment::from_civil(&reading, fixed);
        // Where the local zone has the same offset at that time, it is the local zone.
        let here = moment.in_zone(local.clone());
        let same = here.reading();
        let name = moment.reading().zone;
        let is_local = same.offset == i64::from(offset) && (name.is_empty() || name == same.zone);
        return Ok(if is_local { here } else { moment });
    }
    if let Some(name) = zone {
        let here = Moment::from_civil(&reading, local.clone());
        if here.reading().zone == name {
            return Ok(here);
        }
        // The abbreviation of an unknown zone is kept; only `GMT+3` and its like tell their offset.
        let hours = name
            .strip_prefix("GMT")
            .and_then(|tail| tail.parse::<i32>().ok())
            .unwrap_or(0);
        return Ok(Moment::from_civil(
            &reading,
            Zone::Fixed {
                offset: hours * 3600,
                name,
            },
        ));
    }
    Ok(Moment::from_civil(&reading, local.clone()))
}
