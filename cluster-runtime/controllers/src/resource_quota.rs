//! Resource quotas: the status says what is used, also after something went or was changed.
//!
//! Admission counts what comes. Here everything is counted anew from a list that is read after the quota itself, and
//! written only if the quota is still the same then: whatever admission counted in between makes that a conflict, and
//! nothing is lost.

use std::sync::Arc;

use cluster_client::{ApiResource, Change, Collection, Informer, ListOptions, ObjectKey, Target, WorkQueue};
use cluster_objects::amounts::{self, Amounts, amounts};
use cluster_objects::quantity::Quantity;
use cluster_objects::quota::Quota;
use cluster_objects::{GroupVersionResource, Object, Status};

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::resources::Resources;
use crate::step::{Outcome, Step};

fn quotas() -> GroupVersionResource {
    GroupVersionResource::new("v1", "resourcequotas")
}

/// Steps that make the status of a quota say what is used.
pub(crate) fn plan(quota: &Object, used: &Amounts) -> Vec<Step> {
    let hard = Quota::new(quota).hard();
    let is = |field: &str, wanted: &Amounts| {
        quota.at(&["status", field]).is_some() && amounts(quota.at(&["status", field])) == *wanted
    };
    if is("hard", &hard) && is("used", used) {
        return Vec::new();
    }
    let mut counted = quota.clone();
    counted.set(&["status", "hard"], amounts::to_value(&hard));
    counted.set(&["status", "used"], amounts::to_value(used));
    vec![Step::Update {
        target: Target::of(&quotas(), quota).subresource("status"),
        object: counted,
    }]
}

/// The shell around [`plan`].
pub(crate) struct ResourceQuotas {
    context: Context,
    quotas: Informer,
    resources: Arc<Resources>,
}

impl ResourceQuotas {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>, resources: &Arc<Resources>) -> Self {
        let quotas = context.informers.of_resource(&quotas());
        let added = queue.clone();
        quotas.add_handler(move |change| added.add(ObjectKey::of(change.object())));
        Self {
            context: context.component(Self::NAME),
            quotas,
            resources: resources.clone(),
        }
    }

    async fn used(&self, quota: &Object) -> Result<Amounts, Status> {
        let asked = Quota::new(quota);
        let mut used: Amounts = asked
            .hard()
            .into_keys()
            .map(|name| (name, Quantity::ZERO))
            .collect();
        for table in asked.tables() {
            let followed = self.resources.followed();
            let found = followed
                .iter()
                .find(|(served, _)| served.resource.group_resource() == table);
            let Some((served, _)) = found else { continue };
            let collection = Collection {
                resource: served.resource.clone(),
                namespace: quota.namespace().map(str::to_owned),
            };
            let listed = self
                .context
                .api
                .list(&collection, &ListOptions::default())
                .await?;
            for object in listed.items {
                amounts::add(&mut used, &asked.cost(&table, &object));
            }
        }
        Ok(used)
    }

    async fn count(&self, key: &ObjectKey) -> Result<Outcome, Status> {
        let target = Target::namespaced("v1", "resourcequotas", &key.namespace, &key.name);
        let quota = match self.context.api.get(&target).await {
            Err(status) if status.is_not_found() => return Ok(Outcome::default()),
            answer => answer?,
        };
        let steps = plan(&quota, &self.used(&quota).await?);
        Ok(self.context.execute(&quota, steps).await)
    }
}

/// Counts anew what a change may have freed or moved. What is new was counted when it was admitted.
pub(crate) fn feed(quotas: &Informer, queue: &WorkQueue<ObjectKey>, served: &ApiResource, change: &Change) {
    if matches!(change, Change::Added(_))
        || !served.namespaced
        || served.resource.resource == "resourcequotas"
    {
        return;
    }
    let namespace = change.object().namespace().unwrap_or_default();
    for quota in quotas.in_namespace(namespace) {
        queue.add(ObjectKey::of(&quota));
    }
}

impl Reconcile for ResourceQuotas {
    type Key = ObjectKey;

    const NAME: &'static str = "resourcequota-controller";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        self.count(key).await.unwrap_or_else(|failure| Outcome {
            failure: Some(failure),
            ..Outcome::default()
        })
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.quotas
            .list()
            .iter()
            .map(|quota| ObjectKey::of(quota))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_written_when_it_says_something_else() {
        let mut quota = Object::new("v1", "ResourceQuota", Some("default"), "q");
        quota.set(&["spec", "hard"], json!({"pods": "3"}));
        let used = Amounts::from([("pods".to_owned(), Quantity::from_units(1))]);
        assert_eq!(plan(&quota, &used).len(), 1);
        quota.set(&["status"], json!({"hard": {"pods": 3}, "used": {"pods": "1"}}));
        assert_eq!(plan(&quota, &used), []);
    }
}
