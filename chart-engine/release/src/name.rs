//! Names of releases.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// Longest name: what is left of 63 for the suffixes that charts add.
pub const NAME_CHARS_MAX: usize = 53;

/// The expression that Helm's message names.
const PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A name that a release can have: labels of a DNS name, joined by dots, 53 characters at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseName(String);

/// Why a text is no name of a release. The texts are Helm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No name was given.
    #[error("no name provided")]
    Missing,
    /// The name does not match.
    #[error(
        "release name \"{name}\": invalid release name, must match regex {PATTERN} and the length must not be longer than {NAME_CHARS_MAX}"
    )]
    Invalid {
        /// The name.
        name: String,
    },
}

impl ReleaseName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made of the chart's and the time, as Helm makes it: `CHART-SECONDS`.
    pub fn generate(chart: &str, now: Timestamp) -> Result<Self, NameError> {
        let base = chart.rsplit('/').next().unwrap_or(chart);
        let base = base.strip_suffix(".tgz").unwrap_or(base).trim_start_matches('.');
        let base = if base.is_empty() { "chart" } else { base };
        format!("{base}-{}", now.as_second()).parse()
    }
}

impl FromStr for ReleaseName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Missing);
        }
        if name.len() > NAME_CHARS_MAX || !name.split('.').all(is_dns_label) {
            return Err(NameError::Invalid {
                name: name.to_owned(),
            });
        }
        Ok(Self(name.to_owned()))
    }
}

fn is_dns_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_names() {
        let longest = "a".repeat(NAME_CHARS_MAX);
        for name in ["web", "a.b", "1-2", "a", longest.as_str()] {
            assert_eq!(name.parse::<ReleaseName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn err_names_that_are_none() {
        let too_long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in [
            "Web",
            "a_b",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a b",
            "é",
            too_long.as_str(),
        ] {
            let refused = name.parse::<ReleaseName>();
            assert_eq!(
                refused,
                Err(NameError::Invalid {
                    name: name.to_owned()
                })
            );
        }
        assert_eq!("".parse::<ReleaseName>(), Err(NameError::Missing));
    }

    #[test]
    fn a_generated_name_is_the_chart_and_the_time() {
        let now = Timestamp::from_second(1_795_293_273).unwrap();
        assert_eq!(
            ReleaseName::generate("./demo", now).unwrap().as_str(),
            "demo-1795293273"
        );
        assert_eq!(
            ReleaseName::generate("x/demo-1.0.0.tgz", now).unwrap().as_str(),
            "demo-1.0.0-1795293273"
        );
    }
}
