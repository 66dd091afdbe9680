//! The structural schema of objects: which fields there are, of which types, and how lists and maps merge.
//!
//! Start with [`Schema`]; [`types`] is the model that patches, apply and OpenAPI walk.

pub mod builtin;
mod check;
mod custom;
mod normalize;
mod rules;
pub mod types;

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use crate::Object;
use crate::validate::Faults;
use rules::Rule;
use types::{Shape, TypeDef, TypeRef};

pub use check::Findings;

/// What is known of the fields of a kind.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    shape: Shape,
    status_subresource: bool,
    fingerprint: u64,
    rules: Option<Arc<Rule>>,
}

impl Schema {
    /// The schema of a built-in kind; of another kind, one that knows nothing.
    pub fn of_kind(group: &str, version: &str, kind: &str) -> Self {
        let entry = builtin::entry(&type_name(group, version, kind));
        Self {
            shape: entry.map(builtin::Entry::shape).unwrap_or_default(),
            status_subresource: false,
            fingerprint: 0,
            rules: None,
        }
    }

    /// The schema that knows nothing: every field may be there, maps merge, lists are replaced.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The schema of a custom resource, from the `openAPIV3Schema` of its definition.
    ///
    /// `apiVersion`, `kind` and `metadata` are those of every object, whatever the definition says of them.
    pub fn of_definition(schema: &serde_json::Value) -> Self {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        schema.to_string().hash(&mut hasher);
        Self {
            shape: Shape::Object(TypeRef::Custom(Arc::new(custom::object_type(schema)))),
            status_subresource: false,
            fingerprint: hasher.finish(),
            rules: Some(Arc::new(Rule::of(schema))),
        }
    }

    /// A number that is another one for another definition; 0 of built-in kinds.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The same for a kind whose `status` only the subresource of that name changes.
    #[must_use]
    pub fn with_status_subresource(mut self) -> Self {
        self.status_subresource = true;
        self
    }

    /// Whether only the subresource of that name changes `status`.
    pub fn has_status_subresource(&self) -> bool {
        self.status_subresource
    }

    /// Fills in the defaults that the definition of a custom resource gives; those of built-in kinds are no matter of
    /// their schema.
    pub fn fill_defaults(&self, object: &mut Object) {
        if let Shape::Object(TypeRef::Custom(root)) = &self.shape {
            custom::fill_defaults(root, object.fields_mut());
        }
    }

    /// Takes the fields away that the definition of a custom resource does not know.
    pub fn prune(&self, object: &mut Object) {
        if let Some(rules) = &self.rules {
            rules.prune(object.fields_mut());
        }
    }

    /// Holds an object against the value rules of the definition of a custom resource.
    pub(crate) fn validate(&self, object: &Object, faults: &mut Faults) {
        if let Some(rules) = &self.rules {
            rules.validate(object.fields(), faults);
        }
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        !matches!(self.shape, Shape::Any)
    }

    /// Whether it is the schema of a built-in kind: only those can be changed by strategic merge patches.
    pub fn is_built_in(&self) -> bool {
        matches!(self.shape, Shape::Object(TypeRef::BuiltIn(_)))
    }

    /// What an object of the kind is.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The type of the objects, when it is known.
    pub fn root(&self) -> Option<&TypeDef> {
        match &self.shape {
            Shape::Object(root) => Some(root),
            _ => None,
        }
    }
}

/// The short name of the type of a kind: groups are named by their first part, with two exceptions.
fn type_name(group: &str, version: &str, kind: &str) -> String {
    match group {
        "" => format!("core.{version}.{kind}"),
        "apiextensions.k8s.io" => format!("apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}"),
        "apiregistration.k8s.io" => format!("kube-aggregator.pkg.apis.apiregistration.{version}.{kind}"),
        "flowcontrol.apiserver.k8s.io" => format!("flowcontrol.{version}.{kind}"),
        _ => format!("{}.{version}.{kind}", group.split('.').next().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_builtin_kind_has_a_schema() {
        // Our own kinds, and those that are measured and never written, are in no document of Kubernetes.
        let rows = crate::registry::builtin_rows().into_iter();
        for row in rows.filter(|row| !["tug.dev", "metrics.k8s.io"].contains(&row.group.as_ref())) {
            assert!(row.schema.is_known(), "{}", row.gvk());
            let kind = row.schema.root().and_then(|root| root.kind.clone());
            assert_eq!(
                kind.map(|(_, kind)| kind),
                Some(row.kind.clone()),
                "{}",
                row.gvk()
            );
        }
    }
}
