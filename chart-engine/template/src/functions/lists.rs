//! Lists. None of these changes the list that it is given.

use std::borrow::Cow;

use super::builtin::is_slice;
use super::empty::is_empty;
use super::{Entry, Outcome, integer, nil_dereference, takes, takes_many};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{Element, List, Value};

const ANY: &[Type] = &[Type::Any];
const TWO: &[Type] = &[Type::Any, Type::Any];

pub(super) const ROWS: &[Entry] = &[
    takes_many("list", &[], Type::Any, list),
    takes_many("tuple", &[], Type::Any, list),
    takes("append", TWO, append),
    takes("mustAppend", TWO, append),
    takes("push", TWO, append),
    takes("mustPush", TWO, append),
    takes("prepend", TWO, prepend),
    takes("mustPrepend", TWO, prepend),
    takes("first", ANY, first),
    takes("mustFirst", ANY, first),
    takes("last", ANY, last),
    takes("mustLast", ANY, last),
    takes("rest", ANY, rest),
    takes("mustRest", ANY, rest),
    takes("initial", ANY, initial),
    takes("mustInitial", ANY, initial),
    takes("reverse", ANY, reverse),
    takes("mustReverse", ANY, reverse),
    takes("uniq", ANY, uniq),
    takes("mustUniq", ANY, uniq),
    takes("compact", ANY, compact),
    takes("mustCompact", ANY, compact),
    takes_many("without", ANY, Type::Any, without),
    takes_many("mustWithout", ANY, Type::Any, without),
    takes("has", TWO, has),
    takes("mustHas", TWO, has),
    takes_many("slice", ANY, Type::Any, slice),
    takes_many("mustSlice", ANY, Type::Any, slice),
    takes_many("concat", &[], Type::Any, concat),
    takes("chunk", &[Type::Int, Type::Any], chunk),
    takes("mustChunk", &[Type::Int, Type::Any], chunk),
];

/// The items of a list argument; what else is given is refused with the words of the function.
fn items<'v>(value: &'v Value, refusal: &str) -> Result<Cow<'v, [Value]>, Fault> {
    if value.is_nil() {
        return Err(nil_dereference());
    }
    match value.items() {
        Some(items) if is_slice(value) => Ok(items),
        _ => Err(Fault::new(format!("{refusal}{}", value.kind().name()))),
    }
}

fn any_list(scope: &mut Scope, items: Vec<Value>) -> Outcome {
    scope.items(items.len())?;
    Ok(Value::list(items))
}

fn nil_list() -> Outcome {
    Ok(Value::List(List::nil(Element::Any).into()))
}

fn list(scope: &mut Scope, args: &[Value]) -> Outcome {
    any_list(scope, args.to_vec())
}

fn append(scope: &mut Scope, args: &[Value]) -> Outcome {
    let items = items(&args[0], "Cannot push on type ")?;
    any_list(scope, items.iter().cloned().chain([args[1].clone()]).collect())
}

fn prepend(scope: &mut Scope, args: &[Value]) -> Outcome {
    let items = items(&args[0], "Cannot prepend on type ")?;
    any_list(
        scope,
        [args[1].clone()]
            .into_iter()
            .chain(items.iter().cloned())
            .collect(),
    )
}

fn first(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(items(&args[0], "Cannot find first on type ")?
        .first()
        .cloned()
        .unwrap_or_default())
}

fn last(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(items(&args[0], "Cannot find last on type ")?
        .last()
        .cloned()
        .unwrap_or_default())
}

fn rest(scope: &mut Scope, args: &[Value]) -> Outcome {
    match items(&args[0], "Cannot find rest on type ")?.split_first() {
        Some((_, rest)) => any_list(scope, rest.to_vec()),
        None => nil_list(),
    }
}

fn initial(scope: &mut Scope, args: &[Value]) -> Outcome {
    match items(&args[0], "Cannot find initial on type ")?.split_last() {
        Some((_, initial)) => any_list(scope, initial.to_vec()),
        None => nil_list(),
    }
}

fn reverse(scope: &mut Scope, args: &[Value]) -> Outcome {
    let items = items(&args[0], "Cannot find reverse on type ")?;
    any_list(scope, items.iter().rev().cloned().collect())
}

/// Whether a list holds a value, counting the comparisons.
fn holds(scope: &mut Scope, items: &[Value], value: &Value) -> Result<bool, Fault> {
    let size = scope.budget.walk(value)?;
    scope.spend(size.saturating_mul(items.len() as u64))?;
    Ok(items.iter().any(|item| item.deep_equal(value)))
}

fn uniq(scope: &mut Scope, args: &[Value]) -> Outcome {
    let items = items(&args[0], "Cannot find uniq on type ")?;
    let mut kept: Vec<Value> = Vec::new();
    for item in items.iter() {
        if !holds(scope, &kept, item)? {
            kept.push(item.clone());
        }
    }
    any_list(scope, kept)
}

fn compact(scope: &mut Scope, args: &[Value]) -> Outcome {
    let items = items(&args[0], "Cannot compact on type ")?;
    any_list(
        scope,
        items.iter().filter(|item| !is_empty(item)).cloned().collect(),
    )
}

fn without(scope: &mut Scope, args: &[Value]) -> Outcome {
    let items = items(&args[0], "Cannot find without on type ")?;
    let mut kept = Vec::new();
    for item in items.iter() {
        if !holds(scope, &args[1..], item)? {
            kept.push(item.clone());
        }
    }
    any_list(scope, kept)
}

fn has(scope: &mut Scope, args: &[Value]) -> Outcome {
    if args[1].is_nil() {
        return Ok(Value::Bool(false));
    }
    let items = items(&args[1], "Cannot find has on type ")?;
    Ok(Value::Bool(holds(scope, &items, &args[0])?))
}

fn slice(scope: &mut Scope, args: &[Value]) -> Outcome {
    if args[0].is_nil() {
        return Err(nil_dereference());
    }
    let items = items(&args[0], "list should be type of slice or array but ")?;
    if items.is_empty() {
        return Ok(Value::Invalid);
    }
    let bound = |at: usize, absent: usize| match args.get(at) {
        Some(value) => super::cast::to_int(value),
        None => i64::try_from(absent).unwrap_or(i64::MAX),
    };
    let (low, high) = (bound(1, 0), bound(2, items.len()));
    let range = usize::try_from(low).ok().zip(usize::try_from(high).ok());
    let Some(cut) = range.and_then(|(low, high)| items.get(low..high)) else {
        return Err(Fault::new("reflect.Value.Slice: slice index out of bounds"));
    };
    scope.items(cut.len())?;
    let element = match &args[0] {
        Value::List(list) => list.element(),
        _ => Element::Any,
    };
    Ok(Value::List(List::typed(element, cut.to_vec()).into()))
}

fn concat(scope: &mut Scope, args: &[Value]) -> Outcome {
    let mut all = Vec::new();
    for arg in args {
        let items = items(arg, "Cannot concat type ").map_err(|fault| {
            let text = fault.message();
            let refused = text.starts_with("Cannot concat type ");
            Fault::new(if refused {
                format!("{text} as list")
            } else {
                text.to_owned()
            })
        })?;
        scope.items(all.len() + items.len())?;
        all.extend(items.iter().cloned());
    }
    if all.is_empty() {
        nil_list()
    } else {
        Ok(Value::list(all))
    }
}

fn chunk(scope: &mut Scope, args: &[Value]) -> Outcome {
    let size = usize::try_from(integer(&args[0])).unwrap_or(0);
    let items = items(&args[1], "Cannot chunk type ")?;
    if size == 0 {
        return Err(Fault::new("runtime error: makeslice: len out of range"));
    }
    scope.items(items.len())?;
    let chunks = items
        .chunks(size)
        .map(|chunk| Value::list(chunk.to_vec()))
        .collect();
    Ok(Value::List(List::typed(Element::List, chunks).into()))
}
