//! Server-side apply and the tracking of who owns which field.
//!
//! The rules are Kubernetes': <https://kubernetes.io/docs/reference/using-api/server-side-apply/>. [`apply()`] is the
//! patch, [`track`] records every other write, [`FieldSet`] is what `managedFields` keeps.

mod field_set;
pub(crate) mod field_text;
mod managers;
mod typed;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::nesting;
use crate::schema::Schema;
use crate::{Object, Status, StatusCause, StatusReason};

use managers::{Fields, Manager, Managers, Operation, Owned, api_time};
use typed::Typed;

pub use field_set::{FieldSet, FieldSetError};

/// Who writes, and through what.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// Field manager: what the request names, else the first part of the user agent.
    pub manager: &'a str,
    /// Version in which the fields are written, as `apps/v1`.
    pub api_version: &'a str,
    /// Subresource, as `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Time of the write.
    pub now: Timestamp,
}

/// Applies a configuration: gives the object as it is afterwards, with `metadata.managedFields` up to date.
///
/// `live` is the object now, `None` when it is to be made. The result is neither defaulted nor validated. Where
/// nothing changes, the result is `live` as it is.
///
/// Fails with 409 and one cause a field when another manager owns a field and wants another value, unless `force`;
/// with 400 when the configuration carries managed fields itself, is nested too deep, or has a list whose items
/// cannot be told apart.
pub fn apply(
    live: Option<&Object>,
    configuration: &Object,
    writer: Writer<'_>,
    force: bool,
    schema: &Schema,
) -> Result<Object, Status> {
    if configuration
        .at(&["metadata", "managedFields"])
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    nesting::check_object(configuration)?;
    let mut configuration = configuration.clone();
    take_out_foreign_parts(&mut configuration, writer, schema);
    schema.normalize(&mut configuration);
    let configuration = configuration.into_value();
    let typed = Typed::of(schema.shape());
    typed.check_items(&configuration).map_err(|fault| {
        let (namespace, name) = (text(&configuration, "namespace"), text(&configuration, "name"));
        let (version, kind) = (
            writer.api_version,
            configuration["kind"].as_str().unwrap_or_default(),
        );
        Status::bad_request(format!(
            "failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {fault}"
        ))
    })?;

    let mut before = live.cloned().unwrap_or_default();
    let old_managers = Managers::of(&before).unwrap_or_default();
    before.remove(&["metadata", "managedFields"]);
    let before = before.into_value();

    let mut managers = old_managers.clone();
    let manager = Manager::of(&writer, Operation::Apply);
    let last = managers.entries.remove(&manager);
    let owned = Owned {
        api_version: writer.api_version.to_owned(),
        time: last.as_ref().and_then(|last| last.time.clone()),
        fields: without_identity(typed.set_of(&configuration), writer, schema).into(),
    };
    managers.entries.insert(manager.clone(), owned);

    let merged = typed.merge(before.clone(), &configuration);
    let after = match last.filter(|last| last.api_version == writer.api_version) {
        Some(last) => prune(typed, merged, &managers, &last.fields, writer.api_version),
        None => merged,
    };

    let comparison = typed.compare(&before, &after);
    let changed = comparison.modified.union(&comparison.added);
    let conflicts = conflicts_with(&managers, &manager, writer.api_version, &changed);
    if !force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    release(
        &mut managers,
        &manager,
        writer.api_version,
        &changed,
        &comparison.removed,
    );

    if let Some(live) = live
        && before == after
        && managers == old_managers
    {
        return Ok(live.clone());
    }
    if let Some(owned) = managers.entries.get_mut(&manager) {
        owned.time = Some(api_time(writer.now));
    }
    let mut object = Object::from_value(after).map_err(|error| Status::bad_request(error.to_string()))?;
    managers.write(&mut object);
    Ok(object)
}

/// Records an ordinary write (create, update, any patch but apply) in `metadata.managedFields` of the new object.
///
/// `old` is the object before, `None` when it was made. Call it after defaulting and preparation, before storing.
/// Managed fields that the new object brings count, since a client may change who owns what; where it brings none
/// that can be read, those of the old object do.
pub fn track(old: Option<&Object>, new: &mut Object, writer: Writer<'_>, schema: &Schema) {
    let of_old = || old.and_then(Managers::of);
    let reset =
        matches!(new.list(&["metadata", "managedFields"]), [Value::Object(entry)] if entry.is_empty());
    let brought = if writer.subresource.is_empty() {
        Managers::of(new)
    } else {
        None
    };
    let mut managers = if reset {
        Managers::default()
    } else {
        brought.or_else(of_old).unwrap_or_default()
    };
    new.remove(&["metadata", "managedFields"]);
    if reset {
        return;
    }
    let nothing = serde_json::Map::new();
    let typed = Typed::of(schema.shape());
    // The managed fields of the old object are compared too: nobody owns them, so that they make no difference.
    let comparison = typed.compare_maps(old.map_or(&nothing, Object::fields), new.fields());
    let manager = Manager::of(&writer, Operation::Update);
    let changed = without_identity(comparison.modified.joined(comparison.added), writer, schema);
    release(
        &mut managers,
        &manager,
        writer.api_version,
        &changed,
        &comparison.removed,
    );
    let entry = managers.entries.entry(manager).or_insert_with(|| Owned {
        api_version: writer.api_version.to_owned(),
        time: None,
        fields: Fields::default(),
    });
    entry.fields.subtract(&comparison.removed);
    if !changed.is_empty() {
        entry.fields.join(changed);
        entry.time = Some(api_time(writer.now));
    }
    managers.entries.retain(|_, owned| !owned.fields.is_empty());
    managers.cap();
    managers.write(new);
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value["metadata"][key].as_str().unwrap_or_default()
}

/// The status is written through its subresource only, and nothing else is there.
fn take_out_foreign_parts(configuration: &mut Object, writer: Writer<'_>, schema: &Schema) {
    if !schema.has_status_subresource() {
        return;
    }
    match writer.subresource {
        "" => drop(configuration.fields_mut().remove("status")),
        "status" => configuration
            .fields_mut()
            .retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status")),
        _ => {}
    }
}

/// A set without what nobody owns: what an object is called, and what only the server writes.
fn without_identity(mut set: FieldSet, writer: Writer<'_>, schema: &Schema) -> FieldSet {
    for key in ["f:apiVersion", "f:kind"] {
        set.remove_tree(&[key]);
    }
    for key in [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:deletionTimestamp",
        "f:deletionGracePeriodSeconds",
        "f:selfLink",
        "f:uid",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
    ] {
        set.remove_tree(&["f:metadata", key]);
    }
    let mut identity = FieldSet::default();
    identity.insert(&["f:metadata"]);
    set.subtract(&identity);
    if schema.has_status_subresource() {
        match writer.subresource {
            "" => set.remove_tree(&["f:status"]),
            "status" => set.remove_tree(&["f:spec"]),
            _ => {}
        }
    }
    set
}

/// What other managers of the same version own of some fields.
fn conflicts_with(
    managers: &Managers,
    writer: &Manager,
    api_version: &str,
    changed: &FieldSet,
) -> Vec<(Manager, FieldSet)> {
    let others = managers
        .entries
        .iter()
        .filter(|(manager, owned)| *manager != writer && owned.api_version == api_version);
    let shared = others.map(|(manager, owned)| (manager.clone(), owned.fields.intersection(changed)));
    shared.filter(|(_, fields)| !fields.is_empty()).collect()
}

/// Takes fields away from the other managers: those that changed hands and those that are gone.
fn release(
    managers: &mut Managers,
    writer: &Manager,
    api_version: &str,
    changed: &FieldSet,
    removed: &FieldSet,
) {
    for (manager, owned) in &mut managers.entries {
        if manager != writer && owned.api_version == api_version {
            owned.fields.subtract(changed);
            owned.fields.subtract(removed);
        }
    }
    managers
        .entries
        .retain(|manager, owned| manager == writer || !owned.fields.is_empty());
}

/// The 409 of fields that others own, worded as Kubernetes words it.
fn conflict(conflicts: &[(Manager, FieldSet)]) -> Status {
    let mut causes = Vec::new();
    let mut by_manager: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (manager, fields) in conflicts {
        let manager = manager.readable();
        for path in fields.paths() {
            causes.push(StatusCause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {manager}"),
                field: path.clone(),
            });
            by_manager.entry(manager.clone()).or_default().push(path);
        }
    }
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        many => {
            let mut lines = Vec::new();
            for (manager, paths) in by_manager {
                lines.push(format!("conflicts with {manager}:"));
                lines.extend(paths.iter().map(|path| format!("- {path}")));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let mut status = Status::new(409, StatusReason::Conflict, message);
    status.causes = causes;
    status
}

/// Takes out what the applier wanted last time and wants no more, unless somebody else owns it.
fn prune(typed: Typed<'_>, merged: Value, managers: &Managers, last: &FieldSet, api_version: &str) -> Value {
    if last.is_empty() {
        return merged;
    }
    let empty = || Value::Object(serde_json::Map::new());
    let without = |set: &FieldSet| typed.without(merged.clone(), set).unwrap_or_else(empty);
    let fields_of = |value: &Value| typed.with_named_members(&typed.set_of(value));
    let last = typed.with_named_members(last);
    let merged_fields = fields_of(&merged);

    // First without everything that was wanted last time ...
    let pruned = without(&last);
    // ... then with what anybody owns, the new wish of the applier included ...
    let of_version = managers
        .entries
        .values()
        .filter(|owned| owned.api_version == api_version);
    let owned = of_version.fold(FieldSet::default(), |all, owned| all.union(&owned.fields));
    let kept = fields_of(&pruned).union(&typed.with_named_members(&owned));
    let pruned = without(&merged_fields.difference(&kept));
    // ... and with what nobody owned, neither last time nor now.
    let dangling = merged_fields.difference(&fields_of(&pruned)).intersection(&last);
    without(&dangling)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests;
