//! Sizes and times.

/// Bytes of a size such as `1.5g`, `64MiB` or `1024`; units count in 1024.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.')
        .map_or(0, |at| at + 1);
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return match text.parse() {
            Ok(size) => Ok(size),
            Err(_) => Err(invalid()),
        };
    }
    let size: f64 = number.parse().map_err(|_| invalid())?;
    if size < 0.0 {
        // Only -1, for no limit, is taken.
        return if text == "-1" { Ok(-1) } else { Err(invalid()) };
    }
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    #[expect(clippy::cast_possible_truncation, reason = "sizes are whole bytes")]
    Ok((size * 1024f64.powi(power)) as i64)
}

const UNITS: [(&str, f64); 9] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
];

/// Nanoseconds of a time such as `1m30s`; also with days and weeks.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    read_duration(text).ok_or_else(|| {
        let quoted = format!("in duration \"{text}\"");
        let rest = text.trim_start_matches(['-', '+']);
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let unit = rest
            .split(number)
            .find(|unit| !unit.is_empty() && UNITS.iter().all(|(known, _)| known != unit));
        match unit {
            _ if !rest.starts_with(number) => format!("time: invalid duration \"{text}\""),
            Some(unit) => format!("time: unknown unit \"{unit}\" {quoted}"),
            None if rest.ends_with(number) => format!("time: missing unit {quoted}"),
            None => format!("time: invalid duration \"{text}\""),
        }
    })
}

fn read_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, size) = UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?;
        total += number * size;
        rest = &rest[end..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, as no duration is that long"
    )]
    let total = total.round() as i64;
    Some(if negative { -total } else { total })
}

/// A time as Go prints it: `1m30s`, `1.5s`, `20ms`.
pub(crate) fn go_duration(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let fraction = |unit: u64| {
        let text = format!("{:0width$}", size % unit, width = unit.ilog10() as usize);
        let digits = text.trim_end_matches('0');
        if digits.is_empty() {
            String::new()
        } else {
            format!(".{digits}")
        }
    };
    let small = |unit: u64, name: &str| format!("{sign}{}{}{name}", size / unit, fraction(unit));
    if size < 1_000 {
        return format!("{sign}{size}ns");
    }
    if size < 1_000_000 {
        return small(1_000, "µs");
    }
    if size < 1_000_000_000 {
        return small(1_000_000, "ms");
    }
    let seconds = size / 1_000_000_000;
    let tail = format!("{}{}s", seconds % 60, fraction(1_000_000_000));
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{sign}{tail}"),
        (0, minutes) => format!("{sign}{minutes}m{tail}"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("1024", Some(1024)),
            ("1.5g", Some(1_610_612_736)),
            ("64 MiB", Some(64 << 20)),
            ("10kb", Some(10240)),
            ("-1", Some(-1)),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(bytes(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, wanted) in [
            ("1m30s", Some("1m30s")),
            ("90s", Some("1m30s")),
            ("1d2h3ms", Some("26h0m0.003s")),
            ("0", Some("0s")),
            ("1.5s", Some("1.5s")),
            ("20ms", Some("20ms")),
            ("10us", Some("10µs")),
            ("-1h", Some("-1h0m0s")),
            ("30", None),
            ("1y", None),
            ("", None),
        ] {
            let read = duration(text).map(go_duration);
            assert_eq!(read.ok().as_deref(), wanted, "{text}");
        }
    }
}
