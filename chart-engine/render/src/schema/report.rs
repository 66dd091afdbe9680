//! From the faults that the validator finds to the tree that Helm prints.
//!
//! The validator gives a flat list, each fault with the path of keywords that led to it. Helm's library nests: a rule
//! with several faults becomes a node, `allOf` and its like become nodes, and a wrong type hides everything else that the
//! same rule says. So the paths are walked again here.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use serde_json::Value;

use super::Complaint;
use super::words::{count, display, kind_of, number, quote, quote_all};

/// Turns the faults found in the value `root` into the complaints that Helm prints.
pub(super) fn report(root: &Value, errors: &[ValidationError<'_>]) -> Vec<Complaint> {
    let faults = errors.iter().map(|error| Fault::new(root, error, 0)).collect();
    let mut complaints = rule(faults);
    // A rule with but one fault passes it on, so what several faults are put under may have come up from far below.
    if let [only] = complaints.as_mut_slice()
        && only.is_group
    {
        return std::mem::take(&mut only.complaint.causes);
    }
    complaints.into_iter().map(|found| found.complaint).collect()
}

/// A complaint, and whether it only holds together what several parts of one rule complain of.
struct Found {
    complaint: Complaint,
    is_group: bool,
}

impl Found {
    fn new(path: Vec<String>, message: String, causes: Vec<Found>) -> Found {
        let causes = causes.into_iter().map(|found| found.complaint).collect();
        Found {
            complaint: Complaint {
                path,
                message,
                causes,
            },
            is_group: false,
        }
    }
}

/// What is printed for a rule of which several parts failed.
const GROUP: &str = "validation failed";

/// A fault, and the part of its path that lies below the rule at hand.
struct Fault<'e> {
    root: &'e Value,
    error: &'e ValidationError<'e>,
    steps: Vec<Step>,
    /// The values on the way, from the root.
    instance: Vec<String>,
    /// Which of the rules of `allOf` it comes from.
    branch: Option<String>,
    /// The properties that are missing.
    missing: Vec<String>,
}

/// One rule inside of another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    kind: StepKind,
    /// The keyword and, where it has several rules, which.
    keyword: String,
    argument: Option<String>,
    /// The value in which the inner rule looks: how many names from the root.
    depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepKind {
    /// A rule on a part of the value.
    Part,
    /// Another rule on the same value.
    Same,
    /// One of the rules of `allOf`.
    AllOf,
    /// A rule by reference.
    Reference,
}

fn segments(location: &Location) -> Vec<String> {
    location
        .into_iter()
        .map(|segment| match segment {
            LocationSegment::Property(name) => name.to_string(),
            LocationSegment::Index(index) => index.to_string(),
        })
        .collect()
}

impl<'e> Fault<'e> {
    /// `skip` is the number of keywords that lead to the rule at hand.
    fn new(root: &'e Value, error: &'e ValidationError<'e>, skip: usize) -> Fault<'e> {
        let instance = segments(error.instance_path());
        let path = segments(error.evaluation_path());
        let is_false = matches!(error.kind(), ValidationErrorKind::FalseSchema);
        let mut steps = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < path.len() {
            let keyword = path[at].as_str();
            let numbered = path
                .get(at + 1)
                .is_some_and(|next| next.bytes().all(|b| b.is_ascii_digit()));
            let (kind, length) = match keyword {
                "properties" | "patternProperties" | "prefixItems" => (StepKind::Part, 2),
                "items" if numbered => (StepKind::Part, 2),
                "items"
                | "additionalItems"
                | "additionalProperties"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "contains" => (StepKind::Part, 1),
                "allOf" => (StepKind::AllOf, 2),
                "dependentSchemas" | "dependencies" | "anyOf" | "oneOf" => (StepKind::Same, 2),
                "if" | "then" | "else" => (StepKind::Same, 1),
                "$ref" | "$dynamicRef" | "$recursiveRef" => (StepKind::Reference, 1),
                _ => break,
            };
            // What stands last is the keyword that failed, not a way to another rule.
            if at + length > path.len() || (at + length == path.len() && !is_false) {
                break;
            }
            depth += usize::from(kind == StepKind::Part);
            if at >= skip {
                let argument = path.get(at + 1).filter(|_| length == 2).cloned();
                steps.push(Step {
                    kind,
                    keyword: keyword.to_owned(),
                    argument,
                    depth: depth.min(instance.len()),
                });
            }
            at += length;
        }
        let missing = match error.kind() {
            ValidationErrorKind::Required {
                property: Value::String(name),
            } => vec![name.clone()],
            _ => Vec::new(),
        };
        Fault {
            root,
            error,
            steps,
            instance,
            branch: None,
            missing,
        }
    }
}

/// What the faults under one rule amount to.
fn rule(faults: Vec<Fault<'_>>) -> Vec<Found> {
    let (own, deeper): (Vec<_>, Vec<_>) = faults.into_iter().partition(|fault| fault.steps.is_empty());
    let decisive = own.iter().filter(|fault| decides(fault.error.kind()).is_some());
    if let Some(fault) = decisive.min_by_key(|fault| decides(fault.error.kind())) {
        // A wrong type, constant or choice is all that is said about the value.
        return complaints(fault);
    }
    let mut found: Vec<(usize, Found)> = Vec::new();
    for fault in merge_names(own) {
        let rank = rank(fault.error.kind().keyword());
        found.extend(complaints(&fault).into_iter().map(|complaint| (rank, complaint)));
    }
    for inner in group(deeper) {
        let rank = rank(&inner.step.keyword);
        let complaint = match inner.step.kind {
            StepKind::Part | StepKind::Same => wrap(rule(inner.faults), &inner.place),
            StepKind::Reference => match rule(inner.faults) {
                causes if causes.len() == 1 => causes.into_iter().next(),
                causes => Some(Found::new(inner.place, GROUP.to_owned(), causes)),
            },
            StepKind::AllOf => {
                let mut branches: Vec<Found> = Vec::new();
                for branch in group_by(inner.faults, |fault| fault.branch.clone()) {
                    branches.extend(wrap(rule(branch), &inner.place));
                }
                Some(Found::new(inner.place, "'allOf' failed".to_owned(), branches))
            }
        };
        found.extend(complaint.map(|complaint| (rank, complaint)));
    }
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, complaint)| complaint).collect()
}

/// One complaint out of many.
fn wrap(mut complaints: Vec<Found>, place: &[String]) -> Option<Found> {
    match complaints.len() {
        0 | 1 => complaints.pop(),
        _ => Some(Found {
            is_group: true,
            ..Found::new(place.to_vec(), GROUP.to_owned(), complaints)
        }),
    }
}

struct Inner<'e> {
    step: Step,
    place: Vec<String>,
    faults: Vec<Fault<'e>>,
}

/// Puts together what happened under the same inner rule, and takes the step there off.
fn group(faults: Vec<Fault<'_>>) -> Vec<Inner<'_>> {
    let mut groups: Vec<Inner<'_>> = Vec::new();
    for mut fault in faults {
        let mut step = fault.steps.remove(0);
        let place = fault.instance[..step.depth].to_vec();
        if step.kind == StepKind::AllOf {
            fault.branch = step.argument.take();
        }
        match groups
            .iter_mut()
            .find(|known| known.step == step && known.place == place)
        {
            Some(known) => known.faults.push(fault),
            None => groups.push(Inner {
                step,
                place,
                faults: vec![fault],
            }),
        }
    }
    groups
}

fn group_by<T, K: PartialEq>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<Vec<T>> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The validator complains of each missing property alone; here one complaint names them all.
fn merge_names(own: Vec<Fault<'_>>) -> Vec<Fault<'_>> {
    let mut merged: Vec<Fault<'_>> = Vec::new();
    for fault in own {
        if let ValidationErrorKind::Required {
            property: Value::String(name),
        } = fault.error.kind()
        {
            let same =
                |known: &&mut Fault<'_>| known.error.evaluation_path() == fault.error.evaluation_path();
            if let Some(known) = merged.iter_mut().find(same) {
                known.missing.push(name.clone());
                continue;
            }
            merged.push(Fault {
                missing: vec![name.clone()],
                ..fault
            });
        } else {
            merged.push(fault);
        }
    }
    merged
}

/// The keywords after which Helm's library looks no further, in their order.
fn decides(kind: &ValidationErrorKind) -> Option<usize> {
    match kind {
        ValidationErrorKind::Type { .. } => Some(1),
        ValidationErrorKind::Constant { .. } => Some(2),
        ValidationErrorKind::Enum { .. } => Some(3),
        ValidationErrorKind::Format { .. } => Some(4),
        _ => None,
    }
}

/// The order in which Helm's library looks at keywords.
fn rank(keyword: &str) -> usize {
    const ORDER: &[&[&str]] = &[
        &["$ref"],
        &["minProperties"],
        &["maxProperties"],
        &["required"],
        &["dependencies"],
        &["properties", "patternProperties"],
        &["additionalProperties"],
        &["propertyNames"],
        &["dependentSchemas"],
        &["dependentRequired"],
        &["minItems", "minLength", "minimum"],
        &["maxItems", "maxLength", "maximum"],
        &["uniqueItems", "pattern", "exclusiveMinimum"],
        &["items", "prefixItems", "exclusiveMaximum"],
        &["additionalItems", "multipleOf"],
        &["contains"],
        &["$recursiveRef", "$dynamicRef"],
        &["not"],
        &["allOf"],
        &["anyOf"],
        &["oneOf"],
        &["if", "then", "else"],
    ];
    ORDER
        .iter()
        .position(|keywords| keywords.contains(&keyword))
        .unwrap_or(ORDER.len())
}

/// What a fault is in Helm's words: mostly one complaint.
fn complaints(fault: &Fault<'_>) -> Vec<Found> {
    let causes = match fault.error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let skip = segments(fault.error.evaluation_path()).len() + 1;
            let branch = |errors: &Vec<ValidationError<'_>>| {
                let faults = errors
                    .iter()
                    .map(|error| Fault::new(fault.root, error, skip))
                    .collect();
                wrap(rule(faults), &fault.instance)
            };
            context.iter().filter_map(branch).collect()
        }
        ValidationErrorKind::PropertyNames { error } => {
            vec![Found::new(
                Vec::new(),
                message(&Fault::new(fault.root, error, usize::MAX)),
                Vec::new(),
            )]
        }
        ValidationErrorKind::UnevaluatedProperties { unexpected }
        | ValidationErrorKind::UnevaluatedItems { unexpected } => {
            let one = |name: &String| {
                let path = fault.instance.iter().chain([name]).cloned().collect();
                Found::new(path, message(fault), Vec::new())
            };
            return unexpected.iter().map(one).collect();
        }
        _ => Vec::new(),
    };
    vec![Found::new(fault.instance.clone(), message(fault), causes)]
}

fn message(fault: &Fault<'_>) -> String {
    use ValidationErrorKind as Kind;
    let found = fault.error.instance();
    let size = || match found.as_ref() {
        Value::Array(items) => items.len() as u64,
        Value::Object(map) => map.len() as u64,
        Value::String(text) => text.chars().count() as u64,
        _ => 0,
    };
    let bound = |name: &str, limit: &Value| format!("{name}: got {}, want {}", number(found), number(limit));
    let counted = |name: &str, limit: u64| format!("{name}: got {}, want {}", count(size()), count(limit));
    match fault.error.kind() {
        Kind::FalseSchema if ends_with(fault.error.evaluation_path(), "additionalProperties") => {
            let table = fault
                .root
                .pointer(fault.error.instance_path().as_str())
                .and_then(Value::as_object);
            let names = table
                .into_iter()
                .flat_map(|table| table.keys().map(String::as_str));
            format!("additional properties {} not allowed", quote_all(names))
        }
        Kind::FalseSchema | Kind::UnevaluatedItems { .. } | Kind::UnevaluatedProperties { .. } => {
            "false schema".to_owned()
        }
        Kind::Type { kind } => format!("got {}, want {}", kind_of(found), wanted_types(kind)),
        Kind::Constant { expected_value } => match expected_value.as_ref() {
            Value::Array(_) | Value::Object(_) => "'const' failed".to_owned(),
            value => format!("value must be {}", display(value)),
        },
        Kind::Enum { options } => match options.as_array().map_or(&[][..], Vec::as_slice) {
            values if values.iter().any(|value| value.is_array() || value.is_object()) => {
                "'enum' failed".to_owned()
            }
            [value] => format!("value must be {}", display(value)),
            values => {
                let values: Vec<String> = values.iter().map(display).collect();
                format!("value must be one of {}", values.join(", "))
            }
        },
        Kind::Format { format } => format!("{} is not valid {format}", display(found)),
        Kind::MinProperties { limit } => counted("minProperties", *limit),
        Kind::MaxProperties { limit } => counted("maxProperties", *limit),
        Kind::MinItems { limit } => counted("minItems", *limit),
        Kind::MaxItems { limit } => counted("maxItems", *limit),
        Kind::MinLength { limit } => counted("minLength", *limit),
        Kind::MaxLength { limit } => counted("maxLength", *limit),
        Kind::Minimum { limit } => bound("minimum", limit),
        Kind::Maximum { limit } => bound("maximum", limit),
        Kind::ExclusiveMinimum { limit } => bound("exclusiveMinimum", limit),
        Kind::ExclusiveMaximum { limit } => bound("exclusiveMaximum", limit),
        Kind::MultipleOf { multiple_of } => bound("multipleOf", &Value::from(*multiple_of)),
        Kind::Required { .. } => missing(fault),
        Kind::AdditionalProperties { unexpected } => {
            format!(
                "additional properties {} not allowed",
                quote_all(unexpected.iter().map(String::as_str))
            )
        }
        Kind::AdditionalItems { limit } => {
            format!(
                "last {} additionalItem(s) not allowed",
                size().saturating_sub(*limit as u64)
            )
        }
        Kind::PropertyNames { error } => {
            format!("invalid propertyName {}", display(error.instance()))
        }
        Kind::Pattern { pattern } => format!("{} does not match pattern {}", display(found), quote(pattern)),
        Kind::UniqueItems => duplicates(found),
        Kind::Contains => "no items match contains schema".to_owned(),
        Kind::Not { .. } => "'not' failed".to_owned(),
        Kind::AnyOf { .. } => "'anyOf' failed".to_owned(),
        Kind::OneOfNotValid { .. } => "'oneOf' failed, none matched".to_owned(),
        Kind::OneOfMultipleValid { context } => {
            let mut valid = context
                .iter()
                .enumerate()
                .filter(|(_, errors)| errors.is_empty())
                .map(|(index, _)| index);
            let (first, second) = (valid.next().unwrap_or(0), valid.next().unwrap_or(1));
            format!("'oneOf' failed, subschemas {first}, {second} matched")
        }
        _ => fault.error.to_string(),
    }
}

fn ends_with(path: &Location, keyword: &str) -> bool {
    segments(path).last().is_some_and(|last| last == keyword)
}

/// What is missing; for the sake of another property, if that is why.
fn missing(fault: &Fault<'_>) -> String {
    let names = quote_all(fault.missing.iter().map(String::as_str));
    let path = segments(fault.error.evaluation_path());
    let reason = path
        .iter()
        .rposition(|part| part == "dependentRequired" || part == "dependencies");
    // Below `dependencies` may stand rules of every kind; names in a list are by far the most usual.
    let reason = reason
        .filter(|at| path.len() <= at + 3)
        .and_then(|at| path.get(at + 1));
    match reason {
        Some(name) => format!("properties {names} required, if {} exists", quote(name)),
        None if fault.missing.len() == 1 => format!("missing property {names}"),
        None => format!("missing properties {names}"),
    }
}

fn wanted_types(kind: &TypeKind) -> String {
    let mut names: Vec<&str> = match kind {
        TypeKind::Single(one) => vec![one.as_str()],
        TypeKind::Multiple(many) => many.iter().map(jsonschema::JsonType::as_str).collect(),
    };
    const ORDER: [&str; 7] = [
        "null", "boolean", "number", "integer", "string", "array", "object",
    ];
    names.sort_by_key(|name| ORDER.iter().position(|known| known == name));
    names.join(" or ")
}

fn duplicates(found: &Value) -> String {
    let items = found.as_array().map_or(&[][..], Vec::as_slice);
    let pair = items.iter().enumerate().find_map(|(second, item)| {
        let first = items[..second].iter().position(|before| before == item)?;
        Some((first, second))
    });
    let (first, second) = pair.unwrap_or((0, 1));
    format!("items at {first} and {second} are equal")
}
