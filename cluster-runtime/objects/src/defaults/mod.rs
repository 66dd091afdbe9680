//! What the API server fills in where the user left a field open.

use crate::Object;
use crate::registry::KindRow;

impl KindRow {
    /// Fills in what the user left open.
    pub fn apply_defaults(&self, object: &mut Object) {
        (self.hooks.default)(self, object);
    }
}
