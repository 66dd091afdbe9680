//! The past templates of a workload, kept as `ControllerRevision`s, so that `kubectl rollout undo` finds them.

use std::collections::BTreeSet;
use std::sync::Arc;

use cluster_client::{Collection, Patch, Target};
use cluster_objects::{GroupVersionResource, Object};
use serde_json::{Value, json};

use crate::step::{self, Step};
use crate::template;

/// The label with the hash of a revision's template.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";

pub(crate) fn controller_revisions() -> GroupVersionResource {
    GroupVersionResource::new("apps/v1", "controllerrevisions")
}

/// The revision for the present template.
pub(crate) struct Update {
    /// Its name.
    pub(crate) name: String,
    /// The hash in its name.
    pub(crate) hash: String,
    /// Steps that make it, or make it the newest again.
    pub(crate) steps: Vec<Step>,
}

/// Finds the revision for the present template among those of the workload, or plans a new one.
pub(crate) fn plan_update(owner: &Object, revisions: &[Arc<Object>]) -> Update {
    let wanted = owner.at(&["spec", "template"]).unwrap_or(&Value::Null);
    let newest = revisions
        .iter()
        .map(|revision| number(revision))
        .max()
        .unwrap_or_default();
    let mut same: Vec<&Arc<Object>> = revisions
        .iter()
        .filter(|revision| template::same(template_of(revision), wanted))
        .collect();
    same.sort_by_key(|revision| number(revision));
    if let Some(present) = same.last() {
        let mut steps = Vec::new();
        if number(present) < newest {
            steps.push(Step::Patch {
                target: Target::of(&controller_revisions(), present),
                patch: Patch::Merge(json!({"revision": newest + 1})),
            });
        }
        return Update {
            name: present.name().to_owned(),
            hash: hash_of(owner, present.name()),
            steps,
        };
    }
    let collisions = owner.integer(&["status", "collisionCount"]).unwrap_or_default();
    let hash = template::hash(wanted, collisions);
    let name = format!("{}-{hash}", owner.name());
    let mut revision = Object::new("apps/v1", "ControllerRevision", owner.namespace(), &name);
    let mut labels = wanted["metadata"]["labels"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    labels.insert("controller.kubernetes.io/hash".into(), hash.as_str().into());
    revision.set(&["metadata", "labels"], labels);
    revision.set(
        &["metadata", "ownerReferences"],
        json!([owner.controller_reference()]),
    );
    let mut data = wanted.clone();
    data["$patch"] = "replace".into();
    revision.set(&["data"], json!({"spec": {"template": data}}));
    revision.set(&["revision"], newest + 1);
    let create = Step::Create {
        collection: Collection {
            resource: controller_revisions(),
            namespace: owner.namespace().map(str::to_owned),
        },
        object: revision,
        said: None,
    };
    Update {
        name,
        hash,
        steps: vec![create],
    }
}

/// Steps that remove revisions beyond the history limit, oldest first; those in use stay.
pub(crate) fn plan_history(owner: &Object, revisions: &[Arc<Object>], in_use: &BTreeSet<&str>) -> Vec<Step> {
    let limit = owner.integer(&["spec", "revisionHistoryLimit"]).unwrap_or(10);
    let mut unused: Vec<&Arc<Object>> = revisions
        .iter()
        .filter(|revision| !in_use.contains(revision.name()))
        .collect();
    unused.sort_by_key(|revision| number(revision));
    let surplus = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    let surplus = unused.into_iter().take(surplus);
    surplus
        .map(|revision| step::delete(&controller_revisions(), revision, None))
        .collect()
}

/// The hash in the name of a revision.
pub(crate) fn hash_of(owner: &Object, name: &str) -> String {
    let hash = name
        .strip_prefix(owner.name())
        .and_then(|rest| rest.strip_prefix('-'));
    hash.unwrap_or(name).to_owned()
}

/// The template that a revision keeps.
pub(crate) fn template_of(revision: &Object) -> &Value {
    revision.at(&["data", "spec", "template"]).unwrap_or(&Value::Null)
}

/// The template of a revision, as it was before it was kept.
pub(crate) fn restored(revision: &Object) -> Value {
    let mut template = template_of(revision).clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    template
}

fn number(revision: &Object) -> i64 {
    revision.integer(&["revision"]).unwrap_or_default()
}
