//! Deployments, stateful sets and their like.

use serde_json::Value;

use super::faults::Faults;
use super::field::Field;
use super::pod;
use crate::Object;
use crate::registry::KindRow;
use crate::selector::LabelSelector;

pub(crate) fn deployment(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    faults.not_negative(&spec.get("replicas"));
    selector_and_template(&spec, "deployment", faults);
    let strategy = spec.get("strategy");
    match strategy.get("type").text() {
        "Recreate" => {
            if !strategy.get("rollingUpdate").is_absent() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                faults.forbidden(&strategy.get("rollingUpdate"), why);
            }
        }
        "RollingUpdate" => rolling_update(&strategy.get("rollingUpdate"), faults),
        _ => faults.one_of(&strategy.get("type"), &["Recreate", "RollingUpdate"]),
    }
    faults.not_negative(&spec.get("minReadySeconds"));
    faults.not_negative(&spec.get("revisionHistoryLimit"));
    let deadline = spec.get("progressDeadlineSeconds");
    faults.not_negative(&deadline);
    let ready = spec.get("minReadySeconds").integer().unwrap_or_default();
    if deadline
        .integer()
        .is_some_and(|seconds| seconds >= 0 && seconds <= ready)
    {
        faults.invalid(&deadline, "must be greater than minReadySeconds");
    }
}

fn rolling_update(update: &Field<'_, '_>, faults: &mut Faults) {
    let (unavailable, surge) = (update.get("maxUnavailable"), update.get("maxSurge"));
    count_or_percent(&unavailable, faults);
    count_or_percent(&surge, faults);
    if percent(&unavailable).is_some_and(|percent| percent > 100) {
        faults.invalid(&unavailable, "must not be greater than 100%");
    }
    let is_zero = |field: &Field<'_, '_>| field.integer() == Some(0) || percent(field) == Some(0);
    if is_zero(&unavailable) && is_zero(&surge) {
        faults.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
    }
}

fn percent(field: &Field<'_, '_>) -> Option<u64> {
    field.text().strip_suffix('%')?.parse().ok()
}

/// A number that is not negative, or a percentage.
pub(super) fn count_or_percent(field: &Field<'_, '_>, faults: &mut Faults) {
    if field.value.is_string() && percent(field).is_none() {
        let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                   regex used for validation is '[0-9]+%')";
        faults.invalid(field, why);
    }
    faults.not_negative(field);
}

pub(crate) fn replica_set(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    faults.not_negative(&spec.get("replicas"));
    faults.not_negative(&spec.get("minReadySeconds"));
    selector_and_template(&spec, "deployment", faults);
}

pub(crate) fn replication_controller(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    faults.not_negative(&spec.get("replicas"));
    let selector = spec.get("selector");
    faults.require(&selector);
    let template = spec.get("template");
    if template.is_absent() {
        faults.required(&template, "");
        return;
    }
    matching(&selector, &template, faults);
    pod::template(&template, &[], faults);
    always_restarts(&template, faults);
}

pub(crate) fn daemon_set(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    selector_and_template(&spec, "daemonset", faults);
    faults.not_negative(&spec.get("minReadySeconds"));
    faults.not_negative(&spec.get("revisionHistoryLimit"));
    let strategy = spec.get("updateStrategy");
    faults.one_of(&strategy.get("type"), &["OnDelete", "RollingUpdate"]);
    if strategy.get("type").text() == "RollingUpdate" {
        let update = strategy.get("rollingUpdate");
        count_or_percent(&update.get("maxUnavailable"), faults);
        count_or_percent(&update.get("maxSurge"), faults);
    }
}

pub(crate) fn stateful_set(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    faults.one_of(&spec.get("podManagementPolicy"), &["OrderedReady", "Parallel"]);
    let strategy = spec.get("updateStrategy");
    faults.one_of(&strategy.get("type"), &["OnDelete", "RollingUpdate"]);
    let update = strategy.get("rollingUpdate");
    faults.not_negative(&update.get("partition"));
    count_or_percent(&update.get("maxUnavailable"), faults);
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    faults.one_of(&retention.get("whenDeleted"), &["Retain", "Delete"]);
    faults.one_of(&retention.get("whenScaled"), &["Retain", "Delete"]);
    faults.not_negative(&spec.get("replicas"));
    faults.not_negative(&spec.get("minReadySeconds"));
    faults.not_negative(&spec.get("ordinals").get("start"));
    selector_and_template(&spec, "statefulset", faults);
}

pub(crate) fn stateful_set_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    let rest = |object: &Object| {
        let mut spec = object.at(&["spec"]).cloned().unwrap_or_default();
        if let Value::Object(fields) = &mut spec {
            for key in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ] {
                fields.remove(key);
            }
        }
        spec
    };
    if rest(new) != rest(old) {
        faults.forbidden(
            &Field::top(new, "spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}

/// The selector of a workload stays.
pub(crate) fn selector_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    let (new, old) = (Field::top(new, "spec"), Field::top(old, "spec"));
    faults.immutable(&new.get("selector"), &old.get("selector"));
}

/// What all workloads with long-lived pods have: a selector that matches the pods of the template.
fn selector_and_template(spec: &Field<'_, '_>, kind: &str, faults: &mut Faults) {
    let selector = spec.get("selector");
    if selector.is_absent() {
        faults.required(&selector, "");
    } else {
        pod::selector(&selector, faults);
        if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
            faults.invalid(&selector, &format!("empty selector is invalid for {kind}"));
        }
    }
    let template = spec.get("template");
    if template.is_absent() {
        faults.required(&template, "");
        return;
    }
    if !selector.is_absent() {
        matching(&selector, &template, faults);
    }
    let claims: Vec<&str> = spec
        .get("volumeClaimTemplates")
        .items()
        .filter_map(|claim| claim.value["metadata"]["name"].as_str())
        .collect();
    pod::template(&template, &claims, faults);
    always_restarts(&template, faults);
    let spec = template.get("spec");
    if !spec.get("activeDeadlineSeconds").is_absent() {
        let why = format!("activeDeadlineSeconds in {} is not Supported", name_of(kind));
        faults.forbidden(&spec.get("activeDeadlineSeconds"), &why);
    }
}

fn name_of(kind: &str) -> &str {
    match kind {
        "daemonset" => "DaemonSet",
        "statefulset" => "StatefulSet",
        _ => "ReplicaSet",
    }
}

fn matching(selector: &Field<'_, '_>, template: &Field<'_, '_>, faults: &mut Faults) {
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    let Ok(parsed) = LabelSelector::from_value(selector.value) else {
        return;
    };
    if !parsed.is_everything() && !parsed.matches(labels.value.as_object()) {
        faults.invalid(&labels, "`selector` does not match template `labels`");
    }
}

fn always_restarts(template: &Field<'_, '_>, faults: &mut Faults) {
    let spec = template.get("spec");
    faults.one_of(&spec.get("restartPolicy"), &["Always"]);
}
