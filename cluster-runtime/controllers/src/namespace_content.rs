//! What every namespace holds from the start: the service account `default` and the cluster's root certificate.

use cluster_client::{Collection, Informer, ObjectKey, Patch, Target, WorkQueue};
use cluster_objects::Object;
use serde_json::json;

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::{Outcome, Step};

const SERVICE_ACCOUNT: &str = "default";
const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";
const ROOT_CERTIFICATE_NOTE: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when \
    using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
    guaranteed across distributions of Kubernetes clusters.";

/// Steps that give a namespace its service account.
pub(crate) fn plan_service_account(namespace: &Object, present: bool) -> Vec<Step> {
    if present || namespace.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let name = namespace.name();
    vec![Step::Create {
        collection: Collection::namespaced("v1", "serviceaccounts", name),
        object: Object::new("v1", "ServiceAccount", Some(name), SERVICE_ACCOUNT),
        said: None,
    }]
}

/// Steps that make the config map of a namespace hold the certificate.
pub(crate) fn plan_root_certificate(
    namespace: &Object,
    present: Option<&Object>,
    certificate: &str,
) -> Vec<Step> {
    if namespace.deletion_timestamp().is_some() {
        return Vec::new();
    }
    let data = json!({"ca.crt": certificate});
    let name = namespace.name();
    match present {
        Some(present) if present.at(&["data"]) == Some(&data) => Vec::new(),
        Some(_) => vec![Step::Patch {
            target: Target::namespaced("v1", "configmaps", name, ROOT_CERTIFICATE),
            patch: Patch::Merge(json!({"data": data})),
        }],
        None => {
            let mut object = Object::new("v1", "ConfigMap", Some(name), ROOT_CERTIFICATE);
            object.set(
                &["metadata", "annotations", "kubernetes.io/description"],
                ROOT_CERTIFICATE_NOTE,
            );
            object.set(&["data"], data);
            vec![Step::Create {
                collection: Collection::namespaced("v1", "configmaps", name),
                object,
                said: None,
            }]
        }
    }
}

/// The shell around both plans.
pub(crate) struct NamespaceContent {
    context: Context,
    namespaces: Informer,
    accounts: Informer,
    config_maps: Informer,
    /// PEM of the certificate; `None` where the cluster has none to hand out.
    certificate: Option<String>,
}

impl NamespaceContent {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>, certificate: Option<String>) -> Self {
        let namespaces = context.informers.of("v1", "namespaces");
        let accounts = context.informers.of("v1", "serviceaccounts");
        let config_maps = context.informers.of("v1", "configmaps");
        let added = queue.clone();
        namespaces.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        for (informer, name) in [(&accounts, SERVICE_ACCOUNT), (&config_maps, ROOT_CERTIFICATE)] {
            let added = queue.clone();
            informer.add_handler(move |change| {
                let object = change.object();
                if object.name() == name {
                    added.add(ObjectKey::new("", object.namespace().unwrap_or_default()));
                }
            });
        }
        Self {
            context: context.component(Self::NAME),
            namespaces,
            accounts,
            config_maps,
            certificate,
        }
    }
}

impl Reconcile for NamespaceContent {
    type Key = ObjectKey;

    const NAME: &'static str = "serviceaccount-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(namespace) = self.namespaces.get_key(key) else {
            return Outcome::default();
        };
        let name = &key.name;
        let mut steps = plan_service_account(&namespace, self.accounts.get(name, SERVICE_ACCOUNT).is_some());
        if let Some(certificate) = &self.certificate {
            let present = self.config_maps.get(name, ROOT_CERTIFICATE);
            steps.extend(plan_root_certificate(&namespace, present.as_deref(), certificate));
        }
        let mut outcome = self.context.execute(&namespace, steps).await;
        // Somebody else made it, as the API server may do with the namespace.
        outcome.failure = outcome.failure.filter(|status| !status.is_already_exists());
        outcome
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.namespaces
            .list()
            .iter()
            .map(|namespace| ObjectKey::of(namespace))
            .collect()
    }
}
