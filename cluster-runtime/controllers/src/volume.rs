//! Claims and volumes: each claim is bound to a volume that satisfies it, and each volume to one claim.

use std::sync::Arc;

use cluster_client::{EventType, Informer, ObjectKey, Patch, Target, WorkQueue};
use cluster_objects::quantity::Quantity;
use cluster_objects::selector::LabelSelector;
use cluster_objects::{GroupVersionResource, Object};
use serde_json::{Value, json};

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::{Outcome, Step};

const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// The provisioner of classes whose volumes nobody makes.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

fn claims() -> GroupVersionResource {
    GroupVersionResource::new("v1", "persistentvolumeclaims")
}

fn volumes() -> GroupVersionResource {
    GroupVersionResource::new("v1", "persistentvolumes")
}

/// Steps that bind a claim, or say what it waits for.
pub(crate) fn plan_claim(claim: &Object, all: &[Arc<Object>], classes: &[Arc<Object>]) -> Vec<Step> {
    if claim.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let named = claim
        .text(&["spec", "volumeName"])
        .filter(|name| !name.is_empty());
    if let Some(name) = named {
        return match all.iter().find(|volume| volume.name() == name) {
            Some(volume) if belongs_to(volume, claim) || is_free(volume) => bind(claim, volume),
            Some(_) => Vec::new(),
            // A bound claim without its volume has lost its data.
            None if claim.text(&["status", "phase"]) == Some("Bound") => vec![phase(claim, "Lost")],
            None => Vec::new(),
        };
    }
    if claim.at(&["spec", "storageClassName"]).is_none_or(Value::is_null) {
        let mut defaults: Vec<&Arc<Object>> = classes
            .iter()
            .filter(|class| class.annotation(DEFAULT_CLASS) == Some("true"))
            .collect();
        defaults.sort_by_key(|class| {
            std::cmp::Reverse(class.text(&["metadata", "creationTimestamp"]).map(str::to_owned))
        });
        if let Some(class) = defaults.first() {
            return vec![Step::Patch {
                target: Target::of(&claims(), claim),
                patch: Patch::Merge(json!({"spec": {"storageClassName": class.name()}})),
            }];
        }
    }
    let meant = all.iter().find(|volume| belongs_to(volume, claim));
    let class_name = claim.text(&["spec", "storageClassName"]).unwrap_or_default();
    let class = classes.iter().find(|class| class.name() == class_name);
    let waits = class.is_some_and(|class| class.text(&["volumeBindingMode"]) == Some("WaitForFirstConsumer"));
    let node = claim.annotation(SELECTED_NODE);
    if meant.is_none() && waits && node.is_none() {
        return tell(
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        );
    }
    let fitting = meant.or_else(|| best(claim, all, node));
    if let Some(volume) = fitting {
        return bind(claim, volume);
    }
    let Some(class) = class else {
        return tell(
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
        );
    };
    match class.text(&["provisioner"]) {
        Some(NO_PROVISIONER) | None => tell(
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
        ),
        // Somebody makes a volume for the claim; the annotation says who is asked.
        Some(provisioner) if claim.annotation(PROVISIONER) != Some(provisioner) => vec![Step::Patch {
            target: Target::of(&claims(), claim),
            patch: Patch::Merge(json!({"metadata": {"annotations": {PROVISIONER: provisioner}}})),
        }],
        Some(provisioner) => tell(
            "ExternalProvisioning",
            &format!(
                "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by \
                 the system administrator. If volume creation is delayed, please verify that the provisioner is \
                 running and correctly registered."
            ),
        ),
    }
}

fn tell(reason: &'static str, message: &str) -> Vec<Step> {
    vec![Step::Tell {
        kind: EventType::Normal,
        reason,
        message: message.to_owned(),
    }]
}

/// Whether a volume is bound to or reserved for a claim.
fn belongs_to(volume: &Object, claim: &Object) -> bool {
    let reference = |field: &str| volume.text(&["spec", "claimRef", field]).unwrap_or_default();
    reference("name") == claim.name()
        && Some(reference("namespace")) == claim.namespace()
        && (reference("uid").is_empty() || reference("uid") == claim.uid())
}

fn is_free(volume: &Object) -> bool {
    volume.at(&["spec", "claimRef"]).is_none_or(Value::is_null) && volume.deletion_timestamp().is_none()
}

/// The smallest free volume that satisfies a claim.
fn best<'a>(claim: &Object, all: &'a [Arc<Object>], node: Option<&str>) -> Option<&'a Arc<Object>> {
    let selector = claim
        .at(&["spec", "selector"])
        .filter(|selector| selector.is_object());
    let selector = selector.map_or_else(LabelSelector::everything, |selector| {
        LabelSelector::from_value(selector).unwrap_or_else(|_| LabelSelector::nothing())
    });
    let text = |object: &Object, field: &str| object.text(&["spec", field]).unwrap_or_default().to_owned();
    let mode = |object: &Object| {
        object
            .text(&["spec", "volumeMode"])
            .unwrap_or("Filesystem")
            .to_owned()
    };
    let modes = claim.list(&["spec", "accessModes"]);
    let asked = claim
        .at(&["spec", "resources", "requests", "storage"])
        .and_then(bytes)
        .unwrap_or(0);
    let fits = |volume: &&Arc<Object>| {
        is_free(volume)
            && text(volume, "storageClassName") == text(claim, "storageClassName")
            && mode(volume) == mode(claim)
            && modes
                .iter()
                .all(|mode| volume.list(&["spec", "accessModes"]).contains(mode))
            && capacity(volume) >= asked
            && selector.matches(volume.labels())
            && node.is_none_or(|node| may_be_on(volume, node))
    };
    all.iter()
        .filter(fits)
        .min_by_key(|volume| (capacity(volume), volume.name().to_owned()))
}

/// Whether a volume that names its node by its host name names this one; one that names none may be anywhere.
fn may_be_on(volume: &Object, node: &str) -> bool {
    let terms = volume.list(&["spec", "nodeAffinity", "required", "nodeSelectorTerms"]);
    let names = |term: &Value| {
        let expressions = term["matchExpressions"].as_array();
        expressions.into_iter().flatten().all(|expression| {
            let by_name = expression["key"] == "kubernetes.io/hostname" && expression["operator"] == "In";
            !by_name
                || expression["values"]
                    .as_array()
                    .is_some_and(|values| values.iter().any(|value| value == node))
        })
    };
    terms.is_empty() || terms.iter().any(names)
}

fn capacity(volume: &Object) -> i64 {
    volume
        .at(&["spec", "capacity", "storage"])
        .and_then(bytes)
        .unwrap_or(0)
}

fn bytes(quantity: &Value) -> Option<i64> {
    Quantity::from_value(quantity).ok().map(Quantity::units)
}

/// Steps that bind a claim and a volume to each other; those that are done already are left out.
fn bind(claim: &Object, volume: &Object) -> Vec<Step> {
    let mut steps = Vec::new();
    let reference = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(), "name": claim.name(),
        "uid": claim.uid(),
    });
    if volume.text(&["spec", "claimRef", "uid"]) != Some(claim.uid()) {
        let reserved = volume.at(&["spec", "claimRef"]).is_some_and(Value::is_object);
        let mut metadata = json!({"resourceVersion": volume.resource_version()});
        if !reserved {
            metadata["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
        }
        steps.push(Step::Patch {
            target: Target::of(&volumes(), volume),
            patch: Patch::Merge(json!({"metadata": metadata, "spec": {"claimRef": reference}})),
        });
    }
    if volume.text(&["status", "phase"]) != Some("Bound") {
        steps.push(Step::Patch {
            target: Target::of(&volumes(), volume).subresource("status"),
            patch: Patch::Merge(json!({"status": {"phase": "Bound"}})),
        });
    }
    if claim.text(&["spec", "volumeName"]) != Some(volume.name())
        || claim.annotation(BIND_COMPLETED).is_none()
    {
        let mut annotations = json!({BIND_COMPLETED: "yes"});
        if claim.text(&["spec", "volumeName"]).is_none_or(str::is_empty) {
            annotations[BOUND_BY_CONTROLLER] = "yes".into();
        }
        steps.push(Step::Patch {
            target: Target::of(&claims(), claim),
            patch: Patch::Merge(json!({
                "metadata": {"annotations": annotations}, "spec": {"volumeName": volume.name()},
            })),
        });
    }
    let modes = volume.list(&["spec", "accessModes"]);
    let size = volume
        .at(&["spec", "capacity"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    let shown = claim.text(&["status", "phase"]) == Some("Bound")
        && claim.list(&["status", "accessModes"]) == modes
        && claim.at(&["status", "capacity"]) == Some(&size);
    if !shown {
        let status = json!({"phase": "Bound", "accessModes": modes, "capacity": size});
        steps.push(Step::Patch {
            target: Target::of(&claims(), claim).subresource("status"),
            patch: Patch::Merge(json!({"status": status})),
        });
    }
    steps
}

fn phase(claim: &Object, phase: &str) -> Step {
    Step::Patch {
        target: Target::of(&claims(), claim).subresource("status"),
        patch: Patch::Merge(json!({"status": {"phase": phase}})),
    }
}

/// Steps that make the phase of a volume say whether it is free, bound, or left by a claim that is gone.
pub(crate) fn plan_volume(volume: &Object, claim: Option<&Object>) -> Vec<Step> {
    let wanted = if is_free(volume)
        || volume
            .text(&["spec", "claimRef", "uid"])
            .is_none_or(str::is_empty)
    {
        "Available"
    } else if claim.is_some_and(|claim| belongs_to(volume, claim)) {
        // Binding itself says when it is done.
        return Vec::new();
    } else {
        "Released"
    };
    if volume.text(&["status", "phase"]) == Some(wanted) || volume.deletion_timestamp().is_some() {
        return Vec::new();
    }
    vec![Step::Patch {
        target: Target::of(&volumes(), volume).subresource("status"),
        patch: Patch::Merge(json!({"status": {"phase": wanted}})),
    }]
}

/// The shell: keys without a namespace are volumes, the others claims.
pub(crate) struct VolumeBinder {
    context: Context,
    claims: Informer,
    volumes: Informer,
    classes: Informer,
}

impl VolumeBinder {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let claims = context.informers.of_resource(&claims());
        let volumes = context.informers.of_resource(&volumes());
        let classes = context.informers.of("storage.k8s.io/v1", "storageclasses");
        let (added, all) = (queue.clone(), volumes.clone());
        claims.add_handler(move |change| {
            let claim = change.object();
            added.add(ObjectKey::of(claim));
            for volume in all.list().iter().filter(|volume| belongs_to(volume, claim)) {
                added.add(ObjectKey::of(volume));
            }
        });
        let (added, all) = (queue.clone(), claims.clone());
        volumes.add_handler(move |change| {
            let volume = change.object();
            added.add(ObjectKey::of(volume));
            for claim in all.list() {
                let named = claim.text(&["spec", "volumeName"]).unwrap_or_default();
                if named == volume.name()
                    || belongs_to(volume, &claim)
                    || (named.is_empty() && is_free(volume))
                {
                    added.add(ObjectKey::of(&claim));
                }
            }
        });
        let (added, all) = (queue.clone(), claims.clone());
        classes.add_handler(move |_| {
            let all = all.list();
            let unbound = all
                .iter()
                .filter(|claim| claim.text(&["spec", "volumeName"]).is_none_or(str::is_empty));
            unbound.for_each(|claim| added.add(ObjectKey::of(claim)));
        });
        Self {
            context: context.component(Self::NAME),
            claims,
            volumes,
            classes,
        }
    }
}

impl Reconcile for VolumeBinder {
    type Key = ObjectKey;

    const NAME: &'static str = "persistentvolume-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        if key.namespace.is_empty() {
            let Some(volume) = self.volumes.get_key(key) else {
                return Outcome::default();
            };
            let reference = |field: &str| volume.text(&["spec", "claimRef", field]).unwrap_or_default();
            let claim = self.claims.get(reference("namespace"), reference("name"));
            let steps = plan_volume(&volume, claim.as_deref());
            return self.context.execute(&volume, steps).await;
        }
        let Some(claim) = self.claims.get_key(key) else {
            return Outcome::default();
        };
        let steps = plan_claim(&claim, &self.volumes.list(), &self.classes.list());
        self.context.execute(&claim, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        let objects = self.claims.list().into_iter().chain(self.volumes.list());
        objects.map(|object| ObjectKey::of(&object)).collect()
    }
}
