//! References into OCI registries: `oci://host:port/path/chart:tag@sha256:...`.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// Where an artifact is in a registry.
///
/// The rules are those of the distribution specification, "pulling manifests":
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>.
///
/// ```
/// use repo_index::OciReference;
/// let reference: OciReference = "oci://example.com:5000/charts/web:1.0.0_build".parse().unwrap();
/// assert_eq!(reference.registry, "example.com:5000");
/// assert_eq!(reference.version().as_deref(), Some("1.0.0+build"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciReference {
    /// Host, with a port if it is not the usual one.
    pub registry: String,
    /// The path in the registry, without slashes at its ends.
    pub repository: String,
    /// The tag, if one is given.
    pub tag: Option<String>,
    /// The digest of the manifest, if one is given.
    pub digest: Option<Digest>,
}

/// Why a text is no reference into a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciReferenceError {
    /// It does not start with `oci://`.
    #[error("`{0}` does not start with `oci://`")]
    Scheme(String),
    /// The host has characters that no host has, or is missing.
    #[error("`{0}` is no host of a registry")]
    Registry(String),
    /// The path has characters or parts that registries do not know.
    #[error(
        "`{0}` is no path in a registry: expected lower-case letters, digits, and single `.`, `_` or dashes between them"
    )]
    Repository(String),
    /// The tag has characters that tags do not have.
    #[error("`{0}` is no tag")]
    Tag(String),
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

const SCHEME: &str = "oci://";

impl OciReference {
    /// The same place with a tag for a version of a chart.
    #[must_use]
    pub fn with_version(&self, version: &str) -> Self {
        Self {
            tag: Some(tag_of_version(version)),
            ..self.clone()
        }
    }

    /// The chart's version that the tag stands for.
    pub fn version(&self) -> Option<String> {
        self.tag.as_deref().map(version_of_tag)
    }

    /// The last part of the path, which is the chart's name.
    pub fn chart(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// The place of a chart below this one.
    pub fn child(&self, chart: &str) -> Result<Self, OciReferenceError> {
        format!("{SCHEME}{}/{}/{chart}", self.registry, self.repository).parse()
    }
}

/// The tag of a version: registries allow no `+`.
pub fn tag_of_version(version: &str) -> String {
    version.replace('+', "_")
}

/// The version that a tag stands for.
pub fn version_of_tag(tag: &str) -> String {
    tag.replace('_', "+")
}

impl FromStr for OciReference {
    type Err = OciReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| OciReferenceError::Scheme(text.to_owned()))?;
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
        };
        let (registry, path) = rest
            .split_once('/')
            .ok_or_else(|| OciReferenceError::Repository(String::new()))?;
        if !is_registry(registry) {
            return Err(OciReferenceError::Registry(registry.to_owned()));
        }
        let (repository, tag) = match path.split_once(':') {
            None => (path, None),
            Some((path, tag)) => (path, Some(tag.to_owned())),
        };
        let repository = repository.trim_end_matches('/');
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(OciReferenceError::Repository(repository.to_owned()));
        }
        if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(OciReferenceError::Tag(tag.clone()));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag,
            digest,
        })
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Tells whether the text is a host with or without a port, or an address in brackets.
pub fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                None if rest.is_empty() => return true,
                None => return false,
                Some(port) => ("ok", Some(port)),
            }
        }
        None => match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port)),
        },
    };
    let good_host = !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        });
    good_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// A part of a path: letters and digits, with one `.`, one or two `_`, or any number of dashes between them.
fn is_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    plain(*first)
        && plain(*last)
        && bytes.split(|b| plain(*b)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in [
            "oci://localhost/a",
            "oci://localhost:5000/a/b-c/d__e.f:1.0.0",
            "oci://[::1]:5000/a:v1",
            "oci://[::1]/a",
            "oci://example.com/charts/web:1.0.0_b-x",
            &format!("oci://example.com/web@{DIGEST}"),
            &format!("oci://example.com/web:1@{DIGEST}"),
        ] {
            assert_eq!(text.parse::<OciReference>().unwrap().to_string(), text);
        }
        let slash: OciReference = "oci://h/a/".parse().unwrap();
        assert_eq!(slash.child("web").unwrap().to_string(), "oci://h/a/web");
    }

    #[test]
    fn err_what_no_registry_knows() {
        for text in [
            "",
            "oci:/h/a",
            "http://h/a",
            "oci://",
            "oci://h",
            "oci:///a",
            "oci://h/",
            "oci://h//a",
            "oci://h/a/../b",
            "oci://h/A",
            "oci://h/a..b",
            "oci://h/-a",
            "oci://h:port/a",
            "oci://h:70000/a",
            "oci://u:p@h/a",
            "oci://h/a:",
            "oci://h/a:.x",
            "oci://h/a:x y",
            "oci://h/a@sha256:12",
            "oci://h/a@sha512:12",
            "oci://h?x/a",
            "oci://[1]/a",
            "oci://[::1]x/a",
        ] {
            assert!(text.parse::<OciReference>().is_err(), "{text}");
        }
    }
}
