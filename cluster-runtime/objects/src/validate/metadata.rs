//! What every object has: names, labels, annotations, owners.

use serde_json::Value;

use super::faults::Faults;
use super::field::Field;
use crate::Object;
use crate::names;
use crate::registry::KindRow;

/// Most bytes of keys and values of all annotations together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// What names of a kind may look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameRule {
    /// `a.b-c`.
    #[default]
    Subdomain,
    /// `a-b`.
    Label,
    /// `a-b`, not beginning with a digit.
    Label1035,
    /// Anything that can stand between the slashes of a path.
    PathSegment,
}

impl NameRule {
    /// Faults of a name.
    pub fn faults(self, name: &str) -> Vec<String> {
        match self {
            NameRule::Subdomain => names::dns1123_subdomain_faults(name),
            NameRule::Label => names::dns1123_label_faults(name),
            NameRule::Label1035 => names::dns1035_label_faults(name),
            NameRule::PathSegment => names::path_segment_faults(name),
        }
    }

    /// The rule of the objects of a kind.
    pub fn of(row: &KindRow) -> Self {
        match (row.group.as_ref(), row.kind.as_ref()) {
            ("", "Namespace") => NameRule::Label,
            ("", "Service") => NameRule::Label1035,
            ("rbac.authorization.k8s.io", _) | ("networking.k8s.io", "IPAddress") => NameRule::PathSegment,
            _ => NameRule::Subdomain,
        }
    }
}

pub(super) fn check(row: &KindRow, object: &Object, faults: &mut Faults) {
    let metadata = Field::top(object, "metadata");
    let name = metadata.get("name");
    if name.is_empty() {
        faults.required(&name, "name or generateName is required");
    } else {
        faults.invalid_text(&name, name.text(), &NameRule::of(row).faults(name.text()));
    }
    let namespace = metadata.get("namespace");
    if row.namespaced {
        if faults.require(&namespace) {
            faults.invalid_text(
                &namespace,
                namespace.text(),
                &names::dns1123_label_faults(namespace.text()),
            );
        }
    } else if !namespace.is_empty() {
        faults.forbidden(&namespace, "not allowed on this type");
    }
    labels(&metadata.get("labels"), faults);
    annotations(&metadata.get("annotations"), faults);
    for finalizer in metadata.get("finalizers").items() {
        faults.invalid_text(
            &metadata.get("finalizers"),
            finalizer.text(),
            &names::qualified_name_faults(finalizer.text()),
        );
    }
    owners(&metadata.get("ownerReferences"), faults);
}

/// Labels, wherever they stand.
pub(super) fn labels(labels: &Field<'_, '_>, faults: &mut Faults) {
    for key in labels.keys() {
        faults.invalid_text(labels, key, &names::qualified_name_faults(key));
        let value = labels.key(key);
        faults.invalid_text(labels, value.text(), &names::label_value_faults(value.text()));
    }
}

pub(super) fn annotations(annotations: &Field<'_, '_>, faults: &mut Faults) {
    let mut bytes = 0;
    for key in annotations.keys() {
        faults.invalid_text(
            annotations,
            key,
            &names::qualified_name_faults(&key.to_lowercase()),
        );
        bytes += key.len() + annotations.key(key).text().len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        faults.too_long(&annotations.to_string(), ANNOTATIONS_BYTES_MAX);
    }
}

fn owners(owners: &Field<'_, '_>, faults: &mut Faults) {
    let mut controllers = Vec::new();
    for owner in owners.items() {
        for (key, what) in [
            ("apiVersion", "version"),
            ("kind", "kind"),
            ("name", "name"),
            ("uid", "uid"),
        ] {
            let part = owner.get(key);
            if part.is_empty() {
                faults.invalid_value(&part, &Value::from(""), &format!("{what} must not be empty"));
            }
        }
        if owner.get("controller").is_true() {
            controllers.push(owner.get("name").text());
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        faults.invalid(owners, &why);
    }
}

pub(super) fn check_update(new: &Object, old: &Object, faults: &mut Faults) {
    let (new, old) = (Field::top(new, "metadata"), Field::top(old, "metadata"));
    for key in ["name", "namespace", "uid", "creationTimestamp"] {
        faults.immutable(&new.get(key), &old.get(key));
    }
}
