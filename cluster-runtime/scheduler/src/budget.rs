//! Disruption budgets, as far as preemption looks at them.

use std::collections::BTreeSet;

use cluster_client::ObjectKey;
use cluster_objects::Object;
use cluster_objects::selector::LabelSelector;
use serde_json::Value;

use crate::pod::Ask;

/// How many pods of a selector may go.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    namespace: String,
    selector: LabelSelector,
    pub(crate) allowed: i64,
    /// Pods whose going is counted already.
    going: BTreeSet<String>,
}

impl Budget {
    /// Reads a `PodDisruptionBudget`.
    pub(crate) fn of(object: &Object) -> Self {
        let selector = object.at(&["spec", "selector"]).unwrap_or(&Value::Null);
        let going = object.at(&["status", "disruptedPods"]).and_then(Value::as_object);
        Self {
            namespace: object.namespace().unwrap_or_default().to_owned(),
            selector: LabelSelector::from_value(selector).unwrap_or_else(|_| LabelSelector::nothing()),
            allowed: object
                .integer(&["status", "disruptionsAllowed"])
                .unwrap_or_default(),
            going: going
                .into_iter()
                .flatten()
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    /// Whether a pod that went would be counted.
    pub(crate) fn covers(&self, key: &ObjectKey, ask: &Ask) -> bool {
        // As in kube-scheduler, pods without labels are nobody's, and an empty selector is no selector.
        *self.namespace == *key.namespace
            && !ask.labels.is_empty()
            && !self.selector.is_everything()
            && self.selector.matches(Some(&ask.labels))
            && !self.going.contains(&*key.name)
    }
}
