//! What a plain scalar means in YAML 1.1, as go-yaml version 2 reads it.

/// What a plain scalar means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// Nothing, `~` or `null`.
    Null,
    /// `true`, `yes`, `on`, `y` and their opposites.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number above the largest [`Scalar::Int`].
    Uint(u64),
    /// A number with a fraction or an exponent, or one too large for an integer.
    Float(f64),
    /// A date, with or without a time; values keep its text.
    Timestamp,
    /// A text.
    String,
}

/// Tells what the plain scalar `text` means.
///
/// ```
/// use chart_values::yaml::{Scalar, resolve};
/// assert_eq!(resolve("off"), Scalar::Bool(false));
/// assert_eq!(resolve("0644"), Scalar::Int(420));
/// assert_eq!(resolve("12:30:45"), Scalar::String);
/// ```
pub fn resolve(text: &str) -> Scalar {
    match text.as_bytes() {
        [] => Scalar::Null,
        [
            b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~',
            ..,
        ] => word(text),
        [b'.', ..] => match text {
            ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" => Scalar::Float(f64::INFINITY),
            _ => decimal(text).map_or(Scalar::String, Scalar::Float),
        },
        [b'+', ..] if matches!(text, "+.inf" | "+.Inf" | "+.INF") => Scalar::Float(f64::INFINITY),
        [b'-', ..] if matches!(text, "-.inf" | "-.Inf" | "-.INF") => Scalar::Float(f64::NEG_INFINITY),
        [b'+' | b'-' | b'0'..=b'9', ..] => number(text),
        _ => Scalar::String,
    }
}

fn word(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        _ => Scalar::String,
    }
}

fn number(text: &str) -> Scalar {
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let bare;
    let plain = if text.contains('_') {
        bare = text.replace('_', "");
        bare.as_str()
    } else {
        text
    };
    if let Some(whole) = whole(plain) {
        return whole;
    }
    decimal(plain).map_or(Scalar::String, Scalar::Float)
}

/// A whole number in any base that Go's literals know.
fn whole(text: &str) -> Option<Scalar> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(size).map(Scalar::Int);
    }
    match i64::try_from(size) {
        Ok(number) => Some(Scalar::Int(number)),
        // An unsigned number takes no sign.
        Err(_) if !signed => Some(Scalar::Uint(size)),
        Err(_) => None,
    }
}

/// `[+-]` digits, with an optional point and exponent. Too large a number is none.
fn decimal(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at, at - start)
    };
    let start = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let (mut at, before) = digits(start);
    if bytes.get(at) == Some(&b'.') {
        let (end, after) = digits(at + 1);
        if before + after == 0 {
            return None;
        }
        at = end;
    } else if before == 0 {
        return None;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        let (end, count) = digits(at);
        if count == 0 {
            return None;
        }
        at = end;
    }
    if at != bytes.len() {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// The four layouts of dates: `2001-1-2`, with a time after `T`, `t` or a space; after the letters a zone must follow.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let mut reader = Digits { rest: &bytes[5..] };
    let year = bytes[..4]
        .iter()
        .fold(0u32, |year, digit| year * 10 + u32::from(digit - b'0'));
    let Some(month) = reader.two().filter(|month| (1..=12).contains(month)) else {
        return false;
    };
    if !reader.take(b'-') {
        return false;
    }
    let Some(day) = reader
        .two()
        .filter(|day| (1..=days_in(year, month)).contains(day))
    else {
        return false;
    };
    let _ = day;
    match reader.rest.first() {
        None => true,
        Some(b'T' | b't') => {
            reader.rest = &reader.rest[1..];
            reader.time() && reader.zone() && reader.rest.is_empty()
        }
        Some(b' ') => {
            reader.rest = &reader.rest[1..];
            reader.time() && reader.rest.is_empty()
        }
        Some(_) => false,
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

struct Digits<'t> {
    rest: &'t [u8],
}

impl Digits<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// One or two digits.
    fn two(&mut self) -> Option<u32> {
        let count = self
            .rest
            .iter()
            .take(2)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        (count > 0).then(|| {
            digits
                .iter()
                .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
        })
    }

    fn time(&mut self) -> bool {
        let clock = self.two().is_some_and(|hour| hour < 24)
            && self.take(b':')
            && self.two().is_some_and(|minute| minute < 60)
            && self.take(b':')
            && self.two().is_some_and(|second| second < 60);
        if clock && matches!(self.rest.first(), Some(b'.' | b',')) {
            let count = self.rest[1..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if count > 0 {
                self.rest = &self.rest[1 + count..];
            }
        }
        clock
    }

    fn zone(&mut self) -> bool {
        if self.take(b'Z') {
            return true;
        }
        if !(self.take(b'+') || self.take(b'-')) {
            return false;
        }
        match self.rest {
            [a, b, b':', c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => {
                self.rest = &self.rest[5..];
                true
            }
            _ => false,
        }
    }
}

/// Tells whether `text` looks like a number in base 60 (`12:30:45`), which YAML 1.1 readers other than ours would take
/// for one.
pub(super) fn is_base60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = body.split(':');
    let Some(first) = parts.next() else { return false };
    let digits_or_lines = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !digits_or_lines(first) {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let sixty = |part: &str| match part.as_bytes() {
        [a] => a.is_ascii_digit(),
        [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|part| sixty(part)) && sixty(last) && digits_or_lines(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_scalars_as_yaml_1_1() {
        use Scalar::{Bool, Float, Int, Null, String, Timestamp, Uint};
        for (text, meaning) in [
            ("", Null),
            ("~", Null),
            ("NULL", Null),
            ("nULL", String),
            ("y", Bool(true)),
            ("Off", Bool(false)),
            ("oN", String),
            ("1", Int(1)),
            ("+1", Int(1)),
            ("-0", Int(0)),
            ("0644", Int(420)),
            ("0o17", Int(15)),
            ("-0x1F", Int(-31)),
            ("0x_1", Int(1)),
            ("0b11", Int(3)),
            ("0b12", String),
            ("1_000", Int(1000)),
            ("08", Float(8.0)),
            ("9223372036854775808", Uint(9_223_372_036_854_775_808)),
            ("+9223372036854775808", Float(9_223_372_036_854_775_808.0)),
            ("18446744073709551616", Float(18_446_744_073_709_551_616.0)),
            ("-9223372036854775808", Int(i64::MIN)),
            ("1e3", Float(1000.0)),
            ("1.", Float(1.0)),
            ("1.e3", Float(1000.0)),
            (".5", Float(0.5)),
            ("+.5", Float(0.5)),
            (".", String),
            ("-", String),
            ("1e", String),
            ("0x", String),
            ("1e400", String),
            ("-.INF", Float(f64::NEG_INFINITY)),
            ("2001-01-01", Timestamp),
            ("2001-1-1", Timestamp),
            ("2001-02-30", String),
            ("2001-01-01T12:30:45Z", Timestamp),
            ("2001-01-01 12:30:45.5", Timestamp),
            ("2001-01-01T12:30:45", String),
            ("12:30:45", String),
            ("1.2.3", String),
            ("é", String),
        ] {
            assert_eq!(resolve(text), meaning, "{text}");
        }
        assert!(matches!(resolve(".NaN"), Float(number) if number.is_nan()));
    }

    #[test]
    fn knows_numbers_in_base_60() {
        for (text, is) in [
            ("1:20:30", true),
            ("-1:59.5_", true),
            ("1:60", false),
            ("1", false),
            ("a:1", false),
            ("10:5x", false),
        ] {
            assert_eq!(is_base60(text), is, "{text}");
        }
    }
}
