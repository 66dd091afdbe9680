//! Many changes as one, on clusters that offer it: the resource `tug.dev/v1` `Transaction`.

use cluster_client::{Collection, FieldValidation, Propagation, WriteOptions};
use cluster_objects::{Object, Status, StatusReason};
use serde_json::{Value, json};

use crate::FIELD_MANAGER;
use crate::cluster::Cluster;
use crate::resource::Resource;

/// One change of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Server-side apply; creation where the server makes the name.
    Apply { resource: Resource, force: bool },
    /// Creation of what must not be there.
    Create(Object),
    /// Replacement of what must be there.
    Update(Object),
    /// Deletion; what is not there is no fault.
    Delete { object: Object, cascade: Propagation },
}

/// What became of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// What identifies the object; the whole object where the transaction was only tried.
    pub(crate) object: Option<Object>,
}

/// Why a transaction was not done. Nothing of it was.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The cluster does not take it, or not from us: do the same object by object.
    NotOffered(Status),
    /// It is too big for one entry: do the same object by object.
    TooLarge(Status),
    /// One operation was refused.
    Operation { index: usize, status: Status },
    /// All of it was refused.
    Whole(Status),
}

/// Whether the cluster offers transactions.
pub(crate) async fn is_offered(cluster: &Cluster) -> Result<bool, Status> {
    if !cluster.use_transactions {
        return Ok(false);
    }
    let discovery = cluster.discovery().await?;
    Ok(discovery.resource_of("tug.dev", "v1", "Transaction").is_some())
}

/// Does all of the operations, or none.
pub(crate) async fn commit(
    cluster: &Cluster,
    operations: &[Operation],
    dry_run: bool,
    skip_validation: bool,
) -> Result<Vec<Outcome>, Refusal> {
    let collection = Collection::all("tug.dev/v1", "transactions");
    let mut request = Object::new("tug.dev/v1", "Transaction", None, "release");
    let listed: Vec<Value> = operations.iter().map(Operation::to_value).collect();
    request.set(&["spec", "operations"], listed);
    let options = WriteOptions {
        dry_run,
        field_manager: FIELD_MANAGER.to_owned(),
        force: false,
        field_validation: if skip_validation {
            FieldValidation::Warn
        } else {
            FieldValidation::Strict
        },
    };
    match cluster.api.create(&collection, request, &options).await {
        Ok(answer) => Ok(outcomes(&answer)),
        Err(status) => Err(refusal(status)),
    }
}

fn outcomes(answer: &Object) -> Vec<Outcome> {
    let results = answer.list(&["status", "results"]).iter();
    results
        .map(|result| Outcome {
            object: Object::from_value(result["object"].clone()).ok(),
        })
        .collect()
}

fn refusal(mut status: Status) -> Refusal {
    let refused = status
        .causes
        .iter()
        .position(|cause| cause.reason == "OperationRefused");
    if let Some(position) = refused {
        let cause = status.causes.remove(position);
        let index = cause.field.strip_prefix("spec.operations[");
        let index = index.and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        return match index {
            Some(index) => Refusal::Operation { index, status },
            None => Refusal::Whole(status),
        };
    }
    match status.reason {
        StatusReason::RequestEntityTooLarge => Refusal::TooLarge(status),
        StatusReason::NotFound | StatusReason::Forbidden | StatusReason::MethodNotAllowed => {
            Refusal::NotOffered(status)
        }
        _ => Refusal::Whole(status),
    }
}

impl Operation {
    fn to_value(&self) -> Value {
        match self {
            Self::Apply { resource, force } if resource.is_named() => {
                json!({ "apply": resource.object.fields(), "force": force })
            }
            Self::Apply { resource, .. } => json!({ "create": resource.object.fields() }),
            Self::Create(object) => json!({ "create": object.fields() }),
            Self::Update(object) => json!({ "update": object.fields() }),
            Self::Delete { object, cascade } => {
                let policy = match cascade {
                    Propagation::Background => "Background",
                    Propagation::Foreground => "Foreground",
                    Propagation::Orphan => "Orphan",
                };
                json!({ "delete": identity(object), "options": { "propagationPolicy": policy } })
            }
        }
    }
}

/// As much of an object as names it.
fn identity(object: &Object) -> Value {
    let mut metadata = json!({ "name": object.name() });
    if let Some(namespace) = object.namespace() {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": object.api_version(), "kind": object.kind(), "metadata": metadata })
}
