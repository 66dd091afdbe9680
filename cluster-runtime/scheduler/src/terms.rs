//! Terms that choose pods by namespace and labels.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cluster_objects::selector::{LabelSelector, Operator, Requirement};
use serde_json::{Map, Value};

/// Which pods a term of affinity, anti-affinity or topology spread chooses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    /// The same choice has the same text.
    text: Arc<str>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    selector: LabelSelector,
}

/// The labels of all namespaces.
pub(crate) type NamespaceLabels = HashMap<String, Map<String, Value>>;

impl Choice {
    /// Reads a pod affinity term of a pod in `namespace` with `labels`.
    pub(crate) fn of_term(term: &Value, namespace: &str, labels: Option<&Map<String, Value>>) -> Self {
        let listed = term["namespaces"].as_array().into_iter().flatten();
        let mut namespaces: BTreeSet<String> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
        let namespace_selector = Some(&term["namespaceSelector"])
            .filter(|selector| selector.is_object())
            .map(|selector| LabelSelector::from_value(selector).unwrap_or_else(|_| LabelSelector::nothing()));
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self::new(namespaces, namespace_selector, term, labels)
    }

    /// Reads a topology spread constraint of a pod in `namespace` with `labels`.
    pub(crate) fn of_spread(
        constraint: &Value,
        namespace: &str,
        labels: Option<&Map<String, Value>>,
    ) -> Self {
        Self::new(BTreeSet::from([namespace.to_owned()]), None, constraint, labels)
    }

    fn new(
        namespaces: BTreeSet<String>,
        namespace_selector: Option<LabelSelector>,
        term: &Value,
        labels: Option<&Map<String, Value>>,
    ) -> Self {
        let mut selector = term["labelSelector"].clone();
        // Keys whose values are taken from the pod itself: they narrow the selector.
        for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
            let keys = term[list]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            for key in keys {
                let Some(value) = labels.and_then(|labels| labels.get(key)) else {
                    continue;
                };
                if !selector.is_object() {
                    continue;
                }
                let requirement = serde_json::json!({"key": key, "operator": operator, "values": [value]});
                match selector["matchExpressions"].as_array_mut() {
                    Some(expressions) => expressions.push(requirement),
                    None => selector["matchExpressions"] = serde_json::json!([requirement]),
                }
            }
        }
        let selector = LabelSelector::from_value(&selector).unwrap_or_else(|_| LabelSelector::nothing());
        let text = format!("{namespaces:?} {namespace_selector:?} {selector:?}");
        Self {
            text: text.into(),
            namespaces,
            namespace_selector,
            selector,
        }
    }

    /// Whether a pod is chosen.
    pub(crate) fn chooses(
        &self,
        namespace: &str,
        labels: Option<&Map<String, Value>>,
        namespaces: &NamespaceLabels,
    ) -> bool {
        let in_namespace = self.namespaces.contains(namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|selector| selector.matches(namespaces.get(namespace)));
        in_namespace && self.selector.matches(labels)
    }

    /// A label that every chosen pod has, where the choice names one.
    pub(crate) fn label(&self) -> Option<(&str, &str)> {
        let exact = |requirement: &&Requirement| {
            let one = requirement.values.len() == 1;
            one && matches!(
                requirement.operator,
                Operator::Equals | Operator::DoubleEquals | Operator::In
            )
        };
        let requirement = self.selector.requirements().iter().find(exact)?;
        Some((&requirement.key, requirement.values.first()?))
    }

    /// Whether the labels of namespaces decide.
    pub(crate) fn goes_by_namespaces(&self) -> bool {
        self.namespace_selector.is_some()
    }

    /// The text that is the same for the same choice.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }
}

/// A choice within a topology: "with such pods in the same zone".
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) choice: Choice,
    pub(crate) topology_key: String,
}

impl Term {
    pub(crate) fn parse(term: &Value, namespace: &str, labels: Option<&Map<String, Value>>) -> Self {
        Self {
            choice: Choice::of_term(term, namespace, labels),
            topology_key: term["topologyKey"].as_str().unwrap_or_default().to_owned(),
        }
    }
}
