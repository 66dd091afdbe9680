//! The replica sets of a deployment: which one is new, their revisions and their sizes.

use std::cmp::Reverse;
use std::sync::Arc;

use cluster_client::{Collection, Patch, Target};
use cluster_objects::Object;
use serde_json::{Map, Value, json};

use super::replica_sets;
use super::rollout::Bounds;
use crate::pod;
use crate::replica_set::wanted;
use crate::step::Step;
use crate::template::{self, HASH_LABEL};

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations that say something of the deployment itself and are not handed on to its replica sets.
const NOT_HANDED_ON: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// The replica sets of a deployment, as a plan sees and changes their sizes.
pub(crate) struct Sets {
    /// The one with the deployment's template.
    pub(crate) new: Option<Sized>,
    /// The others, oldest first.
    pub(crate) old: Vec<Sized>,
}

/// A replica set and its `spec.replicas`.
#[derive(Clone)]
pub(crate) struct Sized {
    pub(crate) set: Arc<Object>,
    pub(crate) replicas: i64,
}

impl Sized {
    fn new(set: &Arc<Object>) -> Self {
        Self {
            set: set.clone(),
            replicas: wanted(set),
        }
    }

    /// `status.availableReplicas`.
    pub(crate) fn available(&self) -> i64 {
        self.status("availableReplicas")
    }

    /// A number of the status.
    pub(crate) fn status(&self, field: &str) -> i64 {
        self.set.integer(&["status", field]).unwrap_or_default()
    }

    /// The revision that the set carries, 0 where it carries none.
    pub(crate) fn revision(&self) -> i64 {
        revision_of(&self.set)
    }

    /// The size that was wanted of the deployment, and its most replicas, when the set was last scaled.
    pub(crate) fn desired_annotation(&self) -> Option<i64> {
        self.set.annotation(DESIRED_REPLICAS)?.parse().ok()
    }

    pub(crate) fn max_annotation(&self) -> Option<i64> {
        self.set.annotation(MAX_REPLICAS)?.parse().ok()
    }
}

/// The revision annotation of a deployment or replica set, 0 where there is none.
pub(crate) fn revision_of(object: &Object) -> i64 {
    let revision = object.annotation(REVISION);
    revision.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Sets {
    /// Sorts the sets of a deployment into the new one and the old ones.
    pub(crate) fn of(deployment: &Object, sets: &[Arc<Object>]) -> Self {
        let template = template_of(deployment);
        let mut sorted: Vec<Sized> = sets.iter().map(Sized::new).collect();
        sorted.sort_by(|one, two| age(one).cmp(&age(two)));
        let new = sorted
            .iter()
            .position(|sized| template::same(template_of(&sized.set), template))
            .map(|at| sorted.remove(at));
        Self { new, old: sorted }
    }

    /// All sets, the new one last.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Sized> {
        self.old.iter().chain(&self.new)
    }

    /// The sum over all sets of `spec.replicas`.
    pub(crate) fn replicas(&self) -> i64 {
        self.all().map(|sized| sized.replicas).sum()
    }

    /// The sum over all sets of a number of the status.
    pub(crate) fn status(&self, field: &str) -> i64 {
        self.all().map(|sized| sized.status(field)).sum()
    }

    /// The highest revision of the old sets.
    pub(crate) fn max_old_revision(&self) -> i64 {
        self.old.iter().map(Sized::revision).max().unwrap_or_default()
    }

    /// The one set that has replicas, or the newest where none has; `None` where several have.
    pub(crate) fn active_or_latest(&self) -> Option<&Sized> {
        let mut active = self.all().filter(|sized| sized.replicas > 0);
        match (active.next(), active.next()) {
            (None, _) => self.new.as_ref().or(self.old.last()),
            (one, None) => one,
            (_, Some(_)) => None,
        }
    }
}

fn age(sized: &Sized) -> (Option<jiff::Timestamp>, &str) {
    (pod::created(&sized.set), sized.set.name())
}

/// `spec.template`.
pub(crate) fn template_of(object: &Object) -> &Value {
    object.at(&["spec", "template"]).unwrap_or(&Value::Null)
}

/// The replica set for the template of a deployment.
pub(crate) fn make(deployment: &Object, replicas: i64, revision: i64, bounds: &Bounds) -> (String, Step) {
    let mut template = template_of(deployment).clone();
    let collisions = deployment
        .integer(&["status", "collisionCount"])
        .unwrap_or_default();
    let hash = template::hash(&template, collisions);
    let name = format!("{}-{hash}", deployment.name());
    let mut set = Object::new("apps/v1", "ReplicaSet", deployment.namespace(), &name);
    let mut labels = template["metadata"]["labels"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    labels.insert(HASH_LABEL.into(), hash.as_str().into());
    if !template["metadata"].is_object() {
        template["metadata"] = json!({});
    }
    template["metadata"]["labels"] = labels.clone().into();
    let mut selector = deployment
        .at(&["spec", "selector"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    if !selector["matchLabels"].is_object() {
        selector["matchLabels"] = json!({});
    }
    selector["matchLabels"][HASH_LABEL] = hash.into();

    let mut annotations = handed_on(deployment);
    annotations.insert(REVISION.into(), revision.to_string().into());
    annotations.extend(size_annotations(bounds));
    set.set(&["metadata", "labels"], labels);
    set.set(&["metadata", "annotations"], annotations);
    set.set(
        &["metadata", "ownerReferences"],
        json!([deployment.controller_reference()]),
    );
    set.set(&["spec", "replicas"], replicas);
    set.set(&["spec", "selector"], selector);
    set.set(&["spec", "template"], template);
    let min_ready = deployment
        .integer(&["spec", "minReadySeconds"])
        .unwrap_or_default();
    if min_ready > 0 {
        set.set(&["spec", "minReadySeconds"], min_ready);
    }
    let step = Step::Create {
        collection: Collection {
            resource: replica_sets(),
            namespace: deployment.namespace().map(str::to_owned),
        },
        object: set,
        said: None,
    };
    (name, step)
}

fn handed_on(deployment: &Object) -> Map<String, Value> {
    let annotations = deployment
        .at(&["metadata", "annotations"])
        .and_then(Value::as_object);
    let annotations = annotations.into_iter().flatten();
    annotations
        .filter(|(key, _)| !NOT_HANDED_ON.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn size_annotations(bounds: &Bounds) -> Map<String, Value> {
    let mut annotations = Map::new();
    annotations.insert(DESIRED_REPLICAS.into(), bounds.replicas.to_string().into());
    annotations.insert(MAX_REPLICAS.into(), bounds.replicas_max().to_string().into());
    annotations
}

/// The step that brings annotations and `minReadySeconds` of the new set up to date, where one is needed.
pub(crate) fn refresh(deployment: &Object, new: &Sized, revision: i64) -> Option<Step> {
    let mut annotations = handed_on(deployment);
    annotations.retain(|key, value| new.set.annotation(key) != value.as_str());
    if new.revision() < revision {
        if let Some(before) = new.set.annotation(REVISION) {
            let history = new.set.annotation(REVISION_HISTORY).unwrap_or_default();
            let mut history: Vec<&str> = history.split(',').filter(|entry| !entry.is_empty()).collect();
            history.push(before);
            annotations.insert(REVISION_HISTORY.into(), history.join(",").into());
        }
        annotations.insert(REVISION.into(), revision.to_string().into());
    }
    let wanted = deployment
        .integer(&["spec", "minReadySeconds"])
        .unwrap_or_default();
    let min_ready = new.set.integer(&["spec", "minReadySeconds"]).unwrap_or_default();
    let mut patch = json!({});
    if !annotations.is_empty() {
        patch["metadata"] = json!({"annotations": annotations});
    }
    if wanted != min_ready {
        patch["spec"] = json!({"minReadySeconds": wanted});
    }
    (patch != json!({})).then(|| Step::Patch {
        target: Target::of(&replica_sets(), &new.set),
        patch: Patch::Merge(patch),
    })
}

/// The step that scales a set, or `None` where nothing would change.
pub(crate) fn scale(sized: &Sized, replicas: i64, bounds: &Bounds) -> Option<Step> {
    let mut annotations = size_annotations(bounds);
    annotations.retain(|key, value| sized.set.annotation(key) != value.as_str());
    if replicas == sized.replicas && annotations.is_empty() {
        return None;
    }
    Some(Step::Patch {
        target: Target::of(&replica_sets(), &sized.set),
        patch: Patch::Merge(json!({
            "metadata": {"annotations": annotations}, "spec": {"replicas": replicas},
        })),
    })
}

/// Old sets beyond the history limit that are empty and settled, lowest revision first.
pub(crate) fn beyond_history(deployment: &Object, sets: &Sets) -> Vec<Arc<Object>> {
    let limit = deployment.integer(&["spec", "revisionHistoryLimit"]);
    let Some(limit) = limit.filter(|limit| *limit < i64::from(i32::MAX)) else {
        return Vec::new();
    };
    let mut old: Vec<&Sized> = sets
        .old
        .iter()
        .filter(|sized| sized.set.deletion_timestamp().is_none())
        .collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|sized| sized.revision());
    let settled = |sized: &&Sized| {
        let observed = sized.status("observedGeneration");
        sized.replicas == 0 && sized.status("replicas") == 0 && sized.set.generation() <= observed
    };
    old.into_iter()
        .take(surplus)
        .filter(settled)
        .map(|sized| sized.set.clone())
        .collect()
}

/// Orders sets by size, largest first; equal ones newest first when growing and oldest first when shrinking.
pub(crate) fn by_size(sets: &mut [Sized], growing: bool) {
    sets.sort_by(|one, two| {
        let newer = || age(two).cmp(&age(one));
        let order = Reverse(one.replicas).cmp(&Reverse(two.replicas));
        order.then_with(|| if growing { newer() } else { newer().reverse() })
    });
}
