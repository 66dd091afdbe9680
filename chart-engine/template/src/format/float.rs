//! Floating-point numbers in each of Go's forms.

pub(crate) use chart_values::number::go_g as shortest;

/// More digits than any float has behind the point; further ones are zeros.
const DIGITS_MAX: usize = 1100;

/// A number without its sign, in a form of `printf`; `precision` is `None` for as many digits as needed.
pub(super) fn format(number: f64, verb: char, precision: Option<usize>) -> String {
    let size = number.abs();
    if size.is_nan() {
        return "NaN".to_owned();
    }
    if size.is_infinite() {
        return "Inf".to_owned();
    }
    // The standard formatter takes no larger precision.
    let digits = precision.map(|precision| precision.min(DIGITS_MAX));
    let further = precision.unwrap_or(0).saturating_sub(DIGITS_MAX);
    let text = match verb {
        'e' | 'E' => {
            let text = match digits {
                Some(digits) => format!("{size:.digits$e}"),
                None => format!("{size:e}"),
            };
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let mantissa = mantissa.to_owned() + &"0".repeat(further);
            exponent_of_two_digits(&mantissa, exponent)
        }
        'f' | 'F' => match digits {
            Some(digits) => format!("{size:.digits$}") + &"0".repeat(further),
            None => format!("{size}"),
        },
        'b' => binary(size),
        'x' | 'X' => hexadecimal(size, precision),
        _ => match digits {
            None => shortest(size),
            Some(digits) => general(size, digits.max(1)),
        },
    };
    if verb.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    }
}

fn exponent_of_two_digits(mantissa: &str, exponent: &str) -> String {
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `%.Ng`: so many significant digits, no zeros at the end.
fn general(size: f64, precision: usize) -> String {
    let text = format!("{size:.*e}", precision - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let wanted = i32::try_from(precision).unwrap_or(i32::MAX);
    let point = exponent + 1;
    let threshold = if wanted > count && count >= point {
        count
    } else {
        wanted
    };
    if exponent < -4 || exponent >= threshold {
        let mut text = digits[..1].to_owned();
        if digits.len() > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{text}e{sign}{:02}", exponent.abs());
    }
    let places = usize::try_from((count - point).max(0)).unwrap_or(0);
    format!("{size:.places$}")
}

fn parts(size: f64) -> (u64, i32) {
    let bits = size.to_bits();
    let raw = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    if raw == 0 {
        (fraction, -1074)
    } else {
        (fraction | 1 << 52, raw - 1075)
    }
}

/// `%b`: the mantissa as a whole number, and the power of two.
fn binary(size: f64) -> String {
    let (mantissa, exponent) = parts(size);
    format!("{mantissa}p{exponent:+}")
}

/// `%x`: the mantissa in hexadecimal, and the power of two.
fn hexadecimal(size: f64, precision: Option<usize>) -> String {
    if size == 0.0 {
        let zeros = precision.map_or(String::new(), |count| "0".repeat(count));
        let point = if zeros.is_empty() { "" } else { "." };
        return format!("0x0{point}{zeros}p+00");
    }
    let (mut mantissa, mut exponent) = parts(size);
    while mantissa & (1 << 52) == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    exponent += 52;
    let digits = precision.filter(|count| *count < 13);
    if let Some(count) = digits {
        let drop = 52 - 4 * count;
        let half = 1u64 << (drop - 1);
        let rest = mantissa & ((1 << drop) - 1);
        mantissa >>= drop;
        if rest > half || rest == half && mantissa & 1 == 1 {
            mantissa += 1;
        }
        mantissa <<= drop;
        if mantissa >> 53 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let fraction = format!("{:013x}", mantissa & ((1 << 52) - 1));
    let fraction = match precision {
        Some(count) if count <= 13 => fraction[..count].to_owned(),
        Some(count) => fraction + &"0".repeat(count - 13),
        None => fraction.trim_end_matches('0').to_owned(),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x1{point}{fraction}p{sign}{:02}", exponent.abs())
}
