//! What becomes of an object whose owners are gone, and of one that is leaving with dependants.

use std::sync::Arc;

use cluster_client::{DeleteOptions, Patch, Propagation, Target};
use cluster_objects::{Object, OwnerReference};
use serde_json::{Value, json};

use super::graph::{FOREGROUND, Item, Node, ORPHAN};
use crate::claim::change_owners;
use crate::step::Step;

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerState {
    /// It is there.
    Present,
    /// It is there, and goes once its dependants are gone.
    Leaving,
    /// It is not there.
    Absent,
    /// Nobody can tell; its dependants are kept.
    Unknown,
}

/// Steps for an object with owners that is not being deleted: it stays while one owner does, without the others, and
/// goes when none stays.
pub(crate) fn plan_dangling(
    item: &Item,
    object: &Object,
    owners: &[(OwnerReference, OwnerState)],
    has_dependants: bool,
) -> Vec<Step> {
    let any = |wanted: OwnerState| owners.iter().any(|(_, state)| *state == wanted);
    if owners.is_empty() {
        return Vec::new();
    }
    if any(OwnerState::Present) || any(OwnerState::Unknown) {
        if !any(OwnerState::Absent) && !any(OwnerState::Leaving) {
            return Vec::new();
        }
        let stays = |reference: &&Value| {
            let owner = owners.iter().find(|(owner, _)| reference["uid"] == owner.uid);
            owner.is_some_and(|(_, state)| matches!(state, OwnerState::Present | OwnerState::Unknown))
        };
        let references = object.list(&["metadata", "ownerReferences"]);
        let staying: Vec<Value> = references.iter().filter(stays).cloned().collect();
        return vec![change_owners(&item.resource, object, &staying)];
    }
    let propagation = if any(OwnerState::Leaving) && has_dependants {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    vec![Step::Delete {
        target: Target::of(&item.resource, object),
        options: DeleteOptions {
            propagation,
            uid: Some(item.uid.clone()),
            ..DeleteOptions::default()
        },
        said: None,
    }]
}

/// Steps for an object that goes after its dependants: when none is left that it waits for, it may go.
pub(crate) fn plan_foreground(item: &Item, object: &Object, dependants: &[Node]) -> Vec<Step> {
    if dependants.iter().any(|dependant| dependant.blocks(&item.uid)) {
        return Vec::new();
    }
    remove_finalizer(item, object, FOREGROUND)
}

/// Steps for an object that goes without its dependants: they lose their owner first.
pub(crate) fn plan_orphaning(item: &Item, object: &Object, dependants: &[(Item, Arc<Object>)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (dependant, dependant_object) in dependants {
        let references = dependant_object.list(&["metadata", "ownerReferences"]);
        let others: Vec<Value> = references
            .iter()
            .filter(|reference| reference["uid"] != item.uid)
            .cloned()
            .collect();
        if others.len() < references.len() {
            steps.push(change_owners(&dependant.resource, dependant_object, &others));
        }
    }
    steps.extend(remove_finalizer(item, object, ORPHAN));
    steps
}

fn remove_finalizer(item: &Item, object: &Object, name: &str) -> Vec<Step> {
    let finalizers = object.list(&["metadata", "finalizers"]);
    let others: Vec<&Value> = finalizers
        .iter()
        .filter(|finalizer| **finalizer != name)
        .collect();
    if others.len() == finalizers.len() {
        return Vec::new();
    }
    let others = if others.is_empty() {
        Value::Null
    } else {
        json!(others)
    };
    vec![Step::Patch {
        target: Target::of(&item.resource, object),
        patch: Patch::Merge(json!({"metadata": {
            "uid": item.uid, "resourceVersion": object.resource_version(), "finalizers": others,
        }})),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_client::ObjectKey;
    use cluster_objects::GroupVersionResource;

    fn owner(uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: uid.into(),
            uid: uid.into(),
            ..OwnerReference::default()
        }
    }

    fn check(states: &[OwnerState], has_dependants: bool, expected: &str) {
        let mut object = Object::new("v1", "ConfigMap", Some("default"), "child");
        let owners: Vec<_> = states
            .iter()
            .enumerate()
            .map(|(number, state)| (owner(&format!("o{number}")), *state))
            .collect();
        let references: Vec<&OwnerReference> = owners.iter().map(|(owner, _)| owner).collect();
        object.set(&["metadata", "ownerReferences"], json!(references));
        let item = Item {
            resource: GroupVersionResource::new("v1", "configmaps"),
            key: ObjectKey::of(&object),
            uid: "child".into(),
        };
        let found = match plan_dangling(&item, &object, &owners, has_dependants).first() {
            None => "stays".to_owned(),
            Some(Step::Delete { options, .. }) => format!("goes in the {:?}", options.propagation),
            Some(Step::Patch {
                patch: Patch::Merge(patch),
                ..
            }) => {
                let left = patch["metadata"]["ownerReferences"].as_array();
                let left: Vec<&str> = left
                    .into_iter()
                    .flatten()
                    .filter_map(|owner| owner["uid"].as_str())
                    .collect();
                format!("keeps {}", left.join(" "))
            }
            Some(other) => format!("{other:?}"),
        };
        assert_eq!(found, expected, "{states:?}");
    }

    #[test]
    fn an_object_stays_with_any_owner_and_goes_with_the_last() {
        use OwnerState::{Absent, Leaving, Present, Unknown};
        check(&[], false, "stays");
        check(&[Present], false, "stays");
        check(&[Unknown], false, "stays");
        check(&[Absent], false, "goes in the Background");
        check(&[Absent, Absent], true, "goes in the Background");
        check(&[Absent, Present], false, "keeps o1");
        check(&[Unknown, Leaving], false, "keeps o0");
        check(&[Leaving], false, "goes in the Background");
        check(&[Leaving, Absent], true, "goes in the Foreground");
    }
}
