//! Roles: who may do what, after `rbac.authorization.k8s.io`.

use std::sync::Arc;

use cluster_objects::selector::LabelSelector;
use cluster_objects::{Object, Status};
use cluster_store::{Key, Selection, Store};
use serde_json::{Value, json};

use crate::authorize::{Action, Authorizer, forbidden};
use crate::user::{MASTERS, User};

const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const ROLES: &str = "roles.rbac.authorization.k8s.io";
const CLUSTER_ROLE_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";
const ROLE_BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";

/// Authorizes by the roles and bindings in the store, as they are at the moment of the request.
///
/// Members of `system:masters` may do everything. Rules of a cluster role with an `aggregationRule` are its own and
/// those of every cluster role that it selects.
pub struct Rbac {
    store: Arc<dyn Store>,
}

impl Rbac {
    /// Reads roles and bindings from a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    fn all(&self, table: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let selection = Selection {
            table: table.into(),
            namespace: namespace.map(Into::into),
        };
        // The present is always there to be listed.
        let listed = self.store.list(&selection, None, None, 0, &|_| true);
        listed.map(|answer| answer.objects).unwrap_or_default()
    }

    /// Calls `visit` with every rule that holds for a user, everywhere and in a namespace, until it gives `true`.
    fn any_rule(&self, user: &User, namespace: Option<&str>, mut visit: impl FnMut(&Value) -> bool) -> bool {
        let everywhere = self.all(CLUSTER_ROLE_BINDINGS, None);
        let here = namespace.map(|namespace| self.all(ROLE_BINDINGS, Some(namespace)));
        let bindings = everywhere.iter().chain(here.iter().flatten());
        let held = bindings.filter(|binding| {
            let subjects = binding.list(&["subjects"]);
            subjects
                .iter()
                .any(|subject| is_subject(user, subject, binding.namespace()))
        });
        for binding in held {
            if self.rules_of(binding).iter().any(&mut visit) {
                return true;
            }
        }
        false
    }

    /// The rules of the role that a binding refers to; none where it is gone.
    fn rules_of(&self, binding: &Object) -> Vec<Value> {
        let name = binding.text(&["roleRef", "name"]).unwrap_or_default();
        if binding.text(&["roleRef", "kind"]) == Some("Role") {
            let namespace = binding.namespace().unwrap_or_default();
            let role = self.store.get(&Key::new(ROLES, namespace, name));
            return role
                .map(|role| role.list(&["rules"]).to_vec())
                .unwrap_or_default();
        }
        let mut rules = Vec::new();
        self.collect(name, &mut vec![name.to_owned()], &mut rules);
        rules
    }

    /// The rules of a cluster role and of those that it is made of; `seen` were collected already.
    fn collect(&self, name: &str, seen: &mut Vec<String>, rules: &mut Vec<Value>) {
        let Some(role) = self.store.get(&Key::new(CLUSTER_ROLES, "", name)) else {
            return;
        };
        rules.extend_from_slice(role.list(&["rules"]));
        let selectors = role.list(&["aggregationRule", "clusterRoleSelectors"]);
        let selectors: Vec<LabelSelector> = selectors
            .iter()
            .filter_map(|selector| LabelSelector::from_value(selector).ok())
            .collect();
        if selectors.is_empty() {
            return;
        }
        for part in self.all(CLUSTER_ROLES, None) {
            let is_selected = selectors.iter().any(|selector| selector.matches(part.labels()));
            if is_selected && !seen.iter().any(|seen| seen == part.name()) {
                seen.push(part.name().to_owned());
                self.collect(part.name(), seen, rules);
            }
        }
    }

    fn holds_all(&self, user: &User, namespace: Option<&str>, rules: &[Value]) -> Result<(), Value> {
        for atom in rules.iter().flat_map(atoms) {
            if !self.any_rule(user, namespace, |rule| covers(rule, &atom)) {
                return Err(atom);
            }
        }
        Ok(())
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &User, action: &Action<'_>) -> Result<(), Status> {
        if user.is_in(MASTERS) {
            return Ok(());
        }
        let namespace = match action {
            Action::Resource { namespace, .. } => *namespace,
            Action::Path { .. } => None,
        };
        if self.any_rule(user, namespace, |rule| allows(rule, action)) {
            return Ok(());
        }
        Err(forbidden(user, action))
    }

    fn rules(&self, user: &User, namespace: Option<&str>) -> Vec<Value> {
        let mut rules = Vec::new();
        if user.is_in(MASTERS) {
            rules.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
            rules.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
        }
        self.any_rule(user, namespace, |rule| {
            rules.push(rule.clone());
            false
        });
        rules
    }

    fn may_give(&self, user: &User, given: &Object) -> Result<(), Status> {
        if user.is_in(MASTERS) {
            return Ok(());
        }
        let is_binding = given.kind().ends_with("Binding");
        let namespace = given.namespace();
        let (rules, verb) = if is_binding {
            (self.rules_of(given), "bind")
        } else {
            (given.list(&["rules"]).to_vec(), "escalate")
        };
        let Err(missing) = self.holds_all(user, namespace, &rules) else {
            return Ok(());
        };
        // Who may give more than they have says so in a verb of the role.
        let (kind, name) = if is_binding {
            let kind = given.text(&["roleRef", "kind"]).unwrap_or_default();
            (kind, given.text(&["roleRef", "name"]).unwrap_or_default())
        } else {
            (given.kind(), given.name())
        };
        let plural = if kind == "Role" { "roles" } else { "clusterroles" };
        let resource = cluster_objects::GroupVersionResource::new("rbac.authorization.k8s.io/v1", plural);
        let exempt = Action::Resource {
            verb,
            resource: &resource,
            subresource: None,
            namespace: namespace.filter(|_| kind == "Role" || is_binding),
            name: Some(name),
        };
        if self.authorize(user, &exempt).is_ok() {
            return Ok(());
        }
        let why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{missing}",
            user.name,
            json!(user.groups)
        );
        let own = format!("{}s", given.kind().to_lowercase());
        let resource = cluster_objects::GroupVersionResource::new("rbac.authorization.k8s.io/v1", &own);
        Err(Status::forbidden(&resource, given.name(), &why))
    }
}

fn is_subject(user: &User, subject: &Value, namespace: Option<&str>) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => user.name == name,
        Some("Group") => user.is_in(name),
        Some("ServiceAccount") => {
            let namespace = subject["namespace"].as_str().or(namespace).unwrap_or_default();
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn texts<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    rule[key]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn names(rule: &Value, key: &str, wanted: &str) -> bool {
    texts(rule, key).any(|text| text == "*" || text == wanted)
}

/// Whether a rule allows an action, after `RuleAllows` in `k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac`.
fn allows(rule: &Value, action: &Action<'_>) -> bool {
    match *action {
        Action::Path { verb, path } => {
            let matches = |allowed: &str| match allowed.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == allowed,
            };
            names(rule, "verbs", verb) && texts(rule, "nonResourceURLs").any(matches)
        }
        Action::Resource {
            verb,
            resource,
            subresource,
            name,
            ..
        } => {
            let matches = |allowed: &str| match (allowed, subresource) {
                ("*", _) => true,
                (_, None) => allowed == resource.resource,
                (_, Some(subresource)) => allowed.split_once('/').is_some_and(|(of, below)| {
                    below == subresource && (of == "*" || of == resource.resource)
                }),
            };
            let mut only = texts(rule, "resourceNames").peekable();
            names(rule, "verbs", verb)
                && names(rule, "apiGroups", &resource.group)
                && texts(rule, "resources").any(matches)
                && (only.peek().is_none() || only.any(|only| Some(only) == name))
        }
    }
}

/// A rule as rules of one verb on one thing each.
fn atoms(rule: &Value) -> Vec<Value> {
    let mut atoms = Vec::new();
    for verb in texts(rule, "verbs") {
        for path in texts(rule, "nonResourceURLs") {
            atoms.push(json!({"verbs": [verb], "nonResourceURLs": [path]}));
        }
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                let atom = json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]});
                let names: Vec<&str> = texts(rule, "resourceNames").collect();
                if names.is_empty() {
                    atoms.push(atom);
                    continue;
                }
                atoms.extend(names.into_iter().map(|name| {
                    let mut atom = atom.clone();
                    atom["resourceNames"] = json!([name]);
                    atom
                }));
            }
        }
    }
    atoms
}

/// Whether a rule allows everything that an atom does.
fn covers(rule: &Value, atom: &Value) -> bool {
    let one = |key: &str| texts(atom, key).next();
    let verb = one("verbs").unwrap_or_default();
    if let Some(path) = one("nonResourceURLs") {
        return allows(rule, &Action::Path { verb, path });
    }
    let wanted = one("resources").unwrap_or_default();
    let resource_covered = texts(rule, "resources").any(|allowed| {
        allowed == "*"
            || allowed == wanted
            || allowed
                .strip_prefix("*/")
                .is_some_and(|below| wanted.ends_with(&format!("/{below}")))
    });
    let mut only = texts(rule, "resourceNames").peekable();
    names(rule, "verbs", verb)
        && names(rule, "apiGroups", one("apiGroups").unwrap_or_default())
        && resource_covered
        && (only.peek().is_none() || one("resourceNames").is_some_and(|name| only.any(|only| only == name)))
}

#[cfg(test)]
mod tests {
    use cluster_objects::GroupVersionResource;

    use super::*;

    fn resource_rule(rule: &Value, verb: &str, what: &str, name: Option<&str>) -> bool {
        let (group, what) = what.split_once(':').unwrap_or(("v1", what));
        let (plural, subresource) = what
            .split_once('/')
            .map_or((what, None), |(of, below)| (of, Some(below)));
        let resource = GroupVersionResource::new(group, plural);
        let action = Action::Resource {
            verb,
            resource: &resource,
            subresource,
            namespace: Some("default"),
            name,
        };
        allows(rule, &action)
    }

    #[test]
    fn rules_allow_what_they_name() {
        let pods = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]});
        let check = |rule: &Value, verb, what, name, expected: bool| {
            assert_eq!(
                resource_rule(rule, verb, what, name),
                expected,
                "{rule} {verb} {what}"
            );
        };
        check(&pods, "get", "pods", Some("a"), true);
        check(&pods, "list", "pods", None, true);
        check(&pods, "delete", "pods", Some("a"), false);
        check(&pods, "get", "pods/log", Some("a"), true);
        check(&pods, "get", "pods/exec", Some("a"), false);
        check(&pods, "get", "apps/v1:deployments", Some("a"), false);
        let one =
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["secrets"], "resourceNames": ["a"]});
        check(&one, "get", "secrets", Some("a"), true);
        check(&one, "get", "secrets", Some("b"), false);
        check(&one, "list", "secrets", None, false);
        let scale = json!({"verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]});
        check(&scale, "update", "apps/v1:deployments/scale", Some("a"), true);
        check(&scale, "update", "apps/v1:deployments", Some("a"), false);
    }

    #[test]
    fn paths_may_end_in_a_star() {
        let rule = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/metrics/*"]});
        let check = |path, expected: bool| {
            assert_eq!(
                allows(&rule, &Action::Path { verb: "get", path }),
                expected,
                "{path}"
            );
        };
        check("/healthz", true);
        check("/healthz/ping", false);
        check("/metrics/cadvisor", true);
        check("/metrics", false);
    }

    #[test]
    fn what_is_given_must_be_held() {
        let held =
            json!({"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "*/scale"]});
        let check = |given: Value, expected: bool| {
            assert_eq!(
                atoms(&given).iter().all(|atom| covers(&held, atom)),
                expected,
                "{given}"
            );
        };
        check(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}),
            true,
        );
        check(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}),
            true,
        );
        check(
            json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments/scale"]}),
            true,
        );
        check(
            json!({"verbs": ["get", "delete"], "apiGroups": [""], "resources": ["pods"]}),
            false,
        );
        check(
            json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}),
            false,
        );
        check(
            json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]}),
            false,
        );
        check(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]}), false);
    }
}
