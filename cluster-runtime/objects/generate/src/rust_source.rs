//! Reading the regular parts of the generated Rust sources: the JSON schema, field names, merge strategies.

use serde_json::{Map, Value, json};

/// How a field of a type merges.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// A list with keys, named as in Rust.
    ListMap(Vec<String>),
    /// A list of unique values.
    ListSet,
    /// A map that is one value.
    MapAtomic,
}

/// The value in `json_schema!(...)`, with references as `{"$ref": "rust::path"}`.
pub fn json_schema(text: &str) -> Result<Option<Value>, String> {
    const START: &str = "crate::schemars::json_schema!(";
    let Some(at) = text.find(START) else {
        return Ok(None);
    };
    let mut reader = Reader {
        rest: &text[at + START.len()..],
    };
    reader.value().map(Some)
}

/// The name in `schema_name`, without its `io.k8s.` and `api.` where it has them.
pub fn schema_name(text: &str) -> Option<&str> {
    let rest = &text[text.find("fn schema_name()")?..];
    let start = rest.find('"')? + 1;
    let end = start + rest[start..].find('"')?;
    Some(short_name(&rest[start..end]))
}

/// `io.k8s.api.core.v1.Pod` as `core.v1.Pod`, `io.k8s.apimachinery.…` as `apimachinery.…`.
pub fn short_name(name: &str) -> &str {
    let name = name.strip_prefix("io.k8s.").unwrap_or(name);
    name.strip_prefix("api.").unwrap_or(name)
}

/// Names of fields, in Rust and in JSON.
pub fn field_names(text: &str) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for line in text.lines() {
        let Some((json, rust)) = line.trim().split_once(" => Field::Key_") else {
            continue;
        };
        names.push((
            rust.trim_end_matches(',').to_owned(),
            json.trim_matches('"').to_owned(),
        ));
    }
    names
}

/// Fields with a merge strategy other than the plain one, by their name in Rust.
pub fn strategies(text: &str) -> Vec<(String, Strategy)> {
    let mut found = Vec::new();
    for part in text.split("crate::merge_strategies::").skip(1) {
        let Some(field) = between(part, "&mut self.", ",") else {
            continue;
        };
        let strategy = if part.starts_with("list::map(") {
            let comparisons = between(part, "&[", "]").unwrap_or_default();
            let keys = comparisons.split("|lhs, rhs| lhs.").skip(1);
            let keys = keys.filter_map(|key| key.split(" ==").next()).map(str::to_owned);
            Strategy::ListMap(keys.collect())
        } else if part.starts_with("list::set(") {
            Strategy::ListSet
        } else if part.starts_with("map::atomic(") {
            Strategy::MapAtomic
        } else {
            continue;
        };
        found.push((field.to_owned(), strategy));
    }
    found
}

/// `apiVersion` and kind of a type that is an object of the API.
pub fn group_version_kind(text: &str) -> Option<(String, String)> {
    let rest = &text[text.find("impl crate::Resource for ")?..];
    let api_version = between(rest, "API_VERSION: &'static str = \"", "\"")?;
    let kind = between(rest, " KIND: &'static str = \"", "\"")?;
    Some((api_version.to_owned(), kind.to_owned()))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

/// Reads the JSON-like argument of `json_schema!`.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, String> {
        self.rest = self.rest.trim_start();
        match self.rest.as_bytes().first() {
            Some(b'{') => self.map(),
            Some(b'[') => self.list(),
            Some(b'"') => self.string().map(Value::String),
            Some(b'(' | b'_') => self.expression(),
            _ => {
                let end = self
                    .rest
                    .find([',', '}', ']', ')', '\n'])
                    .unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                serde_json::from_str(word.trim()).map_err(|error| format!("`{word}`: {error}"))
            }
        }
    }

    fn map(&mut self) -> Result<Value, String> {
        let mut map = Map::new();
        self.rest = &self.rest[1..];
        loop {
            self.rest = self.rest.trim_start();
            if self.take("}") {
                return Ok(Value::Object(map));
            }
            let key = self.string()?;
            self.rest = self.rest.trim_start();
            if !self.take(":") {
                return Err(format!("expected `:` after {key:?}"));
            }
            map.insert(key, self.value()?);
            self.rest = self.rest.trim_start();
            self.take(",");
        }
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut list = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            self.rest = self.rest.trim_start();
            if self.take("]") {
                return Ok(Value::Array(list));
            }
            list.push(self.value()?);
            self.rest = self.rest.trim_start();
            self.take(",");
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.rest
            .strip_prefix(token)
            .map(|rest| self.rest = rest)
            .is_some()
    }

    /// A Rust string literal without raw or byte prefixes.
    fn string(&mut self) -> Result<String, String> {
        let inner = self.rest.strip_prefix('"').ok_or_else(|| {
            let start: String = self.rest.chars().take(40).collect();
            format!("expected a string at `{start}`")
        })?;
        let mut text = String::new();
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &inner[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 'u')) => {
                        let digits: String =
                            chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').collect();
                        let code = u32::from_str_radix(digits.trim_start_matches('{'), 16);
                        text.extend(code.ok().and_then(char::from_u32));
                    }
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err("a string without end".to_owned())
    }

    /// A reference to another type, with or without a description of its own.
    fn expression(&mut self) -> Result<Value, String> {
        let end = self.expression_end()?;
        let (expression, rest) = self.rest.split_at(end);
        self.rest = rest;
        let path = between(expression, "subschema_for::<", ">()");
        let mut value = json!({"$ref": path.ok_or_else(|| format!("no reference in `{expression}`"))?});
        if let Some(at) = expression.find("insert(\"description\".into(), ") {
            let mut reader = Reader {
                rest: &expression[at + "insert(\"description\".into(), ".len()..],
            };
            value["description"] = reader.string()?.into();
        }
        Ok(value)
    }

    fn expression_end(&self) -> Result<usize, String> {
        let mut depth = 0_usize;
        let mut in_string = false;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            if in_string {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
                continue;
            }
            match c {
                '"' => in_string = true,
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' if depth == 0 => return Ok(at),
                ')' | '}' | ']' => depth -= 1,
                ',' if depth == 0 => return Ok(at),
                _ => {}
            }
        }
        Err("an expression without end".to_owned())
    }
}
