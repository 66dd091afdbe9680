//! Pod security admission: how safe the pods of a namespace must be, by the namespace's labels.
//!
//! The standard is <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, the words are those of
//! `k8s.io/pod-security-admission`. Every version of the standard is met as the latest one.

use cluster_objects::{Object, Status, StatusCause};
use cluster_store::{Key, Selection};
use serde_json::json;

use super::super::admission::Admission;
use super::super::store_failure;
use super::safety_checks::{Level, violations};

const LABEL: &str = "pod-security.kubernetes.io";
/// Pods that a changed namespace is held against, and names that are told, before it is only said that there are more.
const PODS_MAX: usize = 3000;
const WARNINGS_MAX: usize = 10;

/// Where a kind that makes pods has their template.
fn template_of(table: &str) -> Option<&'static [&'static str]> {
    Some(match table {
        "podtemplates" => &["template"],
        "replicationcontrollers"
        | "replicasets.apps"
        | "deployments.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "jobs.batch" => &["spec", "template"],
        "cronjobs.batch" => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    })
}

/// Refuses a pod that is not safe enough for its namespace, and warns of one, or of a template for such pods.
pub(in super::super) fn check_safety(admission: &mut Admission<'_>) -> Result<(), Status> {
    let Some(name) = admission.namespace else {
        return Ok(());
    };
    let is_pod = &*admission.row.table == "pods";
    let template = template_of(&admission.row.table);
    if !is_pod && template.is_none() || is_same_wish(admission, is_pod) {
        return Ok(());
    }
    let key = Key::new("namespaces", "", name);
    let Some(namespace) = admission.stage.get(admission.engine.store(), &key) else {
        return Ok(());
    };
    let level = |mode: &str| namespace.label(&format!("{LABEL}/{mode}")).and_then(Level::named);
    let version = |mode: &str| {
        namespace
            .label(&format!("{LABEL}/{mode}-version"))
            .unwrap_or("latest")
            .to_owned()
    };
    let (enforce, warn) = (level("enforce"), level("warn"));
    if enforce.is_none() && warn.is_none() {
        return Ok(());
    }
    let made;
    let pod = match template {
        None => &admission.object,
        Some(path) => {
            let template = admission.object.at(path).cloned().unwrap_or_else(|| json!({}));
            made = Object::from_value(template).unwrap_or_default();
            &made
        }
    };
    if let Some(level) = enforce.filter(|_| is_pod) {
        let found = violations(pod, level);
        if !found.is_empty() {
            let told = told(level, &version("enforce"), &found);
            let why = format!("violates PodSecurity {told}");
            return Err(Status::forbidden(
                &admission.row.resource(),
                admission.object.name(),
                &why,
            ));
        }
    }
    // A template that will be refused as a pod is told of as well.
    for (mode, level) in [("enforce", enforce.filter(|_| !is_pod)), ("warn", warn)] {
        let Some(level) = level else { continue };
        let found = violations(pod, level);
        let warning = format!(
            "would violate PodSecurity {}",
            told(level, &version(mode), &found)
        );
        if !found.is_empty() && !admission.warnings.contains(&warning) {
            admission.warnings.push(warning);
        }
    }
    Ok(())
}

/// Checks the labels of a namespace, and warns of pods in it that a stricter level would refuse.
pub(in super::super) fn warn_of_unsafe_pods(admission: &mut Admission<'_>) -> Result<(), Status> {
    if &*admission.row.table != "namespaces" {
        return Ok(());
    }
    let label = |object: &Object, mode: &str| object.label(&format!("{LABEL}/{mode}")).map(str::to_owned);
    let mut causes = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let now = label(&admission.object, mode);
        let before = admission.old.and_then(|old| label(old, mode));
        if let Some(text) =
            now.filter(|text| Level::named_or_none(text).is_none() && before.as_ref() != Some(text))
        {
            causes.push(StatusCause {
                reason: "FieldValueInvalid".to_owned(),
                message: format!("Invalid value: {text:?}: must be one of privileged, baseline, restricted"),
                field: format!("metadata.labels[{LABEL}/{mode}]"),
            });
        }
    }
    if !causes.is_empty() {
        let row = admission.row;
        return Err(Status::invalid(
            &row.group,
            &row.kind,
            admission.object.name(),
            causes,
        ));
    }
    let Some(old) = admission.old else {
        return Ok(());
    };
    let level = |object: &Object| label(object, "enforce").as_deref().and_then(Level::named);
    let Some(level) = level(&admission.object).filter(|now| Some(*now) != level(old)) else {
        return Ok(());
    };
    let selection = Selection {
        table: "pods".into(),
        namespace: Some(admission.object.name().into()),
    };
    let is_unsafe = |pod: &Object| !violations(pod, level).is_empty();
    let store = admission.engine.store();
    let found = store
        .list(&selection, None, None, PODS_MAX, &is_unsafe)
        .map_err(store_failure)?
        .objects;
    if found.is_empty() {
        return Ok(());
    }
    let version = admission
        .object
        .label(&format!("{LABEL}/enforce-version"))
        .unwrap_or("latest");
    admission.warnings.push(format!(
        "existing pods in namespace {:?} violate the new PodSecurity enforce level \"{}:{version}\"",
        admission.object.name(),
        level.name()
    ));
    for pod in found.iter().take(WARNINGS_MAX) {
        let reasons: Vec<String> = violations(pod, level).into_iter().map(|one| one.reason).collect();
        admission
            .warnings
            .push(format!("{}: {}", pod.name(), reasons.join(", ")));
    }
    Ok(())
}

/// Whether nothing changed that safety depends on.
fn is_same_wish(admission: &Admission<'_>, is_pod: bool) -> bool {
    let Some(old) = admission.old else {
        return false;
    };
    if !is_pod {
        return admission.object.at(&["spec"]) == old.at(&["spec"]);
    }
    [
        "containers",
        "initContainers",
        "ephemeralContainers",
        "securityContext",
    ]
    .iter()
    .all(|part| admission.object.at(&["spec", part]) == old.at(&["spec", part]))
}

fn told(level: Level, version: &str, found: &[super::safety_checks::Violation]) -> String {
    let parts: Vec<String> = found
        .iter()
        .map(|violation| match violation.detail.as_str() {
            "" => violation.reason.clone(),
            detail => format!("{} ({detail})", violation.reason),
        })
        .collect();
    format!("\"{}:{version}\": {}", level.name(), parts.join(", "))
}
