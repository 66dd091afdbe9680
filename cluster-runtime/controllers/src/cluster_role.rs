//! Cluster roles that are put together from others: the rules of those that their selectors choose.

use std::sync::Arc;

use cluster_client::{Informer, ObjectKey, Patch, Target, WorkQueue};
use cluster_objects::selector::LabelSelector;
use cluster_objects::{GroupVersionResource, Object};
use serde_json::{Value, json};

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::{Outcome, Step};

fn roles() -> GroupVersionResource {
    GroupVersionResource::new("rbac.authorization.k8s.io/v1", "clusterroles")
}

fn is_aggregated(role: &Object) -> bool {
    role.at(&["aggregationRule"]).is_some_and(|rule| !rule.is_null())
}

/// Steps that give a role the rules of the roles that it is made of, in the order of their names, each rule once.
pub(crate) fn plan(role: &Object, all: &[Arc<Object>]) -> Vec<Step> {
    if !is_aggregated(role) {
        return Vec::new();
    }
    let selectors = role.list(&["aggregationRule", "clusterRoleSelectors"]).iter();
    let selectors: Vec<LabelSelector> = selectors
        .filter_map(|selector| LabelSelector::from_value(selector).ok())
        .collect();
    let mut parts: Vec<&Arc<Object>> = all
        .iter()
        .filter(|part| part.name() != role.name() && selectors.iter().any(|one| one.matches(part.labels())))
        .collect();
    parts.sort_by_key(|part| part.name().to_owned());
    let mut rules: Vec<&Value> = Vec::new();
    for rule in parts.iter().flat_map(|part| part.list(&["rules"])) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    if role.list(&["rules"]).iter().eq(rules.iter().copied()) {
        return Vec::new();
    }
    vec![Step::Patch {
        target: Target::of(&roles(), role),
        patch: Patch::Merge(json!({"metadata": {"uid": role.uid()}, "rules": rules})),
    }]
}

/// The shell around [`plan`].
pub(crate) struct ClusterRoles {
    context: Context,
    roles: Informer,
}

impl ClusterRoles {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let roles = context.informers.of_resource(&roles());
        let (added, all) = (queue.clone(), roles.clone());
        roles.add_handler(move |change| {
            added.add(ObjectKey::of(change.object()));
            // Any role may be a part of those.
            for role in all.list().iter().filter(|role| is_aggregated(role)) {
                added.add(ObjectKey::of(role));
            }
        });
        Self {
            context: context.component(Self::NAME),
            roles,
        }
    }
}

impl Reconcile for ClusterRoles {
    type Key = ObjectKey;

    const NAME: &'static str = "clusterrole-aggregation-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(role) = self.roles.get_key(key) else {
            return Outcome::default();
        };
        let steps = plan(&role, &self.roles.list());
        self.context.execute(&role, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.roles.list().iter().map(|role| ObjectKey::of(role)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_gets_the_rules_of_those_it_selects() {
        let part = |name: &str, label: &str, rules: Value| {
            let mut role = Object::new("rbac.authorization.k8s.io/v1", "ClusterRole", None, name);
            role.set(&["metadata", "labels", label], "true");
            role.set(&["rules"], rules);
            Arc::new(role)
        };
        let all = [
            part("b", "to-view", json!([{"verbs": ["get"]}, {"verbs": ["list"]}])),
            part("a", "to-view", json!([{"verbs": ["list"]}])),
            part("c", "to-edit", json!([{"verbs": ["delete"]}])),
        ];
        let mut view = Object::new("rbac.authorization.k8s.io/v1", "ClusterRole", None, "view");
        assert_eq!(plan(&view, &all), [], "a role of its own");
        view.set(
            &["aggregationRule"],
            json!({"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]}),
        );
        let steps = plan(&view, &all);
        let Some(Step::Patch {
            patch: Patch::Merge(patch),
            ..
        }) = steps.first()
        else {
            panic!("no patch");
        };
        assert_eq!(patch["rules"], json!([{"verbs": ["list"]}, {"verbs": ["get"]}]));
        view.set(&["rules"], patch["rules"].clone());
        assert_eq!(plan(&view, &all), []);
    }
}
