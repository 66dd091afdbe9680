//! What a request makes of an object: its replacement, or a patch of it.

use std::sync::Arc;

use cluster_client::{FieldValidation, Patch, Target, WriteOptions};
use cluster_objects::apply::{self, Writer};
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status, StatusCause, StatusReason, patch};
use serde_json::Value;

use super::admission::{check_body, field_manager};
use super::no_such_resource;
use crate::user::Caller;

/// A change that a client wants.
pub(super) enum Edit {
    /// The whole object, or the whole view of it that a subresource shows.
    Replace(Arc<Object>),
    /// A patch of it.
    Patch(Patch),
}

/// What an edit made of an object.
pub(super) struct Edited {
    /// The object as it shall be, before defaulting and preparation.
    pub(super) object: Object,
    /// Whether field ownership was recorded already.
    pub(super) tracked: bool,
    /// Unknown fields.
    pub(super) warnings: Vec<String>,
}

/// An edit with everything that its outcome depends on besides the object.
pub(super) struct EditContext<'a> {
    pub(super) row: &'a KindRow,
    pub(super) caller: &'a Caller,
    pub(super) options: &'a WriteOptions,
    pub(super) target: &'a Target,
    pub(super) now: jiff::Timestamp,
    /// Fields that stood twice in the request's text.
    pub(super) duplicates: &'a [String],
}

impl Edit {
    /// Makes the edit on an object; `None` for one that is not there, which only server-side apply can make.
    pub(super) fn make(&self, old: Option<&Object>, context: &EditContext<'_>) -> Result<Edited, Status> {
        if context.target.subresource == Some("scale") {
            return self.make_on_scale(old, context);
        }
        let mut edited = self.make_on_object(old, context)?;
        match_identity(&mut edited.object, old, context.target)?;
        let object = &mut edited.object;
        match context.target.subresource {
            // Of these subresources only the part that they are named after is taken.
            Some("finalize") => only(object, old, &["spec", "finalizers"]),
            Some("ephemeralcontainers") => only(object, old, &["spec", "ephemeralContainers"]),
            Some("resize") => only_resources(object, old),
            _ => {}
        }
        Ok(edited)
    }

    fn make_on_object(&self, old: Option<&Object>, context: &EditContext<'_>) -> Result<Edited, Status> {
        let row = context.row;
        let absent = || Status::not_found(&context.target.resource, &context.target.name);
        match self {
            Self::Replace(object) => {
                let mut object = Object::clone(object);
                let warnings = check_body(
                    row,
                    &mut object,
                    context.options.field_validation,
                    context.duplicates,
                )?;
                // Helm sends its records without.
                match_namespace(&mut object, context.target);
                Ok(Edited {
                    object,
                    tracked: false,
                    warnings,
                })
            }
            Self::Patch(Patch::Apply(configuration)) => {
                let mut configuration = Object::from_value(configuration.clone())
                    .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
                if configuration.api_version().is_empty() || configuration.kind().is_empty() {
                    return Err(Status::bad_request(
                        "the applied configuration must name its apiVersion and kind",
                    ));
                }
                let warnings = check_body(
                    row,
                    &mut configuration,
                    context.options.field_validation,
                    context.duplicates,
                )?;
                match_name(&mut configuration, context.target)?;
                let api_version = row.api_version();
                let writer = Writer {
                    manager: field_manager(context.caller, context.options),
                    api_version: &api_version,
                    subresource: context.target.subresource.unwrap_or_default(),
                    now: context.now,
                };
                let object = apply::apply(old, &configuration, writer, context.options.force, &row.schema)?;
                Ok(Edited {
                    object,
                    tracked: true,
                    warnings,
                })
            }
            Self::Patch(other) => {
                let old = old.ok_or_else(absent)?;
                let mut object = patched(old, other, row)?;
                let validation = context.options.field_validation;
                // What was unknown before the patch is not the patch's fault.
                let known = if validation == FieldValidation::Ignore {
                    Vec::new()
                } else {
                    row.schema.check(old).warnings().collect()
                };
                let lenient = match validation {
                    FieldValidation::Ignore => FieldValidation::Ignore,
                    _ => FieldValidation::Warn,
                };
                let mut warnings = check_body(row, &mut object, lenient, context.duplicates)?;
                warnings.retain(|warning| !known.contains(warning));
                if validation == FieldValidation::Strict && !warnings.is_empty() {
                    return Err(strict_patch(other, &warnings));
                }
                Ok(Edited {
                    object,
                    tracked: false,
                    warnings,
                })
            }
        }
    }

    /// Edits the `Scale` of an object and carries the outcome over to the object.
    fn make_on_scale(&self, old: Option<&Object>, context: &EditContext<'_>) -> Result<Edited, Status> {
        let row = context.row;
        let old = old.ok_or_else(|| Status::not_found(&context.target.resource, &context.target.name))?;
        let before = row.scale_of(old).ok_or_else(no_such_resource)?;
        let mut scale = match self {
            Self::Replace(scale) => Object::clone(scale),
            Self::Patch(Patch::Strategic(patch) | Patch::Merge(patch) | Patch::Apply(patch)) => {
                patch::merge(&before, patch)?
            }
            Self::Patch(Patch::Json(patch)) => patch::json(&before, patch)?,
        };
        if !scale.kind().is_empty() && scale.kind() != "Scale" {
            return Err(Status::bad_request(format!(
                "{} in version {:?} cannot be handled as a Scale",
                scale.kind(),
                scale.api_version()
            )));
        }
        match_identity(&mut scale, Some(&before), context.target)?;
        let mut object = old.clone();
        row.set_scale(&mut object, &scale)?;
        match scale.resource_version() {
            "" => drop(object.remove(&["metadata", "resourceVersion"])),
            version => object.set(&["metadata", "resourceVersion"], version),
        }
        Ok(Edited {
            object,
            tracked: false,
            warnings: Vec::new(),
        })
    }
}

fn patched(old: &Object, patch: &Patch, row: &KindRow) -> Result<Object, Status> {
    let shown;
    let old = if reaches_managed_fields(patch) {
        // Clients know them as the tree that they are on the wire.
        shown = Object::from_value(old.wire_value()).map_err(|error| Status::internal(error.to_string()))?;
        &shown
    } else {
        old
    };
    match patch {
        Patch::Json(operations) => patch::json(old, operations),
        Patch::Merge(changes) | Patch::Apply(changes) => patch::merge(old, changes),
        Patch::Strategic(changes) => patch::strategic(old, changes, &row.schema),
    }
}

/// Whether a patch may read or change who owns which field.
fn reaches_managed_fields(patch: &Patch) -> bool {
    match patch {
        Patch::Json(operations) => {
            let operations = operations.as_array().into_iter().flatten();
            let mut paths = operations
                .flat_map(|operation| [&operation["path"], &operation["from"]])
                .filter_map(Value::as_str);
            paths.any(|path| matches!(path, "" | "/metadata") || path.starts_with("/metadata/managedFields"))
        }
        Patch::Merge(changes) | Patch::Strategic(changes) | Patch::Apply(changes) => {
            changes["metadata"].get("managedFields").is_some()
        }
    }
}

/// Refuses options that do not go with a patch, in the words of
/// `k8s.io/apimachinery/pkg/apis/meta/v1/validation`.
pub(super) fn check_options(edit: &Edit, options: &WriteOptions) -> Result<(), Status> {
    let (field, reason, message) = match edit {
        Edit::Patch(Patch::Apply(_)) if options.field_manager.is_empty() => (
            "fieldManager",
            "FieldValueRequired",
            "Required value: is required for apply patch",
        ),
        Edit::Patch(Patch::Apply(_)) => return Ok(()),
        Edit::Patch(_) if options.force => (
            "force",
            "FieldValueForbidden",
            "Forbidden: may not be specified for non-apply patch",
        ),
        _ => return Ok(()),
    };
    let cause = StatusCause {
        reason: reason.to_owned(),
        message: message.to_owned(),
        field: field.to_owned(),
    };
    Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]))
}

/// 422 for a patch that brings unknown fields where that is forbidden.
fn strict_patch(patch: &Patch, found: &[String]) -> Status {
    let (Patch::Json(value) | Patch::Merge(value) | Patch::Strategic(value) | Patch::Apply(value)) = patch;
    let text = Value::String(value.to_string());
    let cause = StatusCause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!(
            "Invalid value: {text}: strict decoding error: {}",
            found.join(", ")
        ),
        field: "patch".to_owned(),
    };
    Status::invalid("", "", "", vec![cause])
}

/// Name and namespace of an applied configuration are those of the request; they may be left out.
fn match_name(object: &mut Object, target: &Target) -> Result<(), Status> {
    if object.name().is_empty() {
        object.set(&["metadata", "name"], target.name.as_str());
    }
    match_namespace(object, target);
    match_identity(object, None, target)
}

/// The namespace of an object that does not say it is that of the request.
fn match_namespace(object: &mut Object, target: &Target) {
    if let Some(namespace) = &target.namespace
        && object.namespace().is_none()
    {
        object.set(&["metadata", "namespace"], namespace.as_str());
    }
}

/// The object is the one that the request names, and the one that is stored.
fn match_identity(object: &mut Object, old: Option<&Object>, target: &Target) -> Result<(), Status> {
    if object.name() != target.name {
        return Err(match object.name() {
            "" => Status::bad_request("name must be provided"),
            name => Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )),
        });
    }
    match (object.namespace(), target.namespace.as_deref()) {
        (own, Some(namespace)) if own == Some(namespace) => {}
        // Clients leave out what the path says.
        (None, Some(namespace)) => object.set(&["metadata", "namespace"], namespace),
        (_, None) => drop(object.remove(&["metadata", "namespace"])),
        (Some(_), Some(_)) => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    let Some(old) = old else {
        return Ok(());
    };
    if !object.uid().is_empty() && object.uid() != old.uid() {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            object.uid(),
            old.uid()
        );
        return Err(Status::conflict(&target.resource, &target.name, &why));
    }
    let version = object.resource_version();
    if !version.is_empty() && version != "0" && version != old.resource_version() {
        return Err(Status::stale(&target.resource, &target.name));
    }
    Ok(())
}

/// Takes one path from the new object and everything else from the old.
fn only(object: &mut Object, old: Option<&Object>, path: &[&str]) {
    let Some(old) = old else {
        return;
    };
    let value = object.remove(path);
    let tracked = object.remove(&["metadata", "managedFields"]);
    *object = old.clone();
    match value {
        Some(value) => object.set(path, value),
        None => drop(object.remove(path)),
    }
    if let Some(tracked) = tracked {
        object.set(&["metadata", "managedFields"], tracked);
    }
}

/// Takes the resources of containers from the new object and everything else from the old.
fn only_resources(object: &mut Object, old: Option<&Object>) {
    let Some(old) = old else {
        return;
    };
    let wished = std::mem::replace(object, old.clone());
    for list in ["containers", "initContainers"] {
        let wished = wished.list(&["spec", list]);
        let Some(containers) = object
            .at_mut(&["spec"])
            .get_mut(list)
            .and_then(Value::as_array_mut)
        else {
            continue;
        };
        for container in containers {
            let same_name = wished.iter().find(|wish| wish["name"] == container["name"]);
            let (Some(wish), Some(container)) = (same_name, container.as_object_mut()) else {
                continue;
            };
            for key in ["resources", "resizePolicy"] {
                if let Some(value) = wish.get(key) {
                    container.insert(key.to_owned(), value.clone());
                }
            }
        }
    }
}

/// 415 for patches of a type that is not served.
pub(crate) fn unsupported_patch(content_type: &str) -> Status {
    Status::new(
        415,
        StatusReason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml (the request says {content_type:?})"
        ),
    )
}
