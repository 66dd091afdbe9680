//! Autoscaling, disruption, priorities, definitions and admission.

use std::collections::BTreeSet;

use super::faults::Faults;
use super::field::Field;
use super::pod;
use super::workloads::count_or_percent;
use crate::registry::KindRow;
use crate::{Object, names};

pub(crate) fn horizontal_pod_autoscaler(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    let target = spec.get("scaleTargetRef");
    faults.require(&target.get("kind"));
    faults.require(&target.get("name"));
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    faults.at_least(&least, 1);
    let number = most.integer().unwrap_or_default();
    let shown = serde_json::Value::from(number);
    if number < 1 {
        faults.invalid_value(&most, &shown, "must be greater than 0");
    }
    if least.integer().is_some_and(|least| number < least) {
        faults.invalid_value(&most, &shown, "must be greater than or equal to `minReplicas`");
    }
    for metric in spec.get("metrics").items() {
        let kinds = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        if faults.require(&metric.get("type")) {
            faults.one_of(&metric.get("type"), &kinds);
        }
    }
}

pub(crate) fn pod_disruption_budget(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if !least.is_absent() && !most.is_absent() {
        faults.invalid(&spec, "minAvailable and maxUnavailable cannot be both set");
    }
    count_or_percent(&least, faults);
    count_or_percent(&most, faults);
    pod::selector(&spec.get("selector"), faults);
    faults.one_of(
        &spec.get("unhealthyPodEvictionPolicy"),
        &["AlwaysAllow", "IfHealthyBudget"],
    );
}

pub(crate) fn priority_class(_row: &KindRow, object: &Object, faults: &mut Faults) {
    const USER_MAX: i64 = 1_000_000_000;
    let value = Field::top(object, "value");
    if object.name().starts_with("system-") {
        let known = ["system-node-critical", "system-cluster-critical"];
        if !known.contains(&object.name()) {
            let metadata = Field::top(object, "metadata");
            let why = "priority class names with 'system-' prefix are reserved for system use only";
            faults.forbidden(&metadata.get("name"), why);
        }
    } else if value.integer().is_some_and(|value| value > USER_MAX) {
        faults.forbidden(
            &value,
            &format!("maximum allowed value of a user defined priority is {USER_MAX}"),
        );
    }
    faults.one_of(
        &Field::top(object, "preemptionPolicy"),
        &["Never", "PreemptLowerPriority"],
    );
}

pub(crate) fn priority_class_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    for key in ["value", "preemptionPolicy"] {
        let (new, old) = (Field::top(new, key), Field::top(old, key));
        if new.value != old.value {
            let why = if key == "value" {
                "may not be changed in an update."
            } else {
                "field is immutable"
            };
            faults.forbidden(&new, why);
        }
    }
}

pub(crate) fn runtime_class(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let handler = Field::top(object, "handler");
    faults.invalid_text(
        &handler,
        handler.text(),
        &names::dns1123_label_faults(handler.text()),
    );
}

pub(crate) fn custom_resource_definition(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let (metadata, spec) = (Field::top(object, "metadata"), Field::top(object, "spec"));
    let (group, defined) = (spec.get("group"), spec.get("names"));
    if faults.require(&group) {
        faults.invalid_text(
            &group,
            group.text(),
            &names::dns1123_subdomain_faults(group.text()),
        );
    }
    for key in ["plural", "kind"] {
        faults.require(&defined.get(key));
    }
    let expected = format!("{}.{}", defined.get("plural").text(), group.text());
    if metadata.get("name").text() != expected {
        let why = "must be spec.names.plural+\".\"+spec.group";
        faults.invalid(&metadata.get("name"), why);
    }
    faults.one_of(&spec.get("scope"), &["Cluster", "Namespaced"]);
    let versions = spec.get("versions");
    let (mut seen, mut stored) = (BTreeSet::new(), 0);
    for version in versions.items() {
        let name = version.get("name");
        faults.invalid_text(&name, name.text(), &names::dns1035_label_faults(name.text()));
        if !seen.insert(name.text()) {
            faults.invalid(&versions, "must contain unique version names");
        }
        stored += usize::from(version.get("storage").is_true());
        let schema = version.get("schema");
        if schema.get("openAPIV3Schema").is_absent() {
            faults.required(&schema.get("openAPIV3Schema"), "schemas are required");
        }
    }
    if stored != 1 {
        faults.invalid(
            &versions,
            "must have exactly one version marked as storage version",
        );
    }
}

pub(crate) fn webhook_configuration(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for webhook in Field::top(object, "webhooks").items() {
        let name = webhook.get("name");
        if faults.require(&name) {
            if name.text().split('.').count() < 3 {
                faults.invalid(
                    &name,
                    "should be a domain with at least three segments separated by dots",
                );
            }
            if !seen.insert(name.text()) {
                faults.duplicate(&name, name.value);
            }
        }
        let config = webhook.get("clientConfig");
        let (url, service) = (config.get("url"), config.get("service"));
        if url.is_absent() == service.is_absent() {
            faults.required(&config, "exactly one of url or service is required");
        }
        if !service.is_absent() {
            faults.require(&service.get("name"));
            faults.require(&service.get("namespace"));
        }
        let effects = webhook.get("sideEffects");
        if effects.is_absent() {
            faults.required(&effects, "must specify one of None, NoneOnDryRun");
        } else {
            faults.one_of(&effects, &["None", "NoneOnDryRun"]);
        }
        let versions = webhook.get("admissionReviewVersions");
        if versions.is_empty() {
            faults.required(&versions, "must specify one of v1, v1beta1");
        }
        faults.one_of(&webhook.get("failurePolicy"), &["Fail", "Ignore"]);
        faults.one_of(&webhook.get("matchPolicy"), &["Equivalent", "Exact"]);
        let timeout = webhook.get("timeoutSeconds");
        if timeout
            .integer()
            .is_some_and(|seconds| !(1..=30).contains(&seconds))
        {
            faults.invalid(&timeout, "the timeout value must be between 1 and 30 seconds");
        }
    }
}
