//! Every resource whose objects can be watched and deleted, found by discovery and followed from then on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cluster_client::{ApiResource, Change, Collection, Discovery, Informer};
use cluster_objects::{GroupVersionResource, Object, Status};
use tokio::sync::watch;

use crate::context::Context;

type Handler = Arc<dyn Fn(&ApiResource, &Change) + Send + Sync>;

/// Every resource whose objects can be watched and deleted.
///
/// Custom resources come and go: whoever follows all resources is told of the objects of new ones too.
pub(crate) struct Resources {
    context: Context,
    handlers: Vec<Handler>,
    followed: Mutex<HashMap<GroupVersionResource, (ApiResource, Informer)>>,
    ready: watch::Sender<bool>,
}

const CUSTOM_RESOURCES: (&str, &str) = ("apiextensions.k8s.io/v1", "customresourcedefinitions");

impl Resources {
    /// Makes a set that tells these handlers of every change, once it is started.
    pub(crate) fn new(context: &Context, handlers: Vec<Handler>) -> Arc<Self> {
        Arc::new(Self {
            context: context.clone(),
            handlers,
            followed: Mutex::default(),
            ready: watch::Sender::new(false),
        })
    }

    /// Finds the resources and follows them, until the task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut attempt = 0;
        let definitions = loop {
            match self.refresh().await {
                Ok(discovery) => break self.definitions(&discovery),
                Err(status) => {
                    let delay = cluster_client::Backoff::default().delay(attempt, self.context.jitter.next());
                    tracing::warn!("cannot discover resources: {status}; again in {delay:?}");
                    attempt += 1;
                    tokio::time::sleep(delay).await;
                }
            }
        };
        self.synced().await;
        self.ready.send_replace(true);
        let Some(definitions) = definitions else { return };
        let mut changes = definitions.changes();
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            // A failure is tried again with the next change; a refresh costs little.
            if let Err(status) = self.refresh().await {
                tracing::warn!("cannot discover resources: {status}");
            }
        }
    }

    fn definitions(&self, discovery: &Discovery) -> Option<Informer> {
        let (api_version, resource) = CUSTOM_RESOURCES;
        let definitions = GroupVersionResource::new(api_version, resource);
        let served = discovery
            .resources
            .iter()
            .any(|served| served.resource == definitions);
        served.then(|| self.context.informers.of_resource(&definitions))
    }

    /// Waits until every resource is followed and synced.
    pub(crate) async fn ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    async fn synced(&self) {
        for (_, informer) in self.followed() {
            informer.synced().await;
        }
    }

    /// The resources with their informers.
    pub(crate) fn followed(&self) -> Vec<(ApiResource, Informer)> {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.values().cloned().collect()
    }

    /// The resource of a kind, whatever its version.
    pub(crate) fn of_kind(&self, group: &str, kind: &str) -> Option<ApiResource> {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut resources = followed.values().map(|(resource, _)| resource);
        resources
            .find(|served| served.kind == kind && served.resource.group == group)
            .cloned()
    }

    /// An object of a followed resource as cached.
    pub(crate) fn cached(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed
            .get(resource)
            .and_then(|(_, informer)| informer.get(namespace, name))
    }

    async fn refresh(&self) -> Result<Arc<Discovery>, Status> {
        let discovery = self.context.api.discovery().await?;
        let deletable = deletable(&discovery);
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<GroupVersionResource> = followed
            .keys()
            .filter(|resource| !deletable.iter().any(|served| served.resource == **resource))
            .cloned()
            .collect();
        for resource in gone {
            followed.remove(&resource);
            self.context.informers.forget(&resource);
        }
        for served in deletable {
            if followed.contains_key(&served.resource) {
                continue;
            }
            let informer = self.context.informers.of_resource(&served.resource);
            for handler in &self.handlers {
                let (handler, served) = (handler.clone(), served.clone());
                informer.add_handler(move |change| handler(&served, change));
            }
            followed.insert(served.resource.clone(), (served, informer));
        }
        Ok(discovery)
    }
}

/// The resources to follow: one version of each, and no events, which own nothing and are owned by nothing.
fn deletable(discovery: &Discovery) -> Vec<ApiResource> {
    let mut chosen: Vec<ApiResource> = Vec::new();
    for served in &discovery.resources {
        let verbs = ["list", "watch", "delete", "get"];
        let able = verbs
            .iter()
            .all(|verb| served.verbs.iter().any(|own| own == verb));
        let of_same = |other: &ApiResource| {
            other.resource.group == served.resource.group
                && other.resource.resource == served.resource.resource
        };
        if able && served.resource.resource != "events" && !chosen.iter().any(of_same) {
            chosen.push(served.clone());
        }
    }
    chosen
}

/// The collection of a resource in one namespace.
pub(crate) fn in_namespace(resource: &GroupVersionResource, namespace: &str) -> Collection {
    Collection {
        resource: resource.clone(),
        namespace: Some(namespace.to_owned()),
    }
}
