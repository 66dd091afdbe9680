//! `eq`, `lt` and their like: strict about types, as Go is.

use std::cmp::Ordering;

use super::Outcome;
use crate::fault::Fault;
use crate::format::printf;
use crate::surroundings::Scope;
use crate::value::{Integer, Value};

/// What Go distinguishes when it compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Basic {
    Invalid,
    Bool,
    Int,
    Uint,
    Float,
    String,
    Complex,
}

fn basic(value: &Value) -> Basic {
    match value {
        Value::Bool(_) => Basic::Bool,
        Value::Int(_, Integer::Uint8 | Integer::Uint64) => Basic::Uint,
        Value::Int(..) => Basic::Int,
        Value::Float(_) => Basic::Float,
        Value::String(_) => Basic::String,
        Value::Object(object) => match object.kind() {
            crate::value::Kind::Complex128 => Basic::Complex,
            crate::value::Kind::Integer(_) => Basic::Int,
            _ => Basic::Invalid,
        },
        _ => Basic::Invalid,
    }
}

fn type_name(value: &Value) -> String {
    value.type_name().unwrap_or_default().into_owned()
}

fn incompatible(a: &Value, b: &Value) -> Fault {
    Fault::new(format!(
        "incompatible types for comparison: {} and {}",
        type_name(a),
        type_name(b)
    ))
}

/// A value as the error texts show it, which go through `%s`.
fn shown(value: &Value) -> String {
    let text = printf(b"%s", std::slice::from_ref(value), 4096);
    text.map_or_else(
        || "...".to_owned(),
        |text| String::from_utf8_lossy(&text).into_owned(),
    )
}

fn int_with_uint(int: i64, uint: i64) -> Ordering {
    if int < 0 {
        Ordering::Less
    } else {
        (int as u64).cmp(&(uint as u64))
    }
}

/// Numbers with a name, such as months, compare as numbers.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object) if matches!(object.kind(), crate::value::Kind::Integer(_)) => object.export(),
        value => value.clone(),
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, Fault> {
    if matches!(
        (a, b),
        (Value::Object(_), Value::Int(..)) | (Value::Int(..), Value::Object(_))
    ) {
        let (x, y) = (plain(a), plain(b));
        if !matches!((&x, &y), (Value::Object(_), _) | (_, Value::Object(_))) {
            return equal(&x, &y);
        }
    }
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Int(x, _), Value::Int(y, _)) => match (basic(a), basic(b)) {
            (Basic::Int, Basic::Uint) => int_with_uint(*x, *y).is_eq(),
            (Basic::Uint, Basic::Int) => int_with_uint(*y, *x).is_eq(),
            _ => x == y,
        },
        (a, b) if a.is_nil() || b.is_nil() => a.is_nil_reference() && b.is_nil_reference(),
        (a, b) if basic(a) != basic(b) => return Err(incompatible(a, b)),
        (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_))
            if a.is_nil_reference() || b.is_nil_reference() =>
        {
            a.is_nil_reference() && b.is_nil_reference()
        }
        (Value::Object(x), Value::Object(y)) if type_name(a) == type_name(b) => {
            std::rc::Rc::ptr_eq(x, y) || x.equals(y.as_ref())
        }
        (a, b) if type_name(a) == type_name(b) => {
            return Err(Fault::new(format!(
                "non-comparable type {}: {}",
                shown(a),
                type_name(a)
            )));
        }
        (a, b) => {
            let (x, y) = (type_name(a), type_name(b));
            return Err(Fault::new(format!(
                "non-comparable types {}: {x}, {y}: {b}",
                shown(a)
            )));
        }
    })
}

fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, Fault> {
    let (a, b) = (&plain(a), &plain(b));
    let (x, y) = (basic(a), basic(b));
    if x == Basic::Invalid || y == Basic::Invalid {
        return Err(Fault::new("invalid type for comparison"));
    }
    Ok(match (a, b) {
        (Value::Int(m, _), Value::Int(n, _)) => Some(match (x, y) {
            (Basic::Int, Basic::Uint) => int_with_uint(*m, *n),
            (Basic::Uint, Basic::Int) => int_with_uint(*n, *m).reverse(),
            (Basic::Uint, Basic::Uint) => (*m as u64).cmp(&(*n as u64)),
            _ => m.cmp(n),
        }),
        _ if x != y => return Err(incompatible(a, b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => return Err(Fault::new("invalid type for comparison")),
    })
}

fn walked(scope: &mut Scope, args: &[Value]) -> Result<(), Fault> {
    // The texts of errors show lists and maps.
    args.iter()
        .filter(|arg| arg.is_collection())
        .try_for_each(|arg| scope.walk(arg))
}

pub(super) fn eq(scope: &mut Scope, args: &[Value]) -> Outcome {
    if args.len() < 2 {
        return Err(Fault::new("missing argument for comparison"));
    }
    walked(scope, args)?;
    for other in &args[1..] {
        if equal(&args[0], other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(super) fn ne(scope: &mut Scope, args: &[Value]) -> Outcome {
    walked(scope, args)?;
    Ok(Value::Bool(!equal(&args[0], &args[1])?))
}

pub(super) fn lt(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(Value::Bool(order(&args[0], &args[1])? == Some(Ordering::Less)))
}

pub(super) fn le(_: &mut Scope, args: &[Value]) -> Outcome {
    let order = order(&args[0], &args[1])?;
    Ok(Value::Bool(matches!(
        order,
        Some(Ordering::Less | Ordering::Equal)
    )))
}

pub(super) fn gt(_: &mut Scope, args: &[Value]) -> Outcome {
    // As Go computes it: neither less nor equal, so NaN is greater than anything.
    let order = order(&args[0], &args[1])?;
    Ok(Value::Bool(!matches!(
        order,
        Some(Ordering::Less | Ordering::Equal)
    )))
}

pub(super) fn ge(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(Value::Bool(order(&args[0], &args[1])? != Some(Ordering::Less)))
}
