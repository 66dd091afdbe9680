//! Strategic merge patch: a merge patch that knows how lists merge.
//!
//! The rules and directives are those of `k8s.io/apimachinery/pkg/util/strategicpatch`.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::nesting;
use crate::schema::Schema;
use crate::schema::types::{Field, PatchStrategy, Shape};
use crate::{Object, Status, StatusReason};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_VALUES: &str = "$deleteFromPrimitiveList/";

type Fields = Map<String, Value>;

/// Applies a strategic merge patch: lists merge by the keys that the schema names.
///
/// Understands `$patch: delete|replace`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…` and `$retainKeys`.
/// Fails with 400 when the patch or a directive has not its form, with 415 when the kind is not a built-in one, with
/// 422 when an item of a list lacks the key that the list is merged by.
pub fn strategic(target: &Object, patch: &Value, schema: &Schema) -> Result<Object, Status> {
    if !schema.is_built_in() {
        let message = "the body of the request was in an unknown format - accepted media types include: \
                       application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        return Err(Status::new(415, StatusReason::UnsupportedMediaType, message));
    }
    nesting::check(patch)?;
    let Value::Object(patch) = patch.clone() else {
        return Err(Status::bad_request("Invalid JSON document"));
    };
    let mut fields = target.fields().clone();
    merge_map(&mut fields, patch, schema.shape())?;
    Ok(Object::from(fields))
}

/// Merges a patch into a map.
fn merge_map(original: &mut Fields, mut patch: Fields, shape: &Shape) -> Result<(), Status> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => {
                *original = patch;
                Ok(())
            }
            Some("delete") => {
                original.clear();
                Ok(())
            }
            _ => Err(unknown_directive(&directive, &patch)),
        };
    }
    retain_keys(original, &mut patch)?;
    order_lists(original, &mut patch, shape)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_VALUES) {
            delete_values(original, list, &value)?;
            continue;
        }
        let (strategy, child) = field_of(shape, &key);
        match (original.get_mut(&key), value) {
            (_, Value::Null) => drop(original.remove(&key)),
            (Some(Value::Object(before)), Value::Object(after)) => {
                if strategy.replace {
                    *before = after;
                } else {
                    merge_map(before, after, &child)?;
                }
            }
            (Some(Value::Array(before)), Value::Array(after)) => {
                if strategy.merge {
                    let before = std::mem::take(before);
                    let merged = merge_list(&before, after, &strategy, &child)?;
                    original.insert(key, merged.into());
                } else {
                    *before = without_directives(after);
                }
            }
            (_, value) => {
                if let Some(value) = without_directive(value) {
                    original.insert(key, value);
                }
            }
        }
    }
    Ok(())
}

/// How a field merges and what it holds; of a field that nobody knows, maps merge and lists are replaced.
fn field_of(shape: &Shape, key: &str) -> (PatchStrategy, Shape) {
    let field: Option<&Field> = match shape {
        Shape::Object(of) => of.field(key),
        _ => None,
    };
    match field {
        Some(field) => (field.patch.clone(), field.shape.clone()),
        None => (PatchStrategy::default(), shape.child(key)),
    }
}

fn item_shape(list: &Shape) -> Shape {
    match list {
        Shape::List(list) => list.items.clone(),
        _ => Shape::Any,
    }
}

/// `$retainKeys` names the keys that stay; the patch may set no other.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), Status> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let invalid = || Status::bad_request("invalid patch format of retainKeys");
    let Value::Array(keys) = keys else {
        return Err(invalid());
    };
    let retained = |key: &str| keys.iter().any(|retained| retained == key);
    for (key, value) in patch.iter() {
        let directive = key.starts_with(ORDER) || key.starts_with(DELETE_VALUES);
        if !directive && !value.is_null() && !retained(key) {
            return Err(invalid());
        }
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// Merges the lists that `$setElementOrder` names and puts them in that order.
fn order_lists(original: &mut Fields, patch: &mut Fields, shape: &Shape) -> Result<(), Status> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let order = patch.remove(&directive);
        let Some(Value::Array(order)) = order else {
            return Err(Status::bad_request(
                "invalid patch format of setElementOrder list",
            ));
        };
        let key = &directive[ORDER.len()..];
        let (strategy, child) = field_of(shape, key);
        let list = |value: Option<&Value>| match value {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items.clone())),
            Some(_) => Err(Status::bad_request(format!("expected a list at {key:?}"))),
        };
        if patch.get(key).is_some_and(Value::is_null) {
            continue;
        }
        let (before, after) = (list(original.get(key))?, list(patch.get(key))?);
        let merge_key = strategy.merge_key.as_deref();
        check_order(after.as_deref().unwrap_or_default(), &order, merge_key)?;
        let merged = match (before.clone(), after) {
            (None, None) => continue,
            (Some(before), None) => before,
            (None, Some(after)) => without_directives(after),
            (Some(before), Some(after)) if strategy.merge => merge_list(&before, after, &strategy, &child)?,
            (Some(_), Some(after)) => without_directives(after),
        };
        let ordered = interleave(merged, &order, &before.unwrap_or_default(), merge_key);
        original.insert(key.to_owned(), ordered.into());
        patch.remove(key);
    }
    Ok(())
}

/// The items of a patch must come in the order that it asks for.
fn check_order(items: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), Status> {
    let mut rest = order.iter();
    for item in items.iter().filter(|item| item.get(PATCH).is_none()) {
        let own = identity(item, merge_key);
        if own.is_none() || !rest.any(|wanted| identity(wanted, merge_key) == own) {
            let (items, order) = (Value::from(items), Value::from(order));
            return Err(Status::bad_request(format!(
                "The order in patch list:\n{items}\n doesn't match $setElementOrder list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

/// Merges two lists, by the key of their items or as sets of values.
fn merge_list(
    original: &[Value],
    patch: Vec<Value>,
    strategy: &PatchStrategy,
    shape: &Shape,
) -> Result<Vec<Value>, Status> {
    let Some(merge_key) = strategy.merge_key.as_deref() else {
        let mut seen = HashSet::new();
        let all = original.iter().chain(&patch);
        let merged = all
            .filter(|value| seen.insert(value.to_string()))
            .cloned()
            .collect();
        return Ok(interleave(merged, &patch, original, None));
    };
    let item = item_shape(shape);
    let mut merged = original.to_vec();
    let mut plain = Vec::new();
    let mut deleted = HashSet::new();
    let mut replace = false;
    for value in patch {
        let Value::Object(mut fields) = value else {
            return Err(unprocessable(format!(
                "expected a map with the key {merge_key:?}, found {value}"
            )));
        };
        match fields.remove(PATCH) {
            None => plain.push(fields),
            Some(Value::String(directive)) if directive == "delete" => {
                let key = fields
                    .get(merge_key)
                    .ok_or_else(|| no_merge_key(&fields, merge_key))?;
                deleted.insert(key.to_string());
            }
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => plain.push(fields),
            Some(directive) => return Err(unknown_directive(&directive, &fields)),
        }
    }
    if replace {
        return Ok(without_directives(plain.into_iter().map(Value::Object).collect()));
    }
    merged.retain(|existing| {
        existing
            .get(merge_key)
            .is_none_or(|key| !deleted.contains(&key.to_string()))
    });
    let order: Vec<Value> = plain.iter().cloned().map(Value::Object).collect();
    let mut places = places(&merged, Some(merge_key));
    for fields in plain {
        let key = fields
            .get(merge_key)
            .map(|key| format!("{key}:"))
            .ok_or_else(|| no_merge_key(&fields, merge_key))?;
        let existing = places.get(&key).and_then(|place| merged.get_mut(*place));
        if let Some(Value::Object(existing)) = existing {
            merge_map(existing, fields, &item)?;
        } else {
            places.entry(key).or_insert(merged.len());
            merged.extend(without_directive(Value::Object(fields)));
        }
    }
    Ok(interleave(merged, &order, original, Some(merge_key)))
}

/// Orders a merged list: items that the patch names in the order of the patch, the others where the original list had
/// them among those.
fn interleave(merged: Vec<Value>, order: &[Value], before: &[Value], merge_key: Option<&str>) -> Vec<Value> {
    // Looked up and not searched: a list of a stranger may be long.
    let (ordered, present) = (places(order, merge_key), places(before, merge_key));
    let place =
        |places: &HashMap<String, usize>, item: &Value| places.get(&identity(item, merge_key)?).copied();
    let (mut named, mut others): (Vec<_>, Vec<_>) = merged
        .into_iter()
        .map(|item| (place(&ordered, &item), item))
        .partition(|(place, _)| place.is_some());
    named.sort_by_key(|(place, _)| *place);
    others.sort_by_cached_key(|(_, item)| place(&present, item).unwrap_or(usize::MAX));
    let mut all = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().map(|(_, item)| item).peekable();
    for (_, item) in named {
        let here = place(&present, &item);
        while let Some(other) = others.next_if(|other| match (place(&present, other), here) {
            (Some(other), Some(here)) => other < here,
            _ => false,
        }) {
            all.push(other);
        }
        all.push(item);
    }
    all.extend(others);
    all
}

/// What makes two items the same one: their key, or their value. Nothing where the key is missing.
fn identity(item: &Value, merge_key: Option<&str>) -> Option<String> {
    match merge_key {
        Some(key) if item.is_object() => item.get(key).map(|key| format!("{key}:")),
        _ => Some(item.to_string()),
    }
}

/// Where the items of a list are; the first one counts.
fn places(list: &[Value], merge_key: Option<&str>) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (place, item) in list.iter().enumerate() {
        if let Some(identity) = identity(item, merge_key) {
            places.entry(identity).or_insert(place);
        }
    }
    places
}

fn delete_values(original: &mut Fields, key: &str, values: &Value) -> Result<(), Status> {
    let Value::Array(values) = values else {
        return Err(Status::bad_request("invalid patch format of primitive list"));
    };
    if let Some(Value::Array(list)) = original.get_mut(key) {
        let values: HashSet<String> = values.iter().map(Value::to_string).collect();
        list.retain(|value| !values.contains(&value.to_string()));
    }
    Ok(())
}

/// What a value of a patch is where there was nothing to merge with: without directives and without `null`.
fn without_directive(value: Value) -> Option<Value> {
    match value {
        Value::Object(mut fields) => {
            if fields
                .remove(PATCH)
                .is_some_and(|directive| directive == "delete")
            {
                return None;
            }
            let directive =
                |key: &str| key == RETAIN_KEYS || key.starts_with(ORDER) || key.starts_with(DELETE_VALUES);
            let fields = fields
                .into_iter()
                .filter(|(key, value)| !directive(key) && !value.is_null());
            let fields = fields.filter_map(|(key, value)| Some((key, without_directive(value)?)));
            Some(Value::Object(fields.collect()))
        }
        Value::Array(items) => Some(Value::Array(without_directives(items))),
        other => Some(other),
    }
}

fn without_directives(items: Vec<Value>) -> Vec<Value> {
    let only_replace = |item: &Value| {
        item.as_object()
            .is_some_and(|fields| fields.len() == 1 && fields.contains_key(PATCH))
    };
    items
        .into_iter()
        .filter(|item| !only_replace(item))
        .filter_map(without_directive)
        .collect()
}

fn unprocessable(message: String) -> Status {
    Status::new(422, StatusReason::Invalid, message)
}

fn no_merge_key(fields: &Fields, merge_key: &str) -> Status {
    let fields = Value::Object(fields.clone());
    unprocessable(format!(
        "map: {fields} does not contain declared merge key: {merge_key}"
    ))
}

fn unknown_directive(directive: &Value, fields: &Fields) -> Status {
    let fields = Value::Object(fields.clone());
    Status::bad_request(format!("unknown patch type: {directive} in map: {fields}"))
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(target: &Value, patch: &Value) -> Result<Value, Status> {
        let object = Object::from_value(target.clone()).unwrap();
        strategic(&object, patch, &Schema::of_kind("", "v1", "Pod")).map(Object::into_value)
    }

    fn check(target: Value, patch: Value, wanted: Value) {
        assert_eq!(patched(&target, &patch).unwrap(), wanted, "{patch} on {target}");
    }

    fn containers(list: Value) -> Value {
        json!({"spec": {"containers": list}})
    }

    #[test]
    fn err_long_lists_are_merged_in_time() {
        let many = |from: u32| -> Value {
            (from..from + 60_000)
                .map(|one| json!(format!("e/{one}")))
                .collect()
        };
        let target = json!({"metadata": {"finalizers": many(0)}, "spec": {"containers": []}});
        let start = std::time::Instant::now();
        let patch = json!({"metadata": {"finalizers": many(30_000), "$deleteFromPrimitiveList/finalizers": many(10)}});
        patched(&target, &patch).unwrap();
        assert!(
            start.elapsed() < std::time::Duration::from_secs(30),
            "{:?}",
            start.elapsed()
        );
    }

    #[test]
    fn lists_merge_by_their_key() {
        check(
            containers(json!([{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}])),
            containers(json!([{"name": "a", "image": "y", "args": ["2"]}])),
            containers(json!([{"name": "a", "image": "y", "args": ["2"]}, {"name": "b"}])),
        );
        check(
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "b", "$patch": "delete"}])),
            containers(json!([{"name": "a"}])),
        );
        check(
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "c"}, {"$patch": "replace"}])),
            containers(json!([{"name": "c"}])),
        );
        check(
            json!({"spec": {}}),
            containers(json!([{"name": "a", "image": null}])),
            containers(json!([{"name": "a"}])),
        );
        check(
            json!({}),
            containers(json!([{"name": "a", "$patch": "delete"}])),
            containers(json!([])),
        );
    }

    #[test]
    fn new_items_come_before_those_that_the_patch_does_not_name() {
        check(
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "c"}])),
            containers(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}])),
        );
    }

    #[test]
    fn an_order_is_kept() {
        check(
            containers(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}])),
            json!({"spec": {
                "$setElementOrder/containers": [{"name": "c"}, {"name": "d"}, {"name": "a"}],
                "containers": [{"name": "d", "image": "x"}],
            }}),
            containers(json!([{"name": "b"}, {"name": "c"}, {"name": "d", "image": "x"}, {"name": "a"}])),
        );
        check(
            containers(json!([{"name": "a"}, {"name": "b"}])),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
            containers(json!([{"name": "b"}, {"name": "a"}])),
        );
    }

    #[test]
    fn plain_lists_are_replaced_and_sets_merge() {
        check(
            json!({"spec": {"tolerations": [{"key": "a"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"finalizers": ["c"]}}),
            json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}}),
            json!({"metadata": {"finalizers": ["b"]}}),
        );
    }

    #[test]
    fn maps_can_be_replaced_deleted_and_cut() {
        check(
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}}),
            json!({"metadata": {"labels": {"c": "3"}}}),
        );
        check(
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({"metadata": {"labels": {"a": null, "b": null}}}),
            json!({"metadata": {"labels": {}}}),
        );
        check(
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}}),
        );
        check(
            json!({"spec": {"securityContext": {"runAsUser": 1}}}),
            json!({"spec": {"securityContext": {"$patch": "delete"}}}),
            json!({"spec": {"securityContext": {}}}),
        );
    }

    #[test]
    fn err_patches_without_form_are_refused() {
        let target = containers(json!([{"name": "a"}]));
        let cases = [
            (json!([]), 400, "Invalid JSON document"),
            (
                containers(json!([{"image": "x"}])),
                422,
                "map: {\"image\":\"x\"} does not contain declared merge key: name",
            ),
            (
                containers(json!(["x"])),
                422,
                "expected a map with the key \"name\", found \"x\"",
            ),
            (
                json!({"spec": {"$patch": "burn"}}),
                400,
                "unknown patch type: \"burn\" in map: {}",
            ),
            (
                json!({"spec": {"$retainKeys": 1}}),
                400,
                "invalid patch format of retainKeys",
            ),
            (
                json!({"spec": {"$setElementOrder/containers": 1}}),
                400,
                "invalid patch format of setElementOrder list",
            ),
        ];
        for (patch, code, message) in cases {
            let status = patched(&target, &patch).unwrap_err();
            assert_eq!((status.code, status.message.as_str()), (code, message), "{patch}");
        }
        let widget = strategic(&Object::default(), &json!({}), &Schema::unknown());
        assert_eq!(widget.unwrap_err().code, 415);
    }
}
