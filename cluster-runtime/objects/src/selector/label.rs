//! Label selectors: `app=web,tier in (front,back),!canary` and their form in objects.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::SelectorError;
use crate::names;

/// What labels an object must have.
///
/// Grammar and errors are those of `k8s.io/apimachinery/pkg/labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// All of these must hold.
    requirements: Vec<Requirement>,
    /// Selects nothing, whatever the requirements say.
    nothing: bool,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// What must hold of its value.
    pub operator: Operator,
    /// Values that the operator compares with.
    pub values: BTreeSet<String>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as Kubernetes names them")]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// The selector of everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector of nothing.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Reads the text form; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Parser::new(text).parse()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// Reads `metav1.LabelSelector` (`matchLabels`, `matchExpressions`), or a plain map of labels as replication
    /// controllers and services have it. `null` selects nothing and an empty map everything, as in the API.
    pub fn from_value(value: &Value) -> Result<Self, SelectorError> {
        let fields = match value {
            Value::Null => return Ok(Self::nothing()),
            Value::Object(fields) => fields,
            _ => return Err(SelectorError("a label selector must be a map".to_owned())),
        };
        if fields.values().all(Value::is_string) {
            return Self::from_labels(fields);
        }
        let mut requirements = Vec::new();
        if let Some(labels) = fields.get("matchLabels").and_then(Value::as_object) {
            requirements.extend(Self::from_labels(labels)?.requirements);
        }
        let expressions = fields.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            requirements.push(Requirement::from_value(expression)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self {
            requirements,
            nothing: false,
        })
    }

    /// The selector of objects that have all of these labels.
    pub fn from_labels(labels: &Map<String, Value>) -> Result<Self, SelectorError> {
        let requirements = labels.iter().map(|(key, value)| {
            let value = value.as_str().unwrap_or_default().to_owned();
            Requirement::new(key.clone(), Operator::Equals, BTreeSet::from([value]))
        });
        Ok(Self {
            requirements: requirements.collect::<Result<_, _>>()?,
            nothing: false,
        })
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The conditions, ordered by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        !self.nothing
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    /// Makes a requirement of a valid key, with as many values as the operator takes.
    pub fn new(key: String, operator: Operator, values: BTreeSet<String>) -> Result<Self, SelectorError> {
        check_key(&key, "key")?;
        let list = || {
            values
                .iter()
                .map(|value| format!("{value:?}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let invalid = |why: &str| {
            Err(SelectorError(format!(
                "values: Invalid value: [{}]: {why}",
                list()
            )))
        };
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                return invalid("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                return invalid("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                return invalid("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    return invalid("for 'Gt', 'Lt' operators, exactly one value is required");
                }
                if let Some(value) = values.iter().find(|value| value.parse::<i64>().is_err()) {
                    let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                    return Err(SelectorError(format!(
                        "values[0]: Invalid value: {value:?}: {why}"
                    )));
                }
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            let faults = names::label_value_faults(value);
            if !faults.is_empty() {
                let why = faults.join("; ");
                let text = format!("values[{index}][{key}]: Invalid value: {value:?}: {why}");
                return Err(SelectorError(text));
            }
        }
        Ok(Self {
            key,
            operator,
            values,
        })
    }

    /// Reads one entry of `matchExpressions`.
    fn from_value(value: &Value) -> Result<Self, SelectorError> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let operator = match text("operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => {
                return Err(SelectorError(format!(
                    "{other:?} is not a valid label selector operator"
                )));
            }
        };
        let values = value
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let values = values.filter_map(Value::as_str).map(str::to_owned);
        Self::new(text("key").to_owned(), operator, values.collect())
    }

    /// Whether an object with these labels meets the requirement.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels
            .and_then(|labels| labels.get(&self.key))
            .and_then(Value::as_str);
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => {
                value.is_some_and(|value| self.values.contains(value))
            }
            Operator::NotEquals | Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let Some(number) = value.and_then(|value| value.parse::<i64>().ok()) else {
                    return false;
                };
                let bound = self.values.first().and_then(|bound| bound.parse::<i64>().ok());
                bound.is_some_and(|bound| match self.operator {
                    Operator::GreaterThan => number > bound,
                    _ => number < bound,
                })
            }
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = || {
            self.values
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(",")
        };
        match self.operator {
            Operator::Equals => write!(f, "{key}={}", list()),
            Operator::DoubleEquals => write!(f, "{key}=={}", list()),
            Operator::NotEquals => write!(f, "{key}!={}", list()),
            Operator::In => write!(f, "{key} in ({})", list()),
            Operator::NotIn => write!(f, "{key} notin ({})", list()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", list()),
            Operator::LessThan => write!(f, "{key}<{}", list()),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Token::Word(text) | Token::Symbol(text) => text,
            Token::End => "",
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

const SYMBOLS: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next token and what follows it.
    fn scan(&self) -> (Token<'a>, &'a str) {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            return (Token::End, rest);
        };
        if SYMBOLS.contains(&first) {
            let double = ["==", "!="].iter().any(|symbol| rest.starts_with(symbol));
            let (symbol, rest) = rest.split_at(if double { 2 } else { 1 });
            return (Token::Symbol(symbol), rest);
        }
        let ends = |c: char| SYMBOLS.contains(&c) || [' ', '\t', '\r', '\n'].contains(&c);
        let (word, rest) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        (Token::Word(word), rest)
    }

    fn peek(&self) -> Token<'a> {
        self.scan().0
    }

    fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.scan();
        self.rest = rest;
        token
    }

    fn parse(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Symbol("!") => {}
                Token::Symbol(found) => {
                    return Err(expected(found, "!, identifier, or 'end of string'"));
                }
            }
            let requirement = self
                .requirement()
                .map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?;
            requirements.push(requirement);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => match self.peek() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(expected(other.text(), "identifier after ','")),
                },
                other => return Err(expected(other.text(), "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let mut token = self.next();
        let absent = token == Token::Symbol("!");
        if absent {
            token = self.next();
        }
        let Token::Word(key) = token else {
            return Err(expected(token.text(), "identifier"));
        };
        check_key(key, "<nil>")?;
        let key = key.to_owned();
        if absent {
            return Requirement::new(key, Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(key, Operator::Exists, BTreeSet::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        match self.next() {
            Token::Word("in") => Ok(Operator::In),
            Token::Word("notin") => Ok(Operator::NotIn),
            Token::Symbol("=") => Ok(Operator::Equals),
            Token::Symbol("==") => Ok(Operator::DoubleEquals),
            Token::Symbol("!=") => Ok(Operator::NotEquals),
            Token::Symbol(">") => Ok(Operator::GreaterThan),
            Token::Symbol("<") => Ok(Operator::LessThan),
            other => Err(expected(other.text(), "in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(SelectorError(format!("found '{}' expected: '('", open.text())));
        }
        match self.peek() {
            Token::Symbol(")") => {
                self.next();
                return Ok(BTreeSet::new());
            }
            Token::Word(_) | Token::Symbol(",") => {}
            other => return Err(expected(other.text(), "',', ')' or identifier")),
        }
        let values = self.value_list()?;
        match self.next() {
            Token::Symbol(")") => Ok(values),
            other => Err(expected(other.text(), "')'")),
        }
    }

    /// Values between commas, up to but without the closing parenthesis; nothing between two commas is the empty
    /// value.
    fn value_list(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut values = BTreeSet::new();
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.insert(value.to_owned());
                    match self.peek() {
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => return Ok(values),
                        other => return Err(expected(other.text(), "',' or ')'")),
                    }
                }
                Token::Symbol(",") => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek() {
                        Token::Symbol(")") => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Symbol(",") => {
                            self.next();
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                other => return Err(expected(other.text(), "',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.next() {
            Token::Word(value) => Ok(BTreeSet::from([value.to_owned()])),
            other => Err(expected(other.text(), "identifier")),
        }
    }
}

fn expected(found: &str, wanted: &str) -> SelectorError {
    SelectorError(format!("found '{found}', expected: {wanted}"))
}

fn check_key(key: &str, path: &str) -> Result<(), SelectorError> {
    let faults = names::qualified_name_faults(key);
    if faults.is_empty() {
        return Ok(());
    }
    Err(SelectorError(format!(
        "{path}: Invalid value: {key:?}: {}",
        faults.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Labels as `a=1,b=2`.
    fn labels(text: &str) -> Map<String, Value> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.into())).collect()
    }

    #[test]
    fn selectors_match_as_their_text_says() {
        let cases = [
            ("", "", true),
            ("a", "a=", true),
            ("a", "b=1", false),
            ("!a", "b=1", true),
            ("a=1", "a=1", true),
            ("a==1", "a=2", false),
            ("a!=1", "b=1", true),
            ("a!=1", "a=1", false),
            ("a in (1, 2)", "a=2", true),
            ("a in (1,2)", "b=2", false),
            ("a notin (1,2)", "b=2", true),
            ("a notin (1,2),b", "b=2,a=1", false),
            ("a=", "a=", true),
            ("a=,b", "a=,b=1", true),
            ("a in (,1)", "a=", true),
            ("a in (1,)", "a=", true),
            ("a in (1,,2)", "a=", true),
            ("a>3", "a=4", true),
            ("a<3", "a=4", false),
            ("a>3", "a=x", false),
            ("in=in", "in=in", true),
            ("notin in (in,notin)", "notin=in", true),
            ("example.com/a-b_c.d = x", "example.com/a-b_c.d=x", true),
        ];
        for (text, given, wanted) in cases {
            let selector = LabelSelector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                selector.matches(Some(&labels(given))),
                wanted,
                "{text} on {given}"
            );
            assert_eq!(
                LabelSelector::parse(&selector.to_string()).unwrap(),
                selector,
                "{text}"
            );
        }
    }

    #[test]
    fn err_selectors_are_refused_in_kubernetes_words() {
        let cases = [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            (",", "found ',', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a in", "unable to parse requirement: found '' expected: '('"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            (
                "a in ()",
                "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
            ),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ];
        for (text, wanted) in cases {
            let error = LabelSelector::parse(text).unwrap_err();
            assert_eq!(error.to_string(), wanted, "{text}");
        }
        for hostile in [
            "\u{0}",
            "=",
            "((((",
            "a in (((",
            "é=ü",
            "a in (\u{feff})",
            "!!a",
            "a=!b",
        ] {
            assert!(LabelSelector::parse(hostile).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn selectors_of_objects_are_read() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "canary", "operator": "DoesNotExist"},
            ],
        });
        let selector = LabelSelector::from_value(&selector).unwrap();
        assert_eq!(selector.to_string(), "app=web,!canary,tier in (a,b)");
        assert!(LabelSelector::from_value(&json!({})).unwrap().is_everything());
        assert!(!LabelSelector::from_value(&Value::Null).unwrap().matches(None));
        assert_eq!(
            LabelSelector::from_value(&json!({"app": "web"}))
                .unwrap()
                .to_string(),
            "app=web"
        );
        let wrong = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        let error = LabelSelector::from_value(&wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"Like\" is not a valid label selector operator"
        );
    }
}
