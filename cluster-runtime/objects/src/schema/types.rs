//! The model of a schema: types, their fields, and what a field holds.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;

use super::builtin;

/// An object type: named fields.
#[derive(Debug, Default)]
pub struct TypeDef {
    /// Short name, as `core.v1.PodSpec`; empty for the types of custom resources.
    pub name: Cow<'static, str>,
    /// What it is, for people.
    pub description: Cow<'static, str>,
    /// `apiVersion` and kind, when it is an object of the API.
    pub kind: Option<(Cow<'static, str>, Cow<'static, str>)>,
    /// Whether server-side apply treats it as one value.
    pub atomic: bool,
    /// Fields, ordered by name.
    pub fields: Vec<Field>,
    /// Whether other fields are allowed too.
    pub open: bool,
}

/// A field of an object type.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: Cow<'static, str>,
    /// What it is, for people.
    pub description: Cow<'static, str>,
    /// Whether it must be there.
    pub required: bool,
    /// What it holds.
    pub shape: Shape,
    /// Whether server-side apply treats a map or an object in it as one value, where the field and not the type
    /// says so.
    pub atomic: Option<bool>,
    /// How a strategic merge patch treats it.
    pub patch: PatchStrategy,
    /// What it is when absent, where it is a key of a list.
    pub default: Option<Value>,
}

/// How a strategic merge patch treats a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge, by [`PatchStrategy::merge_key`] or, without one, as sets of values.
    pub merge: bool,
    /// Maps are replaced as a whole.
    pub replace: bool,
    /// `$retainKeys` is understood.
    pub retain_keys: bool,
    /// The key that tells the items of a list apart.
    pub merge_key: Option<Cow<'static, str>>,
}

/// What a value is.
#[derive(Clone, Debug, Default)]
pub enum Shape {
    /// Nothing is known: any JSON.
    #[default]
    Any,
    /// A text.
    Text,
    /// Bytes as base64 text.
    Bytes,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A number.
    Double,
    /// A boolean.
    Boolean,
    /// A resource quantity, text or number.
    Quantity,
    /// An integer or a text.
    IntOrString,
    /// A time as RFC 3339 text.
    Time,
    /// A time as RFC 3339 text with microseconds.
    MicroTime,
    /// An object of a type.
    Object(TypeRef),
    /// A list.
    List(Arc<ListShape>),
    /// A map of free keys.
    Map(Arc<MapShape>),
}

/// A list.
#[derive(Debug)]
pub struct ListShape {
    /// What the items are.
    pub items: Shape,
    /// How server-side apply merges it.
    pub kind: ListKind,
}

/// How server-side apply merges a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// It is one value.
    #[default]
    Atomic,
    /// Each value is owned by itself.
    Set,
    /// Items are told apart by these fields.
    Map(Vec<Cow<'static, str>>),
}

/// A map of free keys.
#[derive(Debug)]
pub struct MapShape {
    /// What the values are.
    pub values: Shape,
    /// Whether server-side apply treats it as one value.
    pub atomic: bool,
}

/// A reference to an object type.
#[derive(Clone)]
pub enum TypeRef {
    /// A built-in type, read when it is first asked for.
    BuiltIn(&'static builtin::Entry),
    /// A type of a custom resource.
    Custom(Arc<TypeDef>),
}

impl Deref for TypeRef {
    type Target = TypeDef;

    fn deref(&self) -> &TypeDef {
        match self {
            TypeRef::BuiltIn(entry) => entry.type_def(),
            TypeRef::Custom(definition) => definition,
        }
    }
}

impl fmt::Debug for TypeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Types refer to themselves; only the name is shown.
        f.debug_tuple("TypeRef").field(&self.name).finish()
    }
}

impl TypeDef {
    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let index = self
            .fields
            .binary_search_by(|field| field.name.as_ref().cmp(name))
            .ok()?;
        self.fields.get(index)
    }

    /// The name as Kubernetes' OpenAPI documents have it, `io.k8s.api.core.v1.PodSpec`.
    pub fn full_name(&self) -> String {
        full_name(&self.name)
    }
}

/// `core.v1.Pod` as `io.k8s.api.core.v1.Pod`; types outside `k8s.io/api` keep their area.
pub(crate) fn full_name(name: &str) -> String {
    let area = name.split('.').next().unwrap_or_default();
    match area {
        "apimachinery" | "apiextensions-apiserver" | "kube-aggregator" => format!("io.k8s.{name}"),
        _ => format!("io.k8s.api.{name}"),
    }
}

impl Shape {
    /// What a field or key of this value is: `Any` where nothing is known.
    pub fn child(&self, key: &str) -> Shape {
        match self {
            Shape::Object(of) => of.field(key).map(|field| field.shape.clone()).unwrap_or_default(),
            Shape::Map(map) => map.values.clone(),
            _ => Shape::Any,
        }
    }
}
