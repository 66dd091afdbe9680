//! What hangs below an object in the API: status, scale, logs and the rest.

use std::borrow::Cow;

/// A path below an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Name in the path, as `status`.
    pub name: Cow<'static, str>,
    /// Group of the objects that it takes and gives; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version of those objects.
    pub version: Cow<'static, str>,
    /// Kind of those objects.
    pub kind: Cow<'static, str>,
    /// Verbs that it answers to.
    pub verbs: &'static [&'static str],
}

/// Where a kind keeps what `autoscaling/v1 Scale` shows, as dotted paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Wished number of replicas, as `spec.replicas`.
    pub spec_replicas: Cow<'static, str>,
    /// Observed number of replicas, as `status.replicas`.
    pub status_replicas: Cow<'static, str>,
    /// Selector of the replicas: a `LabelSelector`, a map of labels or (of custom resources) a text.
    pub selector: Option<Cow<'static, str>>,
}

/// Verbs of `status`, `scale` and their like.
pub(super) const UPDATE_VERBS: &[&str] = &["get", "patch", "update"];

impl Subresource {
    pub(crate) const fn fixed(
        name: &'static str,
        version: (&'static str, &'static str),
        kind: &'static str,
        verbs: &'static [&'static str],
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            group: Cow::Borrowed(version.0),
            version: Cow::Borrowed(version.1),
            kind: Cow::Borrowed(kind),
            verbs,
        }
    }
}

impl ScalePaths {
    /// The paths of every built-in kind that can be scaled.
    pub const fn usual() -> Self {
        Self {
            spec_replicas: Cow::Borrowed("spec.replicas"),
            status_replicas: Cow::Borrowed("status.replicas"),
            selector: Some(Cow::Borrowed("spec.selector")),
        }
    }
}
