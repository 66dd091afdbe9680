//! Objects of a manifest with the resource that serves them and the namespace they go to.

use std::collections::BTreeSet;

use cluster_client::{Discovery, Target};
use cluster_objects::{GroupVersionKind, GroupVersionResource, Object};

use crate::manifest::ManifestObject;
use crate::order::{DEPENDS_ON_GROUPS, DEPENDS_ON_GROUPS_TAKEN};

/// An object and where it lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The resource that serves it.
    pub resource: GroupVersionResource,
    /// The object, with its namespace filled in where its kind lives in one.
    pub object: Object,
    /// Template that rendered it.
    pub source: String,
    /// The groups that it waits for, as its annotation has them; taken off the object, since Kubernetes takes no
    /// annotation with two slashes in its name.
    pub waits_for: Option<String>,
}

/// What makes an object the same one over revisions: the API group may change its version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    group: String,
    kind: String,
    namespace: String,
    name: String,
}

/// Kinds that the cluster does not serve. The text is Helm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(.missing))]
pub struct UnknownKinds {
    /// The objects, as kind, name and namespace.
    pub missing: Vec<UnknownKind>,
}

/// An object whose kind the cluster does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind {
    /// Its kind.
    pub kind: GroupVersionKind,
    /// Its name.
    pub name: String,
    /// Its namespace, empty where none is written.
    pub namespace: String,
    /// Template that rendered it.
    pub source: String,
}

fn describe(missing: &[UnknownKind]) -> String {
    let lines: Vec<String> = missing
        .iter()
        .map(|object| {
            format!(
                "resource mapping not found for name: {:?} namespace: {:?} from {:?}: no matches for kind {:?} in version {:?}\nensure CRDs are installed first",
                object.name,
                object.namespace,
                object.source,
                object.kind.kind,
                object.kind.api_version()
            )
        })
        .collect();
    lines.join("\n")
}

impl Resource {
    /// Its place in the API.
    pub fn target(&self) -> Target {
        Target::of(&self.resource, &self.object)
    }

    /// What it is over revisions.
    pub fn identity(&self) -> Identity {
        Identity {
            group: self.resource.group.clone(),
            kind: self.object.kind().to_owned(),
            namespace: self.object.namespace().unwrap_or_default().to_owned(),
            name: self.object.name().to_owned(),
        }
    }

    /// Whether a cluster serves its kind.
    pub fn is_served(&self, discovery: &Discovery) -> bool {
        let GroupVersionResource { group, version, .. } = &self.resource;
        discovery
            .resource_of(group, version, self.object.kind())
            .is_some()
    }

    /// Whether it has a name; one that asks the server for a name is new each time.
    pub fn is_named(&self) -> bool {
        !self.object.name().is_empty()
    }

    /// `Kind/name`, how messages name it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.object.kind(), self.object.name())
    }
}

/// Finds the resource of each object, and fills in the namespace by the scope of its kind.
pub fn resolve(
    objects: Vec<ManifestObject>,
    discovery: &Discovery,
    namespace: &str,
) -> Result<Vec<Resource>, UnknownKinds> {
    let (resources, missing) = resolve_known(objects, discovery, namespace);
    if missing.is_empty() {
        Ok(resources)
    } else {
        Err(UnknownKinds { missing })
    }
}

/// As [`resolve`], with the objects of unknown kinds set apart: an old manifest may name versions that are gone.
pub fn resolve_known(
    objects: Vec<ManifestObject>,
    discovery: &Discovery,
    namespace: &str,
) -> (Vec<Resource>, Vec<UnknownKind>) {
    let mut resources = Vec::new();
    let mut missing = Vec::new();
    for ManifestObject { mut object, source } in objects {
        let kind = GroupVersionKind::new(object.api_version(), object.kind());
        let Some(served) = discovery.resource_of(&kind.group, &kind.version, &kind.kind) else {
            missing.push(UnknownKind {
                kind,
                name: object.name().to_owned(),
                namespace: object.namespace().unwrap_or_default().to_owned(),
                source,
            });
            continue;
        };
        if !served.namespaced {
            object.remove(&["metadata", "namespace"]);
        } else if object.namespace().is_none() {
            object.set(&["metadata", "namespace"], namespace);
        }
        let waits_for = take_annotation(&mut object, DEPENDS_ON_GROUPS)
            .or_else(|| object.annotation(DEPENDS_ON_GROUPS_TAKEN).map(str::to_owned));
        resources.push(Resource {
            resource: served.resource.clone(),
            object,
            source,
            waits_for,
        });
    }
    (resources, missing)
}

fn take_annotation(object: &mut Object, key: &str) -> Option<String> {
    let value = object.annotation(key)?.to_owned();
    object.remove(&["metadata", "annotations", key]);
    Some(value)
}

/// The resources of `before` that `after` no longer has.
pub fn dropped<'a>(before: &'a [Resource], after: &[Resource]) -> Vec<&'a Resource> {
    let kept: BTreeSet<Identity> = after.iter().map(Resource::identity).collect();
    before
        .iter()
        .filter(|resource| resource.is_named() && !kept.contains(&resource.identity()))
        .collect()
}

/// Kinds in the order in which Helm deletes them; others go last, by name.
const DELETION_ORDER: [&str; 37] = [
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "APIService",
    "Ingress",
    "IngressClass",
    "Service",
    "CronJob",
    "Job",
    "StatefulSet",
    "HorizontalPodAutoscaler",
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "Pod",
    "DaemonSet",
    "RoleBindingList",
    "RoleBinding",
    "RoleList",
    "Role",
    "ClusterRoleBindingList",
    "ClusterRoleBinding",
    "ClusterRoleList",
    "ClusterRole",
    "CustomResourceDefinition",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "ConfigMap",
    "SecretList",
    "Secret",
    "ServiceAccount",
    "PodDisruptionBudget",
    "PodSecurityPolicy",
    "LimitRange",
    "ResourceQuota",
    "NetworkPolicy",
    "Namespace",
];

/// Sorts resources into the order in which they are deleted; equal kinds keep their order.
pub fn sort_for_deletion(resources: &mut [Resource]) {
    let rank = |resource: &Resource| {
        let kind = resource.object.kind();
        // A PriorityClass is the first that Helm installs, so the last of the known that it deletes.
        let known = DELETION_ORDER.iter().position(|known| *known == kind);
        let position = match known {
            Some(position) => position,
            None if kind == "PriorityClass" => DELETION_ORDER.len(),
            None => return (DELETION_ORDER.len() + 1, kind.to_owned()),
        };
        (position, String::new())
    };
    resources.sort_by_cached_key(rank);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use cluster_client::{ApiResource, ServerVersion};

    fn discovery() -> Discovery {
        let served = |api_version: &str, resource: &str, kind: &str, namespaced| ApiResource {
            resource: GroupVersionResource::new(api_version, resource),
            kind: kind.to_owned(),
            namespaced,
            verbs: Vec::new(),
        };
        Discovery {
            version: ServerVersion::default(),
            resources: vec![
                served("v1", "configmaps", "ConfigMap", true),
                served("v1", "namespaces", "Namespace", false),
                served("v1", "services", "Service", true),
                served("apps/v1", "deployments", "Deployment", true),
                served("apps/v1beta2", "deployments", "Deployment", true),
            ],
        }
    }

    fn resources(text: &str) -> Result<Vec<Resource>, UnknownKinds> {
        resolve(manifest::parse(text).unwrap(), &discovery(), "shop")
    }

    fn manifest_of(objects: &[(&str, &str, &str)]) -> String {
        objects
            .iter()
            .map(|(api_version, kind, name)| {
                format!("---\napiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: {name}\n")
            })
            .collect()
    }

    #[test]
    fn the_scope_of_the_kind_decides_the_namespace() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\n\
            metadata: {name: b, namespace: other}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: moon, \
            namespace: wrong}\n";
        let resources = resources(text).unwrap();
        let namespaces: Vec<Option<&str>> = resources.iter().map(|entry| entry.object.namespace()).collect();
        assert_eq!(namespaces, [Some("shop"), Some("other"), None]);
    }

    #[test]
    fn err_an_unknown_kind() {
        let error = resources(&manifest_of(&[("moon/v1", "Crater", "c")])).unwrap_err();
        let expected = "resource mapping not found for name: \"c\" namespace: \"\" from \"\": no matches for kind \
            \"Crater\" in version \"moon/v1\"\nensure CRDs are installed first";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_the_new_manifest_lacks_is_dropped() {
        let before = resources(&manifest_of(&[
            ("v1", "ConfigMap", "a"),
            ("v1", "ConfigMap", "b"),
        ]))
        .unwrap();
        let after = resources(&manifest_of(&[
            ("v1", "ConfigMap", "b"),
            ("v1", "ConfigMap", "c"),
        ]))
        .unwrap();
        let dropped: Vec<&str> = dropped(&before, &after)
            .iter()
            .map(|resource| resource.object.name())
            .collect();
        assert_eq!(dropped, ["a"]);
    }

    #[test]
    fn an_object_of_another_version_of_its_group_is_the_same() {
        let before = resources(&manifest_of(&[("apps/v1beta2", "Deployment", "web")])).unwrap();
        let after = resources(&manifest_of(&[("apps/v1", "Deployment", "web")])).unwrap();
        assert!(dropped(&before, &after).is_empty());
    }

    #[test]
    fn services_go_before_workloads() {
        let text = manifest_of(&[
            ("v1", "Namespace", "moon"),
            ("v1", "ConfigMap", "c"),
            ("v1", "Service", "s"),
            ("apps/v1", "Deployment", "d"),
        ]);
        let mut resources = resources(&text).unwrap();
        sort_for_deletion(&mut resources);
        let names: Vec<&str> = resources.iter().map(|resource| resource.object.name()).collect();
        assert_eq!(names, ["s", "d", "c", "moon"]);
    }
}
