//! Deleting objects: at once, or marked until finalizers and grace period are done.

use std::sync::Arc;

use cluster_client::{Collection, DeleteOptions, Deleted, Propagation, Target};
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{Change, Precondition};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::commit::{CommitFailure, Settle};
use super::query::ListQuery;
use super::read::Page;
use super::stage::{Decision, Stage};
use super::{ATTEMPTS_MAX, Engine, in_version, key_of, revision_of};
use crate::sources::api_time;
use crate::user::Caller;

/// Seconds that a pod gets to stop when it does not say.
const POD_GRACE_SECONDS: i64 = 30;
/// The finalizer of an object whose dependants go first.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependants stay.
const ORPHAN: &str = "orphan";
/// Namespaces without which a cluster is none.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
/// Objects of a collection that are deleted at the same time, so that their commits share a write to the disk.
const AT_ONCE: usize = 32;

/// What a deletion does to an object.
#[derive(Clone, Debug, PartialEq)]
enum Deletion {
    /// It is removed.
    Remove,
    /// It stays, marked like this.
    Mark(Box<Object>),
    /// It was marked before, and nothing changes.
    Keep,
}

impl Engine {
    /// Deletes an object.
    ///
    /// A pod on a node is marked, and goes when the node's agent deletes it with a grace period of 0.
    pub async fn delete(
        &self,
        caller: &Caller,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<(Arc<Object>, Deleted), Status> {
        let row = self.enter(caller, "delete", target)?;
        self.remove(&row, target, options).await
    }

    /// Deletes the selected objects of a collection, and gives them as they were listed.
    pub async fn delete_collection(
        &self,
        caller: &Caller,
        collection: &Collection,
        query: &ListQuery,
        options: &DeleteOptions,
    ) -> Result<Page, Status> {
        let row = self.enter_collection(caller, "deletecollection", collection, "")?;
        let page = self.select(row, collection, query)?;
        let row = &page.row;
        let deletions = page.items.iter().map(|item| async move {
            let target = Target::of(&collection.resource, item);
            match self.remove(row, &target, options).await {
                Err(status) if !status.is_not_found() => Err(status),
                _ => Ok(()),
            }
        });
        // Gathered first: the borrowed futures of a lazy iterator are not `Send` for every lifetime.
        let deletions: Vec<_> = deletions.collect();
        let mut outcomes = stream::iter(deletions).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            outcome?;
        }
        drop(outcomes);
        Ok(page)
    }

    /// Deletes an object, without asking who wants it. Gives its last state besides.
    async fn remove(
        &self,
        row: &Arc<KindRow>,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<(Arc<Object>, Deleted), Status> {
        for _ in 0..ATTEMPTS_MAX {
            let decide = || self.decide_removal(row, target, options, &Stage::default());
            let decision = self.decide(decide, |decision| decision.write.is_some()).await?;
            let gone = matches!(decision.write, Some((_, Change::Delete)));
            let deleted = |object: Arc<Object>| match gone {
                true => (object, Deleted::Gone),
                false => (Arc::clone(&object), Deleted::Marked(object)),
            };
            if options.dry_run || decision.write.is_none() {
                return Ok(deleted(decision.object));
            }
            match self.carry_out(row, decision).await {
                Ok(written) => return Ok(deleted(written.object)),
                Err(CommitFailure::Stale | CommitFailure::DependencyChanged) => {}
                Err(CommitFailure::Refused(status)) => return Err(status),
            }
        }
        Err(Status::stale(&target.resource, &target.name))
    }

    /// Decides what a deletion does to an object that is there.
    pub(super) fn decide_removal(
        &self,
        row: &Arc<KindRow>,
        target: &Target,
        options: &DeleteOptions,
        stage: &Stage,
    ) -> Result<Decision, Status> {
        let key = key_of(row, target.namespace.as_deref(), &target.name);
        let found = stage.get(self.store(), &key);
        let stored = found.ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
        check_preconditions(&stored, target, options)?;
        let precondition = Precondition::At(revision_of(&stored));
        let (object, change, settle) = match decide(row, &stored, options, self.now())? {
            Deletion::Keep => (in_version(row, stored), None, Settle::Nothing),
            Deletion::Remove => {
                let settle = released(row, &stored);
                (in_version(row, stored), Some(Change::Delete), settle)
            }
            Deletion::Mark(marked) => {
                let marked: Arc<Object> = Arc::from(marked);
                let object = in_version(row, Arc::clone(&marked));
                (object, Some(Change::Put(marked)), Settle::Nothing)
            }
        };
        Ok(Decision {
            key,
            object,
            write: change.map(|change| (precondition, change)),
            dependencies: Vec::new(),
            settle,
            warnings: Vec::new(),
            created: false,
        })
    }
}

/// What an object gives back when it is removed.
pub(super) fn released(row: &KindRow, object: &Arc<Object>) -> Settle {
    if &*row.table == "services" {
        Settle::Free(Arc::clone(object))
    } else {
        Settle::Nothing
    }
}

fn check_preconditions(stored: &Object, target: &Target, options: &DeleteOptions) -> Result<(), Status> {
    let fails = |what: &str, wanted: &str, found: &str| {
        let why =
            format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(Status::conflict(&target.resource, &target.name, &why))
    };
    if let Some(uid) = &options.uid
        && uid != stored.uid()
    {
        return fails("UID", uid, stored.uid());
    }
    if let Some(version) = &options.resource_version
        && version != stored.resource_version()
    {
        return fails("ResourceVersion", version, stored.resource_version());
    }
    Ok(())
}

/// Decides what a deletion does, after `BeforeDelete` in `k8s.io/apiserver/pkg/registry/rest`.
fn decide(
    row: &KindRow,
    stored: &Object,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Deletion, Status> {
    let is_marked = stored.deletion_timestamp().is_some();
    let mut finalizers: Vec<&str> = stored
        .list(&["metadata", "finalizers"])
        .iter()
        .filter_map(Value::as_str)
        .filter(|finalizer| ![FOREGROUND, ORPHAN].contains(finalizer))
        .collect();
    match options.propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND),
        Propagation::Orphan => finalizers.push(ORPHAN),
    }
    if &*row.table == "namespaces" && IMMORTAL.contains(&stored.name()) {
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden(&row.resource(), stored.name(), why));
    }
    let held_by_namespace = &*row.table == "namespaces" && !stored.list(&["spec", "finalizers"]).is_empty();
    if held_by_namespace && is_marked {
        let why = "The system is ensuring all content is removed from this namespace.  Upon completion, this \
                   namespace will automatically be purged by the system.";
        return Err(Status::conflict(&row.resource(), stored.name(), why));
    }
    let grace = grace_seconds(row, stored, options)?;
    let pending = stored.integer(&["metadata", "deletionGracePeriodSeconds"]);
    if grace == 0 && finalizers.is_empty() && !held_by_namespace {
        return Ok(Deletion::Remove);
    }
    let mut marked = stored.clone();
    if is_marked {
        // A running grace period can only be shortened.
        let shorter =
            options.grace_period_seconds.is_some() && pending.is_some_and(|pending| grace < pending);
        if shorter {
            set_deletion(&mut marked, grace, deletion_start(stored, pending).unwrap_or(now));
        }
    } else {
        set_deletion(&mut marked, grace, now);
        let generation = stored.generation();
        if generation > 0 {
            marked.set(&["metadata", "generation"], generation + 1);
        }
        if &*row.table == "namespaces" {
            marked.set(&["status", "phase"], "Terminating");
        }
    }
    set_finalizers(&mut marked, &finalizers);
    if marked == *stored {
        return Ok(Deletion::Keep);
    }
    Ok(Deletion::Mark(Box::new(marked)))
}

/// Seconds from now in which the object may still live: 0 for everything but pods on a node.
fn grace_seconds(row: &KindRow, stored: &Object, options: &DeleteOptions) -> Result<i64, Status> {
    if &*row.table != "pods" {
        return Ok(0);
    }
    let asked = options.grace_period_seconds;
    if asked.is_some_and(|asked| asked < 0) {
        // A negative wish stands for the shortest graceful period.
        return Ok(1);
    }
    let has_ended = matches!(stored.text(&["status", "phase"]), Some("Succeeded" | "Failed"));
    if has_ended || stored.text(&["spec", "nodeName"]).unwrap_or_default().is_empty() {
        return Ok(0);
    }
    let pending = stored.integer(&["metadata", "deletionGracePeriodSeconds"]);
    let own = stored.integer(&["spec", "terminationGracePeriodSeconds"]);
    let period = asked.or(pending).or(own).unwrap_or(POD_GRACE_SECONDS);
    Ok(period.max(0))
}

/// When a running deletion was asked for.
fn deletion_start(stored: &Object, pending: Option<i64>) -> Option<Timestamp> {
    let end: Timestamp = stored.deletion_timestamp()?.parse().ok()?;
    end.checked_sub(SignedDuration::from_secs(pending?)).ok()
}

fn set_deletion(object: &mut Object, grace: i64, start: Timestamp) {
    let end = start
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or(start);
    object.set(&["metadata", "deletionTimestamp"], api_time(end));
    object.set(&["metadata", "deletionGracePeriodSeconds"], grace);
}

fn set_finalizers(object: &mut Object, finalizers: &[&str]) {
    if finalizers.is_empty() {
        object.remove(&["metadata", "finalizers"]);
    } else {
        object.set(&["metadata", "finalizers"], finalizers.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_objects::GroupVersionResource;
    use cluster_objects::registry::Registry;
    use serde_json::json;

    const NOW: &str = "2026-01-01T00:00:00Z";

    /// Decides on an object and shows the outcome as `remove`, `keep` or the metadata that marks it.
    fn check(resource: &str, object: Value, options: &DeleteOptions, expected: Value) {
        let registry = Registry::builtin();
        let resource = match resource.split_once('.') {
            Some((name, group)) => GroupVersionResource::new(&format!("{group}/v1"), name),
            None => GroupVersionResource::new("v1", resource),
        };
        let row = registry.by_resource(&resource).unwrap();
        let stored = Object::from_value(object).unwrap();
        let outcome = match decide(row, &stored, options, NOW.parse().unwrap()).unwrap() {
            Deletion::Remove => json!("remove"),
            Deletion::Keep => json!("keep"),
            Deletion::Mark(marked) => marked.at(&["metadata"]).cloned().unwrap(),
        };
        assert_eq!(Some(outcome), Some(expected), "{stored:?} {options:?}");
    }

    #[test]
    fn what_nothing_holds_goes_at_once() {
        let options = DeleteOptions::default();
        check(
            "configmaps",
            json!({"metadata": {"name": "a"}}),
            &options,
            json!("remove"),
        );
        check(
            "pods",
            json!({"metadata": {"name": "a"}, "spec": {}}),
            &options,
            json!("remove"),
        );
        let ended =
            json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        check("pods", ended, &options, json!("remove"));
    }

    #[test]
    fn a_pod_on_a_node_gets_its_grace_period() {
        let pod = json!({"metadata": {"name": "a", "generation": 1}, "spec": {"nodeName": "n"}});
        let marked = |seconds: i64, at: &str| json!({"name": "a", "generation": 2, "deletionTimestamp": at, "deletionGracePeriodSeconds": seconds});
        let ask = |seconds| DeleteOptions {
            grace_period_seconds: seconds,
            ..DeleteOptions::default()
        };
        check(
            "pods",
            pod.clone(),
            &ask(None),
            marked(30, "2026-01-01T00:00:30Z"),
        );
        check(
            "pods",
            pod.clone(),
            &ask(Some(5)),
            marked(5, "2026-01-01T00:00:05Z"),
        );
        check(
            "pods",
            pod.clone(),
            &ask(Some(-1)),
            marked(1, "2026-01-01T00:00:01Z"),
        );
        check("pods", pod, &ask(Some(0)), json!("remove"));
        let mut dying = json!({"metadata": marked(30, "2026-01-01T00:00:20Z"), "spec": {"nodeName": "n"}});
        check("pods", dying.clone(), &ask(None), json!("keep"));
        check("pods", dying.clone(), &ask(Some(60)), json!("keep"));
        check(
            "pods",
            dying.clone(),
            &ask(Some(10)),
            marked(10, "2026-01-01T00:00:00Z"),
        );
        check("pods", dying.clone(), &ask(Some(0)), json!("remove"));
        dying["metadata"]["finalizers"] = json!(["x"]);
        let mut held = marked(0, "2025-12-31T23:59:50Z");
        held["finalizers"] = json!(["x"]);
        check("pods", dying, &ask(Some(0)), held);
    }

    #[test]
    fn propagation_becomes_a_finalizer() {
        let object = json!({"metadata": {"name": "a", "generation": 4}});
        for (propagation, finalizer) in [
            (Propagation::Foreground, FOREGROUND),
            (Propagation::Orphan, ORPHAN),
        ] {
            let options = DeleteOptions {
                propagation,
                ..DeleteOptions::default()
            };
            let marked = json!({
                "name": "a", "generation": 5, "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0,
                "finalizers": [finalizer],
            });
            check("deployments.apps", object.clone(), &options, marked);
        }
    }
}
