//! Admission by the objects of a namespace: its limits, its quota, and how safe its pods must be.

mod limits;
mod quota;
mod safety;
mod safety_checks;

pub(super) use limits::{apply_limits, check_limits};
pub(super) use quota::charge_quota;
pub(super) use safety::{check_safety, warn_of_unsafe_pods};

use std::sync::Arc;

use cluster_objects::{Object, Status};
use cluster_store::Selection;

use super::admission::Admission;
use super::store_failure;

impl Admission<'_> {
    /// The objects of a table in the namespace of the request, with what is decided and not stored yet.
    fn beside(&self, table: &str) -> Result<Vec<Arc<Object>>, Status> {
        let selection = Selection {
            table: table.into(),
            namespace: self.namespace.map(Into::into),
        };
        let store = self.engine.store();
        let listed = store
            .list(&selection, None, None, 0, &|_| true)
            .map_err(store_failure)?;
        Ok(self
            .stage
            .overlay(table, self.namespace.unwrap_or_default(), listed.objects))
    }
}
