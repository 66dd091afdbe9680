//! What is wrong with an object, all faults at once, with Kubernetes' messages and field paths.

use crate::registry::KindRow;
use crate::{Object, StatusCause};

/// Collected faults of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    causes: Vec<StatusCause>,
}

impl Faults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    /// The faults as the causes of a 422.
    pub fn into_causes(self) -> Vec<StatusCause> {
        self.causes
    }
}

impl KindRow {
    /// Finds what is wrong with a new object.
    pub fn validate_create(&self, object: &Object) -> Vec<StatusCause> {
        let mut faults = Faults::default();
        (self.hooks.validate)(self, object, &mut faults);
        faults.into_causes()
    }

    /// Finds what is wrong with a changed object: what is wrong with it as it is, and with the change.
    pub fn validate_update(&self, new: &Object, old: &Object) -> Vec<StatusCause> {
        let mut faults = Faults::default();
        (self.hooks.validate)(self, new, &mut faults);
        (self.hooks.validate_update)(self, new, old, &mut faults);
        faults.into_causes()
    }

    /// Finds what is wrong with an object whose status was changed.
    pub fn validate_status_update(&self, _new: &Object, _old: &Object) -> Vec<StatusCause> {
        Vec::new()
    }
}
