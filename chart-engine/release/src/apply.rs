//! Objects brought to the cluster and taken from it.

use std::sync::Arc;

use cluster_client::{Api, DeleteOptions, Deleted, FieldValidation, Patch, Propagation, WriteOptions};
use cluster_objects::{GroupVersionKind, Object, Status, StatusReason};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::progress::{Event, Observer};
use crate::resource::Resource;
use crate::{FIELD_MANAGER, managed_fields};

/// Objects of one kind that are sent at the same time.
const IN_FLIGHT_MAX: usize = 8;

/// How objects are applied.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// Check everything and change nothing.
    pub dry_run: bool,
    /// Take fields over from other managers.
    pub force_conflicts: bool,
    /// The objects may have been written by the client before.
    pub migrate: bool,
    /// Do not refuse unknown and duplicate fields.
    pub skip_validation: bool,
}

/// Why an object was not applied or deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that were to be changed. The text is Helm's.
    #[error("conflict occurred while applying object {}: {status}", describe(.object))]
    Conflict {
        /// The object.
        object: Box<Object>,
        /// Who owns what.
        status: Status,
    },
    /// The cluster refused. The text is Helm's.
    #[error("server-side apply failed for object {}: {status}", describe(.object))]
    Refused {
        /// The object.
        object: Box<Object>,
        /// Why.
        status: Status,
    },
    /// An object could not be deleted.
    #[error("failed to delete object {}: {status}", describe(.object))]
    NotDeleted {
        /// The object.
        object: Box<Object>,
        /// Why.
        status: Status,
    },
    /// Somebody ended the action.
    #[error("interrupted")]
    Cancelled,
}

/// `shop/web apps/v1, Kind=Deployment`.
fn describe(object: &Object) -> String {
    let kind = GroupVersionKind::new(object.api_version(), object.kind());
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{} {kind}", object.name())
}

/// Applies objects in their order, those of one kind at the same time. Stops at the first refusal.
pub async fn apply_all(
    api: &Arc<dyn Api>,
    resources: &[Resource],
    options: &ApplyOptions,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<Vec<Arc<Object>>, ApplyError> {
    let mut applied = Vec::with_capacity(resources.len());
    for batch in resources.chunk_by(|a, b| a.object.kind() == b.object.kind()) {
        if cancel.is_cancelled() {
            return Err(ApplyError::Cancelled);
        }
        let sent: Vec<_> = batch
            .iter()
            .map(|resource| apply(api, resource, options))
            .collect();
        let mut answers = stream::iter(sent).buffered(IN_FLIGHT_MAX);
        while let Some(answer) = answers.next().await {
            let object = answer?;
            applied.push(object);
            if let Some(object) = applied.last() {
                observer.event(Event::Applied {
                    object,
                    done: applied.len(),
                    total: resources.len(),
                });
            }
        }
    }
    Ok(applied)
}

/// Applies one object on the server.
pub async fn apply(
    api: &Arc<dyn Api>,
    resource: &Resource,
    options: &ApplyOptions,
) -> Result<Arc<Object>, ApplyError> {
    let target = resource.target();
    if options.migrate && !options.dry_run && resource.is_named() {
        hand_over(api, resource).await?;
    }
    let write = WriteOptions {
        dry_run: options.dry_run,
        field_manager: FIELD_MANAGER.to_owned(),
        force: options.force_conflicts,
        field_validation: if options.skip_validation {
            FieldValidation::Warn
        } else {
            FieldValidation::Strict
        },
    };
    let object = resource.object.clone();
    let sent = if resource.is_named() {
        api.patch(&target, Patch::Apply(object.into_value()), &write)
            .await
    } else {
        // Only creation makes names.
        api.create(&target.collection(), object, &write).await
    };
    sent.map_err(|status| refusal(&resource.object, status))
}

pub(crate) fn refusal(object: &Object, status: Status) -> ApplyError {
    let object = Box::new(object.clone());
    if status.reason == StatusReason::Conflict {
        ApplyError::Conflict { object, status }
    } else {
        ApplyError::Refused { object, status }
    }
}

/// Makes what Helm once wrote by the client a server-side apply.
pub(crate) async fn hand_over(api: &Arc<dyn Api>, resource: &Resource) -> Result<(), ApplyError> {
    let target = resource.target();
    let live = match api.get(&target).await {
        Ok(live) => live,
        Err(status) if status.is_not_found() => return Ok(()),
        Err(status) => return Err(refusal(&resource.object, status)),
    };
    let Some(patch) = managed_fields::migration(&live, FIELD_MANAGER) else {
        return Ok(());
    };
    let options = WriteOptions {
        field_manager: FIELD_MANAGER.to_owned(),
        ..WriteOptions::default()
    };
    match api.patch(&target, patch, &options).await {
        Ok(_) => Ok(()),
        Err(status) => Err(refusal(&resource.object, status)),
    }
}

/// Deletes one object; one that is gone already gives `None`.
pub async fn delete(
    api: &Arc<dyn Api>,
    resource: &Resource,
    propagation: Propagation,
    dry_run: bool,
) -> Result<Option<Deleted>, ApplyError> {
    let options = DeleteOptions {
        propagation,
        dry_run,
        ..DeleteOptions::default()
    };
    match api.delete(&resource.target(), &options).await {
        Ok(deleted) => Ok(Some(deleted)),
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(ApplyError::NotDeleted {
            object: Box::new(resource.object.clone()),
            status,
        }),
    }
}

/// How Kubernetes words that a field cannot be changed.
const IMMUTABLE: [&str; 5] = [
    "immutable",
    "may not change",
    "may not be changed",
    "cannot change",
    "updates to ",
];

impl ApplyError {
    /// Whether only a new object could become what was asked for.
    pub fn is_immutable(&self) -> bool {
        let Self::Refused { status, .. } = self else {
            return false;
        };
        status.code == 422 && IMMUTABLE.iter().any(|words| status.message.contains(words))
    }

    /// What the cluster said.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Conflict { status, .. }
            | Self::Refused { status, .. }
            | Self::NotDeleted { status, .. } => Some(status),
            Self::Cancelled => None,
        }
    }
}
