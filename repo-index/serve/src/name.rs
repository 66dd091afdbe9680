//! Names that come from strangers and become parts of paths. What one of these types holds is safe to join to a folder.

use std::fmt;
use std::str::FromStr;

/// Longest name of a repository, and of a part of it, since a part becomes a folder.
const NAME_BYTES_MAX: usize = 255;
/// Longest tag, by the distribution specification.
const TAG_BYTES_MAX: usize = 128;
/// Deepest tenant.
const TENANT_PARTS_MAX: usize = 8;

/// A text is no name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: {rule}")]
pub struct NameError {
    /// What was given.
    pub text: String,
    /// What it should have been.
    pub kind: &'static str,
    /// What such names look like.
    pub rule: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(NameError {
                    text: text.chars().take(NAME_BYTES_MAX).collect(),
                    kind: $kind,
                    rule: $rule,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a repository in a registry, by the distribution specification.
    RepositoryName,
    "repository name",
    "parts of lower-case letters and digits with `.`, `_`, `__` or `-` between them, `/` between the parts",
    |text| text.len() <= NAME_BYTES_MAX && text.split('/').all(is_repository_part)
);

name_type!(
    /// A tag, by the distribution specification.
    Tag,
    "tag",
    "letters, digits, `_`, `.` and `-`, at most 128, not beginning with `.` or `-`",
    |text| {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        text.len() <= TAG_BYTES_MAX
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
    }
);

name_type!(
    /// Where charts are kept apart from other charts: parts with `/` between them, or nothing for the folder itself.
    Tenant,
    "tenant",
    "parts of letters, digits, `_`, `.` and `-` that begin with a letter or digit, `/` between the parts",
    |text| text.is_empty()
        || (text.len() <= NAME_BYTES_MAX
            && text.split('/').count() <= TENANT_PARTS_MAX
            && text.split('/').all(is_plain_part))
);

name_type!(
    /// The name of an archive (`.tgz`) or of its provenance (`.tgz.prov`).
    FileName,
    "file of a chart",
    "letters, digits, `_`, `.`, `+` and `-`, beginning with a letter or digit, `.tgz` or `.tgz.prov` at its end",
    |text| {
        let stem = text.strip_suffix(".prov").unwrap_or(text);
        stem.len() > ".tgz".len() && stem.ends_with(".tgz") && is_plain_part(text)
    }
);

fn is_repository_part(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = (part.bytes().next(), part.bytes().next_back());
    let (Some(first), Some(last)) = ends else {
        return false;
    };
    let separators = part.split(|c: char| c.is_ascii() && alphanumeric(c as u8));
    alphanumeric(first)
        && alphanumeric(last)
        && separators
            .filter(|run| !run.is_empty())
            .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

fn is_plain_part(part: &str) -> bool {
    part.len() <= NAME_BYTES_MAX
        && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-'))
}

impl Tenant {
    /// The folder itself.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// A tenant's parts; none for the root.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The name of something in it: `TENANT/NAME`, or `NAME` in the root.
    pub fn join(&self, name: &str) -> String {
        if self.0.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.0)
        }
    }
}

impl RepositoryName {
    /// What is before the last part, and the last part.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

impl FileName {
    /// The name of an archive: `NAME-VERSION.tgz`.
    pub fn of_chart(name: &str, version: &str) -> Result<Self, NameError> {
        format!("{name}-{version}.tgz").parse()
    }

    /// The name of the archive's provenance.
    pub fn provenance(&self) -> Self {
        Self(format!("{}.prov", self.0))
    }

    /// Whether it is provenance.
    pub fn is_provenance(&self) -> bool {
        self.0.ends_with(".prov")
    }

    /// The archive's name, for an archive and for its provenance.
    pub(crate) fn archive(&self) -> &str {
        self.0.strip_suffix(".prov").unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 12] = [
        "..", "../x", "a/../b", "/etc", "a//b", "a/", ".tug", "a\\b", "a\0b", "a\nb", "_blobs", "a b",
    ];

    #[test]
    fn good_names_are_taken() {
        for name in ["a", "library/busybox", "a.b/c_d/e__f/g--h", "0"] {
            assert!(name.parse::<RepositoryName>().is_ok(), "{name}");
        }
        for tag in ["latest", "_x", "1.0.0_build.1", &"a".repeat(128)] {
            assert!(tag.parse::<Tag>().is_ok(), "{tag}");
        }
        for tenant in ["", "team", "Org/repo-1"] {
            assert!(tenant.parse::<Tenant>().is_ok(), "{tenant}");
        }
        for file in ["web-1.0.0+b.1.tgz", "web-1.0.0.tgz.prov"] {
            assert!(file.parse::<FileName>().is_ok(), "{file}");
        }
    }

    #[test]
    fn err_names_that_lead_elsewhere_are_refused() {
        for name in HOSTILE {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
            assert!(name.parse::<Tenant>().is_err(), "{name}");
            assert!(format!("{name}.tgz").parse::<FileName>().is_err(), "{name}");
            assert!(name.parse::<Tag>().is_err() || name == "_blobs", "{name}");
        }
        for name in ["", "A", "a_", "-a", "a___b", "a._b", "a/B", &"a".repeat(256)] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
        }
        for tag in ["", "-a", ".a", "a+b", "a/b", &"a".repeat(129)] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
        for file in [".tgz", "a.tar", "a.tgz.prov.prov", "a.prov"] {
            assert!(file.parse::<FileName>().is_err(), "{file}");
        }
        assert!("a/a/a/a/a/a/a/a/a".parse::<Tenant>().is_err());
    }
}
