//! Compose's sizes, shares and durations as Kubernetes writes them.

use serde_json::Value;

/// A size in bytes as a quantity: in the largest binary unit that holds it exactly.
pub(crate) fn bytes(count: u64) -> String {
    for (unit, shift) in [("Gi", 30), ("Mi", 20), ("Ki", 10)] {
        if count >= 1 << shift && count.trailing_zeros() >= shift {
            return format!("{}{unit}", count >> shift);
        }
    }
    count.to_string()
}

/// A number of CPUs as a quantity; what is less than a thousandth becomes one.
pub(crate) fn cpus(count: f64) -> String {
    let milli = (count * 1000.0).round().max(1.0);
    if milli % 1000.0 == 0.0 {
        format!("{}", milli / 1000.0)
    } else {
        format!("{milli}m")
    }
}

/// Reads a number that may stand as a text.
pub(crate) fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())
        .filter(|number| number.is_finite())
}

/// Reads a whole number that may stand as a text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Reads a size: bytes, or a number with one of compose's units (powers of 1024).
pub(crate) fn size(value: &Value) -> Option<u64> {
    if let Some(count) = value.as_u64() {
        return Some(count);
    }
    let text = value.as_str()?.trim().to_ascii_lowercase();
    let split = text.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (digits, unit) = text.split_at(split.unwrap_or(text.len()));
    let shift = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let count = digits.parse::<f64>().ok()?
        * f64::from(1_u32 << (shift % 32))
        * if shift == 40 { 4294967296.0 } else { 1.0 };
    // Sizes beyond 2^53 bytes are nobody's; the cast saturates.
    Some(count as u64)
}

/// Reads one of Go's durations, as `1m30s`, in seconds.
pub(crate) fn seconds(value: &Value) -> Option<f64> {
    let mut rest = value.as_str()?.trim();
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let count: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(rest.len());
        sum += count
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                "w" => 604_800.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    Some(sum)
}

/// A duration in whole seconds, rounded up.
pub(crate) fn whole_seconds(value: &Value) -> Option<i64> {
    // The guard against 30.000000004 keeps what is whole whole.
    seconds(value).map(|seconds| (seconds - 1e-6).ceil().max(0.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares() {
        assert_eq!(bytes(536_870_912), "512Mi");
        assert_eq!(bytes(1_610_612_736), "1536Mi");
        assert_eq!(bytes(1000), "1000");
        assert_eq!(cpus(0.5), "500m");
        assert_eq!(cpus(2.0), "2");
        assert_eq!(cpus(0.0001), "1m");
        assert_eq!(size(&"20G".into()), Some(20 << 30));
        assert_eq!(size(&"1.5kb".into()), Some(1536));
        assert_eq!(size(&"2t".into()), Some(2 << 40));
        assert_eq!(size(&"5x".into()), None);
    }

    #[test]
    fn durations_round_up() {
        for (text, seconds) in [
            ("1m30s", 90),
            ("500ms", 1),
            ("1h0m0s", 3600),
            ("30s", 30),
            ("0s", 0),
        ] {
            assert_eq!(whole_seconds(&text.into()), Some(seconds), "{text}");
        }
        assert_eq!(whole_seconds(&"soon".into()), None);
    }
}
