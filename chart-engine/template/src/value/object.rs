//! Values with methods: what the caller puts into a template beyond plain data.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use super::{Kind, Text, Value};
use crate::fault::Fault;
use crate::signature::Signature;

/// What an object holds when a template ranges over it or indexes it.
#[derive(Debug)]
pub enum Contents {
    /// Items in order.
    Items(Vec<Value>),
    /// Keys and values in key order.
    Entries(Vec<(Text, Value)>),
}

/// A value with methods or struct fields, such as `.Files` or a time.
///
/// Everything has a default: an object says only what it can do.
pub trait Object: fmt::Debug {
    /// The Go type, as `typeOf` and errors name it.
    fn type_name(&self) -> Cow<'_, str>;

    /// The Go kind, as `kindOf` names it.
    fn kind(&self) -> Kind {
        Kind::Struct
    }

    /// The value of a field.
    fn field(&self, _name: &str) -> Option<Value> {
        None
    }

    /// The parameters of a method, when there is one of that name.
    fn method(&self, _name: &str) -> Option<Signature> {
        None
    }

    /// Calls a method that [`Object::method`] knows, with arguments already checked against its parameters.
    ///
    /// # Errors
    /// Whatever the method finds wrong.
    fn call(&self, name: &str, _args: &[Value]) -> Result<Value, Fault> {
        Err(Fault::new(format!("no method {name}")))
    }

    /// What `range`, `index`, `len` and `keys` see; `None` for a value that is not a collection.
    fn contents(&self) -> Option<Contents> {
        None
    }

    /// How many elements there are; asked before [`Object::contents`], so that `len` need not build them.
    fn len(&self) -> Option<usize> {
        self.contents().map(|contents| match contents {
            Contents::Items(items) => items.len(),
            Contents::Entries(entries) => entries.len(),
        })
    }

    /// Whether there are no elements.
    fn is_empty(&self) -> Option<bool> {
        self.len().map(|len| len == 0)
    }

    /// How `print` and `%v` show it.
    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{{{}}}", self.type_name()))
    }

    /// The fields of a struct under their names in JSON, in the order of the declaration, which `toJson` keeps.
    fn json_fields(&self) -> Option<Vec<(Text, Value)>> {
        None
    }

    /// The plain data that `toYaml` and `toJson` write for it.
    fn export(&self) -> Value {
        match self.contents() {
            Some(Contents::Items(items)) => Value::list(items),
            Some(Contents::Entries(entries)) => Value::map(entries),
            None => match self.json_fields() {
                Some(fields) => Value::map(fields),
                None => Value::from(self.print().as_ref()),
            },
        }
    }

    /// Whether `if` takes it for true; structs always are, collections when they hold something.
    fn truth(&self) -> bool {
        !self.is_empty().unwrap_or(false)
    }

    /// Whether it equals another object, for `deepEqual`, `eq` and `has`.
    fn equals(&self, _other: &dyn Object) -> bool {
        false
    }

    /// The concrete type, for functions that take an object of their own back.
    fn as_any(&self) -> &dyn Any;
}
