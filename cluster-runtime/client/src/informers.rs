//! One shared informer for each resource.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cluster_objects::GroupVersionResource;

use crate::{Api, Collection, Informer, InformerOptions};

/// The informers of a process: one for each resource, started when first asked for, over all namespaces.
#[derive(Clone)]
pub struct Informers {
    api: Arc<dyn Api>,
    options: InformerOptions,
    started: Arc<Mutex<HashMap<GroupVersionResource, Informer>>>,
}

impl Informers {
    /// Makes an empty set; each informer is started with these options.
    pub fn new(api: Arc<dyn Api>, options: InformerOptions) -> Self {
        Self {
            api,
            options,
            started: Arc::default(),
        }
    }

    /// The informer of a resource, `informers.of("apps/v1", "deployments")`.
    pub fn of(&self, api_version: &str, resource: &str) -> Informer {
        self.of_resource(&GroupVersionResource::new(api_version, resource))
    }

    /// The informer of a resource; it is started where it does not run yet.
    pub fn of_resource(&self, resource: &GroupVersionResource) -> Informer {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(informer) = started.get(resource) {
            return informer.clone();
        }
        let collection = Collection {
            resource: resource.clone(),
            namespace: None,
        };
        let informer = Informer::start(self.api.clone(), collection, self.options.clone());
        started.insert(resource.clone(), informer.clone());
        informer
    }

    /// The informer of a resource, where it runs already.
    pub fn running(&self, resource: &GroupVersionResource) -> Option<Informer> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.get(resource).cloned()
    }

    /// Forgets the informer of a resource that is no longer served; it stops when nobody else holds it.
    pub fn forget(&self, resource: &GroupVersionResource) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.remove(resource);
    }

    /// Waits until every informer started so far has synced.
    pub async fn synced(&self) {
        let informers: Vec<Informer> = {
            let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            started.values().cloned().collect()
        };
        for informer in informers {
            informer.synced().await;
        }
    }
}

impl fmt::Debug for Informers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(started.values()).finish()
    }
}
