//! Whose object it is: the label and annotations by which Helm knows its own.

use cluster_objects::Object;

/// The label that says an object is managed by a release.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
const HELM: &str = "Helm";
/// The annotation that names the release.
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// The annotation that names the release's namespace.
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// What is said of an object that exists and is not the release's. The text is Helm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid ownership metadata; {}", .faults.join("; "))]
pub struct NotOwned {
    faults: Vec<String>,
}

/// Marks an object as the release's.
pub fn claim(object: &mut Object, release: &str, namespace: &str) {
    object.set(&["metadata", "labels", MANAGED_BY], HELM);
    object.set(&["metadata", "annotations", RELEASE_NAME], release);
    object.set(&["metadata", "annotations", RELEASE_NAMESPACE], namespace);
}

/// Checks that an object of the cluster is the release's.
pub fn check(object: &Object, release: &str, namespace: &str) -> Result<(), NotOwned> {
    let fault = |what: &str, key: &str, found: Option<&str>, expected: &str| match found {
        Some(found) if found == expected => None,
        Some(found) => Some(format!(
            "{what} validation error: key {key:?} must equal {expected:?}: current value is {found:?}"
        )),
        None => Some(format!(
            "{what} validation error: missing key {key:?}: must be set to {expected:?}"
        )),
    };
    let faults: Vec<String> = [
        fault("label", MANAGED_BY, object.label(MANAGED_BY), HELM),
        fault(
            "annotation",
            RELEASE_NAME,
            object.annotation(RELEASE_NAME),
            release,
        ),
        fault(
            "annotation",
            RELEASE_NAMESPACE,
            object.annotation(RELEASE_NAMESPACE),
            namespace,
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(NotOwned { faults })
    }
}

/// Whether an object asks to be left alone when its release goes.
pub fn is_kept(object: &Object) -> bool {
    let policy = object.annotation("helm.sh/resource-policy");
    policy.is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_object_is_owned() {
        let mut object = Object::new("v1", "Secret", Some("shop"), "s");
        claim(&mut object, "web", "shop");
        assert_eq!(check(&object, "web", "shop"), Ok(()));
        let other = check(&object, "api", "shop").unwrap_err();
        assert_eq!(
            other.to_string(),
            "invalid ownership metadata; annotation validation error: key \"meta.helm.sh/release-name\" must equal \
             \"api\": current value is \"web\""
        );
    }

    #[test]
    fn err_a_stranger_lacks_all_three() {
        let object = Object::new("v1", "Secret", Some("shop"), "s");
        let text = check(&object, "web", "shop").unwrap_err().to_string();
        assert_eq!(text.matches("missing key").count(), 3);
    }
}
