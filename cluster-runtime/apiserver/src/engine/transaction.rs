//! Many changes as one: `tug.dev/v1` `Transaction`.
//!
//! A client creates one with a list of operations. Every operation goes through what the same request alone would go
//! through (who may, validation, defaults, field ownership, service addresses), each seeing what those before it
//! will have done. If all pass, they are committed as one entry of the log, or in parts with one commit marker where
//! they are too big for that; if one does not, nothing is.

use std::sync::Arc;

use cluster_client::{DeleteOptions, Patch, Propagation, Target, WriteOptions};
use cluster_objects::registry::KindRow;
use cluster_objects::{GroupVersionKind, Object, Status, StatusCause};
use cluster_store::{Change, Key, StoreError};
use serde_json::{Map, Value, json};

use super::admission::check_body;
use super::create::NewObject;
use super::edit::{Edit, check_options};
use super::stage::{Decision, Stage};
use super::{ATTEMPTS_MAX, Engine, Written, in_version, key_of, store_failure};
use crate::authorize::Action;
use crate::user::Caller;

/// Most operations of one transaction; the store has a limit of its own for their bytes.
const OPERATIONS_MAX: usize = 20_000;

/// The reason of the cause that says which operation was refused.
const OPERATION_REFUSED: &str = "OperationRefused";

/// One change.
enum Operation {
    /// Server-side apply.
    Apply { object: Arc<Object>, force: bool },
    /// Creation.
    Create(Arc<Object>),
    /// Replacement; a `resourceVersion` in the object is a precondition.
    Update(Arc<Object>),
    /// Deletion; what is not there is no fault.
    Delete { named: Object, options: DeleteOptions },
}

/// What became of one operation.
struct Outcome {
    row: Arc<KindRow>,
    key: Key,
    word: &'static str,
    object: Option<Arc<Object>>,
    warnings: Vec<String>,
}

impl Engine {
    /// Carries out all operations of a transaction, or none, and answers with what became of each.
    pub(super) async fn transact(
        &self,
        caller: &Caller,
        mut request: Object,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let operations = read(&request)?;
        for _ in 0..ATTEMPTS_MAX {
            let decide = || {
                let mut stage = Stage::default();
                let mut outcomes = Vec::with_capacity(operations.len());
                for (index, operation) in operations.iter().enumerate() {
                    let staged = self.stage(caller, operation, options, &mut stage);
                    outcomes.push(staged.map_err(|status| at_operation(status, index))?);
                }
                Ok((stage, outcomes))
            };
            let (stage, mut outcomes) = self.decide(decide, |(stage, _)| !stage.is_empty()).await?;
            if options.dry_run || stage.is_empty() {
                let revision = self.revision().to_string();
                return Ok(answer(&mut request, &outcomes, options.dry_run, &revision));
            }
            let places: Vec<Option<usize>> = outcomes
                .iter()
                .map(|outcome| stage.place_of(&outcome.key))
                .collect();
            match self.commit_stage(stage).await {
                Ok(committed) => {
                    for (outcome, place) in outcomes.iter_mut().zip(places) {
                        let stored = place.and_then(|place| committed.objects.get(place).cloned().flatten());
                        if let Some(stored) = stored {
                            outcome.object = Some(in_version(&outcome.row, stored));
                        }
                    }
                    let revision = committed.revision.to_string();
                    return Ok(answer(&mut request, &outcomes, false, &revision));
                }
                // Something changed in between: decide again on what is there now.
                Err(StoreError::PreconditionFailed { .. }) => {}
                Err(other) => return Err(store_failure(other)),
            }
        }
        Err(Status::unavailable(
            "the objects of the transaction change too fast, try again",
        ))
    }

    /// Decides one operation and adds it to the stage.
    fn stage(
        &self,
        caller: &Caller,
        operation: &Operation,
        options: &WriteOptions,
        stage: &mut Stage,
    ) -> Result<Outcome, Status> {
        let row = self.row_of(operation.object())?;
        let target = target_of(&row, operation.object())?;
        let allowed = |verb, name| {
            let action = Action::Resource {
                verb,
                resource: &target.resource,
                subresource: None,
                namespace: target.namespace.as_deref(),
                name,
            };
            self.authorize(&caller.user, &action)
        };
        // As if it were no dry run: operations that come later must see this one.
        let mut options = WriteOptions {
            dry_run: false,
            ..options.clone()
        };
        let decision = match operation {
            Operation::Apply { object, force } => {
                allowed("patch", Some(target.name.as_str()))?;
                options.force = *force;
                let edit = Edit::Patch(Patch::Apply(object.as_ref().clone().into_value()));
                check_options(&edit, &options)?;
                self.decide_change(caller, &row, &target, &edit, &options, &[], stage)?
            }
            Operation::Update(object) => {
                allowed("update", Some(target.name.as_str()))?;
                let edit = Edit::Replace(Arc::clone(object));
                self.decide_change(caller, &row, &target, &edit, &options, &[], stage)?
            }
            Operation::Create(object) => {
                allowed("create", None)?;
                let mut object = object.as_ref().clone();
                let warnings = check_body(&row, &mut object, options.field_validation, &[])?;
                let request = NewObject {
                    row: &row,
                    namespace: target.namespace.as_deref(),
                    object,
                    tracked: false,
                    warnings,
                };
                let decision = self.decide_insert(caller, &request, &options, stage)?;
                if stage.get(self.store(), &decision.key).is_some() {
                    return Err(Status::already_exists(&row.resource(), decision.object.name()));
                }
                decision
            }
            Operation::Delete { options, .. } => {
                allowed("delete", Some(target.name.as_str()))?;
                match self.decide_removal(&row, &target, options, stage) {
                    Err(status) if status.is_not_found() => {
                        return Ok(Outcome {
                            key: key_of(&row, target.namespace.as_deref(), &target.name),
                            row,
                            word: "absent",
                            object: None,
                            warnings: Vec::new(),
                        });
                    }
                    decided => decided?,
                }
            }
        };
        let mut outcome = Outcome {
            row,
            key: decision.key.clone(),
            word: word(operation, &decision),
            object: Some(Arc::clone(&decision.object)),
            warnings: Vec::new(),
        };
        outcome.warnings.clone_from(&decision.warnings);
        stage.add(decision);
        Ok(outcome)
    }

    fn row_of(&self, object: &Object) -> Result<Arc<KindRow>, Status> {
        let kind = GroupVersionKind::new(object.api_version(), object.kind());
        let registry = self.registry();
        let found = registry.by_kind(&kind).filter(|row| row.is_stored());
        found.map(Arc::clone).ok_or_else(|| {
            Status::bad_request(format!(
                "no objects of kind {:?} in version {:?} are kept here",
                object.kind(),
                object.api_version()
            ))
        })
    }
}

impl Operation {
    fn object(&self) -> &Object {
        match self {
            Self::Apply { object, .. } | Self::Create(object) | Self::Update(object) => object,
            Self::Delete { named, .. } => named,
        }
    }
}

/// One word for what became of an operation.
fn word(operation: &Operation, decision: &Decision) -> &'static str {
    match (operation, &decision.write) {
        (Operation::Delete { .. }, Some((_, Change::Delete))) => "deleted",
        (Operation::Delete { .. }, _) => "terminating",
        (_, None) => "unchanged",
        _ if decision.created => "created",
        _ => "configured",
    }
}

/// Where an object of an operation lives.
fn target_of(row: &KindRow, object: &Object) -> Result<Target, Status> {
    let mut target = Target::of(&row.resource(), object);
    if !row.namespaced {
        target.namespace = None;
    } else if target.namespace.is_none() {
        return Err(Status::bad_request(format!(
            "{} {:?} must say its namespace",
            row.kind,
            object.name()
        )));
    }
    Ok(target)
}

/// Reads the operations of a request.
fn read(request: &Object) -> Result<Vec<Operation>, Status> {
    let listed = request.list(&["spec", "operations"]);
    let refuse = |field: String, message: String| {
        let cause = StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message,
            field,
        };
        Status::invalid("tug.dev", "Transaction", request.name(), vec![cause])
    };
    if listed.is_empty() || listed.len() > OPERATIONS_MAX {
        let message = format!("must have 1 to {OPERATIONS_MAX} items, has {}", listed.len());
        return Err(refuse("spec.operations".to_owned(), message));
    }
    let operations = listed
        .iter()
        .enumerate()
        .map(|(index, item)| operation(item).map_err(|why| refuse(format!("spec.operations[{index}]"), why)));
    operations.collect()
}

fn operation(item: &Value) -> Result<Operation, String> {
    const EXPECTED: &str = "must have one of `apply`, `create`, `update` and `delete`";
    let fields = item.as_object().ok_or("must be an object")?;
    let verbs = ["apply", "create", "update", "delete"];
    let mut found = verbs
        .into_iter()
        .filter_map(|verb| Some((verb, fields.get(verb)?)));
    let (Some((verb, object)), None) = (found.next(), found.next()) else {
        return Err(EXPECTED.to_owned());
    };
    let known = |key: &str| key == verb || matches!((verb, key), ("apply", "force") | ("delete", "options"));
    if let Some(unknown) = fields.keys().find(|key| !known(key)) {
        return Err(format!("`{unknown}` is not known beside `{verb}`"));
    }
    let object = Object::from_value(object.clone()).map_err(|error| error.to_string())?;
    if object.api_version().is_empty() || object.kind().is_empty() {
        return Err("the object must name its apiVersion and kind".to_owned());
    }
    if object.name().is_empty() && verb != "create" {
        return Err("the object must have a name".to_owned());
    }
    Ok(match verb {
        "apply" => Operation::Apply {
            object: Arc::new(object),
            force: fields.get("force").and_then(Value::as_bool).unwrap_or_default(),
        },
        "create" => Operation::Create(Arc::new(object)),
        "update" => Operation::Update(Arc::new(object)),
        _ => Operation::Delete {
            named: object,
            options: delete_options(fields.get("options").unwrap_or(&Value::Null))?,
        },
    })
}

/// Reads `DeleteOptions` as far as they have a meaning here.
fn delete_options(value: &Value) -> Result<DeleteOptions, String> {
    let propagation = match value["propagationPolicy"].as_str() {
        None | Some("Background") => Propagation::Background,
        Some("Foreground") => Propagation::Foreground,
        Some("Orphan") => Propagation::Orphan,
        Some(other) => return Err(format!("`{other}` is no propagation policy")),
    };
    let precondition = |field: &str| value["preconditions"][field].as_str().map(str::to_owned);
    Ok(DeleteOptions {
        dry_run: false,
        grace_period_seconds: value["gracePeriodSeconds"].as_i64(),
        propagation,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
    })
}

/// Says in a refusal which operation it is about; code, reason and message stay those of the operation.
fn at_operation(mut status: Status, index: usize) -> Status {
    status.causes.push(StatusCause {
        reason: OPERATION_REFUSED.to_owned(),
        message: status.message.clone(),
        field: format!("spec.operations[{index}]"),
    });
    status
}

/// The transaction with its status: the objects themselves where it was only tried, else what identifies them.
fn answer(request: &mut Object, outcomes: &[Outcome], whole: bool, revision: &str) -> Written {
    let mut warnings = Vec::new();
    let results: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            warnings.extend(outcome.warnings.iter().cloned());
            let mut result = Map::new();
            result.insert("outcome".into(), outcome.word.into());
            if let Some(object) = &outcome.object {
                let shown = if whole {
                    object.wire_value()
                } else {
                    identity(object)
                };
                result.insert("object".into(), shown);
            }
            result.into()
        })
        .collect();
    request.remove(&["spec"]);
    request.set(
        &["status"],
        json!({ "phase": if whole { "Checked" } else { "Committed" }, "revision": revision, "results": results }),
    );
    Written {
        object: Arc::new(std::mem::take(request)),
        created: true,
        warnings,
    }
}

fn identity(object: &Object) -> Value {
    let mut metadata = Map::new();
    for (key, value) in [
        ("name", object.name()),
        ("namespace", object.namespace().unwrap_or_default()),
        ("uid", object.uid()),
        ("resourceVersion", object.resource_version()),
    ] {
        if !value.is_empty() {
            metadata.insert(key.to_owned(), value.into());
        }
    }
    json!({ "apiVersion": object.api_version(), "kind": object.kind(), "metadata": metadata })
}
