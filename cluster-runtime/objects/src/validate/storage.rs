//! Volumes, claims and storage classes.

use serde_json::Value;

use super::faults::Faults;
use super::field::Field;
use super::pod;
use crate::Object;
use crate::quantity::Quantity;
use crate::registry::KindRow;

const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

fn access_modes(modes: &Field<'_, '_>, faults: &mut Faults) {
    if modes.is_empty() {
        faults.required(modes, "at least 1 access mode is required");
    }
    for mode in modes.items() {
        if !ACCESS_MODES.contains(&mode.text()) {
            let known: Vec<String> = ACCESS_MODES.iter().map(|mode| format!("{mode:?}")).collect();
            let message = format!(
                "Unsupported value: {}: supported values: {}",
                mode.value,
                known.join(", ")
            );
            faults.add("FieldValueNotSupported", &modes.to_string(), message);
        }
    }
}

fn positive(amount: &Field<'_, '_>, faults: &mut Faults) {
    let quantity = Quantity::from_value(amount.value);
    if quantity.is_ok_and(|quantity| quantity.is_zero() || quantity.is_negative()) {
        faults.invalid(amount, "must be greater than zero");
    }
}

pub(crate) fn persistent_volume(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    access_modes(&spec.get("accessModes"), faults);
    let capacity = spec.get("capacity");
    if faults.require(&capacity) {
        positive(&capacity.key("storage"), faults);
    }
    faults.one_of(
        &spec.get("persistentVolumeReclaimPolicy"),
        &["Delete", "Recycle", "Retain"],
    );
    faults.one_of(&spec.get("volumeMode"), &["Block", "Filesystem"]);
}

pub(crate) fn persistent_volume_claim(_row: &KindRow, object: &Object, faults: &mut Faults) {
    let spec = Field::top(object, "spec");
    access_modes(&spec.get("accessModes"), faults);
    pod::selector(&spec.get("selector"), faults);
    let resources = spec.get("resources");
    let storage = resources.get("requests");
    let storage = storage.key("storage");
    if storage.is_absent() {
        faults.required(&resources.key("storage"), "");
    } else {
        positive(&storage, faults);
    }
    faults.one_of(&spec.get("volumeMode"), &["Block", "Filesystem"]);
}

pub(crate) fn persistent_volume_claim_update(
    _row: &KindRow,
    new: &Object,
    old: &Object,
    faults: &mut Faults,
) {
    let rest = |object: &Object| {
        let mut copy = object.clone();
        let fields = copy.at_mut(&["spec"]);
        if let Some(Value::Object(resources)) = fields.get_mut("resources") {
            resources.remove("requests");
        }
        fields.remove("volumeAttributesClassName");
        // The binder sets these once.
        for key in ["volumeName", "storageClassName"] {
            if object.text(&["spec", key]).is_none_or(str::is_empty)
                || old.text(&["spec", key]).is_none_or(str::is_empty)
            {
                fields.remove(key);
            }
        }
        copy.remove(&["spec"])
    };
    let spec = Field::top(new, "spec");
    if rest(new) != rest(old) {
        faults.forbidden(
            &spec,
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        );
    }
    let amount = |object: &Object| {
        let value = object.at(&["spec", "resources", "requests", "storage"]);
        value.and_then(|value| Quantity::from_value(value).ok())
    };
    if amount(new) < amount(old) {
        let resources = spec.get("resources");
        let requests = resources.get("requests");
        faults.forbidden(
            &requests.get("storage"),
            "field can not be less than previous value",
        );
    }
}

pub(crate) fn storage_class(_row: &KindRow, object: &Object, faults: &mut Faults) {
    faults.require(&Field::top(object, "provisioner"));
    faults.one_of(&Field::top(object, "reclaimPolicy"), &["Delete", "Retain"]);
    faults.one_of(
        &Field::top(object, "volumeBindingMode"),
        &["Immediate", "WaitForFirstConsumer"],
    );
}

pub(crate) fn storage_class_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    for key in ["parameters", "provisioner", "reclaimPolicy"] {
        let (new, old) = (Field::top(new, key), Field::top(old, key));
        if new.value != old.value {
            faults.forbidden(&new, &format!("updates to {key} are forbidden."));
        }
    }
    faults.immutable(
        &Field::top(new, "volumeBindingMode"),
        &Field::top(old, "volumeBindingMode"),
    );
}
