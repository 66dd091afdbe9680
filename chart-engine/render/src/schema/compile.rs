//! Reading a schema.

use jsonschema::{Draft, Retrieve, Uri, Validator};
use serde_json::Value;

/// Reads a schema, or says in one line why it cannot be used.
pub(super) fn compile(schema: &[u8]) -> Result<Validator, String> {
    if schema.iter().all(u8::is_ascii_whitespace) {
        return Err("EOF".to_owned());
    }
    let mut schema: Value = serde_json::from_slice(schema).map_err(|error| {
        if error.is_eof() {
            "unexpected EOF".to_owned()
        } else {
            error.to_string()
        }
    })?;
    if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
        return Err(not_valid(&format!(
            "- at '': got {}, want boolean or object",
            kind(&schema)
        )));
    }
    let draft = draft_of(&mut schema)?;
    jsonschema::options()
        .with_draft(draft)
        .with_base_uri(BASE)
        .with_retriever(NoNetwork)
        .build(&schema)
        .map_err(|error| match error.kind() {
            jsonschema::error::ValidationErrorKind::Referencing(reference) => reference.to_string(),
            _ => {
                let path = error.instance_path().as_str().to_owned();
                not_valid(&format!("- at {}: {error}", super::words::quote(&path)))
            }
        })
}

/// Where Helm says that the schema lies; relative references hang on it.
const BASE: &str = "file:///values.schema.json";

fn not_valid(reason: &str) -> String {
    format!(
        "\"{BASE}#\" is not valid against metaschema: jsonschema validation failed with 'https://json-schema.org/draft/2020-12/schema#'\n{reason}"
    )
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The draft that `$schema` names, which is taken out since it is often written in ways that only Helm understands.
fn draft_of(schema: &mut Value) -> Result<Draft, String> {
    match schema.as_object_mut().and_then(|root| root.remove("$schema")) {
        Some(Value::String(uri)) => draft_named(&uri),
        _ => Ok(Draft::Draft202012),
    }
}

pub(super) fn draft_named(uri: &str) -> Result<Draft, String> {
    let bare = uri.strip_suffix('#').unwrap_or(uri);
    let bare = bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))
        .unwrap_or(bare);
    match bare {
        "json-schema.org/schema" | "json-schema.org/draft/2020-12/schema" => Ok(Draft::Draft202012),
        "json-schema.org/draft/2019-09/schema" => Ok(Draft::Draft201909),
        "json-schema.org/draft-07/schema" => Ok(Draft::Draft7),
        "json-schema.org/draft-06/schema" => Ok(Draft::Draft6),
        "json-schema.org/draft-04/schema" => Ok(Draft::Draft4),
        _ => Err(format!("failing loading {uri:?}: schemas are not fetched")),
    }
}

/// Keeps schemas from reading files and the network. Names without a place (`urn:`) allow everything, as in Helm.
struct NoNetwork;

impl Retrieve for NoNetwork {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        if uri.scheme().as_str() == "urn" {
            return Ok(Value::Bool(true));
        }
        Err(format!("failing loading {:?}: schemas are not fetched", uri.as_str()).into())
    }
}
