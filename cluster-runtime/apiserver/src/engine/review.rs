//! Kinds that are answered and never stored: who am I, may I, and bindings.

use std::sync::Arc;

use cluster_client::{Target, WriteOptions};
use cluster_objects::registry::KindRow;
use cluster_objects::{GroupVersionResource, Object, Status, StatusReason};
use serde_json::{Value, json};

use super::{Engine, Written};
use crate::authorize::Action;
use crate::user::{Caller, User};

impl Engine {
    /// Answers a posted object of a kind that is not stored.
    pub(super) async fn answer(
        &self,
        caller: &Caller,
        row: &KindRow,
        namespace: Option<&str>,
        mut object: Object,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let status = match row.kind.as_ref() {
            "Binding" => {
                let pods = GroupVersionResource::new("v1", "pods");
                let target = Target {
                    namespace: namespace.map(str::to_owned),
                    name: object.name().to_owned(),
                    subresource: Some("binding"),
                    resource: pods.clone(),
                };
                return self.bind(&self.row(&pods)?, &target, &object, options).await;
            }
            "Transaction" => return self.transact(caller, object, options).await,
            "SelfSubjectReview" => json!({"userInfo": user_info(&caller.user)}),
            "SelfSubjectAccessReview" => self.access(&caller.user, &object),
            "SubjectAccessReview" | "LocalSubjectAccessReview" => {
                let user = reviewed_user(&object);
                self.access(&user, &object)
            }
            "TokenReview" => self.token_owner(&object),
            "SelfSubjectRulesReview" => self.rules(&caller.user, &object),
            kind => {
                let message = format!("this server does not answer {kind} yet");
                return Err(Status::new(501, StatusReason::Unknown, message));
            }
        };
        object.set(&["status"], status);
        Ok(Written {
            object: Arc::new(object),
            created: true,
            warnings: Vec::new(),
        })
    }

    /// What a user may do in a namespace.
    fn rules(&self, user: &User, review: &Object) -> Value {
        let namespace = review
            .text(&["spec", "namespace"])
            .filter(|namespace| !namespace.is_empty());
        let rules = self.inner.authorizer.rules(user, namespace);
        let of_paths = |rule: &Value| rule.get("nonResourceURLs").is_some();
        let (path_rules, resource_rules): (Vec<Value>, Vec<Value>) = rules.into_iter().partition(of_paths);
        json!({"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": false})
    }

    /// Whose a token is, if anybody's.
    fn token_owner(&self, review: &Object) -> Value {
        let token = review.text(&["spec", "token"]).unwrap_or_default();
        let audiences: Vec<String> = review
            .list(&["spec", "audiences"])
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        match self.user_of_token(token, &audiences) {
            Some((user, audiences)) => {
                json!({"authenticated": true, "user": user_info(&user), "audiences": audiences})
            }
            None => {
                json!({"authenticated": false, "error": "the token is not one of this cluster, or no longer good"})
            }
        }
    }

    /// Whether a user may do what an access review asks.
    fn access(&self, user: &User, review: &Object) -> Value {
        let text = |path: &[&str]| review.text(path).unwrap_or_default().to_owned();
        let outcome = if review.at(&["spec", "nonResourceAttributes"]).is_some() {
            let verb = text(&["spec", "nonResourceAttributes", "verb"]);
            let path = text(&["spec", "nonResourceAttributes", "path"]);
            self.authorize(
                user,
                &Action::Path {
                    verb: &verb,
                    path: &path,
                },
            )
        } else {
            let part = |key: &str| text(&["spec", "resourceAttributes", key]);
            let [verb, namespace, name, subresource] = ["verb", "namespace", "name", "subresource"].map(part);
            let resource = GroupVersionResource {
                group: part("group"),
                version: part("version"),
                resource: part("resource"),
            };
            let present = |text: &'_ str| !text.is_empty();
            let action = Action::Resource {
                verb: &verb,
                resource: &resource,
                subresource: present(&subresource).then_some(&*subresource),
                namespace: present(&namespace).then_some(&*namespace),
                name: present(&name).then_some(&*name),
            };
            self.authorize(user, &action)
        };
        match outcome {
            Ok(()) => json!({"allowed": true}),
            Err(_) => json!({"allowed": false}),
        }
    }
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    info
}

fn reviewed_user(review: &Object) -> User {
    let groups = review.list(&["spec", "groups"]);
    User {
        name: review.text(&["spec", "user"]).unwrap_or_default().to_owned(),
        uid: review.text(&["spec", "uid"]).unwrap_or_default().to_owned(),
        groups: groups
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    }
}
