//! Comparing an object with its schema: fields that it does not know, values of another type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::Schema;
use super::types::{Shape, TypeDef};
use crate::nesting;
use crate::quantity::Quantity;
use crate::registry::KindRow;
use crate::{Object, Status};

/// Most unknown fields that are named, as in Kubernetes.
const UNKNOWN_MAX: usize = 100;

/// What is wrong with an object by its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Paths of unknown fields, as `spec.foo` or `spec.containers[0].imagee`.
    pub unknown: Vec<String>,
    /// The first value of a wrong type, worded as Kubernetes' decoder words it; the object cannot be taken.
    pub mistyped: Option<String>,
}

impl Findings {
    /// Each unknown field as the warning that Kubernetes sends: `unknown field "spec.foo"`.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().map(|path| format!("unknown field {path:?}"))
    }

    /// The 400 of an object that cannot be taken: a value of a wrong type, or, when `strict`, unknown fields.
    pub fn refusal(&self, row: &KindRow, strict: bool) -> Option<Status> {
        let why = match &self.mistyped {
            Some(why) => why.clone(),
            None if strict && !self.unknown.is_empty() => {
                format!(
                    "strict decoding error: {}",
                    self.warnings().collect::<Vec<_>>().join(", ")
                )
            }
            None => return None,
        };
        let (kind, version) = (&row.kind, &row.version);
        Some(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        )))
    }
}

impl Schema {
    /// Finds fields that the schema does not know, and values of another type than the schema says.
    ///
    /// Limits: names at most 100 unknown fields and the first mistyped value, as Kubernetes does. `null` is taken
    /// for every type: it reads as absent.
    pub fn check(&self, object: &Object) -> Findings {
        let mut walk = Walk {
            findings: Findings::default(),
            path: String::new(),
            fields: String::new(),
        };
        if nesting::check_object(object).is_err() {
            walk.findings.mistyped = Some("exceeded max depth".to_owned());
        } else if let Shape::Object(root) = &self.shape {
            walk.object(root, object.fields());
            if walk.findings.mistyped.is_some() && self.rules.is_some() {
                // Of what a definition says of values, its rules speak later, and of all faults at once.
                walk.findings.mistyped = mistyped_metadata(root, object);
            }
        }
        walk.findings
    }
}

fn mistyped_metadata(root: &TypeDef, object: &Object) -> Option<String> {
    let metadata = object.fields().get_key_value("metadata")?;
    let only = serde_json::Map::from_iter([(metadata.0.clone(), metadata.1.clone())]);
    let mut walk = Walk {
        findings: Findings::default(),
        path: String::new(),
        fields: String::new(),
    };
    walk.object(root, &only);
    walk.findings.mistyped
}

struct Walk {
    findings: Findings,
    /// Where the walk is, with list indexes.
    path: String,
    /// Where the walk is, as Go's decoder says it: field names only.
    fields: String,
}

/// What the field that is looked at is called in messages.
#[derive(Clone, Copy)]
struct Place<'a> {
    owner: &'a TypeDef,
}

impl Walk {
    fn object(&mut self, of: &TypeDef, fields: &serde_json::Map<String, Value>) {
        for (key, value) in fields {
            let Some(field) = of.field(key) else {
                if !of.open {
                    self.unknown(key);
                }
                continue;
            };
            let (path, names) = (self.path.len(), self.fields.len());
            push_key(&mut self.path, key);
            push_key(&mut self.fields, key);
            self.value(&field.shape, value, Place { owner: of });
            self.path.truncate(path);
            self.fields.truncate(names);
        }
    }

    fn value(&mut self, shape: &Shape, value: &Value, place: Place<'_>) {
        if value.is_null() || self.findings.mistyped.is_some() {
            return;
        }
        match (shape, value) {
            (Shape::Object(of), Value::Object(fields)) => self.object(of, fields),
            (Shape::List(list), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let path = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    self.value(&list.items, item, place);
                    self.path.truncate(path);
                }
            }
            (Shape::Map(map), Value::Object(entries)) => {
                for (key, item) in entries {
                    let path = self.path.len();
                    push_key(&mut self.path, key);
                    self.value(&map.values, item, place);
                    self.path.truncate(path);
                }
            }
            _ => self.findings.mistyped = self.scalar_fault(shape, value, place),
        }
    }

    fn unknown(&mut self, key: &str) {
        if self.findings.unknown.len() < UNKNOWN_MAX {
            let mut path = self.path.clone();
            push_key(&mut path, key);
            self.findings.unknown.push(path);
        }
    }

    fn scalar_fault(&self, shape: &Shape, value: &Value, place: Place<'_>) -> Option<String> {
        let integer = |most: i64, least: i64| {
            value
                .as_i64()
                .is_some_and(|number| (least..=most).contains(&number))
        };
        let fits = match shape {
            Shape::Any => true,
            Shape::Text => value.is_string(),
            Shape::Boolean => value.is_boolean(),
            Shape::Int32 => integer(i32::MAX.into(), i32::MIN.into()),
            Shape::Int64 => integer(i64::MAX, i64::MIN),
            Shape::Double => value.is_number(),
            Shape::Quantity => {
                return Quantity::from_value(value).err().map(|error| error.to_string());
            }
            Shape::IntOrString => {
                if value.is_string() || integer(i32::MAX.into(), i32::MIN.into()) {
                    return None;
                }
                return Some(format!(
                    "json: cannot unmarshal {} into Go value of type int32",
                    found(value)
                ));
            }
            Shape::Bytes => match value.as_str() {
                Some(text) => return base64_fault(text),
                None => false,
            },
            Shape::Time | Shape::MicroTime => match value.as_str() {
                Some(text) => return time_fault(text),
                None => {
                    return Some(format!(
                        "json: cannot unmarshal {} into Go value of type string",
                        found(value)
                    ));
                }
            },
            Shape::Object(_) | Shape::List(_) | Shape::Map(_) => false,
        };
        if fits {
            return None;
        }
        let owner = place.owner.name.rsplit('.').next().unwrap_or_default();
        Some(format!(
            "json: cannot unmarshal {} into Go struct field {owner}.{} of type {}",
            found(value),
            self.fields,
            go_type(shape),
        ))
    }
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

/// What a value is, as Go's decoder says it.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if number.is_i64() => "number".to_owned(),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// What Go calls the type of a shape.
fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Any => "interface {}".to_owned(),
        Shape::Text => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::Object(of) => {
            let mut parts = of.name.rsplit('.');
            let name = parts.next().unwrap_or_default();
            format!("{}.{name}", parts.next().unwrap_or("v1"))
        }
        Shape::List(list) => format!("[]{}", go_type(&list.items)),
        Shape::Map(map) => format!("map[string]{}", go_type(&map.values)),
    }
}

fn base64_fault(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64.decode(&plain).err()?;
    let alphabet = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let at = plain.find(|c| !alphabet(c)).unwrap_or(plain.len() / 4 * 4);
    Some(format!("illegal base64 data at input byte {at}"))
}

fn time_fault(text: &str) -> Option<String> {
    if text.is_empty() || text.parse::<jiff::Timestamp>().is_ok() {
        return None;
    }
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    Some(format!(
        "parsing time {text:?} as {LAYOUT:?}: cannot parse {text:?} as \"2006\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value) -> Findings {
        let object = Object::from_value(value).unwrap();
        let kind = crate::GroupVersionKind::new(object.api_version(), object.kind());
        let registry = crate::registry::Registry::builtin();
        registry.by_kind(&kind).unwrap().schema.check(&object)
    }

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        let findings = check(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "extra": 1,
            "metadata": {"name": "web", "labels": {"any": "thing"}},
            "spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "a"}, {"imagee": "b"}]}}},
        }));
        assert_eq!(
            findings.unknown,
            ["extra", "spec.foo", "spec.template.spec.containers[1].imagee"]
        );
        assert_eq!(findings.mistyped, None);
        assert_eq!(
            findings.warnings().next().as_deref(),
            Some("unknown field \"extra\"")
        );
    }

    #[test]
    fn a_strict_refusal_names_all_unknown_fields() {
        let row = crate::registry::Registry::builtin();
        let row = row.by_group_kind("apps", "Deployment").unwrap();
        let findings = Findings {
            unknown: vec!["spec.foo".into(), "spec.bar".into()],
            mistyped: None,
        };
        assert!(findings.refusal(row, false).is_none());
        let status = findings.refusal(row, true).unwrap();
        assert_eq!(status.code, 400);
        assert_eq!(
            status.message,
            "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: \
             unknown field \"spec.foo\", unknown field \"spec.bar\""
        );
    }

    #[test]
    fn err_values_of_a_wrong_type_are_worded_as_go_words_them() {
        let deployment = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec});
        let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
        let container = |container: Value| pod(json!({"containers": [container]}));
        let cases = [
            (
                deployment(json!({"replicas": "three"})),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                deployment(json!({"replicas": 1.5})),
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                container(json!({"ports": {"containerPort": 80}})),
                "json: cannot unmarshal object into Go struct field Container.spec.containers.ports of type []v1.ContainerPort",
            ),
            (
                container(json!({"env": [{"name": "A", "value": 1}]})),
                "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
            ),
            (
                container(json!({"resources": {"limits": {"cpu": "lots"}}})),
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                container(json!({"livenessProbe": {"httpGet": {"port": true}}})),
                "json: cannot unmarshal bool into Go value of type int32",
            ),
            (
                json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "???"}}),
                "illegal base64 data at input byte 0",
            ),
            (
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"a": true}}}),
                "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}),
                "json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
            ),
        ];
        for (object, wanted) in cases {
            assert_eq!(
                check(object.clone()).mistyped.as_deref(),
                Some(wanted),
                "{object}"
            );
        }
    }

    #[test]
    fn null_and_numbers_for_quantities_are_taken() {
        let findings = check(json!({"apiVersion": "v1", "kind": "Pod", "spec": {
            "containers": [{"name": "a", "args": null, "resources": {"limits": {"cpu": 1.5}}}],
            "tolerations": null,
        }}));
        assert_eq!(findings, Findings::default());
    }
}
