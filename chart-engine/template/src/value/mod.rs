//! Values as Go's templates see them: typed numbers, two sorts of nil, shared lists and maps.

pub(crate) mod changes;
mod collection;
mod convert;
mod equal;
mod object;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

pub use collection::{Element, List, Map, MapType, NamedMap};
pub use object::{Contents, Object};
pub use text::Text;

/// A value in a template.
///
/// Cloning copies at most a pointer.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value at all, as a pipeline that ended in nil leaves it: its fields are again no value.
    #[default]
    Invalid,
    /// A nil held in a map, a list or a variable of a loop: asking it for a field is an error.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer of any width.
    Int(i64, Integer),
    /// A `float64`.
    Float(f64),
    /// A `string`.
    String(Text),
    /// A `[]uint8`, as the elements of `.Files` are.
    Bytes(Rc<[u8]>),
    /// A list.
    List(Rc<List>),
    /// A map with string keys.
    Map(Rc<Map>),
    /// Anything with methods.
    Object(Rc<dyn Object>),
}

/// The Go type of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    /// `int`: literals, `len`, `int`.
    Int,
    /// `int32`: characters.
    Int32,
    /// `int64`: arithmetic, `--set`.
    Int64,
    /// `uint8`: bytes of strings.
    Uint8,
    /// `uint64`.
    Uint64,
}

impl Integer {
    /// The type's name.
    pub fn name(self) -> &'static str {
        match self {
            Integer::Int => "int",
            Integer::Int32 => "int32",
            Integer::Int64 => "int64",
            Integer::Uint8 => "uint8",
            Integer::Uint64 => "uint64",
        }
    }
}

/// Go's kinds, as far as templates meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Go's")]
pub enum Kind {
    Invalid,
    Bool,
    Integer(Integer),
    Float64,
    Complex128,
    String,
    Slice,
    Map,
    Struct,
    Pointer,
    Func,
}

impl Kind {
    /// The name that `kindOf` gives.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Bool => "bool",
            Kind::Integer(integer) => integer.name(),
            Kind::Float64 => "float64",
            Kind::Complex128 => "complex128",
            Kind::String => "string",
            Kind::Slice => "slice",
            Kind::Map => "map",
            Kind::Struct => "struct",
            Kind::Pointer => "ptr",
            Kind::Func => "func",
        }
    }
}

impl Value {
    /// An `int`.
    pub fn int(value: i64) -> Self {
        Value::Int(value, Integer::Int)
    }

    /// An `int64`.
    pub fn int64(value: i64) -> Self {
        Value::Int(value, Integer::Int64)
    }

    /// A `[]interface {}`.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(Rc::new(List::new(items.into_iter().map(Value::boxed).collect())))
    }

    /// A `[]string`.
    pub fn strings<T: Into<Text>>(items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(|item| Value::String(item.into())).collect();
        Value::List(Rc::new(List::typed(Element::String, items)))
    }

    /// A `map[string]interface {}`.
    pub fn map(entries: impl IntoIterator<Item = (Text, Value)>) -> Self {
        Value::typed_map(MapType::Any, entries)
    }

    /// A map of a declared type.
    pub fn typed_map(map_type: MapType, entries: impl IntoIterator<Item = (Text, Value)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key, value.boxed()))
            .collect();
        Value::Map(Rc::new(Map::typed(map_type, entries)))
    }

    /// An object with methods.
    pub fn object(object: impl Object + 'static) -> Self {
        Value::Object(Rc::new(object))
    }

    /// Whether this is either sort of nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil | Value::Invalid)
    }

    /// Whether Go's `==` takes it for nil: either sort of nil, or a nil list or map.
    pub(crate) fn is_nil_reference(&self) -> bool {
        match self {
            Value::List(list) => list.is_nil(),
            Value::Map(map) => map.is_nil(),
            value => value.is_nil(),
        }
    }

    /// Whether dropping it may drop others.
    pub(crate) fn is_collection(&self) -> bool {
        matches!(self, Value::List(_) | Value::Map(_))
    }

    /// The value as a map or list holds it.
    pub(crate) fn boxed(self) -> Self {
        match self {
            Value::Invalid => Value::Nil,
            value => value,
        }
    }

    /// The value as a pipeline hands it on.
    pub(crate) fn unboxed(self) -> Self {
        match self {
            Value::Nil => Value::Invalid,
            value => value,
        }
    }

    /// The string, if it is one.
    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Rc<Map>> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Looks up a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<Value> {
        match self {
            Value::Map(map) => map.get(key),
            Value::Object(object) => object.field(key),
            _ => None,
        }
    }

    /// The object as its concrete type.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        match self {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// The Go kind.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Invalid | Value::Nil => Kind::Invalid,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_, integer) => Kind::Integer(*integer),
            Value::Float(_) => Kind::Float64,
            Value::String(_) => Kind::String,
            Value::Bytes(_) | Value::List(_) => Kind::Slice,
            Value::Map(_) => Kind::Map,
            Value::Object(object) => object.kind(),
        }
    }

    /// The Go type, as `%T` prints it; `None` for nil.
    pub fn type_name(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Value::Invalid | Value::Nil => return None,
            Value::Bool(_) => Cow::Borrowed("bool"),
            Value::Int(_, integer) => Cow::Borrowed(integer.name()),
            Value::Float(_) => Cow::Borrowed("float64"),
            Value::String(_) => Cow::Borrowed("string"),
            Value::Bytes(_) => Cow::Borrowed("[]uint8"),
            Value::List(list) => Cow::Borrowed(list.element().list_type()),
            Value::Map(map) => Cow::Borrowed(map.map_type().name()),
            Value::Object(object) => object.type_name(),
        })
    }

    /// Whether `if`, `and`, `or` and `not` take it for true: not zero, not empty, not nil.
    pub fn truth(&self) -> bool {
        match self {
            Value::Invalid | Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value, _) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Object(object) => object.truth(),
        }
    }

    /// The items of anything list-like: a list, bytes, an object that holds items.
    pub fn items(&self) -> Option<Cow<'_, [Value]>> {
        match self {
            Value::List(list) => Some(Cow::Borrowed(list.items())),
            Value::Bytes(bytes) => Some(Cow::Owned(
                bytes
                    .iter()
                    .map(|byte| Value::Int(i64::from(*byte), Integer::Uint8))
                    .collect(),
            )),
            Value::Object(object) => match object.contents() {
                Some(Contents::Items(items)) => Some(Cow::Owned(items)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text.into())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Value::String(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::String(bytes.into())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        crate::format::print_value(&mut out, self);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}
