//! Which nodes a pod accepts by their labels and names.

use cluster_objects::Object;
use serde_json::{Map, Value};

/// Terms of which one must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSelector {
    terms: Vec<NodeTerm>,
}

/// Requirements that must all hold. One without requirements holds of no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeTerm {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
    /// An operator that nobody knows holds of nothing.
    Unknown,
}

impl NodeSelector {
    /// Reads `nodeSelectorTerms` of a selector.
    pub(crate) fn parse(selector: &Value) -> Self {
        let terms = selector["nodeSelectorTerms"].as_array();
        Self {
            terms: terms.into_iter().flatten().map(NodeTerm::parse).collect(),
        }
    }

    pub(crate) fn matches(&self, name: &str, labels: Option<&Map<String, Value>>) -> bool {
        self.terms.iter().any(|term| term.matches(name, labels))
    }

    /// The names of the only nodes that can match, where the selector names nodes: pods of daemon sets do.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        let name_of = |term: &NodeTerm| {
            term.fields
                .iter()
                .find(|field| field.operator == Operator::In && field.values.len() == 1)
                .map(|field| field.values[0].clone())
        };
        if self.terms.iter().any(|term| name_of(term).is_none()) {
            return None;
        }
        let fields = self.terms.iter().flat_map(|term| &term.fields);
        let named = fields.filter(|field| field.operator == Operator::In && field.values.len() == 1);
        Some(named.map(|field| field.values[0].as_str()).collect())
    }
}

impl NodeTerm {
    pub(crate) fn parse(term: &Value) -> Self {
        let requirements = |key: &str| {
            let entries = term[key].as_array();
            entries.into_iter().flatten().map(Requirement::parse).collect()
        };
        Self {
            labels: requirements("matchExpressions"),
            fields: requirements("matchFields"),
        }
    }

    pub(crate) fn matches(&self, name: &str, labels: Option<&Map<String, Value>>) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        let field = |key: &str| (key == "metadata.name").then_some(name);
        self.labels
            .iter()
            .all(|requirement| requirement.holds(label(&requirement.key)))
            && self
                .fields
                .iter()
                .all(|requirement| requirement.holds(field(&requirement.key)))
    }
}

impl Requirement {
    fn parse(entry: &Value) -> Self {
        let operator = match entry["operator"].as_str().unwrap_or_default() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::GreaterThan,
            "Lt" => Operator::LessThan,
            _ => Operator::Unknown,
        };
        let values = entry["values"].as_array().into_iter().flatten();
        Self {
            key: entry["key"].as_str().unwrap_or_default().to_owned(),
            operator,
            values: values.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    fn holds(&self, present: Option<&str>) -> bool {
        let listed = |present: &str| self.values.iter().any(|value| value == present);
        let numbers = || {
            let wanted: i64 = self.values.first()?.parse().ok()?;
            let present: i64 = present?.parse().ok()?;
            Some((present, wanted))
        };
        match self.operator {
            Operator::In => present.is_some_and(listed),
            Operator::NotIn => !present.is_some_and(listed),
            Operator::Exists => present.is_some(),
            Operator::DoesNotExist => present.is_none(),
            Operator::GreaterThan => numbers().is_some_and(|(present, wanted)| present > wanted),
            Operator::LessThan => numbers().is_some_and(|(present, wanted)| present < wanted),
            Operator::Unknown => false,
        }
    }
}

/// What a pod demands of its node: `spec.nodeSelector` and the required node affinity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeDemand {
    labels: Vec<(String, String)>,
    required: Option<NodeSelector>,
    /// Terms that are liked, with their weights.
    pub(crate) preferred: Vec<(i64, NodeTerm)>,
}

impl NodeDemand {
    pub(crate) fn of(pod: &Object) -> Self {
        let labels = pod.at(&["spec", "nodeSelector"]).and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let affinity = |name| pod.at(&["spec", "affinity", "nodeAffinity", name]);
        let required = affinity("requiredDuringSchedulingIgnoredDuringExecution");
        let preferred = affinity("preferredDuringSchedulingIgnoredDuringExecution").and_then(Value::as_array);
        let weigh = |entry: &Value| {
            let weight = entry["weight"].as_i64().unwrap_or_default();
            (weight, NodeTerm::parse(&entry["preference"]))
        };
        Self {
            labels: labels
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            required: required
                .filter(|required| !required.is_null())
                .map(NodeSelector::parse),
            preferred: preferred.into_iter().flatten().map(weigh).collect(),
        }
    }

    pub(crate) fn accepts(&self, name: &str, labels: Option<&Map<String, Value>>) -> bool {
        let has = |(key, value): &(String, String)| {
            let present = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
            present == Some(value)
        };
        self.labels.iter().all(has)
            && self
                .required
                .as_ref()
                .is_none_or(|required| required.matches(name, labels))
    }

    /// Whether any node is accepted.
    pub(crate) fn is_none(&self) -> bool {
        self.labels.is_empty() && self.required.is_none()
    }

    /// The only nodes that can be accepted, where they are named.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        self.required.as_ref().and_then(NodeSelector::names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(affinity: &Value, expected: bool) {
        let mut pod = Object::new("v1", "Pod", None, "p");
        let required = json!({"nodeSelectorTerms": [affinity]});
        pod.set(
            &[
                "spec",
                "affinity",
                "nodeAffinity",
                "requiredDuringSchedulingIgnoredDuringExecution",
            ],
            required,
        );
        let labels = json!({"zone": "a", "cores": "8"});
        let accepted = NodeDemand::of(&pod).accepts("n1", labels.as_object());
        assert_eq!(accepted, expected, "{affinity}");
    }

    #[test]
    fn every_operator_is_honoured() {
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(&expression("zone", "In", &["a", "b"]), true);
        check(&expression("zone", "In", &["b"]), false);
        check(&expression("zone", "NotIn", &["b"]), true);
        check(&expression("disk", "NotIn", &["b"]), true);
        check(&expression("zone", "Exists", &[]), true);
        check(&expression("disk", "Exists", &[]), false);
        check(&expression("disk", "DoesNotExist", &[]), true);
        check(&expression("cores", "Gt", &["4"]), true);
        check(&expression("cores", "Lt", &["4"]), false);
        check(&expression("zone", "Gt", &["4"]), false);
        check(&expression("zone", "Like", &["a"]), false);
        check(&json!({}), false);
        let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        check(&named("n1"), true);
        check(&named("n2"), false);
    }
}
