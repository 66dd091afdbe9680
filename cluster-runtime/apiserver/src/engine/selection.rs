//! Which objects of a collection a list or watch means.

use cluster_client::Collection;
use cluster_objects::registry::KindRow;
use cluster_objects::selector::{FieldSelector, LabelSelector};
use cluster_objects::{Object, Status};
use cluster_store::Selection;

/// Selectors of a request, read and checked.
#[derive(Clone, Debug)]
pub(super) struct Selectors {
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
}

impl Selectors {
    /// Reads both selectors; 400 in the words of Kubernetes when one is wrong or asks for an unknown field.
    pub(super) fn read(row: &KindRow, labels: &str, fields: &str) -> Result<Self, Status> {
        let refuse = |error: &dyn std::fmt::Display| Status::bad_request(error.to_string());
        let labels = match labels.trim() {
            "" => None,
            text => {
                let selector = LabelSelector::parse(text)
                    .map_err(|error| refuse(&format_args!("unable to parse requirement: {error}")))?;
                Some(selector)
            }
        };
        let fields = match fields.trim() {
            "" => None,
            text => {
                let selector = FieldSelector::parse(text).map_err(|error| refuse(&error))?;
                selector.check(row).map_err(|error| refuse(&error))?;
                Some(selector)
            }
        };
        Ok(Self { labels, fields })
    }

    /// Whether everything is selected.
    pub(super) fn select_all(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// Whether an object, in the version of the row that the selectors were read for, is selected.
    pub(super) fn select(&self, object: &Object) -> bool {
        self.labels
            .as_ref()
            .is_none_or(|selector| selector.matches(object.labels()))
            && self
                .fields
                .as_ref()
                .is_none_or(|selector| selector.matches(object))
    }
}

/// The part of the store that a collection is.
pub(super) fn stored_selection(row: &KindRow, collection: &Collection) -> Selection {
    Selection {
        table: row.table.clone(),
        namespace: collection.namespace.as_deref().map(Into::into),
    }
}
