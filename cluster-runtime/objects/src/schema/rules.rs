//! The value rules of a custom resource's schema: what a definition says of values beyond their names.
//!
//! Rules are those of `apiextensions.k8s.io/v1` structural schemas; messages are worded as Kubernetes words them.
//! Not done: `x-kubernetes-validations` (CEL), and formats other than those in [`Format`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use regex::Regex;
use serde_json::{Map, Value};

use crate::validate::Faults;

/// What a value must be. An empty one takes everything.
#[derive(Debug, Default)]
pub(super) struct Rule {
    kind: Option<Kind>,
    nullable: bool,
    int_or_string: bool,
    /// Unknown fields are kept.
    open: bool,
    /// A whole object of some kind: type and metadata are kept.
    embedded: bool,
    required: Vec<String>,
    properties: BTreeMap<String, Rule>,
    additional: Option<Box<Rule>>,
    items: Option<Box<Rule>>,
    choices: Vec<Value>,
    format: Option<Format>,
    pattern: Option<(String, Regex)>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    multiple_of: Option<f64>,
    length: Sizes,
    count: Sizes,
    fields: Sizes,
    /// Items of a list are told apart by these fields, or as a whole where there are none.
    keys: Option<Vec<String>>,
    all_of: Vec<Rule>,
    any_of: Vec<Rule>,
    one_of: Vec<Rule>,
    not: Option<Box<Rule>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    Text,
    Integer,
    Number,
    Boolean,
}

/// Formats that are checked; others are notes for the reader.
#[derive(Clone, Copy, Debug)]
enum Format {
    DateTime,
    Date,
    Ipv4,
    Ipv6,
    Uuid,
}

#[derive(Debug)]
struct Bound {
    value: f64,
    exclusive: bool,
}

#[derive(Debug, Default)]
struct Sizes {
    min: Option<u64>,
    max: Option<u64>,
}

impl Kind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Object, "object"),
        (Self::Array, "array"),
        (Self::Text, "string"),
        (Self::Integer, "integer"),
        (Self::Number, "number"),
        (Self::Boolean, "boolean"),
    ];

    fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind)
    }

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.map_or("", |(_, name)| name)
    }

    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Text => value.is_string(),
            Self::Integer => is_integer(value),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Format {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date-time" => Self::DateTime,
            "date" => Self::Date,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Uuid => "uuid",
        }
    }

    fn takes(self, text: &str) -> bool {
        match self {
            Self::DateTime => text.parse::<jiff::Timestamp>().is_ok(),
            Self::Date => text.parse::<jiff::civil::Date>().is_ok(),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Uuid => is_uuid(text),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hexadecimal = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hexadecimal)
}

impl Rule {
    /// Reads a schema. What is not understood is no rule; a definition's own checks say what is wrong with it.
    pub(super) fn of(schema: &Value) -> Self {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        let list = |key: &str| {
            schema
                .get(key)
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice)
        };
        let rules = |key: &str| list(key).iter().map(Self::of).collect();
        let texts = |key: &str| {
            let texts = list(key).iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect::<Vec<_>>()
        };
        let one = |key: &str| {
            let schema = schema.get(key).filter(|schema| schema.is_object());
            schema.map(|schema| Box::new(Self::of(schema)))
        };
        let bound = |key: &str, exclusive: &str| {
            let value = schema.get(key)?.as_f64()?;
            let exclusive = flag(exclusive);
            Some(Bound { value, exclusive })
        };
        let sizes = |min: &str, max: &str| Sizes {
            min: schema.get(min).and_then(Value::as_u64),
            max: schema.get(max).and_then(Value::as_u64),
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let pattern = Some(text("pattern")).filter(|pattern| !pattern.is_empty());
        Self {
            kind: Kind::named(text("type")),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            open: flag("x-kubernetes-preserve-unknown-fields")
                || schema.get("additionalProperties") == Some(&Value::Bool(true)),
            embedded: flag("x-kubernetes-embedded-resource"),
            required: texts("required"),
            properties: properties
                .into_iter()
                .flatten()
                .map(|(name, property)| (name.clone(), Self::of(property)))
                .collect(),
            additional: one("additionalProperties"),
            items: one("items"),
            choices: list("enum").to_vec(),
            format: Format::named(text("format")),
            pattern: pattern.and_then(|pattern| Some((pattern.to_owned(), Regex::new(pattern).ok()?))),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
            length: sizes("minLength", "maxLength"),
            count: sizes("minItems", "maxItems"),
            fields: sizes("minProperties", "maxProperties"),
            keys: match text("x-kubernetes-list-type") {
                "map" => Some(texts("x-kubernetes-list-map-keys")),
                "set" => Some(Vec::new()),
                _ if flag("uniqueItems") => Some(Vec::new()),
                _ => None,
            },
            all_of: rules("allOf"),
            any_of: rules("anyOf"),
            one_of: rules("oneOf"),
            not: one("not"),
        }
    }

    /// Takes away the fields that the schema does not know. Type and metadata of the object itself stay.
    pub(super) fn prune(&self, object: &mut Map<String, Value>) {
        self.prune_fields(object, true);
    }

    fn prune_fields(&self, fields: &mut Map<String, Value>, is_object: bool) {
        let own = |name: &str| is_object && matches!(name, "apiVersion" | "kind" | "metadata");
        // A map, and an object of which nothing more is said, has fields of any name.
        if !self.open && self.additional.is_none() {
            fields.retain(|name, _| own(name) || self.properties.contains_key(name));
        }
        for (name, value) in fields.iter_mut().filter(|(name, _)| !own(name)) {
            match (self.properties.get(name), &self.additional) {
                (Some(rule), _) => rule.prune_value(value),
                (None, Some(rule)) => rule.prune_value(value),
                (None, None) => {}
            }
        }
    }

    fn prune_value(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => self.prune_fields(fields, self.embedded),
            Value::Array(items) => {
                if let Some(rule) = &self.items {
                    items.iter_mut().for_each(|item| rule.prune_value(item));
                }
            }
            _ => {}
        }
    }

    /// Finds what is wrong with an object.
    pub(super) fn validate(&self, object: &Map<String, Value>, faults: &mut Faults) {
        let mut path = String::new();
        self.check_fields(object, true, &mut path, faults);
        self.check_logic(&Value::Object(object.clone()), &path, faults);
    }

    fn check(&self, value: &Value, path: &mut String, faults: &mut Faults) {
        if value.is_null() {
            // Defaulting and pruning leave a null only where it is meant.
            if !self.nullable && self.kind.is_some() {
                self.mistyped(value, path, faults);
            }
            return;
        }
        if self.int_or_string {
            if !is_integer(value) && !value.is_string() {
                let why = format!(
                    "{path} in body must be of type integer,string: {:?}",
                    type_name(value)
                );
                faults.add(
                    "FieldValueTypeInvalid",
                    path,
                    format!("Invalid value: {:?}: {why}", type_name(value)),
                );
                return;
            }
        } else if self.kind.is_some_and(|kind| !kind.takes(value)) {
            return self.mistyped(value, path, faults);
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let known: Vec<String> = self.choices.iter().map(Value::to_string).collect();
            let message = format!(
                "Unsupported value: {value}: supported values: {}",
                known.join(", ")
            );
            faults.add("FieldValueNotSupported", path, message);
        }
        match value {
            Value::Object(fields) => self.check_fields(fields, self.embedded, path, faults),
            Value::Array(items) => self.check_items(items, path, faults),
            Value::String(text) => self.check_text(text, path, faults),
            Value::Number(_) => self.check_number(value, path, faults),
            Value::Null | Value::Bool(_) => {}
        }
        self.check_logic(value, path, faults);
    }

    fn mistyped(&self, value: &Value, path: &str, faults: &mut Faults) {
        let expected = self.kind.map_or("", Kind::name);
        let found = type_name(value);
        let message =
            format!("Invalid value: {found:?}: {path} in body must be of type {expected}: {found:?}");
        faults.add("FieldValueTypeInvalid", path, message);
    }

    fn check_fields(
        &self,
        fields: &Map<String, Value>,
        is_object: bool,
        path: &mut String,
        faults: &mut Faults,
    ) {
        for name in &self.required {
            if !fields.contains_key(name) {
                let field = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                faults.add("FieldValueRequired", &field, "Required value".to_owned());
            }
        }
        let count = fields.len() as u64;
        if let Some(max) = self.fields.max.filter(|max| count > *max) {
            let message = format!("Too many: {count}: must have at most {max} items");
            faults.add("FieldValueTooMany", path, message);
        }
        if let Some(min) = self.fields.min.filter(|min| count < *min) {
            let value = Value::Object(fields.clone());
            invalid(
                &value,
                path,
                &format!("should have at least {min} properties"),
                faults,
            );
        }
        for (name, value) in fields {
            if is_object && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                continue;
            }
            let Some(rule) = self.properties.get(name).or(self.additional.as_deref()) else {
                continue;
            };
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            rule.check(value, path, faults);
            path.truncate(length);
        }
    }

    fn check_items(&self, items: &[Value], path: &mut String, faults: &mut Faults) {
        let count = items.len() as u64;
        if let Some(max) = self.count.max.filter(|max| count > *max) {
            let message = format!("Too many: {count}: must have at most {max} items");
            faults.add("FieldValueTooMany", path, message);
        }
        if let Some(min) = self.count.min.filter(|min| count < *min) {
            let value = Value::Array(items.to_vec());
            invalid(&value, path, &format!("should have at least {min} items"), faults);
        }
        if let Some(keys) = &self.keys {
            check_unique(items, keys, path, faults);
        }
        let Some(rule) = &self.items else { return };
        for (index, item) in items.iter().enumerate() {
            let length = path.len();
            let _ = write!(path, "[{index}]");
            rule.check(item, path, faults);
            path.truncate(length);
        }
    }

    fn check_text(&self, text: &str, path: &str, faults: &mut Faults) {
        let length = text.chars().count() as u64;
        if let Some(max) = self.length.max.filter(|max| length > *max) {
            let message = format!("Too long: may not be more than {max} bytes");
            faults.add("FieldValueTooLong", path, message);
        }
        let value = Value::from(text);
        if let Some(min) = self.length.min.filter(|min| length < *min) {
            invalid(
                &value,
                path,
                &format!("should be at least {min} chars long"),
                faults,
            );
        }
        if let Some((pattern, _)) = self.pattern.as_ref().filter(|(_, regex)| !regex.is_match(text)) {
            invalid(&value, path, &format!("should match '{pattern}'"), faults);
        }
        if let Some(format) = self.format.filter(|format| !format.takes(text)) {
            let why = format!("must be of type {}: {text:?}", format.name());
            invalid(&value, path, &why, faults);
        }
    }

    fn check_number(&self, value: &Value, path: &str, faults: &mut Faults) {
        let Some(number) = value.as_f64() else { return };
        if let Some(bound) = &self.minimum {
            let fits = if bound.exclusive {
                number > bound.value
            } else {
                number >= bound.value
            };
            if !fits {
                let than = if bound.exclusive { "" } else { " or equal to" };
                invalid(
                    value,
                    path,
                    &format!("should be greater than{than} {}", bound.value),
                    faults,
                );
            }
        }
        if let Some(bound) = &self.maximum {
            let fits = if bound.exclusive {
                number < bound.value
            } else {
                number <= bound.value
            };
            if !fits {
                let than = if bound.exclusive { "" } else { " or equal to" };
                invalid(
                    value,
                    path,
                    &format!("should be less than{than} {}", bound.value),
                    faults,
                );
            }
        }
        if let Some(of) = self.multiple_of.filter(|of| *of > 0.0) {
            let times = number / of;
            if (times - times.round()).abs() > 1e-9 {
                invalid(value, path, &format!("should be a multiple of {of}"), faults);
            }
        }
    }

    fn check_logic(&self, value: &Value, path: &str, faults: &mut Faults) {
        let passes = |rule: &Self| {
            let mut found = Faults::default();
            rule.check(value, &mut path.to_owned(), &mut found);
            found.is_empty()
        };
        for rule in &self.all_of {
            rule.check(value, &mut path.to_owned(), faults);
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(passes) {
            logic(value, path, "must validate at least one schema (anyOf)", faults);
        }
        if !self.one_of.is_empty() && self.one_of.iter().filter(|rule| passes(rule)).count() != 1 {
            logic(
                value,
                path,
                "must validate one and only one schema (oneOf)",
                faults,
            );
        }
        if self.not.as_deref().is_some_and(passes) {
            logic(value, path, "must not validate the schema (not)", faults);
        }
    }
}

fn invalid(value: &Value, path: &str, why: &str, faults: &mut Faults) {
    let message = format!("Invalid value: {value}: {path} in body {why}");
    faults.add("FieldValueInvalid", path, message);
}

fn logic(value: &Value, path: &str, why: &str, faults: &mut Faults) {
    let field = if path.is_empty() { "<nil>" } else { path };
    faults.add(
        "FieldValueInvalid",
        field,
        format!("Invalid value: {value}: {path:?} {why}"),
    );
}

/// Items that are alike, as a whole or in their keys.
fn check_unique(items: &[Value], keys: &[String], path: &str, faults: &mut Faults) {
    let mut seen = std::collections::HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let mark = if keys.is_empty() {
            item.clone()
        } else {
            let parts = keys
                .iter()
                .map(|key| (key.clone(), item.get(key).cloned().unwrap_or_default()));
            Value::Object(parts.collect())
        };
        if !seen.insert(mark.to_string()) {
            let message = format!("Duplicate value: {mark}");
            faults.add("FieldValueDuplicate", &format!("{path}[{index}]"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: Value, object: Value) -> Vec<String> {
        let rule = Rule::of(&json!({"type": "object", "properties": {"spec": schema}}));
        let mut faults = Faults::default();
        let object = json!({"apiVersion": "example.com/v1", "kind": "W", "metadata": {}, "spec": object});
        rule.validate(object.as_object().unwrap(), &mut faults);
        let causes = faults.into_causes().into_iter();
        causes
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn values_are_held_against_their_rules() {
        let check = |schema: Value, value: Value, expected: &[&str]| {
            assert_eq!(found(schema.clone(), value.clone()), expected, "{schema} {value}");
        };
        let size = json!({"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9, "exclusiveMaximum": true}}});
        check(size.clone(), json!({"size": 3}), &[]);
        check(size.clone(), json!({}), &["spec.size: Required value"]);
        check(
            size.clone(),
            json!({"size": "3"}),
            &["spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\""],
        );
        check(
            size.clone(),
            json!({"size": 0}),
            &["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"],
        );
        check(
            size,
            json!({"size": 9}),
            &["spec.size: Invalid value: 9: spec.size in body should be less than 9"],
        );
        check(
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            &["spec: Unsupported value: \"c\": supported values: \"a\", \"b\""],
        );
        check(
            json!({"type": "string", "pattern": "^a+$", "minLength": 2, "maxLength": 3}),
            json!("b"),
            &[
                "spec: Invalid value: \"b\": spec in body should be at least 2 chars long",
                "spec: Invalid value: \"b\": spec in body should match '^a+$'",
            ],
        );
        check(
            json!({"type": "array", "maxItems": 1, "items": {"type": "string", "format": "ipv4"}}),
            json!(["1.2.3.4", "x"]),
            &[
                "spec: Too many: 2: must have at most 1 items",
                "spec[1]: Invalid value: \"x\": spec[1] in body must be of type ipv4: \"x\"",
            ],
        );
        check(
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
            json!([{"name": "a"}, {"name": "a", "more": 1}]),
            &["spec[1]: Duplicate value: {\"name\":\"a\"}"],
        );
        check(json!({"x-kubernetes-int-or-string": true}), json!("50%"), &[]);
        check(json!({"type": "string", "nullable": true}), Value::Null, &[]);
        check(
            json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"}),
            json!({"a": 1, "b": 2}),
            &[
                "spec: Invalid value: {\"a\":1,\"b\":2}: \"spec\" must validate one and only one schema (oneOf)",
            ],
        );
    }

    #[test]
    fn unknown_fields_are_pruned_where_the_schema_is_closed() {
        let check = |schema: Value, value: Value, expected: Value| {
            let rule = Rule::of(&json!({"type": "object", "properties": {"spec": schema}}));
            let mut object = json!({"apiVersion": "v1", "metadata": {"x": 1}, "spec": value, "more": 1});
            rule.prune(object.as_object_mut().unwrap());
            assert_eq!(
                object,
                json!({"apiVersion": "v1", "metadata": {"x": 1}, "spec": expected})
            );
        };
        let closed =
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}}}});
        check(
            closed,
            json!({"a": {"b": 1, "c": 2}, "d": 3}),
            json!({"a": {"b": 1}}),
        );
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        check(open, json!({"a": {"b": 1}}), json!({"a": {"b": 1}}));
        let map =
            json!({"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {}}}});
        check(map, json!({"any": {"a": 1, "b": 2}}), json!({"any": {"a": 1}}));
        let list = json!({"type": "array", "items": {"type": "object", "properties": {"a": {}}}});
        check(list, json!([{"a": 1, "b": 2}]), json!([{"a": 1}]));
        let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true});
        check(
            embedded,
            json!({"kind": "Pod", "spec": {"b": 2}}),
            json!({"kind": "Pod", "spec": {"b": 2}}),
        );
    }
}
