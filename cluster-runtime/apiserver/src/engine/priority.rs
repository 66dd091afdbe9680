//! The priority of pods, from the class that they name, after Kubernetes' admission plug-in `Priority`.

use std::sync::Arc;

use cluster_objects::{Object, Status};
use cluster_store::{Key, Selection};
use serde_json::{Value, json};

use super::admission::Admission;

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";

/// The classes that every cluster has.
pub(super) fn system_classes() -> [Value; 2] {
    let class = |name: &str, value: i64, description: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "preemptionPolicy": "PreemptLowerPriority", "description": description,
        })
    };
    [
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ]
}

/// A new pod gets the priority of its class, or of the class that is everybody's default.
pub(super) fn give_priority(admission: &mut Admission<'_>) -> Result<(), Status> {
    if &*admission.row.table != "pods" {
        return Ok(());
    }
    let name = admission
        .object
        .text(&["spec", "priorityClassName"])
        .unwrap_or_default();
    let class =
        if name.is_empty() {
            default_class(admission)
        } else {
            let key = Key::new(CLASSES, "", name);
            let found = admission.stage.get(admission.engine.store(), &key);
            Some(found.ok_or_else(|| {
                forbidden(admission, &format!("no PriorityClass with name {name} was found"))
            })?)
        };
    let priority = class
        .as_ref()
        .and_then(|class| class.integer(&["value"]))
        .unwrap_or_default();
    let policy = class.as_ref().and_then(|class| class.text(&["preemptionPolicy"]));
    let policy = policy.unwrap_or("PreemptLowerPriority");
    let own = admission.object.integer(&["spec", "priority"]);
    if let Some(own) = own.filter(|own| *own != priority) {
        return Err(forbidden(
            admission,
            &format!(
                "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller \
                 computed {priority} from the given PriorityClass name"
            ),
        ));
    }
    let own = admission.object.text(&["spec", "preemptionPolicy"]);
    if let Some(own) = own.filter(|own| *own != policy) {
        return Err(forbidden(
            admission,
            &format!(
                "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            ),
        ));
    }
    let policy = policy.to_owned();
    let object = &mut admission.object;
    if let Some(class) = class {
        object.set(&["spec", "priorityClassName"], class.name());
    }
    object.set(&["spec", "priority"], priority);
    object.set(&["spec", "preemptionPolicy"], policy);
    Ok(())
}

/// Of several classes that are everybody's default the lowest counts.
fn default_class(admission: &Admission<'_>) -> Option<Arc<Object>> {
    let selection = Selection {
        table: CLASSES.into(),
        namespace: None,
    };
    let is_default = |class: &Object| class.at(&["globalDefault"]) == Some(&Value::Bool(true));
    // The present is always there to be listed.
    let listed = admission
        .engine
        .store()
        .list(&selection, None, None, 0, &is_default)
        .ok()?;
    let classes = listed.objects.into_iter();
    classes.min_by_key(|class| class.integer(&["value"]).unwrap_or_default())
}

fn forbidden(admission: &Admission<'_>, why: &str) -> Status {
    Status::forbidden(&admission.row.resource(), admission.object.name(), why)
}
