//! Functions that run other templates, stop the rendering, or choose between values.

use super::empty::is_empty;
use super::{Action, Entry, Outcome, string, takes, takes_many};
use crate::fault::Fault;
use crate::signature::{Signature, Type};
use crate::surroundings::Scope;
use crate::value::Value;

pub(super) const ROWS: &[Entry] = &[
    (
        "include",
        Signature::new(&[Type::String, Type::Any]),
        Action::Include,
    ),
    ("tpl", Signature::new(&[Type::String, Type::Any]), Action::Tpl),
    takes("required", &[Type::String, Type::Any], required),
    takes("fail", &[Type::String], |_, args| {
        Err(Fault::raised(string(&args[0])))
    }),
    takes(
        "lookup",
        &[Type::String, Type::String, Type::String, Type::String],
        |_, _| Ok(Value::map([])),
    ),
    takes("getHostByName", &[Type::String], |_, _| Ok(Value::from(""))),
    takes_many("default", &[Type::Any], Type::Any, default),
    takes("empty", &[Type::Any], |_, args| {
        Ok(Value::Bool(is_empty(&args[0])))
    }),
    takes_many("coalesce", &[], Type::Any, coalesce),
    takes_many("all", &[], Type::Any, |_, args| {
        Ok(Value::Bool(!args.iter().any(is_empty)))
    }),
    takes_many("any", &[], Type::Any, |_, args| {
        Ok(Value::Bool(!args.iter().all(is_empty)))
    }),
    takes("ternary", &[Type::Any, Type::Any, Type::Bool], ternary),
    takes("hello", &[], |_, _| Ok(Value::from("Hello!"))),
];

fn required(_: &mut Scope, args: &[Value]) -> Outcome {
    let missing = match &args[1] {
        Value::Invalid | Value::Nil => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if missing {
        Err(Fault::raised(string(&args[0])))
    } else {
        Ok(args[1].clone())
    }
}

fn default(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(match args.get(1) {
        Some(given) if !is_empty(given) => given.clone(),
        _ => args[0].clone(),
    })
}

fn coalesce(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(args
        .iter()
        .find(|arg| !is_empty(arg))
        .cloned()
        .unwrap_or_default())
}

fn ternary(_: &mut Scope, args: &[Value]) -> Outcome {
    let chosen = if args[2].truth() { &args[0] } else { &args[1] };
    Ok(chosen.clone())
}
