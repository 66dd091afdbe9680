//! Times as objects carry them.

use std::time::Duration;

use jiff::Timestamp;

/// `metav1.Time`: RFC 3339 in UTC, whole seconds.
pub(crate) fn format(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

/// Reads a time of an object; what is no time reads as absent.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The time that a field holds.
pub(crate) fn of(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(parse)
}

/// How long until `seconds` after `since` have passed; `None` when they have.
pub(crate) fn remaining(since: Timestamp, seconds: i64, now: Timestamp) -> Option<Duration> {
    let due = since
        .as_millisecond()
        .saturating_add(seconds.saturating_mul(1000));
    let left = u64::try_from(due.saturating_sub(now.as_millisecond())).unwrap_or(0);
    (left > 0).then(|| Duration::from_millis(left))
}
