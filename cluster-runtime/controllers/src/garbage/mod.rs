//! Garbage collection: what is owned goes with its owner, before it, or stays without one.

mod graph;
mod plan;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_client::{ApiResource, Change, Target, WorkQueue};
use cluster_objects::{Object, OwnerReference, Status};

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::resources::Resources;
use crate::step::{Outcome, Step};

pub(crate) use graph::Item;
use graph::{Graph, Node};
use plan::{OwnerState, plan_dangling, plan_foreground, plan_orphaning};

/// The graph of owners, and the queue of what is to be looked at. It is fed by watches on all resources.
#[derive(Clone)]
pub(crate) struct Feed {
    graph: Arc<Mutex<Graph>>,
    queue: WorkQueue<Item>,
}

impl Feed {
    pub(crate) fn new(queue: &WorkQueue<Item>) -> Self {
        Self {
            graph: Arc::default(),
            queue: queue.clone(),
        }
    }

    /// Takes a change of any object.
    pub(crate) fn apply(&self, resource: &ApiResource, change: &Change) {
        let concerned = self.graph().apply(&resource.resource, change);
        concerned.into_iter().for_each(|item| self.queue.add(item));
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shell around the plans.
pub(crate) struct Garbage {
    context: Context,
    resources: Arc<Resources>,
    feed: Feed,
}

impl Garbage {
    pub(crate) fn new(context: &Context, resources: &Arc<Resources>, feed: &Feed) -> Self {
        Self {
            context: context.component(Self::NAME),
            resources: resources.clone(),
            feed: feed.clone(),
        }
    }

    async fn collect(&self, node: Node) -> Result<Outcome, Status> {
        if !node.deleting && node.owners.is_empty() {
            return Ok(Outcome::default());
        }
        // What is decided here cannot be taken back, so it is decided on the object as it is and not as cached.
        let Some(object) = self.live(&node.item).await? else {
            return Ok(Outcome::default());
        };
        let steps = if node.orphaning {
            plan_orphaning(&node.item, &object, &self.dependant_objects(&node.item))
        } else if node.foreground {
            let dependants = self.feed.graph().dependants(&node.item.uid);
            for dependant in dependants.iter().filter(|dependant| !dependant.deleting) {
                self.feed.queue.add(dependant.item.clone());
            }
            plan_foreground(&node.item, &object, &dependants)
        } else if object.deletion_timestamp().is_some() {
            Vec::new()
        } else {
            self.plan_owned(&node.item, &object).await?
        };
        Ok(self.context.execute(&object, steps).await)
    }

    async fn plan_owned(&self, item: &Item, object: &Object) -> Result<Vec<Step>, Status> {
        let mut owners = Vec::new();
        for owner in object.owner_references() {
            let state = self.state_of(&owner, object).await?;
            owners.push((owner, state));
        }
        let has_dependants = !self.feed.graph().dependants(&item.uid).is_empty();
        Ok(plan_dangling(item, object, &owners, has_dependants))
    }

    async fn live(&self, item: &Item) -> Result<Option<Arc<Object>>, Status> {
        let namespace = Some(&*item.key.namespace).filter(|namespace| !namespace.is_empty());
        let target = Target {
            resource: item.resource.clone(),
            namespace: namespace.map(str::to_owned),
            name: item.key.name.to_string(),
            subresource: None,
        };
        match self.context.api.get(&target).await {
            Ok(object) if object.uid() == item.uid => Ok(Some(object)),
            Ok(_) => Ok(None),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(status),
        }
    }

    async fn state_of(&self, owner: &OwnerReference, dependant: &Object) -> Result<OwnerState, Status> {
        if let Some(known) = self.feed.graph().get(&owner.uid) {
            return Ok(if known.foreground {
                OwnerState::Leaving
            } else {
                OwnerState::Present
            });
        }
        let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let Some(served) = self.resources.of_kind(group, &owner.kind) else {
            return Ok(OwnerState::Unknown);
        };
        let namespace = dependant.namespace().filter(|_| served.namespaced);
        if served.namespaced && namespace.is_none() {
            // An object of no namespace cannot be owned by one of a namespace: which one is not said.
            return Ok(OwnerState::Unknown);
        }
        let target = Target {
            resource: served.resource,
            namespace: namespace.map(str::to_owned),
            name: owner.name.clone(),
            subresource: None,
        };
        match self.context.api.get(&target).await {
            Ok(object) if object.uid() == owner.uid => Ok(OwnerState::Present),
            Ok(_) => Ok(OwnerState::Absent),
            Err(status) if status.is_not_found() => Ok(OwnerState::Absent),
            Err(status) => Err(status),
        }
    }

    fn dependant_objects(&self, item: &Item) -> Vec<(Item, Arc<Object>)> {
        let dependants = self.feed.graph().dependants(&item.uid);
        let object = |item: &Item| {
            self.resources
                .cached(&item.resource, &item.key.namespace, &item.key.name)
                .filter(|object| object.uid() == item.uid)
        };
        dependants
            .into_iter()
            .filter_map(|node| Some((node.item.clone(), object(&node.item)?)))
            .collect()
    }
}

impl Reconcile for Garbage {
    type Key = Item;

    const NAME: &'static str = "garbage-collector";

    async fn sync(&self, item: &Item) -> Outcome {
        // Before everything was seen once, an owner may seem absent that is not.
        self.resources.ready().await;
        let Some(node) = self.feed.graph().get(&item.uid).cloned() else {
            return Outcome::default();
        };
        self.collect(node).await.unwrap_or_else(|status| Outcome {
            failure: Some(status),
            ..Outcome::default()
        })
    }

    fn keys(&self) -> Vec<Item> {
        self.feed.graph().owned()
    }
}
