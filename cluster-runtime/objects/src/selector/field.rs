//! Field selectors: `status.phase=Running,spec.nodeName!=n1`.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::SelectorError;
use crate::Object;
use crate::registry::KindRow;

/// What some fields of an object must be.
///
/// Grammar and errors are those of `k8s.io/apimachinery/pkg/fields`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    path: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads the text form; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for term in split_terms(text).filter(|term| !term.is_empty()) {
            let Some((path, operator, value)) = split_term(term) else {
                let message = format!("invalid selector: '{text}'; can't understand '{term}'");
                return Err(SelectorError(message));
            };
            let value = unescape(value)?;
            terms.push(Term {
                path: path.to_owned(),
                equal: operator != "!=",
                value,
            });
        }
        Ok(Self { terms })
    }

    /// Refuses paths that a kind cannot be selected by; the message is that of the 400 which the API answers.
    pub fn check(&self, row: &KindRow) -> Result<(), SelectorError> {
        const METADATA: [&str; 2] = ["metadata.name", "metadata.namespace"];
        let known =
            |path: &str| METADATA.contains(&path) || row.selectable_fields.iter().any(|known| known == path);
        let Some(term) = self.terms.iter().find(|term| !known(&term.path)) else {
            return Ok(());
        };
        let path = &term.path;
        if row.selectable_fields.is_empty() {
            let [name, namespace] = METADATA;
            let message = format!("{path:?} is not a known field selector: only {name:?}, {namespace:?}");
            return Err(SelectorError(message));
        }
        Err(SelectorError(format!("field label not supported: {path}")))
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that a path must equal, if the selector asks that: `metadata.name` makes a list a single read.
    pub fn required(&self, path: &str) -> Option<&str> {
        let term = self.terms.iter().find(|term| term.equal && term.path == path)?;
        Some(&term.value)
    }

    /// Whether an object is selected.
    pub fn matches(&self, object: &Object) -> bool {
        self.terms
            .iter()
            .all(|term| (field_text(object, &term.path) == term.value) == term.equal)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Term { path, equal, value }) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if *equal { "=" } else { "!=" };
            write!(f, "{comma}{path}{operator}{}", escape(value))?;
        }
        Ok(())
    }
}

/// The text that a field selector compares with; absent fields are what their zero value prints as.
fn field_text<'a>(object: &'a Object, path: &str) -> Cow<'a, str> {
    let at = |path: &str| object.at(&path.split('.').collect::<Vec<_>>());
    let first = |paths: &[&str]| {
        let texts = paths.iter().filter_map(|path| at(path)).filter_map(Value::as_str);
        texts
            .map(Cow::Borrowed)
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    };
    match (object.kind(), path) {
        (_, "name") => Cow::Borrowed(object.name()),
        ("Event", "source") => first(&["source.component", "reportingComponent"]),
        ("Job", "status.successful") => number(at("status.succeeded")),
        (_, "status.replicas") => number(at(path)),
        ("Pod", "spec.hostNetwork") | ("Node", "spec.unschedulable") => {
            let set = at(path).and_then(Value::as_bool).unwrap_or_default();
            Cow::Borrowed(if set { "true" } else { "false" })
        }
        ("Pod", "status.podIPs") => at("status.podIPs.0.ip")
            .and_then(Value::as_str)
            .map_or(Cow::Borrowed(""), Cow::Borrowed),
        _ => match at(path) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(other.to_string()),
        },
    }
}

fn number(value: Option<&Value>) -> Cow<'_, str> {
    value
        .and_then(Value::as_i64)
        .unwrap_or_default()
        .to_string()
        .into()
}

/// Splits at commas that no backslash escapes.
fn split_terms(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c| {
        let splits = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    })
}

/// Splits at the first operator that no backslash escapes.
fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    let mut escaped = false;
    for (at, c) in term.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        if c == '\\' {
            escaped = true;
            continue;
        }
        let rest = &term[at..];
        for operator in ["!=", "==", "="] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..at], operator, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let sequence: String = ['\\'].into_iter().chain(other).collect();
                    let message = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(SelectorError(message));
                }
            },
            ',' | '=' => {
                let message = format!("invalid field selector: unescaped character in value: {c}");
                return Err(SelectorError(message));
            }
            _ => text.push(c),
        }
    }
    Ok(text)
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_fields() {
        let pod = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"nodeName": "n1"}, "status": {"phase": "Running"},
        }))
        .unwrap();
        let cases = [
            ("", true),
            ("metadata.name=web", true),
            ("metadata.name=web,spec.nodeName!=n1", false),
            ("status.phase==Running", true),
            ("status.phase!=Running", false),
            ("spec.hostNetwork=false", true),
            ("status.podIP=", true),
            ("metadata.name=a\\,b", false),
        ];
        for (text, wanted) in cases {
            let selector = FieldSelector::parse(text).unwrap();
            assert_eq!(selector.matches(&pod), wanted, "{text}");
            assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }
        let selector = FieldSelector::parse("metadata.name=web").unwrap();
        assert_eq!(selector.required("metadata.name"), Some("web"));
    }

    #[test]
    fn err_selectors_are_refused_in_kubernetes_words() {
        let cases = [
            ("foo", "invalid selector: 'foo'; can't understand 'foo'"),
            ("a=b=c", "invalid field selector: unescaped character in value: ="),
            ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
            ("a=b\\x", "invalid field selector: invalid escape sequence: \\x"),
        ];
        for (text, wanted) in cases {
            assert_eq!(
                FieldSelector::parse(text).unwrap_err().to_string(),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn err_unknown_paths_are_refused_by_kind() {
        let registry = crate::registry::Registry::builtin();
        let message = |kind: &str| {
            let row = registry.by_group_kind("", kind).unwrap();
            FieldSelector::parse("spec.foo=x")
                .unwrap()
                .check(row)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(message("Pod"), "field label not supported: spec.foo");
        assert_eq!(
            message("ConfigMap"),
            "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }
}
