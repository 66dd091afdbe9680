//! What the API says of an object that a chart renders, without asking a cluster.

use chart_model::File;
use chart_render::{ObjectFault, Severity};
use chart_values::yaml::{documents, from_yaml};
use chart_values::{Map, Value};
use cluster_objects::registry::{KindRow, Registry, rows_of_definition};
use cluster_objects::{GroupVersionKind, Object};

/// The kinds of the bundled API, and those that a chart brings with it.
pub(crate) struct ApiJudge {
    kinds: Registry,
}

impl ApiJudge {
    /// Knows the bundled API, and the definitions in `crds/` of a chart.
    pub(crate) fn new(files: &[File]) -> ApiJudge {
        let mut kinds = Registry::builtin();
        for file in files.iter().filter(|file| is_definitions(&file.name)) {
            let text = file.text();
            for (_, document) in documents(&text) {
                // What cannot be read defines nothing; the lint of the file says so.
                let Ok(value @ Value::Map(_)) = from_yaml(document) else {
                    continue;
                };
                let Ok(definition) = Object::from_value(to_json(&value)) else {
                    continue;
                };
                if definition.kind() == "CustomResourceDefinition" {
                    for row in rows_of_definition(&definition) {
                        kinds.insert(row);
                    }
                }
            }
        }
        ApiJudge { kinds }
    }

    /// What is wrong with an object; nothing of a kind that nobody here knows.
    pub(crate) fn faults(&self, object: &Map) -> Vec<ObjectFault> {
        let Ok(object) = Object::from_value(to_json(&Value::Map(object.clone()))) else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        if object.kind() == "List" || object.kind().ends_with("List") {
            for item in object.list(&["items"]) {
                if let Ok(item) = Object::from_value(item.clone()) {
                    self.judge(item, &mut faults);
                }
            }
        } else {
            self.judge(object, &mut faults);
        }
        faults
    }

    fn judge(&self, object: Object, faults: &mut Vec<ObjectFault>) {
        let kind = GroupVersionKind::new(object.api_version(), object.kind());
        let Some(row) = self.kinds.by_kind(&kind) else {
            return;
        };
        let found = row.schema.check(&object);
        for field in found.unknown {
            faults.push(ObjectFault {
                severity: Severity::Warning,
                message: format!("unknown field {field:?}"),
                field,
            });
        }
        if let Some(message) = found.mistyped {
            // The API takes no such object, and what else is wrong with it cannot be told.
            faults.push(ObjectFault {
                severity: Severity::Error,
                field: mistyped_field(&message).unwrap_or_default().to_owned(),
                message,
            });
            return;
        }
        for cause in validate(row, object) {
            // The schema of a custom resource is certain; the rules of built-in kinds know more than charts may tell.
            let is_mistyped = cause.reason == "FieldValueTypeInvalid";
            faults.push(ObjectFault {
                severity: if is_mistyped {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                message: format!("{}: {}", cause.field, cause.message),
                field: cause.field,
            });
        }
    }
}

/// Validates a new object as the API server does: in a namespace, with a name, and with defaults filled in.
fn validate(row: &KindRow, mut object: Object) -> Vec<cluster_objects::StatusCause> {
    if row.namespaced && object.namespace().is_none() {
        object.set(&["metadata", "namespace"], "default");
    }
    if let Some(prefix) = object.text(&["metadata", "generateName"]).map(str::to_owned)
        && object.name().is_empty()
    {
        object.set(&["metadata", "name"], format!("{prefix}12345"));
    }
    row.apply_defaults(&mut object);
    row.prepare_for_create(&mut object);
    row.validate_create(&object)
}

/// The field that a decoder's message names: `... into Go struct field DeploymentSpec.spec.replicas of type int32`.
fn mistyped_field(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("struct field ")?;
    let (field, _) = rest.split_once(' ')?;
    Some(field.split_once('.').map_or(field, |(_, path)| path))
}

fn is_definitions(name: &str) -> bool {
    let ending = [".yaml", ".yml", ".json"]
        .iter()
        .any(|ending| name.ends_with(ending));
    ending && (name.starts_with("crds/") || name.contains("/crds/"))
}

/// The same as JSON; whole numbers, which YAML gives as floats, become integers.
fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => whole(*number).map_or_else(|| (*number).into(), Into::into),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), to_json(value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "only numbers that are whole and small enough"
)]
fn whole(number: f64) -> Option<i64> {
    const SAFE: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= SAFE).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let Ok(Value::Map(object)) = from_yaml(text) else {
            panic!("{text}");
        };
        let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: apples.shop.io}\n\
                   spec:\n  group: shop.io\n  scope: Namespaced\n  names: {plural: apples, kind: Apple}\n  versions:\n  \
                   - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        \
                   properties: {spec: {type: object, properties: {size: {type: integer}}}}\n";
        let file = File {
            name: "crds/apple.yaml".into(),
            data: crd.as_bytes().into(),
        };
        let faults = ApiJudge::new(&[file]).faults(&object);
        let texts: Vec<String> = faults
            .iter()
            .map(|fault| format!("{} {}: {}", fault.severity, fault.field, fault.message))
            .collect();
        assert_eq!(texts, expected, "{text}");
    }

    #[test]
    fn objects_that_are_right_are_left_alone() {
        check(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}",
            &[],
        );
        check(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}",
            &[],
        );
        check("apiVersion: unknown/v1\nkind: Thing\nfoo: 1", &[]);
        check(
            "apiVersion: shop.io/v1\nkind: Apple\nmetadata: {name: a}\nspec: {size: 3}",
            &[],
        );
        check(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replicas: 2\n  selector: {matchLabels: {a: b}}\n  \
             template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: d}]}",
            &[],
        );
    }

    #[test]
    fn err_what_the_api_would_refuse_is_found() {
        check(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: d, imagee: e}]}",
            &["WARNING spec.containers[0].imagee: unknown field \"spec.containers[0].imagee\""],
        );
        check(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 1}",
            &["ERROR data: json: cannot unmarshal number into Go struct field ConfigMap.data of type string"],
        );
        check(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}",
            &["WARNING spec.containers: spec.containers: Required value"],
        );
        check(
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, foo: 1}]",
            &["WARNING foo: unknown field \"foo\""],
        );
        check(
            "apiVersion: shop.io/v1\nkind: Apple\nmetadata: {name: a}\nspec: {size: x}",
            &[
                "ERROR spec.size: spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
            ],
        );
    }
}
