//! When an object is ready, as it says itself: the annotations `helm.sh/readiness-success` and
//! `helm.sh/readiness-failure` of HIP-0025.
//!
//! Each is a list in JSON of conditions `{PATH} OPERATOR VALUE`. The path is a JSONPath that starts at the object's
//! status; the operators are `==`, `!=`, `<`, `<=`, `>` and `>=`, the last four for numbers. One condition of failure
//! that holds is a failure, whatever else holds; else one of success is enough. An object that has only one of the
//! two annotations, or one that cannot be read, is judged by the rules of its kind.

use cluster_objects::Object;
use serde_json::Value;

/// When an object is ready.
pub(crate) const SUCCESS: &str = "helm.sh/readiness-success";
/// When an object will not become ready.
pub(crate) const FAILURE: &str = "helm.sh/readiness-failure";

/// What an object declares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Declared {
    success: Vec<Condition>,
    failure: Vec<Condition>,
}

/// What the status of an object says of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A condition of success holds.
    Success,
    /// This condition of failure holds.
    Failure(String),
    /// None holds yet.
    Open,
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    text: String,
    path: Vec<Step>,
    comparison: Comparison,
}

#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    operator: Operator,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// One step down from a value.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `.name`, `['name']`
    Field(String),
    /// `[0]`, from the end where it is negative
    Item(i64),
    /// `[*]`, `.*`
    Every,
    /// `[?(@.name=="value")]`
    Where(Vec<Step>, Comparison),
}

impl Declared {
    /// What an object declares; `None` where it leaves the judgement to its kind, an error where it cannot be read.
    pub(crate) fn of(object: &Object) -> Option<Result<Self, String>> {
        let (success, failure) = (object.annotation(SUCCESS), object.annotation(FAILURE));
        match (success, failure) {
            (None, None) => None,
            (Some(success), Some(failure)) => Some(Self::read(success, failure)),
            (Some(_), None) => Some(Err(format!("`{SUCCESS}` means nothing without `{FAILURE}`"))),
            (None, Some(_)) => Some(Err(format!("`{FAILURE}` means nothing without `{SUCCESS}`"))),
        }
    }

    fn read(success: &str, failure: &str) -> Result<Self, String> {
        let conditions = |annotation: &str, text: &str| -> Result<Vec<Condition>, String> {
            let listed: Vec<String> = serde_json::from_str(text)
                .map_err(|error| format!("`{annotation}` is no list of texts in JSON: {error}"))?;
            let read = listed.iter().map(|text| {
                condition(text).map_err(|why| format!("`{annotation}`: condition `{text}` {why}"))
            });
            read.collect()
        };
        Ok(Self {
            success: conditions(SUCCESS, success)?,
            failure: conditions(FAILURE, failure)?,
        })
    }

    /// Asks the status of an object.
    pub(crate) fn judge(&self, object: &Object) -> Verdict {
        let status = object.at(&["status"]).unwrap_or(&Value::Null);
        let holds = |condition: &&Condition| {
            let found = find(vec![status], &condition.path);
            found.into_iter().any(|value| condition.comparison.holds(value))
        };
        if let Some(condition) = self.failure.iter().find(holds) {
            return Verdict::Failure(condition.text.clone());
        }
        if self.success.iter().any(|condition| holds(&condition)) {
            return Verdict::Success;
        }
        Verdict::Open
    }

    /// The conditions of success, for people.
    pub(crate) fn awaited(&self) -> String {
        let texts: Vec<&str> = self
            .success
            .iter()
            .map(|condition| condition.text.as_str())
            .collect();
        texts.join(" or ")
    }
}

impl Comparison {
    fn holds(&self, found: &Value) -> bool {
        let text = match found {
            Value::String(text) => text.clone(),
            Value::Null => return false,
            other => other.to_string(),
        };
        let numbers = text.parse::<f64>().ok().zip(self.value.parse::<f64>().ok());
        match (self.operator, numbers) {
            (Operator::Equal, Some((found, wanted))) => found == wanted,
            (Operator::Unequal, Some((found, wanted))) => found != wanted,
            (Operator::Equal, None) => text == self.value,
            (Operator::Unequal, None) => text != self.value,
            (Operator::Less, Some((found, wanted))) => found < wanted,
            (Operator::AtMost, Some((found, wanted))) => found <= wanted,
            (Operator::More, Some((found, wanted))) => found > wanted,
            (Operator::AtLeast, Some((found, wanted))) => found >= wanted,
            // What is no number is neither less nor more.
            (_, None) => false,
        }
    }
}

fn find<'a>(values: Vec<&'a Value>, path: &[Step]) -> Vec<&'a Value> {
    let [step, rest @ ..] = path else {
        return values;
    };
    let next = values.into_iter().flat_map(|value| below(value, step)).collect();
    find(next, rest)
}

fn below<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
        (Step::Every, Value::Object(fields)) => fields.values().collect(),
        (Step::Every, Value::Array(items)) => items.iter().collect(),
        (Step::Item(index), Value::Array(items)) => {
            let place = if *index < 0 {
                items.len().checked_sub(index.unsigned_abs() as usize)
            } else {
                Some(*index as usize)
            };
            place.and_then(|place| items.get(place)).into_iter().collect()
        }
        (Step::Where(path, comparison), Value::Array(items)) => items
            .iter()
            .filter(|item| {
                find(vec![*item], path)
                    .into_iter()
                    .any(|found| comparison.holds(found))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Reads `{PATH} OPERATOR VALUE`.
fn condition(text: &str) -> Result<Condition, String> {
    let inner = text.trim().strip_prefix('{').ok_or("does not begin with `{`")?;
    let end = closing(inner, '}').ok_or("has no `}`")?;
    let mut path = steps(inner[..end].trim())?;
    // The status is where paths start, and may be named.
    if path.first() == Some(&Step::Field("status".to_owned())) && path.len() > 1 {
        path.remove(0);
    }
    if path.is_empty() {
        return Err("has an empty path".to_owned());
    }
    Ok(Condition {
        text: text.trim().to_owned(),
        path,
        comparison: comparison(&inner[end + 1..])?,
    })
}

/// Reads `OPERATOR VALUE`.
fn comparison(text: &str) -> Result<Comparison, String> {
    const OPERATORS: [(&str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::Unequal),
        ("<=", Operator::AtMost),
        (">=", Operator::AtLeast),
        ("<", Operator::Less),
        (">", Operator::More),
    ];
    let text = text.trim();
    let found = OPERATORS
        .into_iter()
        .find_map(|(word, operator)| Some((text.strip_prefix(word)?, operator)));
    let (value, operator) = found.ok_or("has none of `==`, `!=`, `<`, `<=`, `>` and `>=`")?;
    let value = unquoted(value.trim());
    if value.is_empty() && !text.ends_with(['"', '\'']) {
        return Err("compares with nothing".to_owned());
    }
    let orders = !matches!(operator, Operator::Equal | Operator::Unequal);
    if orders && value.parse::<f64>().is_err() {
        return Err(format!("orders by `{value}`, which is no number"));
    }
    Ok(Comparison {
        operator,
        value: value.to_owned(),
    })
}

/// Reads a path.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut path = Vec::new();
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = &after[..end];
            match name {
                "" => return Err("has a path with an empty name".to_owned()),
                "*" => path.push(Step::Every),
                name => path.push(Step::Field(name.to_owned())),
            }
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after, ']').ok_or("has no `]`")?;
            path.push(bracketed(after[..end].trim())?);
            rest = &after[end + 1..];
        } else {
            return Err("has a path that does not go on with `.` or `[`".to_owned());
        }
    }
    Ok(path)
}

/// Reads what stands in brackets.
fn bracketed(inner: &str) -> Result<Step, String> {
    if inner == "*" {
        return Ok(Step::Every);
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let end = filter
            .find(['=', '!', '<', '>'])
            .ok_or("has a filter without a comparison")?;
        return Ok(Step::Where(
            steps(filter[..end].trim())?,
            comparison(&filter[end..])?,
        ));
    }
    let name = unquoted(inner);
    if name.len() < inner.len() {
        return Ok(Step::Field(name.to_owned()));
    }
    let index = inner
        .parse()
        .map_err(|_| format!("has `[{inner}]`, which is no item"))?;
    Ok(Step::Item(index))
}

/// Where a closing character stands that is in no quotes.
fn closing(text: &str, wanted: char) -> Option<usize> {
    let mut quote = None;
    for (place, character) in text.char_indices() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '\'') => quote = Some(character),
            None if character == wanted => return Some(place),
            None => {}
        }
    }
    None
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(success: &Value, failure: &Value, status: &Value) -> Object {
        Object::from_value(json!({
            "apiVersion": "v1", "kind": "Thing",
            "metadata": {"name": "x", "annotations": {SUCCESS: success.to_string(), FAILURE: failure.to_string()}},
            "status": status,
        }))
        .unwrap()
    }

    fn judge(success: &str, failure: &str) -> Verdict {
        let status = json!({
            "phase": "Running", "ready": 3, "text": "10", "done": true, "a.b": 1,
            "list": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
        });
        let object = object(&json!([success]), &json!([failure]), &status);
        Declared::of(&object).unwrap().unwrap().judge(&object)
    }

    #[track_caller]
    fn check(condition: &str, holds: bool) {
        let never = "{.missing} == 1";
        let expected = if holds { Verdict::Success } else { Verdict::Open };
        assert_eq!(judge(condition, never), expected, "{condition}");
    }

    #[test]
    fn conditions_are_asked_of_the_status() {
        check(r#"{.phase} == "Running""#, true);
        check("{.phase} == Running", true);
        check("{.status.phase} == 'Running'", true);
        check("{.phase} != Running", false);
        check("{.ready} >= 3", true);
        check("{.ready} > 3", false);
        check("{.ready} == 3.0", true);
        check("{.text} < 11", true);
        check("{.phase} < 11", false);
        check("{.done} == true", true);
        check("{['a.b']} == 1", true);
        check("{.list[0].status} == True", true);
        check("{.list[-1].type} == Other", true);
        check("{.list[7].type} != Other", false);
        check("{.list[*].type} == Other", true);
        check(r#"{.list[?(@.type=="Ready")].status} == "True""#, true);
        check(r#"{.list[?(@.type=="Ready")].status} == "False""#, false);
        check("{.missing} != 1", false);
    }

    #[test]
    fn a_failure_outweighs_a_success() {
        let failure = judge("{.ready} > 0", "{.phase} == Running");
        assert_eq!(failure, Verdict::Failure("{.phase} == Running".to_owned()));
    }

    #[test]
    fn err_what_cannot_be_read_is_told() {
        for (text, expected) in [
            ("ready", "does not begin with `{`"),
            ("{.ready", "has no `}`"),
            ("{} == 1", "has an empty path"),
            ("{ready} == 1", "does not go on with `.` or `[`"),
            ("{.ready}", "has none of"),
            ("{.ready} ==", "compares with nothing"),
            ("{.ready} > much", "which is no number"),
            ("{.list[x]} == 1", "which is no item"),
            ("{.list[0} == 1", "has no `]`"),
            ("{.list[?(@.type)]} == 1", "has a filter without a comparison"),
            ("{..ready} == 1", "has a path with an empty name"),
        ] {
            let error = condition(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let mut alone = object(&json!([]), &json!([]), &json!({}));
        alone.remove(&["metadata", "annotations", FAILURE]);
        let error = Declared::of(&alone).unwrap().unwrap_err();
        assert_eq!(
            error,
            "`helm.sh/readiness-success` means nothing without `helm.sh/readiness-failure`"
        );
        let broken = object(&json!({"a": 1}), &json!([]), &json!({}));
        assert!(Declared::of(&broken).unwrap().is_err());
    }
}
