//! Pods and the pods in templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::container::{Surroundings, containers};
use super::faults::Faults;
use super::field::Field;
use super::metadata;
use crate::Object;
use crate::names;
use crate::registry::KindRow;

pub(crate) fn pod(_row: &KindRow, object: &Object, faults: &mut Faults) {
    pod_spec(&Field::top(object, "spec"), &[], faults);
}

pub(crate) fn pod_template(_row: &KindRow, object: &Object, faults: &mut Faults) {
    template(&Field::top(object, "template"), &[], faults);
}

/// A pod template, as workloads carry it; `claims` are volumes that every pod gets besides those of the template.
pub(super) fn template(template: &Field<'_, '_>, claims: &[&str], faults: &mut Faults) {
    let labels = template.get("metadata");
    metadata::labels(&labels.get("labels"), faults);
    metadata::annotations(&labels.get("annotations"), faults);
    pod_spec(&template.get("spec"), claims, faults);
}

fn pod_spec(spec: &Field<'_, '_>, claims: &[&str], faults: &mut Faults) {
    let list = spec.get("volumes");
    let mut volumes = volumes(&list, faults);
    volumes.extend(claims);
    let surroundings = Surroundings {
        volumes,
        host_network: spec.get("hostNetwork").is_true(),
    };
    let (ordinary, init) = (spec.get("containers"), spec.get("initContainers"));
    faults.require(&ordinary);
    let mut seen = BTreeSet::new();
    containers(&ordinary, false, &mut seen, &surroundings, faults);
    containers(&init, true, &mut seen, &surroundings, faults);
    faults.one_of(&spec.get("restartPolicy"), &["Always", "OnFailure", "Never"]);
    faults.one_of(
        &spec.get("dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    );
    for (key, check) in [
        (
            "serviceAccountName",
            names::dns1123_subdomain_faults as fn(&str) -> Vec<String>,
        ),
        ("nodeName", names::dns1123_subdomain_faults),
        ("schedulerName", names::dns1123_subdomain_faults),
        ("priorityClassName", names::dns1123_subdomain_faults),
        ("runtimeClassName", names::dns1123_subdomain_faults),
        ("hostname", names::dns1123_label_faults),
        ("subdomain", names::dns1123_label_faults),
    ] {
        let field = spec.get(key);
        if !field.is_empty() {
            faults.invalid_text(&field, field.text(), &check(field.text()));
        }
    }
    faults.not_negative(&spec.get("terminationGracePeriodSeconds"));
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline
        .integer()
        .is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds))
    {
        faults.invalid(&deadline, "must be between 1 and 2147483647, inclusive");
    }
    metadata::labels(&spec.get("nodeSelector"), faults);
    tolerations(&spec.get("tolerations"), faults);
    spread(&spec.get("topologySpreadConstraints"), faults);
    node_affinity(&spec.get("affinity").get("nodeAffinity"), faults);
}

fn volumes<'v>(list: &Field<'v, '_>, faults: &mut Faults) -> BTreeSet<&'v str> {
    let mut names_seen = BTreeSet::new();
    for volume in list.items() {
        let name = volume.get("name");
        if faults.require(&name) {
            faults.invalid_text(&name, name.text(), &names::dns1123_label_faults(name.text()));
            if !names_seen.insert(name.text()) {
                faults.duplicate(&name, name.value);
            }
        }
        let mut sources = volume
            .keys()
            .filter(|key| *key != "name" && !volume.key(key).is_absent());
        if sources.next().is_none() {
            faults.required(&volume, "must specify a volume type");
        }
        for second in sources {
            faults.forbidden(&volume.get(second), "may not specify more than 1 volume type");
        }
        let required = |source: &str, key: &str, faults: &mut Faults| {
            let source = volume.get(source);
            if !source.is_absent() {
                faults.require(&source.get(key));
            }
        };
        required("configMap", "name", faults);
        required("secret", "secretName", faults);
        required("hostPath", "path", faults);
        required("persistentVolumeClaim", "claimName", faults);
        required("csi", "driver", faults);
    }
    names_seen
}

fn tolerations(list: &Field<'_, '_>, faults: &mut Faults) {
    for toleration in list.items() {
        let (key, operator, value) = (
            toleration.get("key"),
            toleration.get("operator"),
            toleration.get("value"),
        );
        if !key.is_empty() {
            faults.invalid_text(&key, key.text(), &names::qualified_name_faults(key.text()));
        } else if operator.text() != "Exists" {
            faults.invalid(
                &operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        match operator.text() {
            "" | "Equal" => {
                faults.invalid_text(&operator, value.text(), &names::label_value_faults(value.text()));
            }
            "Exists" if !value.is_empty() => {
                faults.invalid_value(
                    &operator,
                    value.value,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
            "Exists" | "Lt" | "Gt" => {}
            _ => faults.one_of(&operator, &["Equal", "Exists"]),
        }
        if !toleration.get("effect").is_empty() {
            faults.one_of(
                &toleration.get("effect"),
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            );
        }
        let seconds = toleration.get("tolerationSeconds");
        if !seconds.is_absent() && toleration.get("effect").text() != "NoExecute" {
            faults.invalid_value(
                &toleration.get("effect"),
                toleration.get("effect").value,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
    }
}

fn spread(list: &Field<'_, '_>, faults: &mut Faults) {
    for constraint in list.items() {
        let skew = constraint.get("maxSkew");
        if skew.integer().unwrap_or_default() <= 0 {
            faults.invalid(&skew, "must be greater than zero");
        }
        if constraint.get("topologyKey").is_empty() {
            faults.required(&constraint.get("topologyKey"), "can not be empty");
        }
        faults.one_of(
            &constraint.get("whenUnsatisfiable"),
            &["DoNotSchedule", "ScheduleAnyway"],
        );
        selector(&constraint.get("labelSelector"), faults);
    }
}

fn node_affinity(affinity: &Field<'_, '_>, faults: &mut Faults) {
    let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_absent() {
        return;
    }
    let terms = required.get("nodeSelectorTerms");
    if terms.is_empty() {
        faults.required(&terms, "must have at least one node selector term");
    }
    for term in terms.items() {
        for expression in term.get("matchExpressions").items() {
            let known = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
            let operator = expression.get("operator");
            if !known.contains(&operator.text()) {
                faults.invalid(&operator, "not a valid selector operator");
            }
            let key = expression.get("key");
            faults.invalid_text(&key, key.text(), &names::qualified_name_faults(key.text()));
        }
    }
}

/// A label selector, wherever it stands.
pub(super) fn selector(selector: &Field<'_, '_>, faults: &mut Faults) {
    metadata::labels(&selector.get("matchLabels"), faults);
    for expression in selector.get("matchExpressions").items() {
        let (key, operator, values) = (
            expression.get("key"),
            expression.get("operator"),
            expression.get("values"),
        );
        faults.invalid_text(&key, key.text(), &names::qualified_name_faults(key.text()));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                faults.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                faults.forbidden(
                    &values,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => faults.invalid(&operator, "not a valid selector operator"),
        }
    }
}

/// Of a pod that is there, little may change.
pub(crate) fn pod_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    let (mut wished, mut before) = (new.clone(), old.clone());
    for pod in [&mut wished, &mut before] {
        for list in ["containers", "initContainers"] {
            let containers = pod.at_mut(&["spec"]).get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        for key in [
            "activeDeadlineSeconds",
            "tolerations",
            "schedulingGates",
            "terminationGracePeriodSeconds",
            // Set once by the scheduler, through the binding.
            "nodeName",
        ] {
            pod.remove(&["spec", key]);
        }
    }
    let spec = Field::top(new, "spec");
    let node = |pod: &Object| pod.text(&["spec", "nodeName"]).unwrap_or_default().to_owned();
    let moved = !node(old).is_empty() && node(new) != node(old);
    if moved || wished.at(&["spec"]) != before.at(&["spec"]) {
        faults.forbidden(
            &spec,
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
             existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously \
             negative)",
        );
    }
    let tolerations = new.list(&["spec", "tolerations"]);
    if old
        .list(&["spec", "tolerations"])
        .iter()
        .any(|toleration| !tolerations.contains(toleration))
    {
        faults.forbidden(
            &spec.get("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}
