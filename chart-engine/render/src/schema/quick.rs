//! A quick yes for values that keep the rules of a usual schema.
//!
//! Making a validator of a schema and holding the schema against that of schemas takes several times as long as holding
//! the values against it, and most values are right. So the schema is walked once as it stands. The answer is yes only
//! when the schema is beyond doubt well-formed and the values surely keep it; rare keywords, odd numbers and everything
//! that is wrong are left to the validator, which also finds the words for it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::{BitAnd, Not};

use chart_values::{Map, Value};
use jsonschema::Draft;

use super::compile::draft_named;
use super::json::Json;
use super::patterns::Patterns;

/// How many nodes and comparisons are looked at before the validator is asked after all.
const STEPS_MAX: u64 = 2_000_000;

/// How deep schemas are followed.
const DEPTH_MAX: usize = 100;

/// Whether `values` surely keep a schema that is surely well-formed. A no says nothing.
pub(super) fn surely_valid(schema: &[u8], values: &Map) -> bool {
    let Ok(root) = serde_json::from_slice::<Json<'_>>(schema) else {
        return false;
    };
    let draft = match root.get("$schema") {
        None => Draft::Draft202012,
        Some(Json::String(uri)) => match draft_named(uri) {
            Ok(draft) => draft,
            Err(_) => return false,
        },
        Some(_) => return false,
    };
    // The oldest drafts differ from all others, by what they do not know among other things.
    if matches!(draft, Draft::Draft4 | Draft::Draft6) || !matches!(root, Json::Object(_)) {
        return false;
    }
    let judge = Judge {
        root: &root,
        draft,
        followed: RefCell::default(),
        patterns: Patterns::default(),
        steps: Cell::new(0),
    };
    judge.is_well_formed(&root, true, 0) && judge.map(&root, values, 0) == Verdict::Yes
}

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    Unsure,
}

impl From<bool> for Verdict {
    fn from(valid: bool) -> Verdict {
        if valid { Verdict::Yes } else { Verdict::No }
    }
}

impl BitAnd for Verdict {
    type Output = Verdict;

    fn bitand(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::No, _) | (_, Verdict::No) => Verdict::No,
            (Verdict::Yes, Verdict::Yes) => Verdict::Yes,
            _ => Verdict::Unsure,
        }
    }
}

impl Not for Verdict {
    type Output = Verdict;

    fn not(self) -> Verdict {
        match self {
            Verdict::Yes => Verdict::No,
            Verdict::No => Verdict::Yes,
            Verdict::Unsure => Verdict::Unsure,
        }
    }
}

/// The types of JSON Schema.
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Keywords with a meaning of their own that are left to the validator. All others that are not known here mean nothing
/// to any draft.
const RARE: [&str; 19] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
    "additionalItems",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependentRequired",
    "dependentSchemas",
    "id",
    "maxContains",
    "minContains",
    "multipleOf",
    "prefixItems",
    "propertyNames",
];

/// Formats that say something of a text. All others, as `int32`, mean nothing to any draft.
const FORMATS: [&str; 19] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "idn-email",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

struct Judge<'j> {
    root: &'j Json<'j>,
    draft: Draft,
    /// What references lead to, and was found well-formed.
    followed: RefCell<HashSet<*const Json<'j>>>,
    patterns: Patterns<'j>,
    steps: Cell<u64>,
}

impl<'j> Judge<'j> {
    /// Whether a reference replaces what stands beside it, and formats are more than remarks.
    fn is_old(&self) -> bool {
        self.draft == Draft::Draft7
    }

    /// Counts a step; tells whether there are any left.
    fn step(&self) -> bool {
        self.steps.set(self.steps.get() + 1);
        self.steps.get() <= STEPS_MAX
    }

    // The schema itself.

    fn is_well_formed(&self, schema: &'j Json<'j>, is_root: bool, depth: usize) -> bool {
        let entries = match schema {
            Json::Bool(_) => return true,
            Json::Object(entries) => entries,
            _ => return false,
        };
        depth < DEPTH_MAX
            && entries.iter().all(|(keyword, argument)| {
                self.step() && self.is_keyword_well_formed(keyword, argument, is_root, depth + 1)
            })
    }

    fn is_keyword_well_formed(
        &self,
        keyword: &str,
        argument: &'j Json<'j>,
        is_root: bool,
        depth: usize,
    ) -> bool {
        let is_schema = |schema: &'j Json<'j>| self.is_well_formed(schema, false, depth);
        match keyword {
            // Within the schema it changes nothing where it names the same draft.
            "$schema" => {
                is_root || matches!(argument, Json::String(uri) if draft_named(uri) == Ok(self.draft))
            }
            // At the root it changes nothing for references into the schema itself.
            "$id" => is_root && matches!(argument, Json::String(id) if is_plain_address(id)),
            "$ref" => self.is_reference_well_formed(argument, depth),
            "title" | "description" | "$comment" | "format" => matches!(argument, Json::String(_)),
            "readOnly" | "writeOnly" | "deprecated" | "uniqueItems" => matches!(argument, Json::Bool(_)),
            "examples" => matches!(argument, Json::Array(_)),
            "default" | "const" => true,
            "type" => match argument {
                Json::String(name) => TYPES.contains(&&**name),
                Json::Array(names) => {
                    self.are_names(names, |name| TYPES.contains(&name)) && !names.is_empty()
                }
                _ => false,
            },
            "required" => matches!(argument, Json::Array(names) if self.are_names(names, |_| true)),
            "enum" => matches!(argument, Json::Array(items) if !items.is_empty() && self.are_unique(items)),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                matches!(argument, Json::Number(_))
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                matches!(argument, Json::Number(number) if *number >= 0.0 && number.fract() == 0.0)
            }
            "pattern" => matches!(argument, Json::String(pattern) if self.patterns.has(pattern)),
            "patternProperties" => match argument {
                Json::Object(schemas) => schemas
                    .iter()
                    .all(|(pattern, schema)| self.patterns.has(pattern) && is_schema(schema)),
                _ => false,
            },
            // Later drafts have other keywords for it.
            "dependencies" => match argument {
                Json::Object(needs) if self.is_old() => needs.iter().all(|(_, need)| match need {
                    Json::Array(names) => self.are_names(names, |_| true),
                    schema => is_schema(schema),
                }),
                _ => false,
            },
            "properties" | "definitions" | "$defs" => match argument {
                Json::Object(schemas) => schemas.iter().all(|(_, schema)| is_schema(schema)),
                _ => false,
            },
            // A list of them is for the validator.
            "items" | "additionalProperties" | "not" | "if" | "then" | "else" => is_schema(argument),
            "allOf" | "anyOf" | "oneOf" => match argument {
                Json::Array(schemas) => !schemas.is_empty() && schemas.iter().all(is_schema),
                _ => false,
            },
            other => !RARE.contains(&other) && !other.starts_with("unevaluated"),
        }
    }

    fn are_names(&self, items: &[Json<'_>], known: impl Fn(&str) -> bool) -> bool {
        let is_name = |item: &Json<'_>| matches!(item, Json::String(name) if known(name));
        items.iter().all(is_name) && self.are_unique(items)
    }

    fn are_unique(&self, items: &[Json<'_>]) -> bool {
        let differs =
            |(at, item): (usize, &Json<'_>)| items[..at].iter().all(|other| self.step() && item != other);
        items.iter().enumerate().all(differs)
    }

    fn is_reference_well_formed(&self, argument: &'j Json<'j>, depth: usize) -> bool {
        let Some(target) = self.target(argument) else {
            return false;
        };
        // Marked before it is looked at, since it may refer to itself.
        !self.followed.borrow_mut().insert(target)
            || self.is_well_formed(target, std::ptr::eq(target, self.root), depth)
    }

    /// Where a reference into the schema itself leads.
    fn target(&self, reference: &Json<'j>) -> Option<&'j Json<'j>> {
        let Json::String(reference) = reference else {
            return None;
        };
        let path = reference.strip_prefix('#')?;
        if path.is_empty() {
            return Some(self.root);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-$".contains(&byte);
        if !path.bytes().all(plain) {
            return None;
        }
        path.strip_prefix('/')?
            .split('/')
            .try_fold(self.root, |found, part| found.get(part))
    }

    // Values.

    fn value(&self, schema: &'j Json<'j>, value: &Value, depth: usize) -> Verdict {
        if let Value::Map(map) = value {
            return self.map(schema, map, depth);
        }
        self.schema(schema, Subject::Value(value), depth)
    }

    fn map(&self, schema: &'j Json<'j>, map: &Map, depth: usize) -> Verdict {
        self.schema(schema, Subject::Map(map), depth)
    }

    fn schema(&self, schema: &'j Json<'j>, subject: Subject<'_>, depth: usize) -> Verdict {
        let entries = match schema {
            Json::Bool(allowed) => return (*allowed).into(),
            Json::Object(entries) => entries,
            _ => return Verdict::Unsure,
        };
        if depth > DEPTH_MAX {
            return Verdict::Unsure;
        }
        let mut verdict = Verdict::Yes;
        let mut of_reference = None;
        for (keyword, argument) in entries {
            if !self.step() {
                return Verdict::Unsure;
            }
            let found = self.keyword(schema, keyword, argument, subject, depth + 1);
            if keyword == "$ref" {
                of_reference = Some(found);
            } else {
                verdict = verdict & found;
            }
            if verdict == Verdict::No && !self.is_old() {
                return verdict;
            }
        }
        match of_reference {
            None => verdict,
            // What stands beside the reference means nothing: it matters here only if it says no.
            Some(found) if self.is_old() && verdict != Verdict::Yes => found & Verdict::Unsure,
            Some(found) => found & verdict,
        }
    }

    fn keyword(
        &self,
        schema: &'j Json<'j>,
        keyword: &str,
        argument: &'j Json<'j>,
        subject: Subject<'_>,
        depth: usize,
    ) -> Verdict {
        match (keyword, argument) {
            ("$ref", _) => match self.target(argument) {
                Some(target) => self.schema(target, subject, depth),
                None => Verdict::Unsure,
            },
            ("type", Json::String(name)) => subject.has_type(name).into(),
            ("type", Json::Array(names)) => {
                let fits = |name: &Json<'_>| matches!(name, Json::String(name) if subject.has_type(name));
                names.iter().any(fits).into()
            }
            ("enum", Json::Array(items)) => any(items.iter().map(|item| self.equals(item, subject))),
            ("const", item) => self.equals(item, subject),
            ("allOf", Json::Array(schemas)) => schemas
                .iter()
                .map(|schema| self.schema(schema, subject, depth))
                .fold(Verdict::Yes, BitAnd::bitand),
            ("anyOf", Json::Array(schemas)) => {
                any(schemas.iter().map(|schema| self.schema(schema, subject, depth)))
            }
            ("oneOf", Json::Array(schemas)) => {
                let mut fitting = 0;
                for schema in schemas {
                    match self.schema(schema, subject, depth) {
                        Verdict::Yes => fitting += 1,
                        Verdict::No => {}
                        Verdict::Unsure => return Verdict::Unsure,
                    }
                }
                (fitting == 1).into()
            }
            ("not", schema) => !self.schema(schema, subject, depth),
            ("if", condition) => {
                let branch = match self.schema(condition, subject, depth) {
                    Verdict::Yes => schema.get("then"),
                    Verdict::No => schema.get("else"),
                    Verdict::Unsure => return Verdict::Unsure,
                };
                branch.map_or(Verdict::Yes, |branch| self.schema(branch, subject, depth))
            }
            _ => match subject {
                Subject::Map(map) => self.table(schema, keyword, argument, map, depth),
                Subject::Value(Value::List(items)) => self.list(keyword, argument, items, depth),
                Subject::Value(Value::String(text)) => self.text(keyword, argument, text),
                Subject::Value(Value::Int(_) | Value::Float(_)) => Self::number(keyword, argument, subject),
                Subject::Value(_) => Verdict::Yes,
            },
        }
    }

    fn table(
        &self,
        schema: &'j Json<'j>,
        keyword: &str,
        argument: &'j Json<'j>,
        map: &Map,
        depth: usize,
    ) -> Verdict {
        match (keyword, argument) {
            ("properties", _) => {
                let of = |(key, value): (&String, &Value)| match argument.get(key) {
                    Some(schema) => self.value(schema, value, depth),
                    None => Verdict::Yes,
                };
                self.all(map.iter().map(of), argument.len())
            }
            ("patternProperties", Json::Object(schemas)) => {
                let of = |(pattern, schema): &'j (Cow<'j, str>, Json<'j>)| {
                    let of = map
                        .iter()
                        .map(|(key, value)| match self.patterns.is_found(pattern, key) {
                            Some(true) => self.value(schema, value, depth),
                            Some(false) => Verdict::Yes,
                            None => Verdict::Unsure,
                        });
                    self.all(of, 1)
                };
                schemas.iter().map(of).fold(Verdict::Yes, BitAnd::bitand)
            }
            ("additionalProperties", Json::Bool(true)) => Verdict::Yes,
            ("additionalProperties", additional) => {
                let known = schema.get("properties");
                let patterns = match schema.get("patternProperties") {
                    Some(Json::Object(patterns)) => &patterns[..],
                    _ => &[],
                };
                let is_other = |key: &str| {
                    known.is_none_or(|known| known.get(key).is_none())
                        && !patterns
                            .iter()
                            .any(|(pattern, _)| self.patterns.is_found(pattern, key) == Some(true))
                };
                let others = map.iter().filter(|(key, _)| is_other(key));
                let of = others.map(|(_, value)| self.value(additional, value, depth));
                self.all(of, known.map_or(0, Json::len) + patterns.len())
            }
            ("dependencies", Json::Object(needs)) => {
                let of = |(key, need): &'j (Cow<'j, str>, Json<'j>)| match need {
                    _ if !map.contains_key(&**key) => Verdict::Yes,
                    Json::Array(_) => self.table(schema, "required", need, map, depth),
                    need => self.map(need, map, depth),
                };
                self.all(needs.iter().map(of), 1)
            }
            ("required", Json::Array(names)) => {
                let is_there =
                    |name: &Json<'_>| matches!(name, Json::String(name) if map.contains_key(&**name));
                names.iter().all(is_there).into()
            }
            ("minProperties", Json::Number(least)) => (as_f64(map.len()) >= *least).into(),
            ("maxProperties", Json::Number(most)) => (as_f64(map.len()) <= *most).into(),
            _ => Verdict::Yes,
        }
    }

    /// All of them, each of which takes so many steps to find.
    fn all(&self, verdicts: impl Iterator<Item = Verdict>, steps: usize) -> Verdict {
        let mut all = Verdict::Yes;
        for verdict in verdicts {
            self.steps.set(self.steps.get().saturating_add(steps as u64));
            if !self.step() {
                return Verdict::Unsure;
            }
            all = all & verdict;
            if all == Verdict::No {
                break;
            }
        }
        all
    }

    fn list(&self, keyword: &str, argument: &'j Json<'j>, items: &[Value], depth: usize) -> Verdict {
        match (keyword, argument) {
            ("items", schema) => self.all(items.iter().map(|item| self.value(schema, item, depth)), 0),
            ("minItems", Json::Number(least)) => (as_f64(items.len()) >= *least).into(),
            ("maxItems", Json::Number(most)) => (as_f64(items.len()) <= *most).into(),
            ("uniqueItems", Json::Bool(true)) => are_different(items),
            _ => Verdict::Yes,
        }
    }

    fn text(&self, keyword: &str, argument: &'j Json<'j>, text: &str) -> Verdict {
        match (keyword, argument) {
            ("minLength", Json::Number(least)) => (as_f64(text.chars().count()) >= *least).into(),
            ("maxLength", Json::Number(most)) => (as_f64(text.chars().count()) <= *most).into(),
            ("pattern", Json::String(pattern)) => {
                let found = self.patterns.is_found(pattern, text);
                found.map_or(Verdict::Unsure, Verdict::from)
            }
            // Later drafts take it for a remark.
            ("format", Json::String(format)) if self.is_old() && FORMATS.contains(&&**format) => {
                Verdict::Unsure
            }
            _ => Verdict::Yes,
        }
    }

    fn number(keyword: &str, argument: &Json<'_>, subject: Subject<'_>) -> Verdict {
        let Json::Number(limit) = argument else {
            return Verdict::Yes;
        };
        let holds: fn(f64, f64) -> bool = match keyword {
            "minimum" => |number, limit| number >= limit,
            "maximum" => |number, limit| number <= limit,
            "exclusiveMinimum" => |number, limit| number > limit,
            "exclusiveMaximum" => |number, limit| number < limit,
            _ => return Verdict::Yes,
        };
        match subject.number() {
            Some(number) => holds(number, *limit).into(),
            None => Verdict::Unsure,
        }
    }

    fn equals(&self, json: &Json<'_>, subject: Subject<'_>) -> Verdict {
        if !self.step() {
            return Verdict::Unsure;
        }
        match (json, subject) {
            (Json::Object(entries), Subject::Map(map)) if entries.len() == map.len() => entries
                .iter()
                .map(|(key, json)| match map.get(&**key) {
                    Some(value) => self.equals(json, Subject::of(value)),
                    None => Verdict::No,
                })
                .fold(Verdict::Yes, BitAnd::bitand),
            (Json::Null, Subject::Value(Value::Null)) => Verdict::Yes,
            (Json::Bool(one), Subject::Value(Value::Bool(other))) => (one == other).into(),
            (Json::String(one), Subject::Value(Value::String(other))) => (**one == **other).into(),
            (Json::Number(one), Subject::Value(Value::Int(_) | Value::Float(_))) => match subject.number() {
                Some(other) => (*one == other).into(),
                None => Verdict::Unsure,
            },
            (Json::OddNumber, Subject::Value(Value::Int(_) | Value::Float(_))) => Verdict::Unsure,
            (Json::Array(items), Subject::Value(Value::List(values))) if items.len() == values.len() => items
                .iter()
                .zip(values)
                .map(|(item, value)| self.equals(item, Subject::of(value)))
                .fold(Verdict::Yes, BitAnd::bitand),
            _ => Verdict::No,
        }
    }
}

/// Whether a text is an absolute address without a fragment, beyond doubt.
fn is_plain_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    text.strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .is_some_and(|rest| {
            rest.starts_with(|first: char| first.is_ascii_alphabetic()) && rest.bytes().all(plain)
        })
}

/// Whether no two items are the same, which is told of texts alone.
fn are_different(items: &[Value]) -> Verdict {
    if items.len() < 2 {
        return Verdict::Yes;
    }
    let mut known = HashSet::new();
    for item in items {
        match item {
            Value::String(text) if known.insert(text.as_str()) => {}
            Value::String(_) => return Verdict::No,
            _ => return Verdict::Unsure,
        }
    }
    Verdict::Yes
}

/// Whether one of them says yes.
fn any(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut any = Verdict::No;
    for verdict in verdicts {
        match verdict {
            Verdict::Yes => return Verdict::Yes,
            Verdict::No => {}
            Verdict::Unsure => any = Verdict::Unsure,
        }
    }
    any
}

#[expect(clippy::cast_precision_loss, reason = "no list in memory is as long as that")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

/// What a schema is about: the root of the values is a table without a value around it.
#[derive(Clone, Copy)]
enum Subject<'v> {
    Map(&'v Map),
    Value(&'v Value),
}

impl<'v> Subject<'v> {
    fn of(value: &'v Value) -> Subject<'v> {
        match value {
            Value::Map(map) => Subject::Map(map),
            value => Subject::Value(value),
        }
    }

    fn has_type(self, name: &str) -> bool {
        match self {
            Subject::Map(_) | Subject::Value(Value::Map(_)) => name == "object",
            Subject::Value(Value::Null) => name == "null",
            Subject::Value(Value::Bool(_)) => name == "boolean",
            Subject::Value(Value::Int(_)) => matches!(name, "integer" | "number"),
            // Whole numbers are integers however they are written.
            Subject::Value(Value::Float(number)) => {
                name == "number" || name == "integer" && number.fract() == 0.0
            }
            Subject::Value(Value::String(_)) => name == "string",
            Subject::Value(Value::List(_)) => name == "array",
        }
    }

    /// The number, if it is one that a float holds exactly beyond doubt.
    #[expect(clippy::cast_precision_loss, reason = "checked to be small")]
    fn number(self) -> Option<f64> {
        match self {
            Subject::Value(Value::Int(number)) if number.unsigned_abs() < Json::EXACT_MAX => {
                Some(*number as f64)
            }
            Subject::Value(Value::Float(number)) if number.abs() < Json::EXACT_MAX as f64 => Some(*number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::check_slowly;
    use chart_values::yaml::map_from_yaml;

    const SCHEMAS: &[&str] = &[
        "{}",
        "true",
        "[]",
        "{",
        r#"{"type": "object"}"#,
        r#"{"type": "objekt"}"#,
        r#"{"type": ["object", "null"]}"#,
        r#"{"type": ["object", "object"]}"#,
        r#"{"type": []}"#,
        r#"{"required": ["a"]}"#,
        r#"{"required": ["a", "a"]}"#,
        r#"{"required": "a"}"#,
        r#"{"title": 1}"#,
        r#"{"minProperties": 1, "maxProperties": 2}"#,
        r#"{"minProperties": -1}"#,
        r#"{"minProperties": 1.0}"#,
        r#"{"properties": {"a": {"type": "integer"}}}"#,
        r#"{"properties": {"a": {"type": "number", "minimum": 1, "exclusiveMaximum": 2}}}"#,
        r#"{"properties": {"a": {"type": "string", "minLength": 2, "maxLength": 3}}}"#,
        r#"{"properties": {"a": {"enum": [1, "x", null, [1], {"b": 1}]}}}"#,
        r#"{"properties": {"a": {"const": "x"}}}"#,
        r#"{"properties": {"a": {"const": 1.0}}}"#,
        r#"{"properties": {"a": {"multipleOf": 2}}}"#,
        r#"{"properties": {"a": {"pattern": "^x"}}}"#,
        r#"{"properties": {"a": {"pattern": "("}}}"#,
        r#"{"properties": {"a": {"format": "ipv4"}}}"#,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"format": "ipv4"}}}"#,
        r#"{"properties": {"a": {}}, "additionalProperties": false}"#,
        r#"{"properties": {"a": {}}, "additionalProperties": {"type": "string"}}"#,
        r#"{"properties": {"a": {}, "a": false}}"#,
        r#"{"properties": {"a": {"items": {"type": "integer"}, "minItems": 1, "maxItems": 2}}}"#,
        r#"{"properties": {"a": {"items": [{"type": "integer"}]}}}"#,
        r#"{"properties": {"a": {"uniqueItems": true}}}"#,
        r#"{"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}}"#,
        r#"{"properties": {"a": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}}"#,
        r#"{"properties": {"a": {"allOf": [{"type": "integer"}, {"minimum": 2}]}}}"#,
        r#"{"properties": {"a": {"not": {"type": "integer"}}}}"#,
        r#"{"properties": {"a": {"not": {"pattern": "x"}}}}"#,
        r#"{"properties": {"a": {"anyOf": []}}}"#,
        r#"{"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"maxProperties": 0}}"#,
        r##"{"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}"##,
        r##"{"properties": {"a": {"$ref": "#/$defs/n", "maximum": 1}}, "$defs": {"n": {"type": "integer"}}}"##,
        r##"{"properties": {"a": {"$ref": "#/$defs/m"}}, "$defs": {"n": {"type": "integer"}}}"##,
        r##"{"properties": {"a": {"$ref": "#/x/n"}}, "x": {"n": {"type": "integr"}}}"##,
        r##"{"properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##,
        r##"{"$ref": "#"}"##,
        r#"{"$ref": "https://example.com/schema.json"}"#,
        r##"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"$ref": "#/definitions/n", "maximum": 1}}, "definitions": {"n": {"type": "integer"}}}"##,
        r##"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"not": {"$ref": "#/definitions/n", "maximum": 1}}}, "definitions": {"n": {"type": "integer"}}}"##,
        r#"{"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"maximum": 1, "exclusiveMaximum": true}}}"#,
        r#"{"$schema": "http://json-schema.org/draft-06/schema#", "if": {}, "then": false}"#,
        r#"{"$schema": "http://example.com/other"}"#,
        r#"{"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}"#,
        r#"{"properties": {"a": {"$schema": "http://json-schema.org/schema#", "type": "integer"}}}"#,
        r#"{"properties": {"a": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "integer"}}}"#,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"$schema": "https://json-schema.org/draft-07/schema", "type": "integer"}}}"#,
        r#"{"form": true, "properties": {"a": {"hidden": {"value": false}}}}"#,
        r#"{"definitions": {"n": {"type": "integr"}}}"#,
        r#"{"properties": {"a": 1}}"#,
        r#"{"properties": {"a": {"pattern": "^[a-z]{2}$|^$"}}}"#,
        r#"{"properties": {"a": {"pattern": "[[a]"}}}"#,
        r#"{"properties": {"a": {"pattern": "x{2,1}"}}}"#,
        r#"{"properties": {"a": {"pattern": "**"}}}"#,
        r#"{"properties": {"a": {"pattern": "^x{,2}$"}}}"#,
        r#"{"properties": {"a": {"pattern": "\\d"}}}"#,
        r#"{"properties": {"a": {"not": {"pattern": "^x$"}}}}"#,
        r#"{"patternProperties": {"^a$": {"type": "integer"}}}"#,
        r#"{"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": false}"#,
        r#"{"patternProperties": {"^a": {}, "b": {"type": "string"}}, "properties": {"c": {}}, "additionalProperties": {"type": "string"}}"#,
        r#"{"patternProperties": {"(": {}}}"#,
        r#"{"patternProperties": {"a": 1}}"#,
        r#"{"dependencies": {"a": ["b"]}}"#,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}"#,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": {"maxProperties": 1}}}"#,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b", "b"]}}"#,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": 1}}"#,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"format": "int32"}}}"#,
        r#"{"$schema": "https://json-schema.org/draft/2019-09/schema", "properties": {"a": {"format": "ipv4"}}}"#,
        r##"{"$id": "https://example.com/values.json", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}"##,
        r##"{"$id": "#x", "properties": {"a": {"type": "integer"}}}"##,
        r##"{"properties": {"a": {"$id": "https://example.com/a", "$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}"##,
    ];

    const VALUES: &[&str] = &[
        "{}",
        "a: 1",
        "a: 1.5",
        "a: 2",
        "a: 1e300",
        "a: x",
        "a: xyzw",
        "a: null",
        "a: true",
        "a: [1]",
        "a: [1, 1]",
        "a: [1, 2, x]",
        "a: {b: 1}",
        "a: {a: {a: {}}}",
        "{a: 1, b: x}",
        "{a: 1, b: 2, c: 3}",
        "a: xy",
        "a: ''",
        "a: xx",
        "{a: x, b: x, c: []}",
        "{ab: 1, bc: x}",
        "a: [x, z]",
        "a: [x, x]",
    ];

    #[test]
    fn a_quick_yes_is_one_of_the_validator() {
        for schema in SCHEMAS {
            for text in VALUES {
                let values = map_from_yaml(text).unwrap();
                if surely_valid(schema.as_bytes(), &values) {
                    let slow = check_slowly(schema.as_bytes(), &values);
                    assert_eq!(slow, Ok(()), "{schema} {text}");
                }
            }
        }
    }

    #[test]
    fn usual_schemas_are_decided_quickly() {
        for (schema, text) in [
            (
                r#"{"properties": {"a": {"type": "integer", "minimum": 1}}, "additionalProperties": false}"#,
                "a: 1",
            ),
            (
                r#"{"properties": {"a": {"enum": ["x", {"b": [1]}]}}}"#,
                "a: {b: [1]}",
            ),
            (
                r#"{"properties": {"a": {"oneOf": [{"type": "string"}, {"type": "null"}]}}}"#,
                "a: x",
            ),
            (
                r#"{"properties": {"a": {"not": {"type": "string"}}}, "form": true}"#,
                "a: 1",
            ),
            (
                r#"{"properties": {"a": {"uniqueItems": true}, "b": {"$schema": "http://json-schema.org/schema#"}}}"#,
                "{a: [x, z], b: 1}",
            ),
            (
                r#"{"patternProperties": {"^a$": {"pattern": "^[a-z]+$"}}, "additionalProperties": false}"#,
                "a: x",
            ),
            (
                r#"{"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}"#,
                "{a: x, b: y}",
            ),
            (
                r#"{"$id": "https://example.com/values.json", "properties": {"a": {"format": "ipv4"}}}"#,
                "a: 10.0.0.1",
            ),
            (
                r##"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"$ref": "#/definitions/n"}}, "definitions": {"n": {"items": {"$ref": "#/definitions/n"}}}}"##,
                "a: [[1]]",
            ),
        ] {
            let values = map_from_yaml(text).unwrap();
            assert!(surely_valid(schema.as_bytes(), &values), "{schema} {text}");
        }
    }

    #[test]
    fn err_a_schema_that_multiplies_ends_early() {
        let twice = |name: &str| {
            format!(r##"{{"allOf": [{{"$ref": "#/$defs/{name}"}}, {{"$ref": "#/$defs/{name}"}}]}}"##)
        };
        let steps: Vec<String> = (0..50)
            .map(|at| format!(r#""s{at}": {}"#, twice(&format!("s{}", at + 1))))
            .collect();
        let schema = format!(
            r##"{{"$ref": "#/$defs/s0", "$defs": {{{}, "s50": {{}}}}}}"##,
            steps.join(",")
        );
        assert!(!surely_valid(schema.as_bytes(), &Map::new()));
    }
}
