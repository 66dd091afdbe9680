//! Resource quantities: `250m`, `64Mi`, `1e3`.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use serde_json::Value;

/// An amount of a resource, exact to a billionth.
///
/// Reads and writes what `k8s.io/apimachinery/pkg/api/resource` does: the canonical text keeps the family of
/// suffixes that the amount was written in. Finer amounts are rounded up, larger ones than 2^63-1 are capped.
/// Amounts compare by value, whatever their suffix.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    /// The amount in billionths.
    nano: i128,
    format: Format,
}

/// The family of suffixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// `m`, `k`, `M`.
    #[default]
    Decimal,
    /// `Ki`, `Mi`.
    Binary,
    /// `e3`.
    Exponent,
}

/// Why a text is no quantity, worded as Kubernetes words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text has not the form of a quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The digits are no number.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
const NANO_MAX: i128 = i64::MAX as i128 * NANO;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nano: 0,
        format: Format::Decimal,
    };

    /// A whole number of units.
    pub fn from_units(units: i64) -> Self {
        Self {
            nano: i128::from(units) * NANO,
            format: Format::Decimal,
        }
    }

    /// A number of thousandths, as of processors.
    pub fn from_milli(milli: i64) -> Self {
        Self {
            nano: i128::from(milli) * (NANO / 1000),
            format: Format::Decimal,
        }
    }

    /// A number of bytes, written with `Ki`, `Mi` and so on.
    pub fn from_bytes(bytes: i64) -> Self {
        Self {
            nano: i128::from(bytes) * NANO,
            format: Format::Binary,
        }
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let bytes = text.as_bytes();
        let signed = matches!(bytes.first(), Some(b'+' | b'-'));
        let digits = bytes.iter().skip(usize::from(signed));
        let length = digits
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
            .count();
        if length == 0 {
            return Err(QuantityError::Format);
        }
        let (number, suffix) = text.split_at(usize::from(signed) + length);
        let (base, exponent, format) = suffix_scale(suffix)?;
        let magnitude = scaled(&number[usize::from(signed)..], base, exponent)?;
        let nano = if number.starts_with('-') {
            -magnitude
        } else {
            magnitude
        };
        Ok(Self { nano, format })
    }

    /// Reads a JSON text or number, as it stands in objects.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::Null => Ok(Self::ZERO),
            _ => Err(QuantityError::Format),
        }
    }

    /// Whole units, rounded up.
    pub fn units(self) -> i64 {
        ceiling(self.nano, NANO)
    }

    /// Thousandths, rounded up.
    pub fn milli(self) -> i64 {
        ceiling(self.nano, NANO / 1000)
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }
}

/// Divides and rounds up.
fn ceiling(value: i128, by: i128) -> i64 {
    let rounded = value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

/// What a suffix multiplies by: a base and its power.
fn suffix_scale(suffix: &str) -> Result<(i128, i32, Format), QuantityError> {
    const DECIMAL: [(&str, i32); 10] = [
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("", 0),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((10, *power, Format::Decimal));
    }
    if let Some(power) = (1..)
        .zip(BINARY)
        .find_map(|(power, name)| (name == suffix).then_some(power))
    {
        return Ok((1024, power, Format::Binary));
    }
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']) {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let power = exponent.parse().map_err(|_| QuantityError::Suffix)?;
            return Ok((10, power, Format::Exponent));
        }
    }
    let signs = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
    let signs = signs.strip_prefix(['+', '-']).unwrap_or(signs);
    if signs.bytes().all(|byte| byte.is_ascii_digit()) {
        Err(QuantityError::Suffix)
    } else {
        Err(QuantityError::Format)
    }
}

/// `digits` times a power of `base`, in billionths, rounded up and capped.
fn scaled(digits: &str, base: i128, exponent: i32) -> Result<i128, QuantityError> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(QuantityError::Number);
    }
    let fraction = fraction.trim_end_matches('0');
    // The mantissa is kept as long as it fits with room for the scale; what falls off the end only rounds up.
    let mut mantissa: i128 = 0;
    let mut power = 0_i64;
    let mut lost = false;
    for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let after_point = index >= whole.len();
        if mantissa < 10_i128.pow(25) {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
            power -= i64::from(after_point);
        } else {
            lost |= digit != b'0';
            power += i64::from(!after_point);
        }
    }
    power += 9;
    let mut value = mantissa;
    if base == 10 {
        power += i64::from(exponent);
    } else {
        value = match base
            .checked_pow(exponent.unsigned_abs())
            .and_then(|scale| value.checked_mul(scale))
        {
            Some(value) => value,
            None => return Ok(NANO_MAX),
        };
    }
    if value == 0 {
        return Ok(i128::from(lost));
    }
    while power > 0 && value <= NANO_MAX {
        value *= 10;
        power -= 1;
    }
    if power > 0 {
        return Ok(NANO_MAX);
    }
    while power < 0 && value > 0 {
        lost |= value % 10 != 0;
        value /= 10;
        power += 1;
    }
    Ok((value + i128::from(lost)).min(NANO_MAX))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let small = self.nano.abs() < 1024 * NANO;
        if self.format == Format::Binary && !small && self.is_whole() {
            const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            let mut units = self.nano / NANO;
            let mut power = 0;
            while units % 1024 == 0 && power + 1 < SUFFIXES.len() {
                units /= 1024;
                power += 1;
            }
            return write!(f, "{units}{}", SUFFIXES[power]);
        }
        if self.nano == 0 {
            return f.write_str("0");
        }
        let mut mantissa = self.nano;
        let mut exponent = -9;
        while mantissa % 1000 == 0 && exponent < 18 {
            mantissa /= 1000;
            exponent += 3;
        }
        if self.format == Format::Exponent {
            return match exponent {
                0 => write!(f, "{mantissa}"),
                _ => write!(f, "{mantissa}e{exponent}"),
            };
        }
        let suffix = match exponent {
            -9 => "n",
            -6 => "u",
            -3 => "m",
            3 => "k",
            6 => "M",
            9 => "G",
            12 => "T",
            15 => "P",
            18 => "E",
            _ => "",
        };
        write!(f, "{mantissa}{suffix}")
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, in the suffixes of the first that is not nothing.
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self {
            nano: (self.nano + other.nano).clamp(-NANO_MAX, NANO_MAX),
            format,
        }
    }
}

impl Sub for Quantity {
    type Output = Self;

    /// The difference, in the suffixes of the first that is not nothing.
    fn sub(self, other: Self) -> Self {
        self + Self {
            nano: -other.nano,
            format: other.format,
        }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_a_canonical_text() {
        let cases = [
            ("0", "0"),
            ("1", "1"),
            ("1.5", "1500m"),
            ("0.5", "500m"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("12000k", "12M"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("0.1Gi", "107374182400m"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
            ("123Mi", "123Mi"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("-1.50", "-1500m"),
            ("+2", "2"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            (".5", "500m"),
            ("5.", "5"),
            ("9223372036854775807", "9223372036854775807"),
            (
                "99999999999999999999999999999999999999999999999",
                "9223372036854775807",
            ),
            ("1e400", "9223372036854775807"),
            ("1e-400", "1e-9"),
            ("7Ei", "7Ei"),
            ("100Ei", "9223372036854775807"),
        ];
        for (text, wanted) in cases {
            let quantity = Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(quantity.to_string(), wanted, "{text}");
            assert_eq!(Quantity::parse(wanted), Ok(quantity), "{text}");
        }
    }

    #[test]
    fn quantities_are_counted_and_compared() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert_eq!(parse("1"), parse("1000m"));
        assert!(parse("1Gi") > parse("1G"));
        assert_eq!((parse("1500m") + parse("500m")).to_string(), "2");
        assert_eq!((parse("1Gi") - parse("512Mi")).to_string(), "512Mi");
        assert_eq!(parse("1500m").units(), 2);
        assert_eq!(parse("-1500m").units(), -1);
        assert_eq!(parse("0.0001").milli(), 1);
        assert_eq!(Quantity::from_bytes(2048).to_string(), "2Ki");
        assert_eq!(
            Quantity::from_value(&serde_json::json!(0.5)).unwrap().milli(),
            500
        );
    }

    #[test]
    fn err_texts_are_refused() {
        let cases = [
            ("", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("1.2.3", QuantityError::Number),
            (".", QuantityError::Number),
            ("1Kii", QuantityError::Suffix),
            ("1mi", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("1e99999999999", QuantityError::Suffix),
            ("1é", QuantityError::Format),
            ("--1", QuantityError::Format),
        ];
        for (text, wanted) in cases {
            assert_eq!(Quantity::parse(text), Err(wanted), "{text}");
        }
    }
}
