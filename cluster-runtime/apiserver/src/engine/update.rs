//! Changing objects: updates, patches and server-side apply, of objects and their subresources.

use std::sync::Arc;

use cluster_client::{Patch, Target, WriteOptions};
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{Change, Precondition};
use serde_json::Value;

use super::admission::{self, Admission, Step};
use super::commit::{CommitFailure, Settle};
use super::create::{Body, NewObject};
use super::delete::released;
use super::edit::{Edit, EditContext, check_options};
use super::stage::{Decision, Stage, stored_form};
use super::{ATTEMPTS_MAX, Engine, Written, in_version, key_of, revision_of};
use crate::user::Caller;

impl Engine {
    /// Replaces an object or a subresource of it.
    pub async fn update(
        &self,
        caller: &Caller,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let row = self.enter(caller, "update", target)?;
        let edit = Edit::Replace(Arc::new(body.object));
        self.change(caller, &row, target, &edit, options, &body.duplicates)
            .await
    }

    /// Patches an object or a subresource of it; server-side apply makes the object where it is not there.
    pub async fn patch(
        &self,
        caller: &Caller,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
        duplicates: &[String],
    ) -> Result<Written, Status> {
        let row = self.enter(caller, "patch", target)?;
        self.change(caller, &row, target, &Edit::Patch(patch), options, duplicates)
            .await
    }

    async fn change(
        &self,
        caller: &Caller,
        row: &Arc<KindRow>,
        target: &Target,
        edit: &Edit,
        options: &WriteOptions,
        duplicates: &[String],
    ) -> Result<Written, Status> {
        check_options(edit, options)?;
        for _ in 0..ATTEMPTS_MAX {
            let decide =
                || self.decide_change(caller, row, target, edit, options, duplicates, &Stage::default());
            let decision = self.decide(decide, |decision| decision.write.is_some()).await?;
            if options.dry_run || decision.write.is_none() {
                return self.view(row, target, decision.into_written());
            }
            match self.carry_out(row, decision).await {
                Ok(written) => return self.view(row, target, written),
                // An edit that names a revision finds out on the next round that it is stale.
                Err(CommitFailure::Stale | CommitFailure::DependencyChanged) => {}
                Err(CommitFailure::Refused(status)) => return Err(status),
            }
        }
        Err(Status::stale(&target.resource, &target.name))
    }

    /// Decides what an edit makes of an object, or of none where it is server-side apply.
    #[expect(clippy::too_many_arguments, reason = "each is a part of one request")]
    pub(super) fn decide_change(
        &self,
        caller: &Caller,
        row: &Arc<KindRow>,
        target: &Target,
        edit: &Edit,
        options: &WriteOptions,
        duplicates: &[String],
        stage: &Stage,
    ) -> Result<Decision, Status> {
        let key = key_of(row, target.namespace.as_deref(), &target.name);
        let context = EditContext {
            row,
            caller,
            options,
            target,
            now: self.now(),
            duplicates,
        };
        let Some(stored) = stage.get(self.store(), &key) else {
            if matches!(edit, Edit::Patch(Patch::Apply(_))) && target.subresource.is_none() {
                let made = edit.make(None, &context)?;
                let request = NewObject {
                    row,
                    namespace: target.namespace.as_deref(),
                    object: made.object,
                    tracked: true,
                    warnings: made.warnings,
                };
                return self.decide_insert(caller, &request, options, stage);
            }
            return Err(Status::not_found(&target.resource, &target.name));
        };
        let revision = revision_of(&stored);
        let old = in_version(row, stored);
        let edited = edit.make(Some(&old), &context)?;
        let mut admission = Admission {
            engine: self,
            stage,
            row,
            caller,
            options,
            now: context.now,
            namespace: target.namespace.as_deref(),
            subresource: target.subresource.unwrap_or_default(),
            old: Some(&old),
            object: edited.object,
            tracked: edited.tracked,
            warnings: edited.warnings,
            dependencies: Vec::new(),
            reservation: None,
        };
        admission.run(steps(target.subresource))?;
        let Admission {
            mut object,
            warnings,
            dependencies,
            reservation,
            ..
        } = admission;
        object.set(&["metadata", "resourceVersion"], old.resource_version());
        let gone = is_released(row, &object, &old);
        if !gone && is_same(&object, &old) {
            return Ok(Decision {
                key,
                object: if options.dry_run { Arc::new(object) } else { old },
                write: None,
                dependencies,
                settle: Settle::Nothing,
                warnings,
                created: false,
            });
        }
        let object = Arc::new(object);
        let change = if gone {
            Change::Delete
        } else {
            Change::Put(stored_form(row, &object))
        };
        let settle = match reservation {
            _ if gone => released(row, &old),
            Some(reservation) => Settle::Keep(reservation),
            None => Settle::Nothing,
        };
        Ok(Decision {
            key,
            object,
            write: Some((Precondition::At(revision), change)),
            dependencies,
            settle,
            warnings,
            created: false,
        })
    }

    /// What a write of a subresource answers with.
    fn view(&self, row: &KindRow, target: &Target, mut written: Written) -> Result<Written, Status> {
        if target.subresource == Some("scale") {
            let scale = row
                .scale_of(&written.object)
                .ok_or_else(super::no_such_resource)?;
            written.object = Arc::new(scale);
        }
        Ok(written)
    }
}

/// The admission of a changed object or subresource.
fn steps(subresource: Option<&str>) -> &'static [Step] {
    match subresource {
        Some("status" | "approval") => admission::UPDATE_STATUS,
        Some("finalize" | "ephemeralcontainers" | "resize") => admission::UPDATE_PART,
        _ => admission::UPDATE,
    }
}

/// Whether the change took away the last thing that held an object which is being deleted.
///
/// The rule is that of `ShouldDeleteDuringUpdate` in `k8s.io/apiserver/pkg/registry/generic/registry`: it counts
/// only when this change removed the last finalizer, and while no grace period runs.
fn is_released(row: &KindRow, new: &Object, old: &Object) -> bool {
    if old.deletion_timestamp().is_none() {
        return false;
    }
    let held = |object: &Object| {
        let by_namespace = &*row.table == "namespaces" && !object.list(&["spec", "finalizers"]).is_empty();
        by_namespace || !object.list(&["metadata", "finalizers"]).is_empty()
    };
    let grace = old
        .integer(&["metadata", "deletionGracePeriodSeconds"])
        .unwrap_or_default();
    held(old) && !held(new) && grace == 0
}

/// Whether two states of an object differ in nothing but the times of field ownership, so that nothing is written.
fn is_same(new: &Object, old: &Object) -> bool {
    let differs = |key: &str| new.fields().get(key) != old.fields().get(key);
    let keys = new.fields().keys().chain(old.fields().keys());
    if keys.filter(|key| *key != "metadata").any(|key| differs(key)) {
        return false;
    }
    let metadata = |object: &'_ Object| object.at(&["metadata"]).and_then(Value::as_object).cloned();
    let (Some(mut new), Some(mut old)) = (metadata(new), metadata(old)) else {
        return false;
    };
    let owners = [new.remove("managedFields"), old.remove("managedFields")];
    if new != old {
        return false;
    }
    let [new, old] = owners.map(without_times);
    new == old
}

fn without_times(owners: Option<Value>) -> Vec<Value> {
    let Some(Value::Array(mut entries)) = owners else {
        return Vec::new();
    };
    for entry in &mut entries {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    #[test]
    fn times_of_ownership_alone_are_no_change() {
        let at = |time: &str, data: &str| {
            object(json!({
                "metadata": {"name": "a", "managedFields": [{"manager": "m", "time": time}]},
                "data": {"k": data},
            }))
        };
        assert!(is_same(&at("1", "v"), &at("2", "v")));
        assert!(!is_same(&at("1", "v"), &at("1", "w")));
        let other = object(
            json!({"metadata": {"name": "a", "managedFields": [{"manager": "n"}]}, "data": {"k": "v"}}),
        );
        assert!(!is_same(&at("1", "v"), &other));
    }
}
