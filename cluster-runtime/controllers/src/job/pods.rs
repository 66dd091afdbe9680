//! The pods of a job: how they are made and why they failed.

use cluster_client::Collection;
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::step::{Said, Step};
use crate::template;

pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Failures of the pod's index before it, where each index has a limit of its own.
pub(crate) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// Whether the pods of a job are told apart by an index.
pub(crate) fn is_indexed(job: &Object) -> bool {
    job.text(&["spec", "completionMode"]) == Some("Indexed")
}

/// The index of a pod.
pub(crate) fn index_of(pod: &Object) -> Option<i64> {
    pod.annotation(INDEX)?.parse().ok()
}

/// How often the index of a pod had failed before it.
pub(crate) fn failures_before(pod: &Object) -> u32 {
    pod.annotation(INDEX_FAILURES)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// The creation of one more pod, with its index and the failures of that index so far, where they count.
pub(crate) fn create(job: &Object, index: Option<(i64, Option<u32>)>) -> Step {
    let template = job.at(&["spec", "template"]).unwrap_or(&Value::Null);
    let mut pod = template::pod_of(job, template);
    let labels = pod.at_mut(&["metadata", "labels"]);
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", job.uid()),
        ("batch.kubernetes.io/job-name", job.name()),
        ("controller-uid", job.uid()),
        ("job-name", job.name()),
    ] {
        labels.insert(key.into(), value.into());
    }
    if let Some((index, failures)) = index {
        if let Some(failures) = failures {
            pod.set(&["metadata", "annotations", INDEX_FAILURES], failures.to_string());
        }
        let name = format!("{}-{index}", job.name());
        pod.set(&["metadata", "generateName"], template::generate_name(&name));
        pod.set(&["metadata", "labels", INDEX], index.to_string());
        pod.set(&["metadata", "annotations", INDEX], index.to_string());
        if pod.text(&["spec", "hostname"]).is_none_or(str::is_empty) {
            pod.set(&["spec", "hostname"], name);
        }
        tell_index(&mut pod);
    }
    Step::Create {
        collection: Collection::namespaced("v1", "pods", job.namespace().unwrap_or_default()),
        object: pod,
        said: Some(Said::created_pod()),
    }
}

/// Gives every container its index as a variable.
fn tell_index(pod: &mut Object) {
    let field = format!("metadata.annotations['{INDEX}']");
    let variable = json!({
        "name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}},
    });
    let spec = pod.at_mut(&["spec"]);
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let variables = container.entry("env").or_insert_with(|| json!([]));
            if variables.is_null() {
                *variables = json!([]);
            }
            if let Some(variables) = variables.as_array_mut()
                && !variables.iter().any(|own| own["name"] == "JOB_COMPLETION_INDEX")
            {
                variables.push(variable.clone());
            }
        }
    }
}

/// What `spec.podFailurePolicy` says of a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It counts like any failure.
    Count,
    /// It does not count.
    Ignore,
    /// Its index is given up.
    FailIndex,
    /// The whole job has failed, with this message.
    FailJob(String),
}

/// Looks a failed pod up in the failure policy; the first rule that matches decides.
pub(crate) fn verdict(job: &Object, pod: &Object) -> Verdict {
    let rules = job.list(&["spec", "podFailurePolicy", "rules"]);
    for (number, rule) in rules.iter().enumerate() {
        let Some(matched) = matches(rule, pod) else {
            continue;
        };
        return match rule["action"].as_str() {
            Some("Ignore") => Verdict::Ignore,
            Some("FailIndex") => Verdict::FailIndex,
            Some("FailJob") => Verdict::FailJob(format!(
                "{matched} for pod {} matching FailJob rule at index {number}",
                pod.key()
            )),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// What of a pod matches a rule, in words.
fn matches(rule: &Value, pod: &Object) -> Option<String> {
    if let Some(wanted) = rule["onExitCodes"].as_object() {
        let codes = wanted.get("values").and_then(Value::as_array)?;
        let listed = |code: i64| codes.iter().any(|own| own.as_i64() == Some(code));
        let negated = wanted.get("operator").is_some_and(|operator| operator == "NotIn");
        let only = wanted.get("containerName").and_then(Value::as_str);
        let statuses = pod.list(&["status", "initContainerStatuses"]).iter();
        for status in statuses.chain(pod.list(&["status", "containerStatuses"])) {
            let name = status["name"].as_str().unwrap_or_default();
            let code = status["state"]["terminated"]["exitCode"]
                .as_i64()
                .filter(|code| *code != 0);
            let Some(code) = code.filter(|_| only.is_none_or(|only| only == name)) else {
                continue;
            };
            if listed(code) != negated {
                return Some(format!("Container {name} failed with exit code {code}"));
            }
        }
        return None;
    }
    let wanted = rule["onPodConditions"].as_array()?;
    let conditions = pod.list(&["status", "conditions"]);
    let held = wanted.iter().find(|wanted| {
        let status = wanted["status"].as_str().unwrap_or("True");
        conditions
            .iter()
            .any(|own| own["type"] == wanted["type"] && own["status"] == status)
    })?;
    Some(format!(
        "Pod has condition {}",
        held["type"].as_str().unwrap_or_default()
    ))
}
