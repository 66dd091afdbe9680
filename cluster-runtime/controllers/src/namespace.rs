//! Namespaces that are being deleted: what is in them goes first.

use std::sync::Arc;

use cluster_client::{ApiResource, Change, Informer, ListOptions, ObjectKey, Target, WorkQueue};
use cluster_objects::{GroupVersionResource, Object, Status};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::condition::{self, Condition};
use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::resources::{Resources, in_namespace};
use crate::step::{self, Outcome, Step};

/// The finalizer in `spec` with which the server holds a namespace that is not empty.
const FINALIZER: &str = "kubernetes";

fn namespaces() -> GroupVersionResource {
    GroupVersionResource::new("v1", "namespaces")
}

/// What is left of one resource in a namespace.
pub(crate) struct Left {
    pub(crate) resource: GroupVersionResource,
    pub(crate) objects: Vec<Arc<Object>>,
}

/// Steps that empty a namespace, or let it go when nothing is left.
pub(crate) fn plan(namespace: &Object, left: &[Left], now: Timestamp) -> Vec<Step> {
    if namespace.deletion_timestamp().is_none() {
        return Vec::new();
    }
    if left.iter().all(|left| left.objects.is_empty()) {
        return plan_finalize(namespace);
    }
    let mut steps = Vec::new();
    for left in left {
        let live = left
            .objects
            .iter()
            .filter(|object| object.deletion_timestamp().is_none());
        steps.extend(live.map(|object| step::delete(&left.resource, object, None)));
    }
    if steps.is_empty() {
        // Everything was asked to go and something does not: say what.
        steps.extend(plan_conditions(namespace, left, now));
    }
    steps
}

fn plan_finalize(namespace: &Object) -> Vec<Step> {
    let finalizers = namespace.list(&["spec", "finalizers"]);
    let others: Vec<Value> = finalizers
        .iter()
        .filter(|finalizer| **finalizer != FINALIZER)
        .cloned()
        .collect();
    if others.len() == finalizers.len() {
        return Vec::new();
    }
    let mut object = namespace.clone();
    object.set(&["spec", "finalizers"], others);
    vec![Step::Update {
        target: Target::of(&namespaces(), namespace).subresource("finalize"),
        object,
    }]
}

fn plan_conditions(namespace: &Object, left: &[Left], now: Timestamp) -> Vec<Step> {
    let counts = left.iter().filter(|left| !left.objects.is_empty()).map(|left| {
        format!(
            "{} has {} resource instances",
            left.resource.group_resource(),
            left.objects.len()
        )
    });
    let counts: Vec<String> = counts.collect();
    let mut holders: Vec<&str> = Vec::new();
    for object in left.iter().flat_map(|left| &left.objects) {
        holders.extend(
            object
                .list(&["metadata", "finalizers"])
                .iter()
                .filter_map(Value::as_str),
        );
    }
    holders.sort_unstable();
    let held: Vec<String> = holders
        .chunk_by(|one, two| one == two)
        .map(|same| format!("{} in {} resource instances", same[0], same.len()))
        .collect();
    let mut conditions = namespace.list(&["status", "conditions"]).to_vec();
    let remaining = format!("Some resources are remaining: {}", counts.join(", "));
    let wanted = Condition {
        kind: "NamespaceContentRemaining",
        status: "True",
        reason: "SomeResourcesRemain",
        message: &remaining,
    };
    condition::set_plain(&mut conditions, wanted, now);
    if held.is_empty() {
        condition::remove(&mut conditions, "NamespaceFinalizersRemaining");
    } else {
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            held.join(", ")
        );
        let wanted = Condition {
            kind: "NamespaceFinalizersRemaining",
            status: "True",
            reason: "SomeFinalizersRemain",
            message: &message,
        };
        condition::set_plain(&mut conditions, wanted, now);
    }
    if namespace.list(&["status", "conditions"]) == conditions {
        return Vec::new();
    }
    vec![step::patch_status(
        &namespaces(),
        namespace,
        json!({"conditions": conditions}),
    )]
}

/// Puts the namespace of a changed object on the queue, where the namespace is being deleted.
pub(crate) fn feed(
    namespaces: &Informer,
    queue: &WorkQueue<ObjectKey>,
    resource: &ApiResource,
    change: &Change,
) {
    if !resource.namespaced {
        return;
    }
    let Some(name) = change.object().namespace() else {
        return;
    };
    if namespaces
        .get("", name)
        .is_some_and(|namespace| namespace.deletion_timestamp().is_some())
    {
        queue.add(ObjectKey::new("", name));
    }
}

/// The shell around [`plan`].
pub(crate) struct Namespaces {
    context: Context,
    namespaces: Informer,
    resources: Arc<Resources>,
}

impl Namespaces {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>, resources: &Arc<Resources>) -> Self {
        let informer = context.informers.of_resource(&namespaces());
        let added = queue.clone();
        informer.add_handler(move |change| {
            if change.object().deletion_timestamp().is_some() {
                added.add(ObjectKey::of(change.object()));
            }
        });
        Self {
            context: context.component(Self::NAME),
            namespaces: informer,
            resources: resources.clone(),
        }
    }

    /// What is in a namespace, first by the caches, and when they show nothing by the server itself.
    async fn left(&self, name: &str) -> Result<Vec<Left>, Status> {
        let followed = self.resources.followed();
        let namespaced = || followed.iter().filter(|(resource, _)| resource.namespaced);
        let cached: Vec<Left> = namespaced()
            .map(|(resource, informer)| Left {
                resource: resource.resource.clone(),
                objects: informer.in_namespace(name),
            })
            .collect();
        if cached.iter().any(|left| !left.objects.is_empty()) {
            return Ok(cached);
        }
        let mut live = Vec::new();
        for (resource, _) in namespaced() {
            let collection = in_namespace(&resource.resource, name);
            let list = self
                .context
                .api
                .list(&collection, &ListOptions::default())
                .await?;
            live.push(Left {
                resource: resource.resource.clone(),
                objects: list.items,
            });
        }
        Ok(live)
    }
}

impl Reconcile for Namespaces {
    type Key = ObjectKey;

    const NAME: &'static str = "namespace-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        self.resources.ready().await;
        let Some(namespace) = self.namespaces.get_key(key) else {
            return Outcome::default();
        };
        if namespace.deletion_timestamp().is_none() {
            return Outcome::default();
        }
        match self.left(&key.name).await {
            Ok(left) => {
                let steps = plan(&namespace, &left, self.context.clock.now());
                self.context.execute(&namespace, steps).await
            }
            Err(status) => Outcome {
                failure: Some(status),
                ..Outcome::default()
            },
        }
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.namespaces
            .list()
            .iter()
            .map(|namespace| ObjectKey::of(namespace))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(deleting: bool) -> Object {
        let mut namespace = Object::new("v1", "Namespace", None, "shop");
        namespace.set(&["spec", "finalizers"], json!(["kubernetes", "other"]));
        if deleting {
            namespace.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
        }
        namespace
    }

    fn left(objects: &[Object]) -> [Left; 1] {
        [Left {
            resource: GroupVersionResource::new("v1", "pods"),
            objects: objects.iter().cloned().map(Arc::new).collect(),
        }]
    }

    fn words(steps: &[Step]) -> Vec<String> {
        let word = |step: &Step| match step {
            Step::Delete { target, .. } => format!("delete {}", target.name),
            Step::Update { object, .. } => format!(
                "finalizers {}",
                Value::from(object.list(&["spec", "finalizers"]).to_vec())
            ),
            Step::Patch {
                patch: cluster_client::Patch::Merge(patch),
                ..
            } => {
                let conditions = patch["status"]["conditions"].as_array().expect("conditions");
                let messages: Vec<&str> = conditions
                    .iter()
                    .filter_map(|one| one["message"].as_str())
                    .collect();
                messages.join("; ")
            }
            other => format!("{other:?}"),
        };
        steps.iter().map(word).collect()
    }

    #[test]
    fn what_is_in_a_namespace_goes_before_it() {
        let now = Timestamp::UNIX_EPOCH;
        let live = Object::new("v1", "Pod", Some("shop"), "web");
        let mut held = Object::new("v1", "Pod", Some("shop"), "held");
        held.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
        held.set(&["metadata", "finalizers"], json!(["example.org/hold"]));
        assert!(plan(&namespace(false), &left(std::slice::from_ref(&live)), now).is_empty());
        assert_eq!(
            words(&plan(&namespace(true), &left(&[live, held.clone()]), now)),
            ["delete web"]
        );
        assert_eq!(
            words(&plan(&namespace(true), &left(&[held]), now)),
            ["Some resources are remaining: pods has 1 resource instances; \
              Some content in the namespace has finalizers remaining: example.org/hold in 1 resource instances"]
        );
        assert_eq!(
            words(&plan(&namespace(true), &left(&[]), now)),
            ["finalizers [\"other\"]"]
        );
    }
}
