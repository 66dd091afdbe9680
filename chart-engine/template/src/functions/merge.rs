//! Merging maps as the `mergo` package does.

use std::rc::Rc;

use super::Outcome;
use crate::fault::Fault;
use crate::surroundings::Scope;
use crate::value::{Map, Value};

/// Merges the further maps into the first, and gives that.
///
/// Maps merge with maps at any depth. Anything else is taken over where the first map has nothing or something empty,
/// or always when `overwrite` is set; a nil is taken over only then. What is taken over is shared, not copied.
pub(super) fn merge(scope: &mut Scope, args: &[Value], overwrite: bool) -> Outcome {
    for arg in args {
        scope.walk(arg)?;
    }
    let Some(into) = args[0].as_map() else {
        // Into a nil map nothing can be merged that anyone would see, so it is made anew.
        let made = Rc::new(Map::new(std::collections::BTreeMap::new()));
        for from in args[1..].iter().filter_map(Value::as_map) {
            merge_map(scope, &made, from, overwrite)?;
        }
        return Ok(Value::Map(made));
    };
    for from in args[1..].iter().filter_map(Value::as_map) {
        merge_map(scope, into, from, overwrite)?;
    }
    Ok(args[0].clone())
}

fn merge_map(scope: &mut Scope, into: &Rc<Map>, from: &Rc<Map>, overwrite: bool) -> Result<(), Fault> {
    if Rc::ptr_eq(into, from) {
        return Ok(());
    }
    for (key, new) in from.to_vec() {
        scope.spend(1)?;
        if new.is_nil() {
            if overwrite {
                into.set(key, new);
            }
            continue;
        }
        let old = into.get(&key);
        if let (Some(Value::Map(old)), Value::Map(new)) = (&old, &new) {
            merge_map(scope, old, new, overwrite)?;
            if !old.is_empty() {
                continue;
            }
        }
        let vacant = old.is_none_or(|old| super::empty::is_empty(&old));
        if overwrite || vacant {
            into.set(key, new);
        }
    }
    Ok(())
}
