//! Binding pods to nodes and evicting them from there.

use std::sync::Arc;

use cluster_client::{DeleteOptions, Propagation, Target, WriteOptions};
use cluster_objects::registry::KindRow;
use cluster_objects::selector::LabelSelector;
use cluster_objects::{GroupVersionResource, Object, Status, StatusCause, StatusReason};
use cluster_store::{Change, Precondition, Selection, Transaction, Write};
use serde_json::{Value, json};

use super::commit::{CommitFailure, Settle};
use super::create::Body;
use super::{ATTEMPTS_MAX, Engine, Written, key_of, no_such_resource, revision_of, store_failure};
use crate::sources::api_time;
use crate::user::Caller;

impl Engine {
    /// Posts to a subresource of an object.
    pub async fn post(
        &self,
        caller: &Caller,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let row = self.enter(caller, "create", target)?;
        match (&*row.table, target.subresource) {
            ("pods", Some("binding")) => self.bind(&row, target, &body.object, options).await,
            ("pods", Some("eviction")) => self.evict(caller, &row, target, &body.object, options).await,
            ("serviceaccounts", Some("token")) => self.issue_token(&row, target, body.object),
            _ => Err(no_such_resource()),
        }
    }

    /// Gives a pod its node.
    pub(super) async fn bind(
        &self,
        row: &Arc<KindRow>,
        target: &Target,
        binding: &Object,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let node = binding.text(&["target", "name"]).unwrap_or_default();
        if node.is_empty() {
            let cause = StatusCause {
                reason: "FieldValueRequired".to_owned(),
                message: "Required value".to_owned(),
                field: "target.name".to_owned(),
            };
            return Err(Status::invalid("", "Binding", &target.name, vec![cause]));
        }
        let key = key_of(row, target.namespace.as_deref(), &target.name);
        for _ in 0..ATTEMPTS_MAX {
            let decide = || {
                let found = self.store().get(&key);
                let stored = found.ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
                check_binding(&stored, binding, target)?;
                Ok(stored)
            };
            let stored = self.decide(decide, |_| true).await?;
            if options.dry_run {
                return Ok(success());
            }
            let bound = bound(&stored, binding, node, &api_time(self.now()));
            let precondition = Precondition::At(revision_of(&stored));
            let change = Change::Put(Arc::new(bound));
            match self
                .commit(
                    row,
                    key.clone(),
                    precondition,
                    change,
                    Vec::new(),
                    Settle::Nothing,
                )
                .await
            {
                Ok(_) => return Ok(success()),
                Err(CommitFailure::Stale | CommitFailure::DependencyChanged) => {}
                Err(CommitFailure::Refused(status)) => return Err(status),
            }
        }
        Err(Status::stale(&target.resource, &target.name))
    }

    /// Deletes a pod if its disruption budget lets it go.
    async fn evict(
        &self,
        caller: &Caller,
        row: &Arc<KindRow>,
        target: &Target,
        eviction: &Object,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let text = |path: &[&str]| eviction.text(path).map(str::to_owned);
        let delete = DeleteOptions {
            dry_run: options.dry_run,
            grace_period_seconds: eviction.integer(&["deleteOptions", "gracePeriodSeconds"]),
            propagation: Propagation::Background,
            uid: text(&["deleteOptions", "preconditions", "uid"]),
            resource_version: text(&["deleteOptions", "preconditions", "resourceVersion"]),
        };
        let whole = Target {
            subresource: None,
            ..target.clone()
        };
        for _ in 0..ATTEMPTS_MAX {
            let pod = self.stored(row, &whole)?;
            let phase = pod.text(&["status", "phase"]).unwrap_or_default();
            // What has ended, ends or never began disrupts nobody.
            let is_free =
                pod.deletion_timestamp().is_some() || matches!(phase, "Succeeded" | "Failed" | "Pending");
            let budget = if is_free { None } else { self.budget_of(&pod)? };
            let budget = budget.filter(|budget| !may_go_unhealthy(&pod, budget));
            if let Some(budget) = budget
                && !self.spend(&budget, &pod, options.dry_run).await?
            {
                // Someone else changed the budget: look again.
                continue;
            }
            if !options.dry_run {
                self.mark_evicted(row, &whole).await?;
            }
            self.delete(&Caller::system(&caller.agent), &whole, &delete)
                .await?;
            return Ok(success());
        }
        Err(too_many("The disruption budget changes too fast, try again"))
    }

    /// Writes on a pod why it goes.
    async fn mark_evicted(&self, row: &Arc<KindRow>, target: &Target) -> Result<(), Status> {
        let key = key_of(row, target.namespace.as_deref(), &target.name);
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store().get(&key);
            let stored = found.ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
            let mut marked = Object::clone(&stored);
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting", "lastProbeTime": null,
                "lastTransitionTime": api_time(self.now()),
            });
            set_condition(&mut marked, condition);
            let precondition = Precondition::At(revision_of(&stored));
            let change = Change::Put(Arc::new(marked));
            match self
                .commit(
                    row,
                    key.clone(),
                    precondition,
                    change,
                    Vec::new(),
                    Settle::Nothing,
                )
                .await
            {
                Ok(_) => return Ok(()),
                Err(CommitFailure::Stale | CommitFailure::DependencyChanged) => {}
                Err(CommitFailure::Refused(status)) => return Err(status),
            }
        }
        Err(Status::stale(&target.resource, &target.name))
    }

    /// The one disruption budget that covers a pod.
    fn budget_of(&self, pod: &Object) -> Result<Option<Arc<Object>>, Status> {
        let selection = Selection {
            table: "poddisruptionbudgets.policy".into(),
            namespace: pod.namespace().map(Into::into),
        };
        let covers = |budget: &Object| {
            let selector = budget.at(&["spec", "selector"]).unwrap_or(&Value::Null);
            LabelSelector::from_value(selector).is_ok_and(|selector| selector.matches(pod.labels()))
        };
        let list = self
            .store()
            .list(&selection, None, None, 2, &covers)
            .map_err(store_failure)?;
        if list.objects.len() > 1 {
            return Err(Status::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        Ok(list.objects.into_iter().next())
    }

    /// Takes one disruption out of a budget; `false` when the budget was changed in between.
    async fn spend(&self, budget: &Arc<Object>, pod: &Object, dry_run: bool) -> Result<bool, Status> {
        let allowed = budget
            .integer(&["status", "disruptionsAllowed"])
            .unwrap_or_default();
        let observed = budget
            .integer(&["status", "observedGeneration"])
            .unwrap_or_default();
        if observed < budget.generation() {
            let mut refused = too_many("Cannot evict pod as it would violate the pod's disruption budget.");
            refused.causes.push(StatusCause {
                reason: "DisruptionBudget".to_owned(),
                message: format!(
                    "The disruption budget {} is still being processed by the server.",
                    budget.name()
                ),
                field: String::new(),
            });
            refused.retry_after_seconds = Some(10);
            return Err(refused);
        }
        if allowed <= 0 {
            let number = |key: &str| budget.integer(&["status", key]).unwrap_or_default();
            let mut refused = too_many("Cannot evict pod as it would violate the pod's disruption budget.");
            refused.causes.push(StatusCause {
                reason: "DisruptionBudget".to_owned(),
                message: format!(
                    "The disruption budget {} needs {} healthy pods and has {} currently",
                    budget.name(),
                    number("desiredHealthy"),
                    number("currentHealthy")
                ),
                field: String::new(),
            });
            return Err(refused);
        }
        if dry_run {
            return Ok(true);
        }
        let mut spent = Object::clone(budget);
        spent.set(&["status", "disruptionsAllowed"], allowed - 1);
        spent.set(&["status", "disruptedPods", pod.name()], api_time(self.now()));
        let row = self.row(&GroupVersionResource::new("policy/v1", "poddisruptionbudgets"))?;
        let write = Write {
            key: key_of(&row, budget.namespace(), budget.name()),
            precondition: Precondition::At(revision_of(budget)),
            change: Change::Put(Arc::new(spent)),
        };
        let transaction = Transaction { writes: vec![write] };
        match self.store().commit(transaction).await {
            Ok(_) => Ok(true),
            Err(cluster_store::StoreError::PreconditionFailed { .. }) => Ok(false),
            Err(other) => Err(store_failure(other)),
        }
    }
}

/// Whether a pod that is not ready may be evicted without a look at how many more may go: always where the budget says
/// so, else when enough others are healthy.
fn may_go_unhealthy(pod: &Object, budget: &Object) -> bool {
    let conditions = pod.list(&["status", "conditions"]).iter();
    if conditions
        .filter(|one| one["type"] == "Ready")
        .any(|one| one["status"] == "True")
    {
        return false;
    }
    let number = |key: &str| budget.integer(&["status", key]).unwrap_or_default();
    budget.text(&["spec", "unhealthyPodEvictionPolicy"]) == Some("AlwaysAllow")
        || (number("desiredHealthy") > 0 && number("currentHealthy") >= number("desiredHealthy"))
}

/// Refuses bindings of pods that have a node or are going away, after `assignPod` in
/// `k8s.io/kubernetes/pkg/registry/core/pod/storage`.
fn check_binding(pod: &Object, binding: &Object, target: &Target) -> Result<(), Status> {
    let refuse = |why: &str| {
        let resource = GroupVersionResource::new("v1", "pods/binding");
        Err(Status::conflict(&resource, &target.name, why))
    };
    if !binding.uid().is_empty() && binding.uid() != pod.uid() {
        return refuse(&format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            binding.uid(),
            pod.uid()
        ));
    }
    if pod.deletion_timestamp().is_some() {
        return refuse(&format!(
            "pod {} is being deleted, cannot be assigned to a host",
            pod.name()
        ));
    }
    match pod.text(&["spec", "nodeName"]).unwrap_or_default() {
        "" => {}
        node => {
            return refuse(&format!(
                "pod {} is already assigned to node {node:?}",
                pod.name()
            ));
        }
    }
    if !pod.list(&["spec", "schedulingGates"]).is_empty() {
        return refuse(&format!("pod {} has non-empty .spec.schedulingGates", pod.name()));
    }
    Ok(())
}

/// The pod on its node, with the condition that says so.
fn bound(pod: &Object, binding: &Object, node: &str, now: &str) -> Object {
    let mut bound = pod.clone();
    bound.set(&["spec", "nodeName"], node);
    if let Some(annotations) = binding
        .at(&["metadata", "annotations"])
        .and_then(Value::as_object)
    {
        for (key, value) in annotations {
            bound.set(&["metadata", "annotations", key], value.clone());
        }
    }
    let mut condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    });
    if pod.generation() > 0 {
        condition["observedGeneration"] = pod.generation().into();
    }
    set_condition(&mut bound, condition);
    bound
}

/// Sets one condition of a status in place of the one of the same type.
fn set_condition(object: &mut Object, condition: Value) {
    let mut conditions = object.list(&["status", "conditions"]).to_vec();
    conditions.retain(|other| other["type"] != condition["type"]);
    conditions.push(condition);
    object.set(&["status", "conditions"], conditions);
}

fn too_many(message: &str) -> Status {
    Status::new(429, StatusReason::TooManyRequests, message)
}

/// The answer of subresources that give no object.
pub(super) fn success() -> Written {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Written {
        object: Arc::new(Object::from_value(status).unwrap_or_default()),
        created: true,
        warnings: Vec::new(),
    }
}
