//! Who may do what.

use cluster_objects::{GroupVersionResource, Object, Status, StatusReason};
use serde_json::{Value, json};

use crate::user::{AUTHENTICATED, MASTERS, User};

/// What a user wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// A verb on a resource of the API.
    Resource {
        /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
        verb: &'a str,
        /// The resource.
        resource: &'a GroupVersionResource,
        /// The subresource, as `status`.
        subresource: Option<&'a str>,
        /// The namespace; `None` for cluster-wide resources and for all namespaces.
        namespace: Option<&'a str>,
        /// The object; `None` for whole collections.
        name: Option<&'a str>,
    },
    /// A verb on a path outside the resources.
    Path {
        /// `get`, `post` and so on.
        verb: &'a str,
        /// The path, as `/version`.
        path: &'a str,
    },
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync + 'static {
    /// Refuses with 403 in the words of Kubernetes, or lets the request pass.
    fn authorize(&self, user: &User, action: &Action<'_>) -> Result<(), Status>;

    /// The rules that hold for a user everywhere, and in a namespace, as `rbac.authorization.k8s.io` writes them.
    fn rules(&self, user: &User, namespace: Option<&str>) -> Vec<Value> {
        let everything = if user.is_in(MASTERS) {
            vec![
                json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
                json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
            ]
        } else {
            Vec::new()
        };
        let _ = namespace;
        everything
    }

    /// Refuses a role or a binding with more rights than the user has who writes it.
    fn may_give(&self, user: &User, given: &Object) -> Result<(), Status> {
        let _ = (user, given);
        Ok(())
    }
}

/// The rules before there are roles: masters may do all, everyone may ask for version and health, everyone known
/// may discover what is served.
#[derive(Clone, Copy, Debug, Default)]
pub struct MastersOnly;

impl Authorizer for MastersOnly {
    fn authorize(&self, user: &User, action: &Action<'_>) -> Result<(), Status> {
        if user.is_in(MASTERS) {
            return Ok(());
        }
        if let Action::Path { verb: "get", path } = action
            && (is_public(path) || (user.is_in(AUTHENTICATED) && is_discovery(path)))
        {
            return Ok(());
        }
        Err(forbidden(user, action))
    }
}

/// What the role `system:public-info-viewer` covers.
fn is_public(path: &str) -> bool {
    ["/version", "/healthz", "/livez", "/readyz"]
        .iter()
        .any(|open| is_under(path, open))
}

/// What the role `system:discovery` covers.
fn is_discovery(path: &str) -> bool {
    ["/api", "/apis", "/openapi"]
        .iter()
        .any(|open| is_under(path, open))
}

fn is_under(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The refusal, in the words of `k8s.io/apiserver/pkg/endpoints/handlers/responsewriters`.
pub(crate) fn forbidden(user: &User, action: &Action<'_>) -> Status {
    let (resource, subresource, namespace, name, verb) = match *action {
        Action::Path { verb, path } => {
            let message = format!("forbidden: User {:?} cannot {verb} path {path:?}", user.name);
            return Status::new(403, StatusReason::Forbidden, message);
        }
        Action::Resource {
            verb,
            resource,
            subresource,
            namespace,
            name,
        } => (resource, subresource, namespace, name, verb),
    };
    let what = match subresource {
        Some(subresource) => format!("{}/{subresource}", resource.resource),
        None => resource.resource.clone(),
    };
    let scope = match namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let why = format!(
        "User {:?} cannot {verb} resource {what:?} in API group {:?} {scope}",
        user.name, resource.group
    );
    Status::forbidden(resource, name.unwrap_or_default(), &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path<'a>(path: &'a str) -> Action<'a> {
        Action::Path { verb: "get", path }
    }

    #[test]
    fn anonymous_users_see_version_and_health_and_nothing_else() {
        let user = User::anonymous();
        assert!(MastersOnly.authorize(&user, &path("/version")).is_ok());
        assert!(MastersOnly.authorize(&user, &path("/readyz/ping")).is_ok());
        let refused = MastersOnly.authorize(&user, &path("/versions")).unwrap_err();
        assert_eq!(
            refused.message,
            r#"forbidden: User "system:anonymous" cannot get path "/versions""#
        );
        assert!(MastersOnly.authorize(&user, &path("/apis")).is_err());
    }

    #[test]
    fn err_a_known_user_without_roles_reads_nothing() {
        let user = User::authenticated("jane", []);
        assert!(MastersOnly.authorize(&user, &path("/apis")).is_ok());
        let pods = GroupVersionResource::new("v1", "pods");
        let action = Action::Resource {
            verb: "list",
            resource: &pods,
            subresource: None,
            namespace: Some("default"),
            name: None,
        };
        let refused = MastersOnly.authorize(&user, &action).unwrap_err();
        assert_eq!(
            refused.message,
            r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#
        );
    }
}
