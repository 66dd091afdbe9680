//! Maps. `set`, `unset` and the merges change the map that they are given.

use super::cast::to_text;
use super::merge;
use super::{Entry, Outcome, takes, takes_many, text};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{MapType, Text, Value};

const KEYED: &[Type] = &[Type::Map, Type::String];

pub(super) const ROWS: &[Entry] = &[
    takes_many("dict", &[], Type::Any, dict),
    takes("get", KEYED, |_, args| {
        Ok(lookup(args).unwrap_or_else(|| Value::from("")))
    }),
    takes("set", &[Type::Map, Type::String, Type::Any], set),
    takes("unset", KEYED, unset),
    takes("hasKey", KEYED, |_, args| Ok(Value::Bool(lookup(args).is_some()))),
    takes_many("pluck", &[Type::String], Type::Map, pluck),
    takes_many("keys", &[], Type::Map, keys),
    takes("values", &[Type::Map], values),
    takes_many("pick", &[Type::Map], Type::String, pick),
    takes_many("omit", &[Type::Map], Type::String, omit),
    takes_many("dig", &[], Type::Any, dig),
    takes_many("merge", &[Type::Map], Type::Map, |scope, args| {
        merge::merge(scope, args, false)
    }),
    takes_many("mustMerge", &[Type::Map], Type::Map, |scope, args| {
        merge::merge(scope, args, false)
    }),
    takes_many("mergeOverwrite", &[Type::Map], Type::Map, |scope, args| {
        merge::merge(scope, args, true)
    }),
    takes_many("mustMergeOverwrite", &[Type::Map], Type::Map, |scope, args| {
        merge::merge(scope, args, true)
    }),
];

fn dict(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.spend(args.len() as u64)?;
    let mut entries = Vec::with_capacity(args.len() / 2);
    for pair in args.chunks(2) {
        scope.walk(&pair[0])?;
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::from(""));
        entries.push((to_text(&pair[0]), value));
    }
    Ok(Value::map(entries))
}

/// The entry that the first two arguments name.
fn lookup(args: &[Value]) -> Option<Value> {
    args[0].as_map()?.get(text(&args[1]))
}

fn key(value: &Value) -> Text {
    value.as_text().cloned().unwrap_or_default()
}

fn set(scope: &mut Scope, args: &[Value]) -> Outcome {
    let Some(map) = args[0].as_map() else {
        return Err(Fault::new("assignment to entry in nil map"));
    };
    scope.spend(1)?;
    map.set(key(&args[1]), args[2].clone());
    Ok(args[0].clone())
}

fn unset(_: &mut Scope, args: &[Value]) -> Outcome {
    if let Some(map) = args[0].as_map() {
        map.remove(text(&args[1]));
    }
    Ok(args[0].clone())
}

fn pluck(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.items(args.len())?;
    let found = args[1..]
        .iter()
        .filter_map(|map| map.as_map()?.get(text(&args[0])));
    Ok(Value::list(found.collect()))
}

fn keys(scope: &mut Scope, args: &[Value]) -> Outcome {
    let mut keys = Vec::new();
    for map in args.iter().filter_map(Value::as_map) {
        scope.items(keys.len() + map.len())?;
        keys.extend(map.keys());
    }
    Ok(Value::strings(keys))
}

fn values(scope: &mut Scope, args: &[Value]) -> Outcome {
    let values: Vec<Value> = match args[0].as_map() {
        Some(map) => map.entries().values().cloned().collect(),
        None => Vec::new(),
    };
    scope.items(values.len())?;
    Ok(Value::list(values))
}

fn pick(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.spend(args.len() as u64)?;
    let Some(map) = args[0].as_map() else {
        return Ok(Value::map([]));
    };
    let picked = args[1..]
        .iter()
        .filter_map(|name| Some((key(name), map.get(text(name))?)));
    Ok(Value::map(picked))
}

fn omit(scope: &mut Scope, args: &[Value]) -> Outcome {
    let Some(map) = args[0].as_map() else {
        return Ok(Value::map([]));
    };
    scope.spend((map.len() + args.len()) as u64)?;
    let kept = map
        .to_vec()
        .into_iter()
        .filter(|(name, _)| !args[1..].iter().any(|omitted| text(omitted) == name.as_bytes()));
    Ok(Value::map(kept))
}

/// A panic of Go's runtime when a value is not of the type that the code wants.
fn conversion(value: &Value, wanted: &str) -> Fault {
    let found = value
        .type_name()
        .map_or_else(|| "nil".to_owned(), std::borrow::Cow::into_owned);
    Fault::new(format!(
        "interface conversion: interface {{}} is {found}, not {wanted}"
    ))
}

fn dig(_: &mut Scope, args: &[Value]) -> Outcome {
    let [path @ .., absent, map] = args else {
        return Err(Fault::new("dig needs at least three arguments"));
    };
    if path.is_empty() {
        return Err(Fault::new("dig needs at least three arguments"));
    }
    let plain = |value: &Value| match value {
        // The code asks for the plain type: `.Values` itself, which has a name, does not do.
        Value::Map(map) if map.map_type() == MapType::Any => Ok(map.clone()),
        value => Err(conversion(value, "map[string]interface {}")),
    };
    let mut at = plain(map)?;
    if let Some(bad) = path.iter().find(|step| step.as_text().is_none()) {
        return Err(conversion(bad, "string"));
    }
    for (i, step) in path.iter().enumerate() {
        let Some(found) = at.get(text(step)) else {
            return Ok(absent.clone());
        };
        if i + 1 == path.len() {
            return Ok(found);
        }
        at = plain(&found)?;
    }
    Ok(absent.clone())
}
