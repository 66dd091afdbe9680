//! Conditional requests and ranges (RFC 9110, sections 13 and 14), decided without IO.

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, Method};
use jiff::Timestamp;

/// What is known of the content that is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'c> {
    pub(crate) length: u64,
    /// With its quotation marks.
    pub(crate) etag: &'c str,
    pub(crate) modified: Option<Timestamp>,
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Whole,
    /// First byte and count.
    Part {
        start: u64,
        count: u64,
    },
    NotModified,
    /// The range is outside of the content.
    Unsatisfiable,
}

/// Decides what a request gets of some content.
pub(crate) fn select(method: &Method, headers: &HeaderMap, content: Content<'_>) -> Selection {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(known) = text(IF_NONE_MATCH) {
        if matches_any(known, content.etag) {
            return Selection::NotModified;
        }
    } else if let (Some(since), Some(modified)) = (text(IF_MODIFIED_SINCE), content.modified)
        && let Some(since) = read_date(since)
        && modified.as_second() <= since.as_second()
    {
        return Selection::NotModified;
    }
    if *method != Method::GET {
        return Selection::Whole;
    }
    let Some(range) = text(RANGE) else {
        return Selection::Whole;
    };
    let unchanged = text(IF_RANGE).is_none_or(|known| {
        known == content.etag
            || content.modified.is_some_and(|modified| {
                read_date(known).is_some_and(|date| date.as_second() == modified.as_second())
            })
    });
    if !unchanged {
        return Selection::Whole;
    }
    one_range(range, content.length)
}

/// Whether a list of entity tags has one, compared weakly.
fn matches_any(known: &str, etag: &str) -> bool {
    known.trim() == "*"
        || known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == etag)
}

/// One range of bytes. Several at once, and what cannot be read, are answered with everything, as is allowed.
fn one_range(text: &str, length: u64) -> Selection {
    let Some(range) = text.strip_prefix("bytes=") else {
        return Selection::Whole;
    };
    let Some((first, last)) = range.trim().split_once('-') else {
        return Selection::Whole;
    };
    let number = |text: &str| match text {
        "" => Some(None),
        text if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<u64>().ok().map(Some),
        _ => None,
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(Some(first)), Some(Some(last))) if first > last => return Selection::Whole,
        (Some(Some(first)), Some(last)) => (
            first,
            last.map_or(length, |last| last.saturating_add(1).min(length)),
        ),
        (Some(None), Some(Some(0))) => return Selection::Unsatisfiable,
        (Some(None), Some(Some(suffix))) => (length.saturating_sub(suffix), length),
        _ => return Selection::Whole,
    };
    if start >= length {
        return Selection::Unsatisfiable;
    }
    Selection::Part {
        start,
        count: end - start,
    }
}

/// Whether a client takes gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(http::header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// A date as HTTP writes it.
pub(crate) fn write_date(time: Timestamp) -> String {
    time.strftime(HTTP_DATE).to_string()
}

fn read_date(text: &str) -> Option<Timestamp> {
    let date = jiff::civil::DateTime::strptime(HTTP_DATE, text.trim()).ok()?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)], expected: &Selection) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let content = Content {
            length: 100,
            etag: "\"e\"",
            modified: Timestamp::from_second(784_111_777).ok(),
        };
        assert_eq!(select(&Method::GET, &map, content), *expected, "{headers:?}");
    }

    #[test]
    fn ranges_are_cut_out() {
        let part = |start, count| Selection::Part { start, count };
        for (range, expected) in [
            ("bytes=0-9", part(0, 10)),
            ("bytes=90-", part(90, 10)),
            ("bytes=-5", part(95, 5)),
            ("bytes=-500", part(0, 100)),
            ("bytes=99-1000", part(99, 1)),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=5-2", Selection::Whole),
            ("bytes=0-1,5-6", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("items=0-1", Selection::Whole),
        ] {
            check(&[("range", range)], &expected);
        }
        check(&[("range", "bytes=0-9"), ("if-range", "\"e\"")], &part(0, 10));
        check(
            &[("range", "bytes=0-9"), ("if-range", "\"f\"")],
            &Selection::Whole,
        );
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for known in ["\"e\"", "W/\"e\"", "\"a\", \"e\"", "*"] {
            check(&[("if-none-match", known)], &Selection::NotModified);
        }
        check(&[("if-none-match", "\"f\"")], &Selection::Whole);
        check(
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            &Selection::NotModified,
        );
        check(
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")],
            &Selection::Whole,
        );
        // The entity tag counts more than the date.
        check(
            &[
                ("if-none-match", "\"f\""),
                ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ],
            &Selection::Whole,
        );
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (accepted, expected) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
        ] {
            let headers = HeaderMap::from_iter([(http::header::ACCEPT_ENCODING, accepted.parse().unwrap())]);
            assert_eq!(accepts_gzip(&headers), expected, "{accepted}");
        }
    }
}
