//! What functions and methods take, and how arguments are checked against it.

use crate::value::{Element, Integer, MapType, Value};

/// The declared type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`: anything.
    Any,
    /// `reflect.Value`: anything, as the built-in functions take it.
    Reflect,
    /// `string`.
    String,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `int64`.
    Int64,
    /// `uint32`, of which there are only literals.
    Uint32,
    /// `float64`.
    Float64,
    /// `map[string]interface {}`.
    Map,
    /// `[]interface {}`.
    List,
    /// `[]string`.
    Strings,
    /// `time.Time`.
    Time,
    /// `time.Duration`.
    Duration,
    /// An object, by the name of its type.
    Object(&'static str),
}

impl Type {
    /// The type's name in Go.
    pub fn name(self) -> &'static str {
        match self {
            Type::Any => "interface {}",
            Type::Reflect => "reflect.Value",
            Type::String => "string",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Int64 => "int64",
            Type::Uint32 => "uint32",
            Type::Float64 => "float64",
            Type::Map => "map[string]interface {}",
            Type::List => "[]interface {}",
            Type::Strings => "[]string",
            Type::Time => "time.Time",
            Type::Duration => "time.Duration",
            Type::Object(name) => name,
        }
    }

    /// Whether nil may stand for it.
    pub(crate) fn takes_nil(self) -> bool {
        matches!(
            self,
            Type::Any | Type::Reflect | Type::Map | Type::List | Type::Strings
        )
    }

    /// Whether a value that is not nil is of this type.
    fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Type::Any | Type::Reflect, _) => true,
            (Type::String, Value::String(_)) | (Type::Bool, Value::Bool(_)) => true,
            (Type::Int, Value::Int(_, integer)) => *integer == Integer::Int,
            (Type::Int64, Value::Int(_, integer)) => *integer == Integer::Int64,
            (Type::Float64, Value::Float(_)) => true,
            (Type::Map, Value::Map(map)) => map.map_type() != MapType::Strings,
            (Type::List, Value::List(list)) => list.element() == Element::Any,
            (Type::Strings, Value::List(list)) => list.element() == Element::String,
            (Type::Strings, Value::Object(object)) => object.type_name() == "[]string",
            (_, Value::Object(object)) => object.type_name() == self.name(),
            _ => false,
        }
    }

    /// Checks an argument; the error is what is wrong with it.
    pub(crate) fn check(self, value: Value) -> Result<Value, String> {
        match value {
            Value::Invalid if self.takes_nil() => Ok(Value::Nil),
            Value::Invalid => Err(format!("invalid value; expected {}", self.name())),
            Value::Nil if matches!(self, Type::Any | Type::Reflect) => Ok(Value::Nil),
            value if !value.is_nil() && self.accepts(&value) => Ok(value),
            value => Err(format!(
                "wrong type for value; expected {}; got {}",
                self.name(),
                value.type_name().as_deref().unwrap_or("interface {}")
            )),
        }
    }
}

/// The parameters of a function or a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Those that must be given.
    pub fixed: &'static [Type],
    /// The type of any number of further ones.
    pub rest: Option<Type>,
}

impl Signature {
    /// A fixed number of parameters.
    pub const fn new(fixed: &'static [Type]) -> Self {
        Signature { fixed, rest: None }
    }

    /// Parameters, then any number of others.
    pub const fn variadic(fixed: &'static [Type], rest: Type) -> Self {
        Signature {
            fixed,
            rest: Some(rest),
        }
    }

    /// The type of the parameter at a place.
    pub(crate) fn parameter(&self, at: usize) -> Type {
        self.fixed.get(at).copied().or(self.rest).unwrap_or(Type::Any)
    }

    /// Checks how many arguments there are: those written and, when `piped`, the one from the pipeline.
    pub(crate) fn check_count(&self, name: &str, written: usize, piped: bool) -> Result<(), String> {
        let count = written + usize::from(piped);
        let want = self.fixed.len();
        if self.rest.is_some() {
            if count < want {
                return Err(format!(
                    "wrong number of args for {name}: want at least {want} got {written}"
                ));
            }
        } else if count != want {
            return Err(format!(
                "wrong number of args for {name}: want {want} got {count}"
            ));
        }
        Ok(())
    }
}
