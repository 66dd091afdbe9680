//! Whose objects are whose: a controller adopts what its selector chooses and nobody controls, and lets go of what
//! its selector no longer chooses.

use std::sync::Arc;

use cluster_client::{Change, Informer, ObjectKey, Patch, Target};
use cluster_objects::selector::LabelSelector;
use cluster_objects::{GroupVersionResource, Object};
use serde_json::{Value, json};

use crate::step::Step;

/// The index of objects that nobody controls, by namespace.
const ORPHANS: &str = "orphans";

/// Prepares an informer for [`candidates`].
pub(crate) fn index_orphans(informer: &Informer) {
    informer.add_index(ORPHANS, |object| match controller_of(object) {
        None => vec![object.namespace().unwrap_or_default().to_owned()],
        Some(_) => Vec::new(),
    });
}

/// The managing owner of an object, as its reference names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Controller<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
}

/// The managing owner of an object. Reads no more of the references than it needs: every change of every pod is asked
/// for its owner by several controllers.
pub(crate) fn controller_of(object: &Object) -> Option<Controller<'_>> {
    let owners = object.list(&["metadata", "ownerReferences"]);
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    Some(Controller {
        kind: text("kind"),
        name: text("name"),
        uid: text("uid"),
    })
}

/// The key of the managing owner of an object, where it is of this kind.
pub(crate) fn owner_key(object: &Object, kind: &str) -> Option<ObjectKey> {
    let owner = controller_of(object).filter(|owner| owner.kind == kind)?;
    Some(ObjectKey::new(object.namespace().unwrap_or_default(), owner.name))
}

/// The keys of the managing owners of an object before and after a change, where they are of this kind.
pub(crate) fn owner_keys(change: &Change, kind: &str) -> Vec<ObjectKey> {
    let mut keys: Vec<ObjectKey> = change
        .old()
        .and_then(|old| owner_key(old, kind))
        .into_iter()
        .collect();
    keys.extend(owner_key(change.object(), kind));
    keys.dedup();
    keys
}

/// What an owner controls and what it may adopt: the objects that it controls and those that nobody controls.
pub(crate) fn candidates(informer: &Informer, owner: &Object) -> Vec<Arc<Object>> {
    let mut candidates = informer.owned_by(owner.uid());
    candidates.extend(informer.indexed(ORPHANS, owner.namespace().unwrap_or_default()));
    candidates
}

/// The selector of an owner; what cannot be read selects nothing.
pub(crate) fn selector_of(owner: &Object) -> LabelSelector {
    let selector = owner.at(&["spec", "selector"]).unwrap_or(&Value::Null);
    LabelSelector::from_value(selector).unwrap_or_else(|_| LabelSelector::nothing())
}

/// The objects of an owner, with the steps that make them so.
pub(crate) struct Claim {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) steps: Vec<Step>,
}

/// Sorts candidates into those that are the owner's, to be adopted, or to be let go.
///
/// An owner that is being deleted adopts nothing and lets nothing go. `adoptable` says whether an object that
/// nobody controls still counts.
pub(crate) fn claim(
    owner: &Object,
    selector: &LabelSelector,
    resource: &GroupVersionResource,
    candidates: &[Arc<Object>],
    adoptable: impl Fn(&Object) -> bool,
) -> Claim {
    let deleting = owner.deletion_timestamp().is_some();
    let mut claim = Claim {
        objects: Vec::new(),
        steps: Vec::new(),
    };
    for object in candidates {
        let selected = selector.matches(object.labels());
        match controller_of(object) {
            Some(controller) if controller.uid != owner.uid() => {}
            Some(_) if selected || deleting => claim.objects.push(object.clone()),
            Some(_) => claim.steps.push(release(owner, resource, object)),
            None if !selected || deleting || object.deletion_timestamp().is_some() => {}
            None if adoptable(object) => {
                claim.steps.push(adopt(owner, resource, object));
                claim.objects.push(object.clone());
            }
            None => {}
        }
    }
    claim
}

fn adopt(owner: &Object, resource: &GroupVersionResource, object: &Object) -> Step {
    let mut owners: Vec<Value> = object.list(&["metadata", "ownerReferences"]).to_vec();
    owners.push(json!(owner.controller_reference()));
    change_owners(resource, object, &owners)
}

fn release(owner: &Object, resource: &GroupVersionResource, object: &Object) -> Step {
    let owners = object.list(&["metadata", "ownerReferences"]);
    let others: Vec<Value> = owners
        .iter()
        .filter(|other| other["uid"] != owner.uid())
        .cloned()
        .collect();
    change_owners(resource, object, &others)
}

/// Sets the owners of the object as it was seen: a change in between is a conflict, and the plan is made anew.
pub(crate) fn change_owners(resource: &GroupVersionResource, object: &Object, owners: &[Value]) -> Step {
    let owners = if owners.is_empty() {
        Value::Null
    } else {
        json!(owners)
    };
    Step::Patch {
        target: Target::of(resource, object),
        patch: Patch::Merge(json!({"metadata": {
            "uid": object.uid(), "resourceVersion": object.resource_version(), "ownerReferences": owners,
        }})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(deleting: bool) -> Object {
        let mut owner = Object::new("apps/v1", "ReplicaSet", Some("default"), "web");
        owner.set(&["metadata", "uid"], "rs");
        owner.set(&["spec", "selector"], json!({"matchLabels": {"app": "web"}}));
        if deleting {
            owner.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
        }
        owner
    }

    fn pod(name: &str, app: &str, controller: &str) -> Arc<Object> {
        let mut pod = Object::new("v1", "Pod", Some("default"), name);
        pod.set(&["metadata", "labels", "app"], app);
        if !controller.is_empty() {
            let reference = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": controller, "controller": true});
            pod.set(&["metadata", "ownerReferences"], json!([reference]));
        }
        Arc::new(pod)
    }

    /// `=name` is the owner's, `+name` adopted, `-name` let go.
    fn check(deleting: bool, pods: &[Arc<Object>], expected: &[&str]) {
        let owner = owner(deleting);
        let pods_resource = GroupVersionResource::new("v1", "pods");
        let claim = claim(&owner, &selector_of(&owner), &pods_resource, pods, |_| true);
        let mut found: Vec<String> = claim
            .objects
            .iter()
            .map(|pod| format!("={}", pod.name()))
            .collect();
        for step in claim.steps {
            let Step::Patch {
                target,
                patch: Patch::Merge(patch),
            } = step
            else {
                panic!("an unexpected step");
            };
            let sign = if patch["metadata"]["ownerReferences"].is_null() {
                '-'
            } else {
                '+'
            };
            found.push(format!("{sign}{}", target.name));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn owners_keep_adopt_and_let_go() {
        let pods = [
            pod("own", "web", "rs"),
            pod("strayed", "db", "rs"),
            pod("free", "web", ""),
            pod("free-other", "db", ""),
            pod("foreign", "web", "another"),
        ];
        check(false, &pods, &["=own", "=free", "-strayed", "+free"]);
        check(true, &pods, &["=own", "=strayed"]);
    }
}
