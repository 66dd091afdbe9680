//! What the cluster can do, as templates see it.

use std::fmt;

use chart_values::number::go_quote;

/// The version of Kubernetes that is assumed where no cluster is asked.
const DEFAULT_KUBE_VERSION: &str = "v1.37.0";

/// The groups and versions that are assumed where no cluster is asked: those that Helm's client library knows.
const DEFAULT_API_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "lifecycle.k8s.io/v1alpha1",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

/// What the cluster can do, as `.Capabilities` tells templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The version of Kubernetes.
    pub kube_version: KubeVersion,
    /// What `.Capabilities.APIVersions.Has` knows: `apps/v1`, and with a cluster `apps/v1/Deployment` too.
    pub api_versions: Vec<String>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Capabilities {
            kube_version: KubeVersion::default(),
            api_versions: DEFAULT_API_VERSIONS
                .iter()
                .map(|&version| version.to_owned())
                .collect(),
        }
    }
}

impl Capabilities {
    /// Tells whether `version`, such as `apps/v1`, is among the API versions.
    pub fn has(&self, version: &str) -> bool {
        self.api_versions.iter().any(|known| known == version)
    }
}

/// A version of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeVersion {
    /// The version in full, with a `v`: `v1.31.2-gke.5`.
    pub version: String,
    /// As it is printed, and held against what charts say that they are for: its numbers alone (`v1.31.2`) where a user
    /// gave it, and all of it where a cluster did.
    pub normalized: String,
    /// The first number.
    pub major: String,
    /// The second number; some clusters have a `+` behind it.
    pub minor: String,
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid kube version '{text}': {fault}")]
pub struct KubeVersionError {
    /// The text.
    pub text: String,
    /// What is wrong with it, in the words of Kubernetes.
    pub fault: String,
}

impl KubeVersion {
    /// The version of a cluster, as it says itself: nothing is made of it, as by Helm 4.3.1.
    pub fn of_cluster(git_version: &str, major: &str, minor: &str) -> KubeVersion {
        KubeVersion {
            version: git_version.to_owned(),
            normalized: git_version.to_owned(),
            major: major.to_owned(),
            minor: minor.to_owned(),
        }
    }

    /// Reads a version as `--kube-version` takes it: two numbers or more, then anything.
    ///
    /// The rule is that of Kubernetes' own `version.ParseGeneric`, which Helm calls. An empty text is as none given.
    ///
    /// ```
    /// use chart_render::KubeVersion;
    /// let version = KubeVersion::parse("1.31.2-gke.5").unwrap();
    /// assert_eq!((version.version.as_str(), version.normalized.as_str()), ("v1.31.2-gke.5", "v1.31.2"));
    /// ```
    ///
    /// # Errors
    /// When it begins with no number, has only one, or one that is too large, or the first one begins with a zero.
    pub fn parse(text: &str) -> Result<KubeVersion, KubeVersionError> {
        if text.is_empty() {
            return Ok(KubeVersion::default());
        }
        let wrong = |fault: String| KubeVersionError {
            text: text.to_owned(),
            fault,
        };
        let body = text.trim_start();
        let mut numbers = Vec::new();
        let mut rest = body.strip_prefix('v').unwrap_or(body);
        loop {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if end == 0 {
                break;
            }
            numbers.push(&rest[..end]);
            match rest[end..].strip_prefix('.') {
                Some(next) => rest = next,
                None => break,
            }
        }
        let major = match *numbers {
            [] => return Err(wrong(format!("could not parse {} as version", go_quote(text)))),
            [_] => return Err(wrong(format!("illegal version string {}", go_quote(text)))),
            [major, ..] => major,
        };
        if major.starts_with('0') && major != "0" {
            let (major, text) = (go_quote(major), go_quote(text));
            return Err(wrong(format!(
                "illegal zero-prefixed version component {major} in {text}"
            )));
        }
        let mut canonical = Vec::with_capacity(numbers.len());
        for number in &numbers {
            let Ok(value) = number.parse::<u64>() else {
                let (number, text) = (go_quote(number), go_quote(text));
                return Err(wrong(format!(
                    "illegal non-numeric version component {number} in {text}: strconv.ParseUint: parsing {number}: value out of range"
                )));
            };
            canonical.push(value.to_string());
        }
        Ok(KubeVersion {
            version: format!("v{}", text.strip_prefix('v').unwrap_or(text)),
            normalized: format!("v{}", canonical.join(".")),
            major: canonical[0].clone(),
            minor: canonical[1].clone(),
        })
    }
}

impl Default for KubeVersion {
    fn default() -> Self {
        KubeVersion {
            version: DEFAULT_KUBE_VERSION.to_owned(),
            normalized: DEFAULT_KUBE_VERSION.to_owned(),
            major: "1".to_owned(),
            minor: "37".to_owned(),
        }
    }
}

/// As templates print it.
impl fmt::Display for KubeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normalized)
    }
}
