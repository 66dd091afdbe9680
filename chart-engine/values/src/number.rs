//! Numbers and quoted texts, the way Go's formatters write them.
//!
//! Go's shortest form switches to an exponent at other magnitudes than Rust does, and its JSON and YAML writers each
//! have a rule of their own on top.

/// A number as Go's `%v` and `strconv.FormatFloat(x, 'g', -1, 64)` write it: shortest digits, with an exponent below
/// 1e-4 and from 1e6 on.
///
/// ```
/// assert_eq!(chart_values::number::go_g(1_000_000.0), "1e+06");
/// assert_eq!(chart_values::number::go_g(1_234_567.0), "1.234567e+06");
/// assert_eq!(chart_values::number::go_g(100_000.0), "100000");
/// ```
pub fn go_g(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let (negative, digits, exponent) = shortest(number);
    if (-4..6).contains(&exponent) {
        plain(number)
    } else {
        exponential(negative, &digits, exponent, 2)
    }
}

/// As [`go_g`], with the digits of a 32-bit number.
pub fn go_g32(number: f32) -> String {
    let short: f64 = number.to_string().parse().unwrap_or_else(|_| f64::from(number));
    go_g(short)
}

/// A text in double quotes as Go's `strconv.Quote` (`%q`) writes it.
///
/// ```
/// assert_eq!(chart_values::number::go_quote("a\"\u{7}é"), r#""a\"\aé""#);
/// ```
pub fn go_quote(text: &str) -> String {
    quoted(text.chars(), '"')
}

/// A character in Go's quotes for one (`%q` of a rune).
pub(crate) fn go_quote_char(c: char) -> String {
    quoted([c], '\'')
}

fn quoted(chars: impl IntoIterator<Item = char>, quote: char) -> String {
    let mut out = String::from(quote);
    for c in chars {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', quote]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push(quote);
    out
}

/// Tells whether Go prints `c` as it is; white space other than the plain one and what has no glyph is escaped.
fn is_printable(c: char) -> bool {
    let unassigned_or_formatting = matches!(c as u32,
        0x80..=0x9f | 0xad | 0x600..=0x605 | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff
        | 0xfeff | 0xfff0..=0xfffb | 0xfffe..=0xffff | 0xe0000..=0x10ffff);
    !unassigned_or_formatting && (c == ' ' || !c.is_whitespace())
}

/// A number as Go's JSON writer writes it: plain between 1e-6 and 1e21, else with an exponent of as few digits as
/// possible.
///
/// Returns `None` for infinities and NaN, which JSON does not have.
///
/// ```
/// use chart_values::number::json;
/// assert_eq!(json(1e20).as_deref(), Some("100000000000000000000"));
/// assert_eq!(json(1e-7).as_deref(), Some("1e-7"));
/// assert_eq!(json(f64::NAN), None);
/// ```
pub fn json(number: f64) -> Option<String> {
    if !number.is_finite() {
        return None;
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let (negative, digits, exponent) = shortest(number);
        return Some(exponential(negative, &digits, exponent, 1));
    }
    Some(plain(number))
}

/// A number as it stands in what `toYaml` prints.
///
/// `toYaml` writes JSON, reads that as YAML, and writes YAML: what looks like a whole number of 64 bits stays as JSON
/// wrote it, anything else goes through [`go_g`].
pub fn yaml_by_json(number: f64) -> Option<String> {
    let text = json(number)?;
    let whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if whole && (text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok()) {
        // YAML has no negative zero: it reads it as the whole number 0.
        return Some(if text == "-0" { "0".to_owned() } else { text });
    }
    Some(go_g(number))
}

/// Sign, shortest digits that read back as the same number, and the decimal exponent of the first digit.
fn shortest(number: f64) -> (bool, String, i32) {
    let text = format!("{:e}", number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.chars().filter(|c| *c != '.').collect();
    (number.is_sign_negative(), digits, exponent.parse().unwrap_or(0))
}

fn exponential(negative: bool, digits: &str, exponent: i32, exponent_digits: usize) -> String {
    let mut out = String::with_capacity(digits.len() + 8);
    if negative {
        out.push('-');
    }
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    out.push('e');
    out.push(if exponent < 0 { '-' } else { '+' });
    let exponent = exponent.abs().to_string();
    for _ in exponent.len()..exponent_digits {
        out.push('0');
    }
    out.push_str(&exponent);
    out
}

fn plain(number: f64) -> String {
    // Rust's `Display` of floats never uses an exponent and prints the shortest digits.
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_go_does() {
        // number, 'g', json, toYaml
        let cases: &[(f64, &str, &str, &str)] = &[
            (0.0, "0", "0", "0"),
            (-0.0, "-0", "-0", "0"),
            (1.0, "1", "1", "1"),
            (-1.5, "-1.5", "-1.5", "-1.5"),
            (0.0001, "0.0001", "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001", "1e-05"),
            (1e-7, "1e-07", "1e-7", "1e-07"),
            (999_999.0, "999999", "999999", "999999"),
            (1_000_000.0, "1e+06", "1000000", "1000000"),
            (1_234_567.5, "1.2345675e+06", "1234567.5", "1.2345675e+06"),
            (1e20, "1e+20", "100000000000000000000", "1e+20"),
            (1e21, "1e+21", "1e+21", "1e+21"),
            (1.5e300, "1.5e+300", "1.5e+300", "1.5e+300"),
        ];
        for (number, g, json_text, yaml) in cases {
            assert_eq!(go_g(*number), *g);
            assert_eq!(json(*number).as_deref(), Some(*json_text));
            assert_eq!(yaml_by_json(*number).as_deref(), Some(*yaml));
        }
    }
}
