//! Which kinds the API serves: one row of data a kind, found by resource or by kind.

mod builtin;
mod convert;
mod definition;
mod hooks;
mod prepare;
mod quality;
mod row;
mod scale;
mod subresource;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{GroupVersionKind, GroupVersionResource};

pub use builtin::builtin_rows;
pub use definition::rows_of_definition;
pub use row::{Convert, Hooks, KindRow, READ_ONLY_VERBS, STANDARD_VERBS};
pub use subresource::{ScalePaths, Subresource};

/// The served kinds.
///
/// A value: the API server keeps one behind a lock and replaces it when a custom resource definition comes or
/// goes. Copies share their rows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    by_resource: BTreeMap<GroupVersionResource, Arc<KindRow>>,
    by_kind: BTreeMap<GroupVersionKind, Arc<KindRow>>,
}

impl Registry {
    /// A registry of nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A registry of all built-in kinds.
    pub fn builtin() -> Self {
        let mut registry = Self::empty();
        for row in builtin_rows() {
            registry.insert(row);
        }
        registry
    }

    /// Adds a row, or replaces the one of the same resource.
    pub fn insert(&mut self, row: KindRow) -> Arc<KindRow> {
        let row = Arc::new(row);
        if let Some(old) = self.by_resource.insert(row.resource(), Arc::clone(&row)) {
            self.by_kind.remove(&old.gvk());
        }
        self.by_kind.insert(row.gvk(), Arc::clone(&row));
        row
    }

    /// Takes a row away.
    pub fn remove(&mut self, resource: &GroupVersionResource) -> Option<Arc<KindRow>> {
        let row = self.by_resource.remove(resource)?;
        self.by_kind.remove(&row.gvk());
        Some(row)
    }

    /// The row that a path of the API names.
    pub fn by_resource(&self, resource: &GroupVersionResource) -> Option<&Arc<KindRow>> {
        self.by_resource.get(resource)
    }

    /// The row that a manifest names by its `apiVersion` and `kind`.
    pub fn by_kind(&self, kind: &GroupVersionKind) -> Option<&Arc<KindRow>> {
        self.by_kind.get(kind)
    }

    /// The row of a group and kind in its preferred version.
    pub fn by_group_kind(&self, group: &str, kind: &str) -> Option<&Arc<KindRow>> {
        let versions = self.versions(group);
        versions.iter().find_map(|version| {
            let kind = GroupVersionKind {
                group: group.to_owned(),
                version: version.clone(),
                kind: kind.to_owned(),
            };
            self.by_kind.get(&kind)
        })
    }

    /// All rows, ordered by group, version and resource.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<KindRow>> {
        self.by_resource.values()
    }

    /// The rows of a group and version, ordered by resource.
    pub fn rows_of(&self, group: &str, version: &str) -> impl Iterator<Item = &Arc<KindRow>> {
        let start = GroupVersionResource {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: String::new(),
        };
        self.by_resource
            .range(start..)
            .map(|(_, row)| row)
            .take_while(move |row| row.group == group && row.version == version)
    }

    /// The groups in the order in which discovery lists them: the core group is the empty name and comes first.
    pub fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self.by_resource.keys().map(|key| key.group.clone()).collect();
        groups.dedup();
        groups.sort_by_key(|group| (group_priority(group), group.clone()));
        groups
    }

    /// The versions of a group, the preferred one first: stable before beta before alpha, higher numbers first.
    pub fn versions(&self, group: &str) -> Vec<String> {
        let keys = self.by_resource.keys().filter(|key| key.group == group);
        let mut versions: Vec<String> = keys.map(|key| key.version.clone()).collect();
        versions.dedup();
        versions.sort_by(|a, b| compare_versions(b, a));
        versions.dedup();
        versions
    }
}

/// The core group first, then the order in which Kubernetes lists its own groups, then the others by name.
fn group_priority(group: &str) -> usize {
    const ORDER: &[&str] = &[
        "",
        "apiregistration.k8s.io",
        "apps",
        "events.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "scheduling.k8s.io",
        "coordination.k8s.io",
        "node.k8s.io",
        "discovery.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "resource.k8s.io",
    ];
    ORDER
        .iter()
        .position(|name| *name == group)
        .unwrap_or(ORDER.len())
}

/// Orders API versions by stability and number (`v2` > `v1` > `v2beta1` > `v1alpha3` > anything else, by name).
pub fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    version_rank(a).cmp(&version_rank(b)).then_with(|| b.cmp(a))
}

/// Stability (2 stable, 1 beta, 0 alpha), major and minor; names of another form are below all.
fn version_rank(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let major = major.parse().ok()?;
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = match rest.strip_prefix("beta") {
        Some(minor) => (1, minor),
        None => (0, rest.strip_prefix("alpha")?),
    };
    Some((stability, major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability() {
        let mut versions = [
            "v1beta1",
            "foo10",
            "v1",
            "v11alpha2",
            "v10",
            "v2beta2",
            "foo1",
            "v2",
        ];
        versions.sort_by(|a, b| compare_versions(b, a));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v2beta2",
                "v1beta1",
                "v11alpha2",
                "foo1",
                "foo10"
            ]
        );
    }

    #[test]
    fn every_builtin_row_is_found_by_resource_and_by_kind() {
        let registry = Registry::builtin();
        for row in registry.rows() {
            assert_eq!(
                registry.by_kind(&row.gvk()).map(|found| found.resource()),
                Some(row.resource())
            );
        }
        assert_eq!(registry.versions("autoscaling"), ["v2", "v1"]);
        assert_eq!(registry.groups()[0], "");
        let preferred = registry.by_group_kind("autoscaling", "HorizontalPodAutoscaler");
        assert_eq!(preferred.map(|row| row.version.as_ref()), Some("v2"));
    }

    #[test]
    fn a_row_added_at_run_time_replaces_and_goes() {
        let mut registry = Registry::builtin();
        registry.insert(KindRow::new("example.com", "v1", "Widget", "widgets"));
        registry.insert(KindRow::new("example.com", "v1", "Gadget", "widgets"));
        assert!(
            registry
                .by_kind(&GroupVersionKind::new("example.com/v1", "Widget"))
                .is_none()
        );
        let widgets = GroupVersionResource::new("example.com/v1", "widgets");
        assert_eq!(
            registry.by_resource(&widgets).map(|row| row.kind.as_ref()),
            Some("Gadget")
        );
        assert!(registry.remove(&widgets).is_some());
        assert_eq!(registry.rows_of("example.com", "v1").count(), 0);
    }
}
