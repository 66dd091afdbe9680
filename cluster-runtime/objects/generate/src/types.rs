//! The types and the file that they are written to.
//!
//! A type is a line `NAME SHAPE FLAGS DESCRIPTION`, each of its fields a line that starts with a tab and has the same
//! columns; columns are separated by tabs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::rust_source::{self, Strategy};

#[derive(Default)]
pub struct Types {
    types: BTreeMap<String, Type>,
}

struct Type {
    schema: Value,
    fields: BTreeMap<String, String>,
    strategies: Vec<(String, Strategy)>,
    group_version_kind: Option<(String, String)>,
    /// Flags by field; of the type itself under the empty name.
    flags: BTreeMap<String, BTreeMap<String, String>>,
}

impl Types {
    pub fn read(&mut self, text: &str) -> Result<(), String> {
        let Some(schema) = rust_source::json_schema(text)? else {
            return Ok(());
        };
        let name = rust_source::schema_name(text).ok_or("a schema without name")?;
        let read = Type {
            schema,
            fields: rust_source::field_names(text).into_iter().collect(),
            strategies: rust_source::strategies(text),
            group_version_kind: rust_source::group_version_kind(text),
            flags: BTreeMap::new(),
        };
        self.types.insert(name.to_owned(), read);
        Ok(())
    }

    /// Turns strategies into flags, with fields and keys as JSON has them.
    pub fn name_keys(&mut self) -> Result<(), String> {
        let mut all = Vec::new();
        for (name, read) in &self.types {
            for (field, strategy) in &read.strategies {
                let field = read
                    .fields
                    .get(field)
                    .ok_or_else(|| format!("{name} has no field {field}"))?;
                all.push((name.clone(), field.clone(), self.flags_of(read, field, strategy)?));
            }
        }
        for (name, field, flags) in all {
            if let Some(found) = self.types.get_mut(&name) {
                found.flags.insert(field, flags);
            }
        }
        Ok(())
    }

    fn flags_of(
        &self,
        read: &Type,
        field: &str,
        strategy: &Strategy,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut flags = BTreeMap::new();
        let mut set = |key: &str, value: String| drop(flags.insert(key.to_owned(), value));
        match strategy {
            Strategy::ListSet => set("list", "set".to_owned()),
            Strategy::MapAtomic => set("map", "atomic".to_owned()),
            Strategy::ListMap(keys) => {
                let item = &read.schema["properties"][field]["items"]["$ref"];
                let item = short_path(item.as_str().unwrap_or_default());
                let names = self.types.get(&item).map(|found| &found.fields);
                let json = |key: &String| {
                    let name = names.and_then(|names| names.get(key));
                    name.cloned().ok_or_else(|| format!("{item} has no field {key}"))
                };
                // The key of claim templates is in their metadata; a correction says what holds of that list.
                let keys: Vec<String> = if keys.iter().any(|key| key.contains('.')) {
                    Vec::new()
                } else {
                    keys.iter().map(json).collect::<Result<_, _>>()?
                };
                set("list", format!("map:{}", keys.join(",")));
                if let [key] = keys.as_slice() {
                    set("patch", format!("merge:{key}"));
                }
            }
        }
        Ok(flags)
    }

    /// Applies the lines of `corrections.txt`.
    pub fn correct(&mut self, text: &str) -> Result<(), String> {
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let (owner, field) = match self.types.contains_key(name) {
                true => (name, ""),
                false => name.rsplit_once('.').ok_or_else(|| format!("no type {name}"))?,
            };
            let found = self
                .types
                .get_mut(owner)
                .ok_or_else(|| format!("no type {owner}"))?;
            if !field.is_empty() && found.schema["properties"].get(field).is_none() {
                return Err(format!("{owner} has no field {field}"));
            }
            let flags = found.flags.entry(field.to_owned()).or_default();
            for word in words {
                let (key, value) = word.split_once('=').ok_or_else(|| format!("{line}: no `=`"))?;
                if value == "none" {
                    flags.remove(key);
                } else {
                    flags.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        Ok(())
    }

    /// The file: the types of the named groups and versions and all that they refer to.
    pub fn write(&self, groups: &str) -> Result<String, String> {
        let groups: BTreeSet<&str> = groups.lines().filter(|line| !line.starts_with('#')).collect();
        let of_group = |name: &&String| {
            name.rsplit_once('.')
                .is_some_and(|(group, _)| groups.contains(group))
        };
        let mut open: Vec<String> = self.types.keys().filter(of_group).cloned().collect();
        let mut chosen = BTreeSet::new();
        while let Some(name) = open.pop() {
            let found = self.types.get(&name).ok_or_else(|| format!("no type {name}"))?;
            if chosen.insert(name) {
                references(&found.schema, &mut open);
            }
        }
        let mut text = String::new();
        for name in chosen {
            self.types[&name].write(&name, &mut text)?;
        }
        Ok(text)
    }
}

impl Type {
    fn write(&self, name: &str, text: &mut String) -> Result<(), String> {
        let mut flags = self.flags.get("").cloned().unwrap_or_default();
        if let Some((api_version, kind)) = &self.group_version_kind {
            flags.insert("kind".to_owned(), format!("{api_version}:{kind}"));
        }
        line(text, name, &own_shape(name, &self.schema), &flags, &self.schema);
        let Some(properties) = self.schema["properties"].as_object() else {
            return Ok(());
        };
        let required: Vec<&str> = self.schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (field, schema) in properties {
            let mut flags = self.flags.get(field).cloned().unwrap_or_default();
            // k8s-openapi requires the metadata of every object of the API; Kubernetes does not.
            let metadata = field == "metadata" && self.group_version_kind.is_some();
            if required.contains(&field.as_str()) && !metadata {
                flags.insert("required".to_owned(), String::new());
            }
            let shape = shape(schema).ok_or_else(|| format!("{name}.{field}: unknown shape {schema}"))?;
            line(text, &format!("\t{field}"), &shape, &flags, schema);
        }
        Ok(())
    }
}

fn line(text: &mut String, name: &str, shape: &str, flags: &BTreeMap<String, String>, schema: &Value) {
    let flags: Vec<String> = flags
        .iter()
        .map(|(key, value)| {
            if value.is_empty() {
                key.clone()
            } else {
                format!("{key}={value}")
            }
        })
        .collect();
    let description = schema["description"].as_str().unwrap_or_default();
    let description = description
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\t', "\\t");
    let _ = writeln!(text, "{name}\t{shape}\t{}\t{description}", flags.join(" "));
}

/// What a type is by itself.
fn own_shape(name: &str, schema: &Value) -> String {
    let last = name.rsplit('.').next().unwrap_or_default();
    match last {
        "Quantity" => "quantity",
        "IntOrString" => "int-or-string",
        "Time" => "time",
        "MicroTime" => "micro-time",
        "RawExtension" | "FieldsV1" | "JSON" | "Patch" => "any",
        _ if schema.get("oneOf").is_some() => "any",
        _ => "object",
    }
    .to_owned()
}

/// What a field holds.
fn shape(schema: &Value) -> Option<String> {
    if let Some(path) = schema["$ref"].as_str() {
        return Some(format!("@{}", short_path(path)));
    }
    Some(match (schema["type"].as_str()?, schema["format"].as_str()) {
        ("string", Some("byte")) => "byte".to_owned(),
        ("string", _) => "string".to_owned(),
        ("boolean", _) => "boolean".to_owned(),
        ("integer", Some("int32")) => "int32".to_owned(),
        ("integer", _) => "int64".to_owned(),
        ("number", _) => "double".to_owned(),
        ("array", _) => format!("[]{}", shape(&schema["items"])?),
        ("object", _) => match schema.get("additionalProperties") {
            Some(values) => format!("{{}}{}", shape(values)?),
            None => "any".to_owned(),
        },
        _ => return None,
    })
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(path) = map.get("$ref").and_then(Value::as_str) {
                found.push(short_path(path));
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// `crate::api::core::v1::Pod` as `core.v1.Pod`.
fn short_path(path: &str) -> String {
    let path = path.strip_prefix("crate::").unwrap_or(path);
    let path = path.strip_prefix("api::").unwrap_or(path);
    let (area, rest) = path.split_once("::").unwrap_or((path, ""));
    format!("{}.{}", area.replace('_', "-"), rest.replace("::", "."))
}
