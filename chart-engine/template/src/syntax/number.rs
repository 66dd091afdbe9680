//! Number literals, as Go reads them.

use super::tree::Number;

/// Reads a number; the error is the message of a parse error.
pub(super) fn parse(text: &str) -> Result<Number, String> {
    if let Some(text) = text.strip_suffix('i') {
        let value = parse_float(text).ok_or_else(|| illegal(text))?;
        return Ok(complex(0.0, value));
    }
    let mut number = Number {
        int: parse_integer(text),
        uint: parse_unsigned(text),
        ..Number::default()
    };
    if number.int == Some(0) {
        number.uint = Some(0);
    }
    if let Some(int) = number.int {
        number.float = Some(int as f64);
    } else if let Some(uint) = number.uint {
        number.float = Some(uint as f64);
    } else if let Some(float) = parse_float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!(
                "integer overflow: {}",
                crate::format::quote(text.as_bytes())
            ));
        }
        number.float = Some(float);
        if float as i64 as f64 == float {
            number.int = Some(float as i64);
        }
        if float as u64 as f64 == float {
            number.uint = Some(float as u64);
        }
    } else {
        return Err(illegal(text));
    }
    let hex = text
        .trim_start_matches(['+', '-'])
        .to_ascii_lowercase()
        .starts_with("0x");
    number.is_float = if hex {
        text.contains(['p', 'P'])
    } else {
        text.contains(['.', 'e', 'E'])
    };
    Ok(number)
}

/// A complex number such as `1+2i`.
pub(super) fn parse_complex(text: &str) -> Result<Number, String> {
    let split = text
        .char_indices()
        .skip(1)
        .filter(|(at, c)| matches!(c, '+' | '-') && !text[..*at].ends_with(['e', 'E', 'p', 'P']))
        .map(|(at, _)| at)
        .last()
        .ok_or_else(|| illegal(text))?;
    let (real, imaginary) = text.split_at(split);
    let real = parse_float(real).ok_or_else(|| illegal(text))?;
    let imaginary = imaginary
        .strip_suffix('i')
        .and_then(parse_float)
        .ok_or_else(|| illegal(text))?;
    Ok(complex(real, imaginary))
}

/// A number for a character.
pub(super) fn character(value: char) -> Number {
    let code = u32::from(value);
    Number {
        int: Some(i64::from(code)),
        uint: Some(u64::from(code)),
        float: Some(f64::from(code)),
        ..Number::default()
    }
}

fn complex(real: f64, imaginary: f64) -> Number {
    // A complex without an imaginary part fits the simpler types as well.
    let float = (imaginary == 0.0).then_some(real);
    Number {
        int: float
            .filter(|value| *value as i64 as f64 == *value)
            .map(|value| value as i64),
        uint: float
            .filter(|value| *value as u64 as f64 == *value)
            .map(|value| value as u64),
        float,
        imaginary: Some((real, imaginary)),
        is_float: false,
    }
}

fn illegal(text: &str) -> String {
    format!("illegal number syntax: {}", crate::format::quote(text.as_bytes()))
}

/// An `i64` in any of Go's bases.
pub(crate) fn parse_integer(text: &str) -> Option<i64> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, parse_magnitude(&text[1..])?),
        b'+' => (false, parse_magnitude(&text[1..])?),
        _ => (false, parse_magnitude(text)?),
    };
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

fn parse_unsigned(text: &str) -> Option<u64> {
    parse_magnitude(text)
}

fn parse_magnitude(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // An underscore stands between digits, or between the base prefix and a digit.
    let prefixed = digits.len() != lower.len();
    let well_placed =
        !digits.ends_with('_') && !digits.contains("__") && (prefixed || !digits.starts_with('_'));
    if digits.is_empty() || !well_placed || digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// A float in decimal or hexadecimal form; infinities and NaN are not literals.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return parse_hex_float(hex).map(|value| if lower.starts_with('-') { -value } else { value });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    lower.parse().ok().filter(|value: &f64| value.is_finite())
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").replace('_', "");
    if digits.is_empty() {
        return None;
    }
    let mut value = 0.0f64;
    for digit in digits.chars() {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    Some(value * f64::from(shift).exp2()).filter(|value| value.is_finite())
}
