//! Names that Kubernetes takes.

use std::collections::BTreeSet;

const CHARS_MAX: usize = 63;

/// The DNS-1123 label nearest to a name: lower case, runs of anything but letters and digits as one `-`, at most 63
/// characters. A name without letters and digits becomes `x`.
pub fn dns_label(name: &str) -> String {
    let mut label = String::with_capacity(name.len());
    for char in name.chars() {
        if char.is_ascii_alphanumeric() {
            label.push(char.to_ascii_lowercase());
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(CHARS_MAX);
    let label = label.trim_end_matches('-');
    if label.is_empty() {
        "x".to_owned()
    } else {
        label.to_owned()
    }
}

/// The same for a Service, whose name begins with a letter (DNS-1035).
pub(crate) fn service_label(name: &str) -> String {
    let label = dns_label(name);
    if label.starts_with(|first: char| first.is_ascii_alphabetic()) {
        label
    } else {
        dns_label(&format!("svc-{label}"))
    }
}

/// A label with something behind it that is kept whole, however long the label is.
pub(crate) fn with_suffix(label: &str, suffix: &str) -> String {
    let room = CHARS_MAX.saturating_sub(suffix.len());
    let head = label.get(..label.len().min(room)).unwrap_or(label);
    format!("{}{suffix}", head.trim_end_matches('-'))
}

/// Names of one kind that are taken.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// Takes a name, or one with a number behind it where it is taken already.
    pub(crate) fn claim(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 2_u32;
        while !self.0.insert(name.clone()) {
            name = with_suffix(wanted, &format!("-{number}"));
            number += 1;
        }
        name
    }

    /// Whether a name is taken.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Whether a text may be the value of a label.
pub(crate) fn is_label_value(text: &str) -> bool {
    let edge = |char: Option<char>| char.is_none_or(|char| char.is_ascii_alphanumeric());
    text.len() <= CHARS_MAX
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

/// Whether a text may be the key of a label or an annotation: a name, with or without `PREFIX/` before it.
pub(crate) fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_is_good = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && prefix.split('.').all(|part| {
                !part.is_empty()
                    && !part.starts_with('-')
                    && !part.ends_with('-')
                    && part
                        .chars()
                        .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-')
            })
    });
    prefix_is_good && !name.is_empty() && is_label_value(name)
}

/// Whether a text is a DNS-1123 label as it stands.
pub(crate) fn is_dns_label(text: &str) -> bool {
    dns_label(text) == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (name, label) in [
            ("web", "web"),
            ("my_App", "my-app"),
            ("a__b..c", "a-b-c"),
            ("_x_", "x"),
            ("___", "x"),
        ] {
            assert_eq!(dns_label(name), label, "{name}");
        }
        assert_eq!(dns_label(&"a".repeat(80)).len(), 63);
        assert_eq!(service_label("1db"), "svc-1db");
        assert_eq!(with_suffix(&"a".repeat(63), "-published").len(), 63);
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let mut names = Names::default();
        assert_eq!(names.claim("a"), "a");
        assert_eq!(names.claim("a"), "a-2");
        assert_eq!(names.claim("a"), "a-3");
    }

    #[test]
    fn keys_of_labels() {
        for (key, good) in [
            ("a", true),
            ("com.example/a.b", true),
            ("traefik.http.routers.x.rule", true),
            ("a/b/c", false),
            ("with space", false),
            ("", false),
            ("UPPER/x", false),
            ("-a", false),
        ] {
            assert_eq!(is_qualified_name(key), good, "{key}");
        }
    }
}
