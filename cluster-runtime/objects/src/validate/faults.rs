//! Faults of an object, worded as `k8s.io/apimachinery/pkg/util/validation/field` words them.

use serde_json::Value;

use super::field::Field;
use crate::StatusCause;

/// Collected faults of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    causes: Vec<StatusCause>,
}

/// Most faults that one object is told of; more help nobody.
const FAULTS_MAX: usize = 100;

impl Faults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    /// The faults as the causes of a 422.
    pub fn into_causes(self) -> Vec<StatusCause> {
        self.causes
    }

    /// Adds a fault. `message` is as the reason's own words begin: `Invalid value: 3: must be …`.
    pub fn add(&mut self, reason: &str, field: &str, message: String) {
        let cause = StatusCause {
            reason: reason.to_owned(),
            message,
            field: field.to_owned(),
        };
        if self.causes.len() < FAULTS_MAX && !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
    }

    /// The field must be there.
    pub(super) fn required(&mut self, field: &Field<'_, '_>, why: &str) {
        self.add(
            "FieldValueRequired",
            &field.to_string(),
            with_reason("Required value", why),
        );
    }

    /// Reports the field where it is absent or empty; gives whether it is there.
    pub(super) fn require(&mut self, field: &Field<'_, '_>) -> bool {
        if field.is_empty() {
            self.required(field, "");
        }
        !field.is_empty()
    }

    /// The value may not be this one.
    pub(super) fn invalid(&mut self, field: &Field<'_, '_>, why: &str) {
        self.invalid_value(field, field.value, why);
    }

    /// Some value at a field may not be this one.
    pub(super) fn invalid_value(&mut self, field: &Field<'_, '_>, value: &Value, why: &str) {
        self.add(
            "FieldValueInvalid",
            &field.to_string(),
            with_reason(&format!("Invalid value: {value}"), why),
        );
    }

    /// Some text at a field may not be this one, for each of these reasons.
    pub(super) fn invalid_text(&mut self, field: &Field<'_, '_>, text: &str, faults: &[String]) {
        for fault in faults {
            self.invalid_value(field, &Value::from(text), fault);
        }
    }

    /// The value is not among those that are known; an absent one is let pass.
    pub(super) fn one_of(&mut self, field: &Field<'_, '_>, known: &[&str]) {
        if !field.is_absent() && !known.contains(&field.text()) {
            let known: Vec<String> = known.iter().map(|value| format!("{value:?}")).collect();
            let message = format!(
                "Unsupported value: {}: supported values: {}",
                field.value,
                known.join(", ")
            );
            self.add("FieldValueNotSupported", &field.to_string(), message);
        }
    }

    /// The value stands twice.
    pub(super) fn duplicate(&mut self, field: &Field<'_, '_>, value: &Value) {
        self.add(
            "FieldValueDuplicate",
            &field.to_string(),
            format!("Duplicate value: {value}"),
        );
    }

    /// The field may not be there.
    pub(super) fn forbidden(&mut self, field: &Field<'_, '_>, why: &str) {
        self.add(
            "FieldValueForbidden",
            &field.to_string(),
            with_reason("Forbidden", why),
        );
    }

    /// What the field names is not there.
    pub(super) fn not_found(&mut self, field: &Field<'_, '_>) {
        self.add(
            "FieldValueNotFound",
            &field.to_string(),
            format!("Not found: {}", field.value),
        );
    }

    /// The value is larger than allowed.
    pub(super) fn too_long(&mut self, field: &str, bytes_max: usize) {
        let message = format!("Too long: may not be more than {bytes_max} bytes");
        self.add("FieldValueTooLong", field, message);
    }

    /// A number that is there may not be negative.
    pub(super) fn not_negative(&mut self, field: &Field<'_, '_>) {
        self.at_least(field, 0);
    }

    /// A number that is there must be at least this.
    pub(super) fn at_least(&mut self, field: &Field<'_, '_>, least: i64) {
        if field.integer().is_some_and(|number| number < least) {
            self.invalid(field, &format!("must be greater than or equal to {least}"));
        }
    }

    /// A number that is there must be a port.
    pub(super) fn port(&mut self, field: &Field<'_, '_>) {
        if field
            .integer()
            .is_some_and(|number| !(1..=65535).contains(&number))
        {
            self.invalid(field, "must be between 1 and 65535, inclusive");
        }
    }

    /// A port by number or name.
    pub(super) fn port_or_name(&mut self, field: &Field<'_, '_>) {
        if field.value.is_string() {
            self.invalid_text(field, field.text(), &crate::names::port_name_faults(field.text()));
        } else {
            self.port(field);
        }
    }

    /// The field may not change.
    pub(super) fn immutable(&mut self, new: &Field<'_, '_>, old: &Field<'_, '_>) {
        if new.value != old.value {
            self.invalid(new, "field is immutable");
        }
    }
}

fn with_reason(what: &str, why: &str) -> String {
    if why.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {why}")
    }
}
