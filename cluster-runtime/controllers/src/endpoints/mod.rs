//! The endpoints of services: which pods stand behind each, as slices and as the older single object.

mod backends;
mod legacy;
mod slices;

use std::sync::Arc;

use cluster_client::{Change, Informer, ObjectKey, WorkQueue};
use cluster_objects::selector::LabelSelector;
use cluster_objects::{GroupVersionResource, Object};
use serde_json::Value;

use crate::context::Context;
use crate::pod;
use crate::reconcile::Reconcile;
use crate::step::Outcome;

/// The index of slices and legacy endpoints by the service that they belong to.
const BY_SERVICE: &str = "service";

/// The shell around the plans for slices and legacy endpoints.
pub(crate) struct Endpoints {
    context: Context,
    services: Informer,
    pods: Informer,
    slices: Informer,
    legacy: Informer,
    nodes: Informer,
}

pub(crate) fn endpoint_slices() -> GroupVersionResource {
    GroupVersionResource::new("discovery.k8s.io/v1", "endpointslices")
}

pub(crate) fn legacy_endpoints() -> GroupVersionResource {
    GroupVersionResource::new("v1", "endpoints")
}

/// The selector of a service; `None` where somebody else says what stands behind it.
fn selector_of(service: &Object) -> Option<LabelSelector> {
    if service.text(&["spec", "type"]) == Some("ExternalName") {
        return None;
    }
    let labels = service.at(&["spec", "selector"]).and_then(Value::as_object)?;
    if labels.is_empty() {
        return None;
    }
    LabelSelector::from_labels(labels).ok()
}

impl Endpoints {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>) -> Self {
        let services = context.informers.of("v1", "services");
        let pods = context.informers.of("v1", "pods");
        let slices = context.informers.of_resource(&endpoint_slices());
        let legacy = context.informers.of_resource(&legacy_endpoints());
        slices.add_index(BY_SERVICE, |slice| {
            slices::service_of(slice).into_iter().collect()
        });
        let added = queue.clone();
        services.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        let (added, selecting) = (queue.clone(), services.clone());
        pods.add_handler(move |change| {
            for key in services_of_pod(&selecting, change) {
                added.add(key);
            }
        });
        let added = queue.clone();
        slices.add_handler(move |change| {
            let slice = change.object();
            if let Some(service) = slice.label(slices::SERVICE_NAME) {
                added.add(ObjectKey::new(slice.namespace().unwrap_or_default(), service));
            }
        });
        let added = queue.clone();
        legacy.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        Self {
            context: context.component(Self::NAME),
            services,
            pods,
            slices,
            legacy,
            nodes: context.informers.of("v1", "nodes"),
        }
    }

    fn backends(&self, service: &Object, selector: &LabelSelector) -> Vec<Arc<Object>> {
        let mut pods = self.pods.in_namespace(service.namespace().unwrap_or_default());
        pods.retain(|pod| selector.matches(pod.labels()) && backends::counts(pod));
        pods
    }
}

/// The services that a change of a pod concerns, where it changes what they show of the pod.
fn services_of_pod(services: &Informer, change: &Change) -> Vec<ObjectKey> {
    let pod = change.object();
    if change.old().is_some_and(|old| shown_the_same(old, pod)) {
        return Vec::new();
    }
    let before = change.old().and_then(|old| old.labels());
    let concerned = |service: &Arc<Object>| {
        selector_of(service).is_some_and(|selector| {
            selector.matches(pod.labels()) || (before.is_some() && selector.matches(before))
        })
    };
    let services = services.in_namespace(pod.namespace().unwrap_or_default());
    services
        .iter()
        .filter(|service| concerned(service))
        .map(|service| ObjectKey::of(service))
        .collect()
}

/// Whether two states of a pod look the same behind a service.
fn shown_the_same(old: &Object, new: &Object) -> bool {
    let paths: [&[&str]; 4] = [
        &["metadata", "labels"],
        &["status", "podIPs"],
        &["status", "podIP"],
        &["spec", "nodeName"],
    ];
    pod::is_ready(old) == pod::is_ready(new)
        && pod::is_finished(old) == pod::is_finished(new)
        && old.deletion_timestamp().is_some() == new.deletion_timestamp().is_some()
        && paths.iter().all(|path| old.at(path) == new.at(path))
}

impl Reconcile for Endpoints {
    type Key = ObjectKey;

    const NAME: &'static str = "endpoint-slice-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let legacy = self.legacy.get_key(key);
        let Some(service) = self.services.get_key(key) else {
            // Slices go with their owner; the older object has none.
            return match legacy {
                Some(legacy) => {
                    self.context
                        .execute(&legacy, legacy::plan_without_service(&legacy))
                        .await
                }
                None => Outcome::default(),
            };
        };
        let Some(selector) = selector_of(&service) else {
            return Outcome::default();
        };
        if service.deletion_timestamp().is_some() {
            return Outcome::default();
        }
        let pods = self.backends(&service, &selector);
        let slices = self.slices.indexed(BY_SERVICE, &key.to_string());
        let zone_of = |node: &str| {
            let node = self.nodes.get("", node)?;
            node.label("topology.kubernetes.io/zone").map(str::to_owned)
        };
        let mut steps = slices::plan(&service, &pods, &slices, &zone_of);
        steps.extend(legacy::plan(&service, &pods, legacy.as_deref()));
        self.context.execute(&service, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.services
            .list()
            .iter()
            .map(|service| ObjectKey::of(service))
            .collect()
    }
}
