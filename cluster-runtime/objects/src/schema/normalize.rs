//! Bringing an object into the form in which it is kept: no `null`, quantities in their canonical text.

use serde_json::{Map, Value};

use super::Schema;
use super::types::{Shape, TypeDef};
use crate::Object;
use crate::quantity::Quantity;

impl Schema {
    /// Removes fields that are `null` (they mean absent) and writes quantities as Kubernetes writes them.
    ///
    /// Done to every object that a client sends, after [`Schema::check`] and before defaulting. What the schema
    /// does not know is left alone.
    pub fn normalize(&self, object: &mut Object) {
        if let Shape::Object(root) = &self.shape {
            normalize_object(root, object.fields_mut());
        }
    }
}

fn normalize_object(of: &TypeDef, fields: &mut Map<String, Value>) {
    let known = |key: &str| of.field(key);
    fields.retain(|key, value| !value.is_null() || known(key).is_none());
    for (key, value) in fields.iter_mut() {
        if let Some(field) = known(key) {
            normalize_value(&field.shape, value);
        }
    }
}

fn normalize_value(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(of), Value::Object(fields)) => normalize_object(of, fields),
        (Shape::List(list), Value::Array(items)) if !matches!(list.items, Shape::Any | Shape::Text) => {
            items
                .iter_mut()
                .for_each(|item| normalize_value(&list.items, item));
        }
        (Shape::Map(map), Value::Object(entries)) => {
            for item in entries.values_mut() {
                match (&map.values, &item) {
                    (Shape::Text | Shape::Bytes, Value::Null) => *item = Value::String(String::new()),
                    (values, _) => normalize_value(values, item),
                }
            }
        }
        (Shape::Quantity, value) => {
            if let Ok(quantity) = Quantity::from_value(value) {
                *value = quantity.to_string().into();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_go_and_quantities_become_canonical() {
        let mut pod = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"creationTimestamp": null, "labels": {"a": null}},
            "spec": {"containers": [{
                "name": "a", "args": null, "unknown": null,
                "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
            }]},
        }))
        .unwrap();
        Schema::of_kind("", "v1", "Pod").normalize(&mut pod);
        let wanted = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": ""}},
            "spec": {"containers": [{
                "name": "a", "unknown": null,
                "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
            }]},
        });
        assert_eq!(pod.into_value(), wanted);
    }
}
