//! What happens to an object between the request and the store: a list of steps.

use cluster_client::{FieldValidation, WriteOptions};
use cluster_objects::apply::{self, Writer};
use cluster_objects::names::generate_name;
use cluster_objects::registry::KindRow;
use cluster_objects::{GroupVersionResource, Object, Status, StatusCause, StatusReason};
use cluster_store::{Key, Precondition, Write};
use jiff::Timestamp;

use super::accounts;
use super::addresses::Reservation;
use super::commit::check;
use super::policy;
use super::priority;
use super::stage::Stage;
use super::{Engine, revision_of};
use crate::sources::{api_time, uid};
use crate::user::Caller;

/// An object on its way into the store, and what was found out on the way.
pub(super) struct Admission<'a> {
    pub(super) engine: &'a Engine,
    /// What is decided and will be stored together with the object.
    pub(super) stage: &'a Stage,
    pub(super) row: &'a KindRow,
    pub(super) caller: &'a Caller,
    pub(super) options: &'a WriteOptions,
    /// Time of the request.
    pub(super) now: Timestamp,
    /// Namespace of the request.
    pub(super) namespace: Option<&'a str>,
    /// The subresource that is written, empty for the object itself.
    pub(super) subresource: &'a str,
    /// The object before, in the row's version; `None` when it is made.
    pub(super) old: Option<&'a Object>,
    /// The object as it will be.
    pub(super) object: Object,
    /// Whether field ownership was recorded already, as server-side apply does.
    pub(super) tracked: bool,
    /// What the client should hear besides.
    pub(super) warnings: Vec<String>,
    /// What else must hold for the write to be right.
    pub(super) dependencies: Vec<Write>,
    /// Service addresses that the object holds once it is stored.
    pub(super) reservation: Option<Reservation>,
}

/// One step of admission.
pub(super) type Step = fn(&mut Admission<'_>) -> Result<(), Status>;

/// What happens to a new object. Admission plug-ins of later (webhooks, policies) go before `validate`.
pub(super) const CREATE: &[Step] = &[
    match_namespace,
    namespace_is_open,
    give_name,
    give_identity,
    accounts::give_account,
    priority::give_priority,
    apply_defaults,
    policy::apply_limits,
    prepare_create,
    label_namespace,
    validate_create,
    policy::check_limits,
    policy::check_safety,
    policy::warn_of_unsafe_pods,
    give_no_more_than_held,
    policy::charge_quota,
    reserve_addresses,
    track_fields,
];

/// What happens to a changed object.
pub(super) const UPDATE: &[Step] = &[
    apply_defaults,
    prepare_update,
    label_namespace,
    keep_finalizers_of_the_dying,
    validate_update,
    policy::check_limits,
    policy::check_safety,
    policy::warn_of_unsafe_pods,
    give_no_more_than_held,
    policy::charge_quota,
    reserve_addresses,
    track_fields,
];

/// What happens to an object whose status is written.
pub(super) const UPDATE_STATUS: &[Step] = &[
    apply_defaults,
    prepare_status_update,
    keep_finalizers_of_the_dying,
    validate_status_update,
    track_fields,
];

/// What happens to an object of which a subresource replaced one part and nothing else.
pub(super) const UPDATE_PART: &[Step] = &[
    apply_defaults,
    count_generation,
    validate_part,
    policy::check_limits,
    policy::check_safety,
    policy::charge_quota,
    track_fields,
];

impl Admission<'_> {
    /// Takes the object through the steps.
    pub(super) fn run(&mut self, steps: &[Step]) -> Result<(), Status> {
        steps.iter().try_for_each(|step| step(self))
    }

    fn resource(&self) -> GroupVersionResource {
        self.row.resource()
    }

    fn invalid(&self, causes: Vec<StatusCause>) -> Result<(), Status> {
        if causes.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(
            &self.row.group,
            &self.row.kind,
            self.object.name(),
            causes,
        ))
    }

    fn random(&self) -> u128 {
        self.engine.sources().random()
    }
}

/// The field manager of a write.
pub(super) fn field_manager<'a>(caller: &'a Caller, options: &'a WriteOptions) -> &'a str {
    match options.field_manager.as_str() {
        "" => caller.default_field_manager(),
        named => named,
    }
}

/// Refuses an object of another type, and one that the schema cannot take; gives warnings for unknown fields.
///
/// `duplicates` are fields that stood twice in the request's text.
pub(super) fn check_body(
    row: &KindRow,
    object: &mut Object,
    validation: FieldValidation,
    duplicates: &[String],
) -> Result<Vec<String>, Status> {
    match_type(row, object)?;
    let findings = row.schema.check(object);
    let cannot = |why: &str| {
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}",
            kind = row.kind,
            version = row.version
        ))
    };
    if let Some(mistyped) = &findings.mistyped {
        return Err(cannot(mistyped));
    }
    let mut found: Vec<String> = duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"))
        .collect();
    found.extend(findings.warnings());
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(found),
        FieldValidation::Strict if found.is_empty() => Ok(found),
        FieldValidation::Strict => Err(cannot(&format!("strict decoding error: {}", found.join(", ")))),
    }
}

fn match_type(row: &KindRow, object: &mut Object) -> Result<(), Status> {
    let expected = row.api_version();
    if object.kind().is_empty() {
        object.set(&["kind"], row.kind.as_ref());
    } else if object.kind() != row.kind {
        return Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: the kind in the data ({}) does not match the expected kind ({})",
            object.kind(),
            object.api_version(),
            row.kind,
            object.kind(),
            row.kind
        )));
    }
    if object.api_version().is_empty() {
        object.set(&["apiVersion"], expected);
    } else if object.api_version() != expected {
        return Err(Status::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({expected})",
            object.api_version()
        )));
    }
    Ok(())
}

/// The namespace of the object is the one of the request.
fn match_namespace(admission: &mut Admission<'_>) -> Result<(), Status> {
    match (admission.object.namespace(), admission.namespace) {
        (None, Some(namespace)) => admission.object.set(&["metadata", "namespace"], namespace),
        (Some(own), Some(namespace)) if own == namespace => {}
        // Charts give cluster-wide objects a namespace; Kubernetes drops it in silence.
        (_, None) => drop(admission.object.remove(&["metadata", "namespace"])),
        (Some(_), Some(_)) => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// The namespace exists and is not going away, and stays so until the object is stored.
fn namespace_is_open(admission: &mut Admission<'_>) -> Result<(), Status> {
    let Some(namespace) = admission.namespace else {
        return Ok(());
    };
    let key = Key::new("namespaces", "", namespace);
    let Some(found) = admission.stage.get(admission.engine.store(), &key) else {
        return Err(Status::not_found(
            &GroupVersionResource::new("v1", "namespaces"),
            namespace,
        ));
    };
    if found.deletion_timestamp().is_some() {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut refused = Status::forbidden(&admission.resource(), admission.object.name(), &why);
        refused.causes.push(StatusCause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        });
        return Err(refused);
    }
    // One that comes in the same transaction is there when the object is.
    if !admission.stage.writes(&key) {
        let unchanged = check(key, Precondition::At(revision_of(&found)));
        admission.dependencies.push(unchanged);
    }
    Ok(())
}

/// The object has a name, made from `generateName` where it brings none.
fn give_name(admission: &mut Admission<'_>) -> Result<(), Status> {
    if !admission.object.name().is_empty() {
        return Ok(());
    }
    let prefix = admission
        .object
        .text(&["metadata", "generateName"])
        .unwrap_or_default();
    if prefix.is_empty() {
        return admission.invalid(vec![StatusCause {
            reason: "FieldValueRequired".to_owned(),
            message: "Required value: name or generateName is required".to_owned(),
            field: "metadata.name".to_owned(),
        }]);
    }
    let name = generate_name(prefix, (admission.random() >> 8) as u64);
    admission.object.set(&["metadata", "name"], name);
    Ok(())
}

/// The object gets what only the server gives: UID, time, no deletion, no revision.
fn give_identity(admission: &mut Admission<'_>) -> Result<(), Status> {
    let uid = uid(admission.random());
    let created = api_time(admission.now);
    let object = &mut admission.object;
    for key in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "selfLink",
    ] {
        object.remove(&["metadata", key]);
    }
    object.set(&["metadata", "uid"], uid);
    object.set(&["metadata", "creationTimestamp"], created);
    Ok(())
}

fn apply_defaults(admission: &mut Admission<'_>) -> Result<(), Status> {
    admission.row.apply_defaults(&mut admission.object);
    Ok(())
}

fn prepare_create(admission: &mut Admission<'_>) -> Result<(), Status> {
    admission.row.prepare_for_create(&mut admission.object);
    Ok(())
}

fn prepare_update(admission: &mut Admission<'_>) -> Result<(), Status> {
    if let Some(old) = admission.old {
        admission.row.prepare_for_update(&mut admission.object, old);
    }
    Ok(())
}

fn prepare_status_update(admission: &mut Admission<'_>) -> Result<(), Status> {
    if let Some(old) = admission.old {
        admission
            .row
            .prepare_for_status_update(&mut admission.object, old);
    }
    Ok(())
}

/// The generation grows when the part that was replaced belongs to the wish.
fn count_generation(admission: &mut Admission<'_>) -> Result<(), Status> {
    let Some(old) = admission.old.filter(|_| admission.row.counts_generation) else {
        return Ok(());
    };
    if admission.object.at(&["spec"]) != old.at(&["spec"]) {
        admission
            .object
            .set(&["metadata", "generation"], old.generation() + 1);
    }
    Ok(())
}

/// A namespace carries its own name as a label, so that selectors can name it, and is emptied before it goes.
fn label_namespace(admission: &mut Admission<'_>) -> Result<(), Status> {
    if &*admission.row.table != "namespaces" {
        return Ok(());
    }
    let name = admission.object.name().to_owned();
    let object = &mut admission.object;
    object.set(&["metadata", "labels", "kubernetes.io/metadata.name"], name);
    if admission.old.is_none() {
        object.set(&["spec", "finalizers"], vec!["kubernetes"]);
        object.set(&["status", "phase"], "Active");
    }
    Ok(())
}

/// An object that is being deleted gets no further finalizers.
fn keep_finalizers_of_the_dying(admission: &mut Admission<'_>) -> Result<(), Status> {
    let Some(old) = admission.old.filter(|old| old.deletion_timestamp().is_some()) else {
        return Ok(());
    };
    let before = old.list(&["metadata", "finalizers"]);
    let added: Vec<String> = admission
        .object
        .list(&["metadata", "finalizers"])
        .iter()
        .filter(|finalizer| !before.contains(finalizer))
        .map(ToString::to_string)
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    admission.invalid(vec![StatusCause {
        reason: "FieldValueForbidden".to_owned(),
        message: format!("Forbidden: {why}"),
        field: "metadata.finalizers".to_owned(),
    }])
}

fn validate_create(admission: &mut Admission<'_>) -> Result<(), Status> {
    admission.invalid(admission.row.validate_create(&admission.object))
}

fn validate_update(admission: &mut Admission<'_>) -> Result<(), Status> {
    match admission.old {
        Some(old) => admission.invalid(admission.row.validate_update(&admission.object, old)),
        None => Ok(()),
    }
}

fn validate_part(admission: &mut Admission<'_>) -> Result<(), Status> {
    let (row, part) = (admission.row, admission.subresource);
    match admission.old {
        Some(old) => admission.invalid(row.validate_part(part, &admission.object, old)),
        None => Ok(()),
    }
}

fn validate_status_update(admission: &mut Admission<'_>) -> Result<(), Status> {
    match admission.old {
        Some(old) => admission.invalid(admission.row.validate_status_update(&admission.object, old)),
        None => Ok(()),
    }
}

/// A role or binding gives nobody more rights than its author has.
fn give_no_more_than_held(admission: &mut Admission<'_>) -> Result<(), Status> {
    if admission.row.group != "rbac.authorization.k8s.io" {
        return Ok(());
    }
    let authorizer = &admission.engine.inner.authorizer;
    authorizer.may_give(&admission.caller.user, &admission.object)
}

/// A service gets its cluster address and node ports.
fn reserve_addresses(admission: &mut Admission<'_>) -> Result<(), Status> {
    if &*admission.row.table != "services" {
        return Ok(());
    }
    let random = admission.random();
    let addresses = &admission.engine.inner.addresses;
    match addresses.reserve(&mut admission.object, admission.old, random) {
        Ok(reservation) => {
            admission.reservation = Some(reservation);
            Ok(())
        }
        Err(cause) if cause.field.is_empty() => Err(Status::new(
            500,
            StatusReason::InternalError,
            format!("Internal error occurred: {}", cause.message),
        )),
        Err(cause) => admission.invalid(vec![cause]),
    }
}

/// Field ownership is recorded.
fn track_fields(admission: &mut Admission<'_>) -> Result<(), Status> {
    if admission.tracked {
        return Ok(());
    }
    let api_version = admission.row.api_version();
    let writer = Writer {
        manager: field_manager(admission.caller, admission.options),
        api_version: &api_version,
        subresource: admission.subresource,
        now: admission.now,
    };
    apply::track(
        admission.old,
        &mut admission.object,
        writer,
        &admission.row.schema,
    );
    Ok(())
}
