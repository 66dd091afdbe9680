//! How a chart is named on a command line.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};
use crate::oci_reference::{OciReference, OciReferenceError};

/// A chart as it is named on a command line: a folder or archive, `repo/name`, `https://...` or `oci://...`, with
/// `@sha256:...` behind it to pin what has to come.
///
/// The pin of a reference into a registry is the digest of the manifest, of all others that of the archive.
///
/// ```
/// use repo_index::{ChartPlace, ChartReference};
/// let reference: ChartReference = "stable/web".parse().unwrap();
/// assert!(matches!(reference.place, ChartPlace::Named { chart, .. } if chart == "web"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartReference {
    /// Where the chart is.
    pub place: ChartPlace,
    /// The digest that its archive must have.
    pub pin: Option<Digest>,
}

/// Where a chart is.
///
/// `a/b` may be a folder as well as a chart `b` of a repository `a`: who has the file system at hand looks there first,
/// with [`ChartPlace::path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChartPlace {
    /// A folder or an archive.
    Path(String),
    /// One word: a folder, or a chart of the repository that `--repo` names.
    Word(String),
    /// A chart of a repository that was added.
    Named {
        /// The repository's name.
        repository: String,
        /// The chart's name.
        chart: String,
    },
    /// The address of an archive.
    Url(String),
    /// In a registry.
    Oci(OciReference),
}

/// Why a text names no chart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing at all.
    #[error("the reference to the chart is empty")]
    Empty,
    /// A protocol that charts are not fetched by.
    #[error("charts are not fetched by `{0}://`: expected `https://`, `http://` or `oci://`")]
    Scheme(String),
    /// An address without a host, or with white space.
    #[error("`{0}` is no address")]
    Url(String),
    /// Not a name of a chart.
    #[error("`{0}` is no name of a chart")]
    Chart(String),
    /// The digest behind `@` is none.
    #[error(transparent)]
    Pin(#[from] DigestError),
    /// Not a place in a registry.
    #[error(transparent)]
    Oci(#[from] OciReferenceError),
}

impl ChartPlace {
    /// The path that the text is if there is something at it.
    pub fn path(&self) -> Option<String> {
        match self {
            Self::Path(path) | Self::Word(path) => Some(path.clone()),
            Self::Named { repository, chart } => Some(format!("{repository}/{chart}")),
            Self::Url(_) | Self::Oci(_) => None,
        }
    }
}

impl FromStr for ChartReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.starts_with("oci://") {
            return Ok(Self {
                place: ChartPlace::Oci(text.parse()?),
                pin: None,
            });
        }
        let (text, pin) = match text.rsplit_once('@') {
            Some((text, digest)) if digest.starts_with("sha256:") => (text, Some(digest.parse()?)),
            _ => (text, None),
        };
        let place = match text.split_once("://") {
            Some(("http" | "https", rest)) => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if host.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    return Err(ReferenceError::Url(text.to_owned()));
                }
                ChartPlace::Url(text.to_owned())
            }
            Some((scheme, _)) if is_scheme(scheme) => return Err(ReferenceError::Scheme(scheme.to_owned())),
            _ => local(text)?,
        };
        Ok(Self { place, pin })
    }
}

fn is_scheme(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
}

fn local(text: &str) -> Result<ChartPlace, ReferenceError> {
    if text.is_empty() {
        return Err(ReferenceError::Empty);
    }
    if text.starts_with(['.', '/', '~']) || text.ends_with('/') || text.ends_with(".tgz") {
        return Ok(ChartPlace::Path(text.to_owned()));
    }
    Ok(match text.split_once('/') {
        None => ChartPlace::Word(text.to_owned()),
        Some((repository, chart)) if !chart.contains('/') => {
            check_chart_name(chart)?;
            ChartPlace::Named {
                repository: repository.to_owned(),
                chart: chart.to_owned(),
            }
        }
        Some(_) => ChartPlace::Path(text.to_owned()),
    })
}

/// Refuses names that would lead out of a folder when files are named after them.
pub fn check_chart_name(name: &str) -> Result<(), ReferenceError> {
    let good = !name.is_empty()
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control());
    if good {
        Ok(())
    } else {
        Err(ReferenceError::Chart(name.to_owned()))
    }
}

impl fmt::Display for ChartReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            ChartPlace::Path(text) | ChartPlace::Word(text) | ChartPlace::Url(text) => f.write_str(text),
            ChartPlace::Named { repository, chart } => write!(f, "{repository}/{chart}"),
            ChartPlace::Oci(reference) => write!(f, "{reference}"),
        }?;
        match &self.pin {
            Some(pin) => write!(f, "@{pin}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, place: &ChartPlace) {
        let reference: ChartReference = text.parse().unwrap();
        assert_eq!(&reference.place, place, "{text}");
        assert_eq!(reference.to_string(), text);
    }

    #[test]
    fn places_are_told_apart_by_their_look() {
        for path in [
            "./web",
            "/a/web",
            "../web",
            ".",
            "web/",
            "web-1.0.tgz",
            "a/web.tgz",
            "a/b/c",
            "~/x",
        ] {
            check(path, &ChartPlace::Path(path.into()));
        }
        check("web", &ChartPlace::Word("web".into()));
        check(
            "stable/web",
            &ChartPlace::Named {
                repository: "stable".into(),
                chart: "web".into(),
            },
        );
        for url in ["http://h/web.tgz", "https://u:p@h:1/a@b/web.tgz?x=y"] {
            check(url, &ChartPlace::Url(url.into()));
        }
        check(
            "oci://h/web:1",
            &ChartPlace::Oci("oci://h/web:1".parse().unwrap()),
        );
    }

    #[test]
    fn a_pin_stands_behind_any_reference() {
        let pin = Digest::of(b"");
        for text in ["stable/web", "./web.tgz", "https://h/web.tgz", "web"] {
            let reference: ChartReference = format!("{text}@{pin}").parse().unwrap();
            assert_eq!(reference.pin, Some(pin));
            assert_eq!(reference.to_string(), format!("{text}@{pin}"));
        }
    }

    #[test]
    fn err_what_names_no_chart() {
        for text in [
            "",
            " ",
            "ftp://h/a.tgz",
            "git+https://h/a",
            "https://",
            "https:///a",
            "http://h/a b",
            "a/..",
            "a/b\\c",
            "a/b\u{7}",
            "oci://h",
            "web@sha256:12",
            "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert!(text.parse::<ChartReference>().is_err(), "{text}");
        }
    }
}
