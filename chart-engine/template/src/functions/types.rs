//! Functions that ask what a value is, compare it as a whole or copy it.

use super::{Entry, Outcome, takes, text};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{List, Map, Value};

pub(super) const ROWS: &[Entry] = &[
    takes("typeOf", &[Type::Any], |_, args| {
        Ok(Value::from(type_of(&args[0])))
    }),
    takes("typeIs", &[Type::String, Type::Any], |_, args| {
        Ok(Value::Bool(text(&args[0]) == type_of(&args[1]).as_bytes()))
    }),
    takes("typeIsLike", &[Type::String, Type::Any], |_, args| {
        let found = type_of(&args[1]);
        let found = found.as_bytes();
        let pointed = found.strip_prefix(b"*");
        Ok(Value::Bool(
            text(&args[0]) == found || pointed == Some(text(&args[0])),
        ))
    }),
    takes("kindOf", &[Type::Any], |_, args| {
        Ok(Value::from(args[0].kind().name()))
    }),
    takes("kindIs", &[Type::String, Type::Any], |_, args| {
        Ok(Value::Bool(text(&args[0]) == args[1].kind().name().as_bytes()))
    }),
    takes("deepEqual", &[Type::Any, Type::Any], deep_equal),
    takes("deepCopy", &[Type::Any], deep_copy),
    takes("mustDeepCopy", &[Type::Any], deep_copy),
];

fn type_of(value: &Value) -> String {
    value
        .type_name()
        .map_or_else(|| "<nil>".to_owned(), std::borrow::Cow::into_owned)
}

fn deep_equal(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.walk(&args[0])?;
    scope.walk(&args[1])?;
    Ok(Value::Bool(args[0].deep_equal(&args[1])))
}

fn deep_copy(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.walk(&args[0])?;
    if args[0].is_nil() {
        return Err(Fault::new("reflect: call of reflect.Value.Type on zero Value"));
    }
    Ok(copy(&args[0]))
}

/// A copy that shares no list or map with the original, which the caller has walked.
pub(super) fn copy(value: &Value) -> Value {
    match value {
        value if value.is_nil_reference() => value.clone(),
        Value::List(list) => {
            let items = list.items().iter().map(copy).collect();
            Value::List(List::typed(list.element(), items).into())
        }
        Value::Map(map) => {
            let entries = map
                .entries()
                .iter()
                .map(|(key, value)| (key.clone(), copy(value)))
                .collect();
            Value::Map(Map::typed(map.map_type(), entries).into())
        }
        value => value.clone(),
    }
}
