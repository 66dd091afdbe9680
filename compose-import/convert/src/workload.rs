//! Workloads: the object that keeps a service's pods.

use serde_json::{Value, json};

use crate::convert::Context;
use crate::names::{is_label_value, is_qualified_name};
use crate::object::{Object, Role, head};
use crate::options::Controller;
use crate::pod;
use crate::probes::scalar;
use crate::quantity;
use crate::service::{Service, says_something};
use crate::storage::Storage;

/// The annotation with the fields of a workload's specification that tug sets when it rolls back.
const ROLLBACK_STRATEGY: &str = "tug.dev/rollback-strategy";

/// The workload of a service and of those that share its network.
pub(crate) fn workload(
    cx: &Context<'_>,
    service: &Service<'_>,
    guests: &[&Service<'_>],
    storage: &mut Storage,
) -> Object {
    let controller = cx.controller(service);
    let pod = pod::pod(cx, service, guests, controller, storage);
    let api = if controller.ends() { "batch/v1" } else { "apps/v1" };
    let mut object = head(api, controller.kind(), &service.label);
    cx.label(&mut object, Some(service));
    for member in std::iter::once(&service).chain(guests) {
        deploy_labels(member, &mut object);
        member.get("deploy.mode");
        for attribute in ["scale", "deploy.replicas"] {
            member.get(attribute);
        }
        if member.name != service.name
            && cx.replicas(member) != 1
            && cx.replicas(member) != cx.replicas(service)
        {
            member.tell(
                "scale",
                format!("its pod has as many replicas as `{}`", service.name),
            );
        }
    }
    let replicas = cx.replicas(service);
    let spec = &mut object["spec"];
    match controller {
        Controller::Deployment | Controller::StatefulSet | Controller::DaemonSet => {
            spec["selector"] = json!({"matchLabels": cx.selector(service)});
            let scaled = service.steering().keys().any(|key| key.starts_with("hpa."));
            if controller != Controller::DaemonSet && !scaled {
                spec["replicas"] = json!(replicas);
            }
            if controller == Controller::StatefulSet {
                spec["serviceName"] = json!(service.label);
            }
            strategy(cx, service, controller, &pod.template, spec);
            spec["template"] = pod.template;
            way_back(service, controller, &mut object);
        }
        Controller::Job => {
            *spec = job(service, pod, replicas);
            if service
                .peek("deploy.mode")
                .is_some_and(|mode| mode == "global-job")
            {
                service.tell("deploy.mode", "`global-job` runs once, not once on each node");
            }
        }
        Controller::CronJob => {
            let steering = service.steering();
            spec["schedule"] = json!(steering.get("cronjob.schedule").copied().unwrap_or("@daily"));
            if let Some(policy) = steering.get("cronjob.concurrency_policy") {
                match ["Allow", "Forbid", "Replace"]
                    .into_iter()
                    .find(|known| known.eq_ignore_ascii_case(policy))
                {
                    Some(known) => spec["concurrencyPolicy"] = json!(known),
                    None => service.tell(
                        "labels",
                        format!("`kompose.cronjob.concurrency_policy: {policy}` is no policy"),
                    ),
                }
            }
            spec["jobTemplate"] = json!({"spec": job(service, pod, replicas)});
        }
    }
    Object::new(Role::Workload, service.name, object)
}

fn job(service: &Service<'_>, pod: pod::Pod, replicas: i64) -> Value {
    let mut spec = json!({});
    if replicas != 1 {
        spec["parallelism"] = json!(replicas);
        spec["completions"] = json!(replicas);
    }
    let label = service
        .steering()
        .get("cronjob.backoff_limit")
        .and_then(|text| text.parse::<i64>().ok());
    if let Some(limit) = label.or(pod.backoff_limit) {
        spec["backoffLimit"] = json!(limit);
    }
    spec["template"] = pod.template;
    spec
}

/// Labels of the workload itself.
fn deploy_labels(service: &Service<'_>, object: &mut Value) {
    for (key, value) in service.map("deploy.labels") {
        let value = scalar(value).unwrap_or_default();
        if key.starts_with("kompose.") {
            continue;
        }
        if !is_qualified_name(key) {
            service.tell("deploy.labels", format!("`{key}` cannot be the key of a label"));
            continue;
        }
        let kind = if is_label_value(&value) && !key.starts_with("app.kubernetes.io/") {
            "labels"
        } else {
            "annotations"
        };
        object["metadata"][kind][key] = json!(value);
    }
}

/// How pods are replaced.
fn strategy(
    cx: &Context<'_>,
    service: &Service<'_>,
    controller: Controller,
    template: &Value,
    spec: &mut Value,
) {
    let config = service.get("deploy.update_config");
    let known = config.or(cx.options.swarm.then_some(&Value::Null));
    if known.is_none() {
        // Two pods cannot write one volume, nor have one port of the node, at the same time.
        if controller == Controller::Deployment && is_exclusive(template) {
            spec["strategy"] = json!({"type": "Recreate"});
        }
        return;
    }
    let config = config.cloned().unwrap_or_default();
    merge(spec, replacement(&config, controller));
    let attribute = "deploy.update_config";
    for (key, value) in config.as_object().into_iter().flatten() {
        match key.as_str() {
            "parallelism" | "order" | "delay" => {}
            "failure_action" => {
                spec_failure(service, value);
            }
            "max_failure_ratio" if quantity::number(value) == Some(0.0) => {}
            "monitor" => service.tell(
                attribute,
                "monitor: a release is watched until all its pods are ready",
            ),
            other if says_something(value) => {
                service.tell(attribute, format!("{other} cannot be said in Kubernetes"));
            }
            _ => {}
        }
    }
    if starts_first(&config) && controller == Controller::StatefulSet {
        service.tell(
            attribute,
            "order: a StatefulSet always ends a pod before it starts the next",
        );
    }
}

fn starts_first(config: &Value) -> bool {
    config.get("order").is_some_and(|order| order == "start-first")
}

/// The fields of a workload's specification that say what `update_config` and `rollback_config` do.
fn replacement(config: &Value, controller: Controller) -> Value {
    let amount = match config.get("parallelism").and_then(quantity::integer) {
        Some(0) => json!("100%"),
        Some(count) => json!(count),
        None => json!(1),
    };
    let rolling = if controller == Controller::StatefulSet {
        json!({"maxUnavailable": amount})
    } else if starts_first(config) {
        json!({"maxSurge": amount, "maxUnavailable": 0})
    } else {
        json!({"maxSurge": 0, "maxUnavailable": amount})
    };
    let field = if controller == Controller::Deployment {
        "strategy"
    } else {
        "updateStrategy"
    };
    let mut fields = json!({field: {"type": "RollingUpdate", "rollingUpdate": rolling}});
    let delay = config.get("delay").and_then(quantity::whole_seconds);
    if let Some(seconds) = delay.filter(|seconds| *seconds > 0) {
        fields["minReadySeconds"] = json!(seconds);
    }
    fields
}

fn merge(spec: &mut Value, fields: Value) {
    if let Value::Object(fields) = fields {
        for (field, value) in fields {
            spec[field] = value;
        }
    }
}

/// How pods are replaced on the way back to an earlier revision, for tug to read when it goes there.
fn way_back(service: &Service<'_>, controller: Controller, object: &mut Value) {
    const ATTRIBUTE: &str = "deploy.rollback_config";
    let Some(config) = service.get(ATTRIBUTE) else {
        return;
    };
    let mut fields = replacement(config, controller);
    if fields.get("minReadySeconds").is_none() {
        // Not what `update_config` says of it.
        fields["minReadySeconds"] = json!(0);
    }
    object["metadata"]["annotations"][ROLLBACK_STRATEGY] = json!(fields.to_string());
    for (key, value) in config.as_object().into_iter().flatten() {
        match key.as_str() {
            "parallelism" | "delay" => {}
            "order" if controller != Controller::StatefulSet => {}
            "order" if value == "stop-first" => {}
            "failure_action" if value == "pause" => {}
            "max_failure_ratio" if quantity::number(value) == Some(0.0) => {}
            "monitor" => service.tell(
                ATTRIBUTE,
                "monitor: a release is watched until all its pods are ready",
            ),
            other if says_something(value) => {
                service.tell(ATTRIBUTE, format!("{other} cannot be said in Kubernetes"));
            }
            _ => {}
        }
    }
}

fn spec_failure(service: &Service<'_>, action: &Value) {
    if action == "continue" {
        service.tell(
            "deploy.update_config",
            "failure_action: `continue` is not possible: a failed update waits",
        );
    }
}

/// Whether a pod has something that no two pods can have.
fn is_exclusive(template: &Value) -> bool {
    let spec = &template["spec"];
    let has_claim = spec["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|volume| volume.get("persistentVolumeClaim").is_some());
    let has_host_port = spec["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .any(|port| port.get("hostPort").is_some());
    has_claim || has_host_port
}
