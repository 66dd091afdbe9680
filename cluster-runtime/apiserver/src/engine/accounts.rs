//! Service accounts: their tokens, and how pods get them.

use std::sync::Arc;

use cluster_client::Target;
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status, StatusCause};
use cluster_store::Key;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::admission::Admission;
use super::{Engine, Written};
use crate::sources::{api_time, uid};
use crate::user::User;

/// Where programs look for the account of their pod.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What pods ask for; such tokens are made to last, as in Kubernetes, for programs that read theirs once.
const USUAL_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// The shortest and the longest life that can be asked for.
const SECONDS: std::ops::RangeInclusive<i64> = 600..=(1 << 32);

impl Engine {
    /// Issues a token of a service account.
    pub(super) fn issue_token(
        &self,
        row: &Arc<KindRow>,
        target: &Target,
        mut request: Object,
    ) -> Result<Written, Status> {
        let Some(issuer) = &self.inner.tokens else {
            return Err(Status::unavailable("this server issues no tokens"));
        };
        let account = self.stored(
            row,
            &Target {
                subresource: None,
                ..target.clone()
            },
        )?;
        let asked = request.integer(&["spec", "expirationSeconds"]).unwrap_or(3600);
        if !SECONDS.contains(&asked) {
            let cause = StatusCause {
                reason: "FieldValueInvalid".to_owned(),
                message: format!("Invalid value: {asked}: may not specify a duration less than 10 minutes"),
                field: "spec.expirationSeconds".to_owned(),
            };
            return Err(Status::invalid(
                "authentication.k8s.io",
                "TokenRequest",
                "",
                vec![cause],
            ));
        }
        let mut audiences: Vec<Value> = request.list(&["spec", "audiences"]).to_vec();
        if audiences.is_empty() {
            audiences.push(issuer.issuer().into());
        }
        let now = self.now();
        let namespace = account.namespace().unwrap_or_default();
        let mut about = json!({
            "namespace": namespace, "serviceaccount": {"name": account.name(), "uid": account.uid()},
        });
        let is_of_pod = request.text(&["spec", "boundObjectRef", "kind"]) == Some("Pod");
        if is_of_pod {
            let name = request
                .text(&["spec", "boundObjectRef", "name"])
                .unwrap_or_default();
            let pod = self.store().get(&Key::new("pods", namespace, name));
            let pods = cluster_objects::GroupVersionResource::new("v1", "pods");
            let pod = pod.ok_or_else(|| Status::not_found(&pods, name))?;
            about["pod"] = json!({"name": name, "uid": pod.uid()});
            about["warnafter"] = (now.as_second() + asked).into();
        } else if request
            .at(&["spec", "boundObjectRef"])
            .is_some_and(Value::is_object)
        {
            return Err(Status::bad_request("tokens can be bound to pods only"));
        }
        let lasts = if is_of_pod && asked == USUAL_SECONDS {
            EXTENDED_SECONDS
        } else {
            asked
        };
        let claims = json!({
            "sub": format!("system:serviceaccount:{namespace}:{}", account.name()),
            "aud": audiences, "iat": now.as_second(), "nbf": now.as_second(), "exp": now.as_second() + lasts,
            "jti": uid(self.sources().random()), "kubernetes.io": about,
        });
        let token = issuer
            .sign(claims)
            .ok_or_else(|| Status::internal("cannot sign a token"))?;
        let expires = now + SignedDuration::from_secs(asked);
        request.set(&["spec", "audiences"], audiences);
        request.set(&["spec", "expirationSeconds"], asked);
        request.set(
            &["status"],
            json!({"token": token, "expirationTimestamp": api_time(expires)}),
        );
        Ok(Written {
            object: Arc::new(request),
            created: true,
            warnings: Vec::new(),
        })
    }

    /// The user of a token and those of the audiences that it is for; `None` when it is not good, or the account or
    /// the pod that it is bound to are gone. No audiences means that of the API.
    pub(crate) fn user_of_token(&self, token: &str, audiences: &[String]) -> Option<(User, Vec<String>)> {
        let issuer = self.inner.tokens.as_ref()?;
        let claims = issuer.verify(token, self.now())?;
        let own = [issuer.issuer().to_owned()];
        let wanted = if audiences.is_empty() { &own[..] } else { audiences };
        let granted = claims["aud"].as_array()?;
        let shared = wanted
            .iter()
            .filter(|audience| granted.iter().any(|granted| granted == audience.as_str()));
        let shared: Vec<String> = shared.cloned().collect();
        if shared.is_empty() {
            return None;
        }
        let about = &claims["kubernetes.io"];
        let namespace = about["namespace"].as_str()?;
        let is_there = |table: &str, of: &Value| {
            let found = self.store().get(&Key::new(
                table,
                namespace,
                of["name"].as_str().unwrap_or_default(),
            ));
            found.is_some_and(|found| of["uid"] == found.uid())
        };
        let of_living = is_there("serviceaccounts", &about["serviceaccount"])
            && (about["pod"].is_null() || is_there("pods", &about["pod"]));
        if !of_living {
            return None;
        }
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
        ];
        let mut user = User::authenticated(claims["sub"].as_str()?, groups);
        user.uid = about["serviceaccount"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Some((user, shared))
    }
}

/// A pod gets an account, and its containers the token of it.
///
/// A namespace that is being made has its default account a moment later: pods need not wait for it here.
pub(super) fn give_account(admission: &mut Admission<'_>) -> Result<(), Status> {
    if &*admission.row.table != "pods" || admission.engine.inner.tokens.is_none() {
        return Ok(());
    }
    let namespace = admission.namespace.unwrap_or_default();
    let named = admission
        .object
        .text(&["spec", "serviceAccountName"])
        .filter(|name| !name.is_empty());
    let legacy = admission
        .object
        .text(&["spec", "serviceAccount"])
        .filter(|name| !name.is_empty());
    let name = named.or(legacy).unwrap_or("default").to_owned();
    let key = Key::new("serviceaccounts", namespace, &name);
    let account = admission.stage.get(admission.engine.store(), &key);
    if account.is_none() && name != "default" {
        let why =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(Status::forbidden(
            &admission.row.resource(),
            admission.object.name(),
            &why,
        ));
    }
    let of_account = |path: &[&str]| account.as_ref().and_then(|account| account.at(path).cloned());
    let wishes = [
        admission
            .object
            .at(&["spec", "automountServiceAccountToken"])
            .cloned(),
        of_account(&["automountServiceAccountToken"]),
    ];
    let mounts = wishes
        .into_iter()
        .flatten()
        .find_map(|wish| wish.as_bool())
        .unwrap_or(true);
    let secrets = of_account(&["imagePullSecrets"]);
    let random = (admission.engine.sources().random() >> 8) as u64;
    let pod = &mut admission.object;
    pod.set(&["spec", "serviceAccountName"], name.as_str());
    pod.set(&["spec", "serviceAccount"], name.as_str());
    if pod.list(&["spec", "imagePullSecrets"]).is_empty()
        && let Some(secrets) = secrets
    {
        pod.set(&["spec", "imagePullSecrets"], secrets);
    }
    if mounts {
        mount_token(pod, random);
    }
    Ok(())
}

/// Mounts the token into every container that has nothing at its place.
fn mount_token(pod: &mut Object, random: u64) {
    let volumes = pod.list(&["spec", "volumes"]);
    let is_there = |volume: &&Value| {
        volume["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("kube-api-access-"))
    };
    let present = volumes
        .iter()
        .find(is_there)
        .and_then(|volume| volume["name"].as_str());
    let is_new = present.is_none();
    let name = present.map_or_else(
        || cluster_objects::names::generate_name("kube-api-access-", random),
        str::to_owned,
    );
    let mut is_used = false;
    for key in ["initContainers", "containers"] {
        let mut containers = pod.list(&["spec", key]).to_vec();
        for container in &mut containers {
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            if mounts.is_null() {
                *mounts = json!([]);
            }
            let Some(mounts) = mounts.as_array_mut() else {
                continue;
            };
            if mounts.iter().all(|mount| mount["mountPath"] != MOUNT_PATH) {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
                is_used = true;
            }
        }
        if !containers.is_empty() {
            pod.set(&["spec", key], containers);
        }
    }
    if !is_used || !is_new {
        return;
    }
    let mut volumes = pod.list(&["spec", "volumes"]).to_vec();
    volumes.push(
        json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": USUAL_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ]}}),
    );
    pod.set(&["spec", "volumes"], volumes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_gets_the_token_once() {
        let mut pod = Object::new("v1", "Pod", Some("default"), "web");
        pod.set(&["spec", "initContainers"], json!([{"name": "init"}]));
        let own = json!({"name": "mine", "mountPath": MOUNT_PATH});
        pod.set(
            &["spec", "containers"],
            json!([{"name": "a", "volumeMounts": null}, {"name": "b", "volumeMounts": [own]}]),
        );
        mount_token(&mut pod, 7);
        let mounted = |key: &str, index: usize| pod.list(&["spec", key])[index]["volumeMounts"].clone();
        assert_eq!(mounted("containers", 0), mounted("initContainers", 0));
        assert_eq!(mounted("containers", 1), json!([own]));
        assert_eq!(pod.list(&["spec", "volumes"]).len(), 1);
        let before = pod.clone();
        mount_token(&mut pod, 8);
        assert_eq!(pod, before);
    }
}
