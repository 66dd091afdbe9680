//! The pods of a stateful set and their claims: names, numbers, storage.

use cluster_client::Collection;
use cluster_objects::Object;
use serde_json::{Value, json};

use crate::revision::HASH_LABEL;
use crate::step::{Said, Step};
use crate::template;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The number of a pod of this set; `None` where the name is not one of the set's.
pub(crate) fn ordinal_of(set: &Object, pod: &Object) -> Option<i64> {
    let number = pod.name().strip_prefix(set.name())?.strip_prefix('-')?;
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    number.parse().ok().filter(|number| *number >= 0)
}

/// The revision that a pod was made from.
pub(crate) fn revision_of(pod: &Object) -> &str {
    pod.label(HASH_LABEL).unwrap_or_default()
}

/// The creation of the pod of a number, after that of the claims that it lacks.
pub(crate) fn create(
    set: &Object,
    ordinal: i64,
    template: &Value,
    revision: &str,
    has_claim: &(dyn Fn(&str) -> bool + Sync),
) -> Vec<Step> {
    let mut steps = create_claims(set, ordinal, has_claim);
    let name = format!("{}-{ordinal}", set.name());
    let mut pod = template::pod_of(set, template);
    pod.remove(&["metadata", "generateName"]);
    pod.set(&["metadata", "name"], name.as_str());
    pod.set(&["metadata", "labels", POD_NAME], name.as_str());
    pod.set(&["metadata", "labels", POD_INDEX], ordinal.to_string());
    pod.set(&["metadata", "labels", HASH_LABEL], revision);
    pod.set(&["spec", "hostname"], name.as_str());
    if let Some(service) = set.text(&["spec", "serviceName"]) {
        pod.set(&["spec", "subdomain"], service);
    }
    use_claims(set, ordinal, &mut pod);
    steps.push(Step::Create {
        collection: Collection::namespaced("v1", "pods", set.namespace().unwrap_or_default()),
        object: pod,
        said: Some(said("create", "Create", &name, set)),
    });
    steps
}

/// The events about a pod of the set.
pub(crate) fn said(verb: &str, word: &'static str, pod: &str, set: &Object) -> Said {
    let what = format!("{verb} Pod {pod} in StatefulSet {}", set.name());
    let (done, failed) = match word {
        "Delete" => ("SuccessfulDelete", "FailedDelete"),
        _ => ("SuccessfulCreate", "FailedCreate"),
    };
    Said {
        done: (done, format!("{what} successful")),
        failed: (failed, format!("{what} failed error: {{}}")),
    }
}

fn claim_templates(set: &Object) -> impl Iterator<Item = (&str, &Value)> {
    let templates = set.list(&["spec", "volumeClaimTemplates"]).iter();
    templates.filter_map(|template| Some((template["metadata"]["name"].as_str()?, template)))
}

fn claim_name(set: &Object, ordinal: i64, template: &str) -> String {
    format!("{template}-{}-{ordinal}", set.name())
}

/// The creation of the claims of a number that are not there.
pub(crate) fn create_claims(
    set: &Object,
    ordinal: i64,
    has_claim: &(dyn Fn(&str) -> bool + Sync),
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (template_name, template) in claim_templates(set) {
        let name = claim_name(set, ordinal, template_name);
        if has_claim(&name) {
            continue;
        }
        let mut claim = Object::new("v1", "PersistentVolumeClaim", set.namespace(), &name);
        let own = template["metadata"]["labels"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let mut labels = own;
        let selected = set
            .at(&["spec", "selector", "matchLabels"])
            .and_then(Value::as_object);
        labels.extend(
            selected
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        claim.set(&["metadata", "labels"], labels);
        if let Some(annotations) = template["metadata"]["annotations"].as_object() {
            claim.set(&["metadata", "annotations"], annotations.clone());
        }
        if goes_with_set(set) {
            let mut owner = set.controller_reference();
            owner.controller = None;
            owner.block_owner_deletion = None;
            claim.set(&["metadata", "ownerReferences"], json!([owner]));
        }
        claim.set(&["spec"], template["spec"].clone());
        steps.push(Step::Create {
            collection: Collection::namespaced(
                "v1",
                "persistentvolumeclaims",
                set.namespace().unwrap_or_default(),
            ),
            object: claim,
            said: None,
        });
    }
    steps
}

fn goes_with_set(set: &Object) -> bool {
    set.text(&["spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"]) == Some("Delete")
}

/// Makes the pod's volumes of the claim templates' names be its claims.
fn use_claims(set: &Object, ordinal: i64, pod: &mut Object) {
    let mut volumes = pod.list(&["spec", "volumes"]).to_vec();
    let mut changed = false;
    for (name, _) in claim_templates(set) {
        volumes.retain(|volume| volume["name"] != name);
        let claim = claim_name(set, ordinal, name);
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": claim}}));
        changed = true;
    }
    if changed {
        pod.set(&["spec", "volumes"], volumes);
    }
}
