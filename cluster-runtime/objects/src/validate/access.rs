//! Roles and who has them.

use super::faults::Faults;
use super::field::Field;
use crate::registry::KindRow;
use crate::{Object, names};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(crate) fn role(row: &KindRow, object: &Object, faults: &mut Faults) {
    let everywhere = row.kind == "ClusterRole";
    for rule in Field::top(object, "rules").items() {
        let (verbs, paths) = (rule.get("verbs"), rule.get("nonResourceURLs"));
        if verbs.is_empty() {
            faults.required(&verbs, "verbs must contain at least one value");
        }
        let (groups, resources) = (rule.get("apiGroups"), rule.get("resources"));
        if !paths.is_empty() {
            if !everywhere {
                faults.invalid(&paths, "namespaced rules cannot apply to non-resource URLs");
            }
            if !groups.is_empty() || !resources.is_empty() || !rule.get("resourceNames").is_empty() {
                faults.invalid(
                    &paths,
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        if groups.is_empty() {
            faults.required(&groups, "resource rules must supply at least one api group");
        }
        if resources.is_empty() {
            faults.required(&resources, "resource rules must supply at least one resource");
        }
    }
}

pub(crate) fn role_binding(row: &KindRow, object: &Object, faults: &mut Faults) {
    let everywhere = row.kind == "ClusterRoleBinding";
    let role = Field::top(object, "roleRef");
    faults.one_of(&role.get("apiGroup"), &[RBAC]);
    let kinds: &[&str] = if everywhere {
        &["ClusterRole"]
    } else {
        &["ClusterRole", "Role"]
    };
    faults.one_of(&role.get("kind"), kinds);
    let name = role.get("name");
    if faults.require(&name) {
        faults.invalid_text(&name, name.text(), &names::path_segment_faults(name.text()));
    }
    for subject in Field::top(object, "subjects").items() {
        let name = subject.get("name");
        faults.require(&name);
        match subject.get("kind").text() {
            "ServiceAccount" => {
                if !name.is_empty() {
                    faults.invalid_text(&name, name.text(), &names::dns1123_subdomain_faults(name.text()));
                }
                if !subject.get("apiGroup").is_empty() {
                    faults.one_of(&subject.get("apiGroup"), &[""]);
                }
                if everywhere {
                    faults.require(&subject.get("namespace"));
                }
            }
            "User" | "Group" => faults.one_of(&subject.get("apiGroup"), &[RBAC]),
            _ => faults.one_of(&subject.get("kind"), &["ServiceAccount", "User", "Group"]),
        }
    }
}

pub(crate) fn role_binding_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    let (new, old) = (Field::top(new, "roleRef"), Field::top(old, "roleRef"));
    if new.value != old.value {
        faults.invalid(&new, "cannot change roleRef");
    }
}
