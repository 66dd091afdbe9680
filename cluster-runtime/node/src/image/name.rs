//! Names of images, in full, as Docker completes them.

use std::fmt;
use std::str::FromStr;

use super::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";
const NAME_BYTES_MAX: usize = 255;

/// The full name of an image: registry, repository, and a tag or digest.
///
/// `nginx` is `docker.io/library/nginx:latest`. The first part is a registry when it has a dot or a port or is
/// `localhost`, as in [the reference grammar](https://github.com/distribution/reference).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageName {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no image name: {why}")]
pub struct ImageNameError {
    text: String,
    why: &'static str,
}

impl ImageName {
    /// Host of the registry, with its port if one is given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository in its registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Tag; `latest` where neither tag nor digest are given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Digest of the manifest, which counts more than the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `registry/repository` without tag and digest.
    pub fn without_version(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        let refused = |why| ImageNameError {
            text: text.to_owned(),
            why,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => {
                let digest = digest
                    .parse()
                    .map_err(|_| refused("the digest has not 64 hexadecimal digits"))?;
                (rest, Some(digest))
            }
            Some(_) => return Err(refused("only digests of `sha256` are known")),
            None => (text, None),
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refused("a tag has 1 to 128 letters, digits, `_`, `.` and `-`"));
        }
        let (registry, path) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DEFAULT_REGISTRY, rest),
        };
        let registry = if registry == "index.docker.io" {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{OFFICIAL}{path}")
        } else {
            path.to_owned()
        };
        if path.is_empty() || rest.len() > NAME_BYTES_MAX {
            return Err(refused("the name is empty or too long"));
        }
        if !repository.split('/').all(is_path_part) {
            return Err(refused(
                "a repository has lower-case letters, digits, and `.`, `_` or `-` between them",
            ));
        }
        if !is_host(registry) {
            return Err(refused("the registry is no host name"));
        }
        let tag = tag
            .map(str::to_owned)
            .or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.tag, &self.digest) {
            (_, Some(digest)) => write!(f, "@{digest}"),
            (Some(tag), None) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

fn is_tag(tag: &str) -> bool {
    let first = tag.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
    first
        && tag.len() <= 128
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_path_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = part.bytes().next().is_some_and(plain) && part.bytes().next_back().is_some_and(plain);
    let joints = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    let joined =
        |joint: &str| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-');
    ends && joints.into_iter().all(joined)
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let name_fits = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte));
    name_fits && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, full: &str) {
        let name: ImageName = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(name.to_string(), full, "of {text}");
    }

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("tug/hello:1.0", "docker.io/tug/hello:1.0"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("a/b/c", "docker.io/a/b/c:latest"),
            ("bitnami/redis-cluster", "docker.io/bitnami/redis-cluster:latest"),
            ("x__y/z--w:T_1.2-3", "docker.io/x__y/z--w:T_1.2-3"),
        ] {
            check(text, full);
        }
        check(
            &format!("nginx@{digest}"),
            &format!("docker.io/library/nginx@{digest}"),
        );
        check(
            &format!("nginx:1@{digest}"),
            &format!("docker.io/library/nginx@{digest}"),
        );
    }

    #[test]
    fn err_names() {
        for text in [
            "",
            ":",
            "Nginx",
            "nginx:",
            "nginx:a b",
            "nginx@sha256:12",
            "nginx@md5:12",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "../../etc",
            "localhost:port/app",
            "nginx:-x",
            "/nginx",
            "a/",
            "a.b/",
        ] {
            assert!(text.parse::<ImageName>().is_err(), "`{text}` was taken");
        }
    }
}
